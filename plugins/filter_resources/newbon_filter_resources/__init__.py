"""Newbon filter: cpu, memory, host ports and countable resources."""

from newbon_filter_resources.fields import newbon_service_fields
from newbon_filter_resources.filtering import newbon_filter_nodes

__all__ = ["newbon_filter_nodes", "newbon_service_fields"]
