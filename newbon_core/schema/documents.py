"""From a text or plain values to models: every document is read, and all that is wrong is told together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from marshmallow import ValidationError, fields

from newbon_core.model import Service
from newbon_core.schema.fields import Strict
from newbon_core.schema.node import NodePatch, NodeSchema
from newbon_core.schema.plugins import Finding, Installed, findings, flatten
from newbon_core.schema.problems import (
    Path,
    Problem,
    Said,
    clean,
    is_secret,
    listed,
    nearest,
    shortened,
    spelt,
    value_at,
)
from newbon_core.schema.reader import MAX_BYTES, MAX_DOCUMENTS, ReadResult, lines_of, read
from newbon_core.schema.service import ServiceSchema

MAX_PROBLEMS = 200
MAX_MESSAGE_CHARS = 1_000

Raw = dict[Any, Any]

SCHEMAS: Mapping[str, Strict] = {"Service": ServiceSchema(), "Node": NodeSchema()}
"""The kinds that a document can have. The instances are stateless and shared."""


@dataclass(frozen=True, slots=True)
class Document:
    """A sound document and the model that it makes."""

    index: int
    kind: str
    name: str
    value: Service | NodePatch
    source: str


@dataclass(frozen=True, slots=True)
class LoadResult:
    """Sound documents in order, all problems, and ``notes``: things that are allowed but worth a word.

    Where there is any problem, nothing of the input is to be applied.
    """

    documents: list[Document]
    problems: list[Problem]
    notes: list[Problem]

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems


def load_documents(text: bytes, host: Installed, source: str = "input", *, limit: int = MAX_BYTES) -> LoadResult:
    """Every document of a YAML or JSON text, at most ``limit`` bytes. Never raises for what is in the text."""
    raw = read(text, limit)
    result = _load(raw.documents, host, source, _read_problems(raw, source))
    if not result.problems and not raw.documents:
        result.problems.append(Problem(source=source, index=None, path="", message="holds no document"))
    return result if (result.ok and not result.notes) or not raw.text else _with_lines(result, raw.text)


def load_sources(sources: Iterable[tuple[str, bytes]], host: Installed) -> LoadResult:
    """Several texts by their names as one input: a document that two of them hold is a problem of the second."""
    whole = LoadResult([], [], [])
    seen: dict[tuple[str, str], Document] = {}
    for source, text in sources:
        result = load_documents(text, host, source)
        whole.documents.extend(result.documents)
        whole.problems.extend(result.problems)
        whole.notes.extend(result.notes)
        for document in result.documents:
            first = seen.setdefault((document.kind, document.name), document)
            if first.source != source:
                message = f"{first.kind} {first.name} is document {first.index + 1} of {first.source} already"
                raw = {"kind": document.kind, "name": document.name}
                whole.problems.append(_problem(source, document.index, raw, ("name",), message))
    return whole


def parse_documents(documents: Sequence[object], host: Installed, source: str = "request") -> LoadResult:
    """The same for values that are already plain (a request's JSON)."""
    return _load(list(enumerate(documents)), host, source, [])


def _load(items: list[tuple[int, Any]], host: Installed, source: str, problems: list[Problem]) -> LoadResult:
    broken = {(problem.index, problem.path) for problem in problems}
    result = LoadResult([], problems, [])
    seen: dict[tuple[str, str], int] = {}
    unread = 0
    if len(items) > MAX_DOCUMENTS:
        message = f"holds {len(items)} documents: expected at most {MAX_DOCUMENTS}"
        problems.append(Problem(source=source, index=None, path="", message=message))
        items = []
    for position, (index, raw) in enumerate(items):
        if len(problems) > MAX_PROBLEMS:
            unread = len(items) - position
            break
        document, found = _one(index, raw, host, source)
        problems += [problem for problem in found if (problem.index, problem.path) not in broken]
        key = _identity(raw)
        if key is not None and key in seen:
            problems.append(
                _problem(source, index, raw, ("name",), f"{key[0]} {key[1]} is document {seen[key] + 1} already")
            )
        elif key is not None:
            seen[key] = index
        if document is not None:
            result.documents.append(document)
            _note(document, result.notes)
    _cut(problems, source, unread)
    return result


def _one(index: int, raw: object, host: Installed, source: str) -> tuple[Document | None, list[Problem]]:
    if not isinstance(raw, dict):
        return None, [_problem(source, index, raw, (), "expected a mapping with kind and name")]
    kind = raw.get("kind")
    schema = SCHEMAS.get(kind) if isinstance(kind, str) else None
    if schema is None:
        return None, [_unknown_kind(source, index, raw)]
    try:
        value = schema.load(raw)
    except ValidationError as wrong:
        found = list(islice(explained(schema, wrong.messages), MAX_PROBLEMS + 1))
        found += _findings_besides(schema, raw, [path for path, _ in found], host)
        return None, [_problem(source, index, raw, path, message) for path, message in found]
    problems = []
    if isinstance(value, Service):
        problems = [_problem(source, index, raw, path, message) for path, message in findings(value, host)]
    return None if problems else Document(index, str(kind), value.name, value, source), problems


def _findings_besides(schema: Strict, raw: Raw, wrong: Sequence[Path], host: Installed) -> list[Finding]:
    """What plugins say of the sound rest of a document, so that it is told in the same breath."""
    outer = {path[0] for path in wrong if len(path) == 1 or (path and not isinstance(raw.get(path[0]), dict))}
    inner = {path[:2] for path in wrong if len(path) > 1}
    touched = {path[0] for path in inner}
    rest = {
        key: {name: item for name, item in value.items() if (key, name) not in inner} if key in touched else value
        for key, value in raw.items()
        if key not in outer
    }
    try:
        value = schema.load({"name": "x", "image": "x", **rest} if schema is SCHEMAS["Service"] else rest)
    except ValidationError:
        return []
    return list(findings(value, host)) if isinstance(value, Service) else []


def _unknown_kind(source: str, index: int, raw: Raw) -> Problem:
    expected = f"expected {listed(SCHEMAS)}"
    if "kind" not in raw:
        return _problem(source, index, raw, ("kind",), f"is missing: {expected}")
    return _problem(source, index, raw, ("kind",), Said.of(expected, nearest(raw["kind"], SCHEMAS)))


def explained(schema: Strict, messages: object) -> Iterator[tuple[Path, str]]:
    """marshmallow's messages as places and sentences; unknown fields get their nearest valid name."""
    for path, message in flatten(messages):
        owner = _schema_at(schema, path[:-1])
        if path and message == Strict.error_messages["unknown"] and owner is not None:
            yield path, owner.explain_unknown(path[-1])
        else:
            yield path, message


def _schema_at(schema: Strict, path: Path) -> Strict | None:
    """The schema that governs the mapping at this path."""
    found: Strict | None = schema
    for part in path:
        if isinstance(part, int):
            continue
        field: Any = found.fields.get(part) if found is not None else None
        if isinstance(field, fields.List):
            field = field.inner
        found = field.schema if isinstance(field, fields.Nested) and isinstance(field.schema, Strict) else None
    return found


def _problem(source: str, index: int, raw: object, path: Path, message: str) -> Problem:
    present, value = value_at(raw, path)
    near = message.nearest if isinstance(message, Said) else None
    hidden = is_secret(path) or (near is not None and is_secret((near,)))
    kind, name = (raw.get("kind"), raw.get("name")) if isinstance(raw, dict) else (None, None)
    return Problem(
        source=source,
        index=index,
        path=spelt(path),
        message=clean(message, MAX_MESSAGE_CHARS),
        value=shortened(value) if present and path and not hidden else None,
        nearest=near,
        kind=clean(kind, 60) if isinstance(kind, str) else None,
        name=clean(name, 60) if isinstance(name, str) else None,
    )


def _identity(raw: object) -> tuple[str, str] | None:
    if not isinstance(raw, dict):
        return None
    kind, name = raw.get("kind"), raw.get("name")
    return (kind, name) if isinstance(kind, str) and isinstance(name, str) and kind in SCHEMAS else None


def _read_problems(raw: ReadResult, source: str) -> list[Problem]:
    by_index = dict(raw.documents)
    found = []
    for wrong in raw.problems:
        told = _problem(source, wrong.index or 0, by_index.get(wrong.index if wrong.index is not None else -1), (), "")
        found.append(
            replace(
                told,
                index=wrong.index,
                path=spelt(wrong.path),
                message=wrong.message,
                value=wrong.value,
                line=wrong.line,
            )
        )
    return found


def _note(document: Document, notes: list[Problem]) -> None:
    """A fixed host port and several replicas are sound, yet need as many nodes."""
    service = document.value
    if not isinstance(service, Service) or service.replicas < 2:
        return
    for position, port in enumerate(service.container.ports):
        if port.host_port:
            notes.append(
                Problem(
                    source=document.source,
                    index=document.index,
                    path=f"ports[{position}].host_port",
                    value=str(port.host_port),
                    message=f"is fixed: {service.replicas} replicas need as many nodes; auto takes any free port",
                    kind=document.kind,
                    name=document.name,
                )
            )


def _cut(problems: list[Problem], source: str, unread: int) -> None:
    if len(problems) > MAX_PROBLEMS:
        del problems[MAX_PROBLEMS:]
        rest = f"; {unread} documents were not looked at" if unread else ""
        message = f"has more problems than the {MAX_PROBLEMS} shown{rest}"
        problems.append(Problem(source=source, index=None, path="", message=message))


def _with_lines(result: LoadResult, text: str) -> LoadResult:
    """The same result with a line for each problem: its own, or that of the nearest container."""
    if all(problem.line or problem.index is None for problem in (*result.problems, *result.notes)):
        return result
    lines = {(index, spelt(path)): line for (index, path), line in lines_of(text).items()}

    def placed(problems: Iterable[Problem]) -> list[Problem]:
        found = [problem if problem.line else replace(problem, line=_line(problem, lines)) for problem in problems]
        return sorted(found, key=lambda problem: (problem.index is None, problem.index or 0, problem.line or 0))

    return LoadResult(result.documents, placed(result.problems), placed(result.notes))


def _line(problem: Problem, lines: Mapping[tuple[int, str], int]) -> int | None:
    if problem.index is None:
        return None
    path = problem.path
    while path and (problem.index, path) not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get((problem.index, path))
