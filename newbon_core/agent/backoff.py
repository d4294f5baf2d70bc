"""How long to wait before trying again."""

from __future__ import annotations

import random


class Backoff:
    """Pauses that double up to a bound, each cut by up to a half at random, so that a fleet does not come at once."""

    def __init__(self, first_s: float = 0.05, most_s: float = 3.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._next_s = first_s

    def next(self) -> float:
        """Seconds to wait before the next attempt."""
        pause_s = self._next_s
        self._next_s = min(2 * pause_s, self._most_s)
        return pause_s * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It worked."""
        self._next_s = self._first_s
