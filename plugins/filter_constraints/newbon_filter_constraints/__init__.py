"""Newbon filter: label constraints, taints and tolerations, service affinity."""
