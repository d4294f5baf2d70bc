"""From bytes to plain values, with limits: YAML (several documents) or JSON, UTF-8, nothing clever.

The composer works on libyaml's stream of events, so a bomb ends when it passes a limit, not when memory does. Refused
with a place: tags, duplicate keys, an alias inside its own anchor, unquoted words that YAML 1.1 and 1.2 read
differently (``yes``, ``017``, ``22:22``), and numbers that are not finite.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from newbon_core.schema.problems import Path, clean, is_secret, shortened

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 100_000
MAX_ALIASES = 1_000
MAX_DOCUMENTS = 20_000
MAX_READ_PROBLEMS = 100
MAX_SURPRISE_CHARS = 200

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NUMBER_START = frozenset("0123456789+-.")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39})|0x[0-9a-fA-F]{1,32}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]{1,40}|(?:0|[1-9][0-9]{0,39})(?:\.[0-9]{0,40})?)(?:[eE][-+]?[0-9]{1,4})?")
_BASE_SIXTY = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+(?:\.[0-9_]*)?|[-+]?0o[0-7_]+")
_UNDERSCORED = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(?:\.[0-9_]*)?|[-+]?0[xb][0-9a-fA-F_]+")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORD_BOOLEANS = re.compile(r"yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF")


@dataclass(frozen=True, slots=True)
class ReadProblem:
    """What is wrong with a text before any schema looks at it. ``index`` None: with all of it."""

    index: int | None
    path: Path
    message: str
    value: str | None = None
    line: int | None = None


@dataclass(slots=True)
class ReadResult:
    """The documents by their index in the source (empty ones are left out) and what was wrong."""

    documents: list[tuple[int, object]] = field(default_factory=list)
    problems: list[ReadProblem] = field(default_factory=list)
    text: str = ""


class _Stop(Exception):
    """Reading cannot go on."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


def read(data: bytes, limit: int = MAX_BYTES) -> ReadResult:
    """Every document of a text. Never raises; what is wrong is in ``problems``."""
    result = ReadResult()
    try:
        result.text = _decoded(data, limit)
        if not _read_json(result):
            Composer(result).run()
    except _Stop as stop:
        index = len(result.documents) if stop.line is not None else None
        result.problems.append(ReadProblem(index, (), stop.message, None, stop.line))
    return result


