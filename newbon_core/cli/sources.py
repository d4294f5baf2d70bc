"""Documents from files, directories and standard input, and their problems told by file and line."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from newbon_core.cli.errors import CliError, problem_lines

SUFFIXES = (".yaml", ".yml", ".json")
MAX_BYTES = 64 * 1024 * 1024

files_option = click.option(
    "-f", "--file", "files", multiple=True, required=True, metavar="FILE|DIR|-",
    type=click.Path(exists=False, allow_dash=True),
    help="A file, a directory (all *.yaml, *.yml and *.json below it), or - for standard input; repeatable.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """A text that holds documents, and what to call it in messages."""

    name: str
    text: bytes


def read_sources(paths: Sequence[str]) -> list[Source]:
    """The texts of all files, in the order given, directories sorted. Raises CliError."""
    sources: list[Source] = []
    seen: set[Path] = set()
    for given in paths:
        if given == "-":
            sources.append(Source("standard input", _bounded(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")))
            continue
        for path in _files(Path(given)):
            if path.resolve() not in seen:
                seen.add(path.resolve())
                sources.append(Source(str(path), _read(path)))
    return sources


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise CliError(f"{path}: there is no such file or directory")
    if not path.is_dir():
        return [path]
    found = sorted(each for each in path.rglob("*") if each.suffix in SUFFIXES and each.is_file())
    if not found:
        raise CliError(f"{path}: this directory holds no document", f"documents end in {', '.join(SUFFIXES)}")
    return found


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _bounded(file.read(MAX_BYTES + 1), str(path))
    except OSError as error:
        raise CliError(f"{path}: {error.strerror}") from error


def _bounded(data: bytes, name: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise CliError(f"{name}: is larger than {MAX_BYTES >> 20} MiB; this is no file of documents")
    return data


@dataclass(frozen=True, slots=True)
class Batch:
    """What is sent to the server, and where each document of it came from: (source, index in that source)."""

    payload: bytes | list[Mapping[str, Any]]
    sources: list[Source]
    origins: list[tuple[int, int]]

    def problems(self, entries: Sequence[Mapping[str, Any]]) -> list[str]:
        """The server's problems as lines with file, line, document and path."""
        from newbon_core.schema.problems import spelt
        from newbon_core.schema.reader import lines_of

        lines: dict[int, dict[tuple[int, str], int]] = {}
        told: list[Mapping[str, Any]] = []
        for entry in entries:
            index = entry.get("document")
            origin = (0, index) if not self.origins else None
            if isinstance(index, int) and 0 <= index < len(self.origins):
                origin = self.origins[index]
            if origin is None:
                told.append(entry)
                continue
            number, inner = origin
            source = self.sources[number]
            if number not in lines and len(entries) <= 1000:
                text = source.text.decode("utf-8", "replace")
                lines[number] = {(i, spelt(path)): line for (i, path), line in lines_of(text).items()}
            known = lines.get(number, {})
            line = entry.get("line") or known.get((inner or 0, entry.get("path") or "")) or known.get((inner or 0, ""))
            told.append({**entry, "source": source.name, "document": inner, "line": line})
        return problem_lines(told)


def read_batch(paths: Sequence[str]) -> Batch:
    """One text is sent as it is; several are read here and sent together. Raises CliError with all problems."""
    sources = read_sources(paths)
    if len(sources) == 1:
        return Batch(sources[0].text, sources, [])
    from newbon_core.schema.reader import read

    documents: list[Any] = []
    origins: list[tuple[int, int]] = []
    problems: list[dict[str, Any]] = []
    for number, source in enumerate(sources):
        result = read(source.text)
        for problem in result.problems:
            path = ".".join(str(part) for part in problem.path)
            problems.append(
                {
                    "source": source.name,
                    "document": problem.index,
                    "path": path,
                    "message": problem.message,
                    "value": problem.value,
                    "line": problem.line,
                }
            )
        for index, document in result.documents:
            documents.append(document)
            origins.append((number, index))
    if problems:
        raise refused(problem_lines(problems))
    if not documents:
        raise CliError("these files hold no document")
    return Batch(documents, sources, origins)


def refused(lines: Sequence[str]) -> CliError:
    """The documents are wrong; nothing was stored."""
    count = f"{len(lines)} problem{'s' if len(lines) != 1 else ''}"
    return CliError(f"the documents have {count}; nothing was changed", details=lines)


def call(batch: Batch, action: Any) -> Any:
    """``action(payload)``, its problems told by file and line."""
    from newbon_core.client import ApiProblem

    try:
        return action(batch.payload)
    except ApiProblem as problem:
        if problem.problems:
            raise refused(batch.problems(problem.problems)) from problem
        raise
