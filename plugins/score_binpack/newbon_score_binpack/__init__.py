"""Newbon score: fullest node first."""
