"""Newbon filter: cpu, memory, host ports and countable resources."""
