"""Read one table of a TOML file key by key, and gather everything that is wrong with it.

Each ``…()`` method takes one key; ``finish`` then finds the keys that nobody took, which are mistakes of the writer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

from newbon_core.hooks.settings import SiteProblem, nearest

T = TypeVar("T")

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class TableReader:
    """One table. ``path`` is ``""`` for the file itself or such as ``nodes``; ``problems`` is shared by all tables."""

    def __init__(self, table: Mapping[str, object], path: str, problems: list[SiteProblem]) -> None:
        self._table = table
        self._path = path
        self._problems = problems
        self._known: list[str] = []

    def where(self, key: str) -> str:
        """The path of a key, as problems tell it: ``[nodes] heartbeat_s``."""
        return f"[{self._path}] {key}" if self._path else key

    def problem(self, key: str, message: str) -> None:
        """Note a mistake at a key."""
        self._problems.append(SiteProblem(self.where(key), message))

    def text(self, key: str, default: str) -> str:
        """A string that is not empty."""
        return self._take(key, default, lambda value: isinstance(value, str) and value != "", "a text")

    def maybe_text(self, key: str) -> str | None:
        """A string, or None where the key is absent."""
        return self._take(key, None, lambda value: isinstance(value, str) and value != "", "a text")

    def choice(self, key: str, default: str, allowed: Sequence[str]) -> str:
        """One of a few words."""
        expected = "one of " + ", ".join(allowed)
        return self._take(key, default, lambda value: value in allowed, expected, nearest_of=allowed)

    def number(self, key: str, default: float, minimum: float, maximum: float) -> float:
        """A number within bounds."""
        expected = f"a number from {minimum:g} to {maximum:g}"
        return float(
            self._take(key, default, lambda value: _is_number(value, (int, float), minimum, maximum), expected)
        )

    def whole(self, key: str, default: int, minimum: int, maximum: int) -> int:
        """A whole number within bounds."""
        expected = f"a whole number from {minimum} to {maximum}"
        return self._take(key, default, lambda value: _is_number(value, (int,), minimum, maximum), expected)

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A list of different strings."""
        return tuple(self._take(key, default, _are_texts, "a list of different texts"))

    def maybe_texts(self, key: str) -> tuple[str, ...] | None:
        """A list of different strings, or None where the key is absent."""
        found = self.texts(key)
        return found if key in self._table else None

    def text_map(self, key: str) -> dict[str, str]:
        """A table whose values are strings."""
        return cast(dict[str, str], self._map(key, lambda value: isinstance(value, str), "a text"))

    def whole_map(self, key: str) -> dict[str, int]:
        """A table whose values are whole numbers that are not negative."""
        expected = "a whole number that is not negative"
        return cast(dict[str, int], self._map(key, lambda value: _is_number(value, (int,), 0, 2**53), expected))

    def path(self, key: str, base: Path) -> Path | None:
        """A path, relative ones starting at ``base``; None where the key is absent."""
        text = self.maybe_text(key)
        return None if text is None else base / Path(text).expanduser()

    def table(self, key: str) -> TableReader:
        """The table below a key; an empty one where it is absent."""
        name = key if _BARE_KEY.fullmatch(key) else f'"{key}"'
        found: dict[str, object] = self._take(key, {}, lambda value: isinstance(value, dict), "a table")
        return TableReader(found, f"{self._path}.{name}" if self._path else name, self._problems)

    def rest(self) -> dict[str, TableReader]:
        """Every key that nobody took yet, each of which must be a table."""
        return {key: self.table(key) for key in self._table if key not in self._known}

    def contents(self) -> dict[str, object]:
        """The table as it stands, for someone else to check."""
        return dict(self._table)

    def finish(self) -> None:
        """Report the keys that nobody took."""
        for key in self._table:
            if key in self._known:
                continue
            match = nearest(key, self._known)
            hint = f"did you mean {match!r}?" if match else "known here: " + ", ".join(sorted(self._known))
            self.problem(key, f"there is no such key; {hint}")

    def _take(
        self,
        key: str,
        default: T,
        accept: Callable[[object], bool],
        expected: str,
        nearest_of: Sequence[str] = (),
    ) -> T:
        self._known.append(key)
        if key not in self._table:
            return default
        value = self._table[key]
        if accept(value):
            return cast(T, value)
        match = nearest(value, nearest_of)
        self.problem(key, f"{value!r} is not {expected}" + (f"; did you mean {match!r}?" if match else ""))
        return default

    def _map(self, key: str, accept: Callable[[object], bool], expected: str) -> dict[str, object]:
        found: dict[str, object] = self._take(key, {}, lambda value: isinstance(value, dict), "a table")
        for name, value in found.items():
            if not accept(value):
                self.problem(f"{key}.{name}", f"{value!r} is not {expected}")
        return {name: value for name, value in found.items() if accept(value)}


def _is_number(value: object, kinds: tuple[type, ...], minimum: float, maximum: float) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isinstance(value, kinds):
        return False
    return minimum <= value <= maximum


def _are_texts(value: object) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(item, str) and item for item in value)
        and len(set(value)) == len(value)
    )
