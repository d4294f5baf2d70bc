"""Newbon score: fullest node first."""

from newbon_score_binpack.packing import Binpack

__all__ = ["Binpack"]