def _decoded(data: bytes, limit: int) -> str:
    if len(data) > limit:
        raise _Stop(f"is {len(data)} bytes long: expected at most {limit}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _Stop(f"is not UTF-8: byte {error.start} in line {line}") from None
    found = _FORBIDDEN.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        raise _Stop(f"has the control character U+{ord(found.group()):04X} in line {line}")
    return text


class _TwiceInJson(ValueError):
    pass


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _TwiceInJson
    return made


def _not_finite(word: str) -> object:
    raise ValueError(word)


def _read_json(result: ReadResult) -> bool:
    """Whether the text was JSON: one document or a list of them. What is wrong with it is left for YAML to explain."""
    if result.text.lstrip()[:1] not in ("{", "["):
        return False
    try:
        value = json.loads(result.text, object_pairs_hook=_once, parse_constant=_not_finite)
    except (ValueError, RecursionError):
        return False
    if _too_much(value):
        return False
    items = value if isinstance(value, list) else [value]
    result.documents = list(enumerate(items))
    return True


def _too_much(value: object) -> bool:
    """Whether a value passes the limits of depth or nodes."""
    nodes, level, depth = 0, [value], 0
    while level:
        nodes += len(level)
        depth += 1
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            return True
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        level = below
    return False


def resolve(text: str, as_key: bool = False) -> tuple[object, str | None]:
    """An unquoted scalar by the YAML 1.2 core schema; where 1.1 would read it otherwise, the text and what is wrong."""
    if text in _BOOLEANS:
        return _BOOLEANS[text], None
    if text in _NULLS:
        return None, None
    if text[0] in _NUMBER_START:
        return _number(text)
    why = None
    if _WORD_BOOLEANS.fullmatch(text):
        meant = "true" if text.lower() in ("yes", "on") else "false"
        why = f"is {meant} for YAML 1.1 and text for 1.2: write {meant}, or put it in quotes"
    elif text == "<<" and as_key:
        why = "merge keys (<<) are not supported: repeat the fields"
    return text, why


def _number(text: str) -> tuple[object, str | None]:
    if _INTEGER.fullmatch(text):
        return (int(text, 16) if text.startswith("0x") else int(text)), None
    why = None
    if _FLOAT.fullmatch(text):
        number = float(text)
        if abs(number) < float("inf"):
            return number, None
        why = "is too large a number"
    elif _NOT_FINITE.fullmatch(text):
        why = "is not a finite number"
    elif len(text) > MAX_SURPRISE_CHARS:
        why = None
    elif _LEADING_ZERO.fullmatch(text):
        why = "has a leading zero, which YAML 1.1 reads as octal: write it without the zero, or put it in quotes"
    elif _BASE_SIXTY.fullmatch(text):
        why = "is a number of base 60 for YAML 1.1: put it in quotes"
    elif _UNDERSCORED.fullmatch(text):
        why = "is a number for YAML 1.1 and text for 1.2: write it without '_', or put it in quotes"
    return text, why


class _Frame:
    """A container that is being composed."""

    __slots__ = ("anchor", "key", "pending", "size", "value")

    def __init__(self, value: Any, anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.key: str | int | None = None
        self.pending = False
        self.size = 1


class Composer:
    """Builds documents from events. With ``lines`` it also notes the line of every path, for messages."""

    def __init__(self, result: ReadResult, lines: dict[tuple[int, Path], int] | None = None) -> None:
        self.result = result
        self.lines = lines
        self.index = -1
        self.nodes = 0
        self.aliases = 0
        self.stack: list[_Frame] = []
        self.anchors: dict[str, tuple[object, int] | None] = {}
        self.root: object = None

    def run(self) -> None:
        """Reads to the end. Raises _Stop where the text is broken or passes a limit."""
        for event in self._events():
            self._take(event)

    def _events(self) -> Iterator[Any]:
        try:
            yield from yaml.parse(self.result.text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = clean(str(error.problem or error.context or "cannot be read"), 200)
            if "alias" in said and "undefined" in said:
                said = "an alias (*) names an anchor (&) that does not exist"
            column = f" column {mark.column + 1}" if mark else ""
            raise _Stop(f"is not valid YAML:{column} {said}", mark.line + 1 if mark else None) from None
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            raise _Stop(f"is not valid YAML: {clean(str(error), 200)}") from None

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._count(event, 1)
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._count(event, 1)
            self._open(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.index += 1
            self.root = None
            self.anchors.clear()
            if self.index > MAX_DOCUMENTS:
                raise _Stop(f"holds more than {MAX_DOCUMENTS} documents", _line(event))
        elif isinstance(event, yaml.DocumentEndEvent):
            self._finish()

    def _finish(self) -> None:
        if self.root is None:
            self.index -= 1
        elif isinstance(self.root, list) and self.index == 0 and all(isinstance(item, dict) for item in self.root):
            self.result.documents += list(enumerate(self.root))
            self.index += len(self.root) - 1
        else:
            self.result.documents.append((self.index, self.root))

    def _count(self, event: Any, nodes: int) -> None:
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            raise _Stop(f"holds more than {MAX_NODES} values (aliases counted as often as they are used)", _line(event))

    def _path(self) -> Path:
        return tuple(frame.key for frame in self.stack if frame.key is not None)

    def _problem(self, event: Any, message: str, value: str | None = None) -> None:
        if len(self.result.problems) < MAX_READ_PROBLEMS:
            path = self._path()
            shown = None if value is None or is_secret(path) else shortened(value)
            self.result.problems.append(ReadProblem(self.index, path, message, shown, _line(event)))

    def _open(self, event: Any) -> None:
        mapping = isinstance(event, yaml.MappingStartEvent)
        if len(self.stack) >= MAX_DEPTH:
            raise _Stop(f"is nested deeper than {MAX_DEPTH} levels", _line(event))
        self._before(event)
        if event.tag is not None:
            self._problem(event, "has a YAML tag (!): expected plain values")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.stack.append(_Frame({} if mapping else [], event.anchor))

    def _close(self) -> None:
        frame = self.stack.pop()
        if frame.anchor is not None:
            self.anchors[frame.anchor] = (frame.value, frame.size)
        self._add(frame.value, frame.size)

    def _alias(self, event: Any) -> None:
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            raise _Stop(f"uses more than {MAX_ALIASES} aliases", _line(event))
        self._before(event)
        found = self.anchors.get(event.anchor)
        if found is None:
            raise _Stop(f"the alias *{clean(event.anchor, 60)} refers to itself", _line(event))
        value, size = found
        self._count(event, size)
        if self.stack and isinstance(self.stack[-1].value, dict) and not self.stack[-1].pending:
            self._key(event, value)
        else:
            self._add(value, size)

    def _scalar(self, event: Any) -> None:
        frame = self.stack[-1] if self.stack else None
        as_key = frame is not None and isinstance(frame.value, dict) and not frame.pending
        if not as_key:
            self._before(event)
        value: object = event.value
        if event.tag is not None:
            self._problem(event, "has a YAML tag (!): expected plain values")
        elif event.implicit[0]:
            value = self._plain(event, as_key)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 1)
        if as_key:
            self._key(event, value)
        else:
            self._add(value, 1)

    def _plain(self, event: Any, as_key: bool) -> object:
        value, why = resolve(event.value, as_key)
        if why is not None:
            self._problem(event, why, event.value)
        return value

    def _key(self, event: Any, key: object) -> None:
        frame = self.stack[-1]
        frame.pending = True
        if not isinstance(key, str):
            self._problem(event, "expected text as the name of a field: put it in quotes", clean(str(key), 60))
            key = clean(str(key), 60)
        frame.key = key
        if key in frame.value:
            self._problem(event, "is there twice")

    def _before(self, event: Any) -> None:
        """Notes the place of the value that comes next."""
        frame = self.stack[-1] if self.stack else None
        if frame is not None and isinstance(frame.value, list):
            frame.key = len(frame.value)
        elif frame is not None and not frame.pending:
            self._problem(event, "expected text as the name of a field")
            raise _Stop("a list or mapping cannot be the name of a field", _line(event))
        if self.lines is not None:
            self.lines.setdefault((self.index, self._path()), _line(event))

    def _add(self, value: object, size: int) -> None:
        if not self.stack:
            self.root = value
            return
        frame = self.stack[-1]
        frame.size += size
        if isinstance(frame.value, list):
            frame.value.append(value)
        else:
            frame.value.setdefault(frame.key, value)
            frame.pending = False
        frame.key = None


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1


def lines_of(text: str) -> dict[tuple[int, Path], int]:
    """The line (from 1) of every value of a text by document index and path; as far as it can be read."""
    lines: dict[tuple[int, Path], int] = {}
    try:
        Composer(ReadResult(text=text), lines).run()
    except _Stop:
        return lines
    return lines
