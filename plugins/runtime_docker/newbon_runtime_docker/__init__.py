"""Newbon runtime: the Docker Engine."""
