"""Newbon score: spread evenly over nodes and topology labels, away from recent failures."""

from newbon_score_spread.spreading import newbon_score_nodes, newbon_service_fields

__all__ = ["newbon_score_nodes", "newbon_service_fields"]
