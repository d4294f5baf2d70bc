"""Columns of the node table: labels and other values coded as small integers, so that questions are vectorised."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np

from newbon_core.hooks.types import BoolArray, IntArray

V = TypeVar("V", bound=Hashable)

ABSENT = -1


def frozen(array: np.ndarray[tuple[int], np.dtype[np.generic]]) -> None:
    """Forbid writing through this array (a slice of a column: the column itself stays writable)."""
    array.flags.writeable = False


class Coded(Generic[V]):
    """One value per slot as a code: ``codes[i]`` indexes ``values``; ABSENT where there is none.

    ``values`` keeps those no longer used until there are more than twice as many as slots (``wasteful``).
    """

    __slots__ = ("codes", "index", "values")

    def __init__(self, capacity: int) -> None:
        self.codes: IntArray = np.full(capacity, ABSENT, dtype=np.int64)
        self.values: list[V] = []
        self.index: dict[V, int] = {}

    def set(self, slot: int, value: V | None) -> None:
        """Store a value, or none."""
        self.codes[slot] = ABSENT if value is None else self.code_of(value)

    def code_of(self, value: V) -> int:
        """The code of a value, new ones being added."""
        code = self.index.get(value)
        if code is None:
            code = self.index[value] = len(self.values)
            self.values.append(value)
        return code

    def grow(self, capacity: int) -> None:
        """Make room for more slots."""
        grown = np.full(capacity, ABSENT, dtype=np.int64)
        grown[: len(self.codes)] = self.codes
        self.codes = grown

    def wasteful(self, slots: int) -> bool:
        """True when it should be built anew, for most of its values are of the past."""
        return len(self.values) > 2 * slots + 16


class LabelSlice:
    """A label over all nodes of a view (``LabelColumn`` of the plugin contract)."""

    __slots__ = ("_index", "codes", "values")

    def __init__(self, coded: Coded[str], nodes: int) -> None:
        self.codes: IntArray = coded.codes[:nodes]
        frozen(self.codes)
        self.values: Sequence[str] = coded.values
        self._index = coded.index

    @property
    def present(self) -> BoolArray:
        """True where the node has the label."""
        present: BoolArray = self.codes != ABSENT
        return present

    def equals(self, value: str) -> BoolArray:
        """True where the label has exactly this value."""
        code = self._index.get(value)
        return np.zeros(len(self.codes), dtype=np.bool_) if code is None else self.codes == code

    def is_in(self, values: Sequence[str]) -> BoolArray:
        """True where the label has one of these values."""
        wanted = [code for code in map(self._index.get, values) if code is not None]
        return self._chosen(wanted)

    def where(self, accept: Callable[[str], bool]) -> BoolArray:
        """True where ``accept(value)`` is; asked once per distinct value, False where the label is absent."""
        return self._chosen([code for code, value in enumerate(self.values) if accept(value)])

    def _chosen(self, codes: Sequence[int]) -> BoolArray:
        # The last place is the one that ABSENT (-1) looks up.
        chosen = np.zeros(len(self.values) + 1, dtype=np.bool_)
        chosen[list(codes)] = True
        found: BoolArray = chosen[self.codes]
        return found
