"""Newbon filter: label constraints, taints and tolerations, service affinity."""

from newbon_filter_constraints.fields import newbon_service_fields
from newbon_filter_constraints.filtering import newbon_filter_nodes

__all__ = ["newbon_filter_nodes", "newbon_service_fields"]
