"""Newbon score: fullest node first."""

from newbon_score_binpack.packing import DEFAULT_WEIGHT, OptionsSchema, newbon_configure, newbon_score_nodes

__all__ = ["DEFAULT_WEIGHT", "OptionsSchema", "newbon_configure", "newbon_score_nodes"]
