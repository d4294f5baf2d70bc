"""Newbon: a container scheduling engine for a fleet of Docker hosts."""

__version__ = "0.1.0"
