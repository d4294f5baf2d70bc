"""The nouns of ``get``, ``describe`` and ``delete``: plural, singular and short names of the same thing."""

from __future__ import annotations

import difflib

NOUNS: dict[str, tuple[str, str]] = {
    "services": ("service", "svc"),
    "instances": ("instance", "ins"),
    "nodes": ("node", "no"),
    "events": ("event", "ev"),
    "revisions": ("revision", "rev"),
    "tokens": ("token", "tok"),
}
_NAMES = {name: noun for noun, others in NOUNS.items() for name in (noun, *others)}


class UnknownNoun(Exception):
    """No such kind of object; the text says which there are and which was probably meant."""


def resolve(word: str, allowed: tuple[str, ...] = tuple(NOUNS)) -> str:
    """The plural of whatever name of a noun was given. Raises UnknownNoun."""
    noun = _NAMES.get(word.lower())
    if noun in allowed:
        return noun
    known = [name for name in _NAMES if _NAMES[name] in allowed]
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(allowed)}"
    raise UnknownNoun(f"{word!r} is not a kind of object; {hint}")


def singular(noun: str) -> str:
    """``services`` -> ``service``."""
    return NOUNS[noun][0]
