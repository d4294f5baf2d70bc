"""Newbon score: spread evenly over nodes and topology labels, away from recent failures."""
