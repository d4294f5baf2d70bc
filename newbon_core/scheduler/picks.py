"""What a choice of nodes is made from, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from newbon_core.hooks.types import BoolArray, FloatArray, IntArray

Values = Callable[[int], FloatArray]
"""Own scores of all nodes in layer j, -inf where rejected."""


@dataclass(frozen=True, slots=True)
class Picks:
    """The chosen nodes in the order of choice: their slots, the layer at which each was chosen, and its whole score.

    ``runner_up[k]`` is the slot of the best other node at choice k (-1: none) and ``runner_up_scores[k]`` its score.
    """

    slots: IntArray
    layers: IntArray
    scores: FloatArray
    runner_up: Callable[[], tuple[IntArray, FloatArray]]

    def __len__(self) -> int:
        return len(self.slots)


def cut_short(chosen: IntArray, full: BoolArray, count: int) -> bool:
    """True when a node took all of the layers that were looked at before the last choice was made."""
    if not full.any():
        return False
    ended = chosen[:-1] if len(chosen) == count else chosen
    last = np.full(len(full), -1, dtype=np.int64)
    last[chosen] = np.arange(len(chosen))
    return bool((full & (last < len(ended)) & (last >= 0)).any())
