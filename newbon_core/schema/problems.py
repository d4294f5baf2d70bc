"""What is wrong in a document: where, which value, what was expected, and the nearest name that would be right."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

MAX_VALUE_CHARS = 80
MAX_PATH_CHARS = 300
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_ODD = re.compile(r"[\s\[\]\"']")
_SECRET_PART = re.compile(r"env|secret|passw|token|credential", re.IGNORECASE)

Path = tuple[str | int, ...]


class Said(str):
    """A message that also knows the nearest valid spelling of what was written."""

    nearest: str | None = None

    @classmethod
    def of(cls, message: str, nearest: str | None) -> Said:
        """The message, with ``did you mean`` appended when a nearest name is known."""
        said = cls(f"{message}; did you mean {nearest}?" if nearest else message)
        said.nearest = nearest
        return said


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in one document.

    ``index`` counts the documents of ``source`` from 0, None when the source as a whole is meant. ``path`` is the
    place in the document (``ports[1].port``, "" for the document itself), ``value`` the offending value, shortened,
    None where there is none or where it could be a secret (env). ``nearest`` is the valid name closest to what was
    written; ``line`` counts from 1 where the source is a text.
    """

    source: str
    index: int | None
    path: str
    message: str
    value: str | None = None
    nearest: str | None = None
    kind: str | None = None
    name: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        where = [self.source if self.line is None else f"{self.source}:{self.line}"]
        if self.index is not None:
            called = " ".join(part for part in (self.kind, self.name) if part)
            where.append(f"document {self.index + 1}" + (f" ({called})" if called else ""))
        if self.path:
            where.append(self.path)
        if self.value is not None:
            where.append(self.value)
        return ": ".join([*where, self.message])


def nearest(word: object, names: Iterable[str]) -> str | None:
    """The valid name closest to ``word``, whatever its case; None when nothing is close."""
    if not isinstance(word, str) or len(word) > 100:
        return None
    by_folded = {name.lower(): name for name in names}
    found = difflib.get_close_matches(word.lower(), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def listed(names: Iterable[str]) -> str:
    """``a, b or c`` for a message."""
    words = list(names)
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def clean(text: str, limit: int) -> str:
    """The text on one line, printable, encodable and no longer than ``limit``."""
    cut = text[: limit + 1]
    cut = _UNPRINTABLE.sub(lambda found: f"\\u{ord(found.group()):04x}", cut)
    return cut if len(cut) <= limit else cut[: limit - 1] + "…"


def shortened(value: object) -> str:
    """The value as a document would spell it, never longer than a line; containers are only counted."""
    if isinstance(value, str):
        return clean(json.dumps(value[: MAX_VALUE_CHARS + 1], ensure_ascii=False), MAX_VALUE_CHARS)
    if isinstance(value, dict):
        return f"a mapping of {len(value)} field{'s' * (len(value) != 1)}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)} item{'s' * (len(value) != 1)}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value) if value.bit_length() < 256 else f"a number of {value.bit_length()} bits"
    return clean(repr(value), MAX_VALUE_CHARS)


def spelt(path: Sequence[str | int]) -> str:
    """``("ports", 1, "port")`` as ``ports[1].port``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            word = clean(str(part), 60)
            text += ("." if text else "") + (word if word and not _ODD.search(word) else f'"{word}"')
    return clean(text, MAX_PATH_CHARS)


def is_secret(path: Sequence[str | int]) -> bool:
    """Whether a value at this place may be a secret and must not be repeated."""
    return any(isinstance(part, str) and _SECRET_PART.search(part) for part in path)


def value_at(document: object, path: Sequence[str | int]) -> tuple[bool, object]:
    """Whether the document has something at this path, and what."""
    found: Any = document
    for part in path:
        in_list = isinstance(found, list | tuple) and isinstance(part, int) and part < len(found)
        if in_list or (isinstance(found, dict) and part in found):
            found = found[part]
        else:
            return False, None
    return True, found
