"""Versions as nodes report them (``24.0.7``, ``6.1.0-28-amd64``, ``1.2.0-rc1``), in order."""

from __future__ import annotations

import re

_VERSION = re.compile(r"v?(\d{1,18}(?:\.\d{1,18}){0,7})(?:([-+~._]?)([0-9A-Za-z][0-9A-Za-z.+~_-]{0,63}))?")
_EARLY = re.compile(r"^(dev|alpha|a|beta|b|preview|pre|rc|c)(?=[^a-z]|$)", re.IGNORECASE)
_PARTS = re.compile(r"(\d{1,18})")

Version = tuple[tuple[int, ...], int, tuple[tuple[int, int, str], ...]]


def version_of(text: str) -> Version | None:
    """A key that sorts by version, or None where the text is none.

    Numbers compare as numbers and missing ones are 0, so ``20.10`` is ``20.10.0`` and comes after ``9``. A pre-release
    (``-rc1``, ``-beta.2``) comes before its release, any other addition (``-28-amd64``) after it.
    """
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    numbers = [int(number) for number in found[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    addition = found[3] or ""
    if not addition or found[2] == "+":
        return (tuple(numbers), 0, ())
    return (tuple(numbers), -1 if _EARLY.match(addition) else 1, _parts(addition))


def _parts(text: str) -> tuple[tuple[int, int, str], ...]:
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in _PARTS.split(text) if part)
