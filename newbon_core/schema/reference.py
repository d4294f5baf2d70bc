"""docs/documents.md, written from the schemas: ``python -m newbon_core.schema.reference > docs/documents.md``.

A test compares the page with what this module makes, and loads every default and every example in it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from marshmallow import fields

from newbon_core.schema.documents import MAX_PROBLEMS, SCHEMAS
from newbon_core.schema.fields import Amount, Decimal, Duration, Flag, Pairs, PlainMapping, Strict, Whole
from newbon_core.schema.grammar import MAX_SERVICE_NAME_CHARS
from newbon_core.schema.plugins import ENFORCED
from newbon_core.schema.reader import MAX_ALIASES, MAX_BYTES, MAX_DEPTH, MAX_NODES

_INTRODUCTION = f"""# Documents

What a user writes: YAML or JSON, one document or several (YAML: between lines of `---`; JSON: a list), applied together
or not at all. This page is written by `python -m newbon_core.schema.reference`; a test holds it to the schemas.

- A field that is not listed here is an error, and so is a value of the wrong type. Every error tells the file and line,
  the document, the path in it, the value, what was expected and the nearest right name. All errors (the first
  {MAX_PROBLEMS}) of all documents are told together, and nothing is stored then. Values of `env` are never repeated.
- A field that only a plugin can enforce is an error while no enabled plugin does (last table).
- Two documents of the same kind and name in one input are an error.

**Units.** Durations carry theirs: `500ms`, `10s`, `1m30s`, `2h`. Memory: `KiB`, `MiB`, `GiB`, `TiB` (or `Ki`, `Mi`, …)
are powers of 1024, `kB`, `MB`, `GB` (or `k`, `M`, `G`) powers of 1000, a plain number is bytes. Cpu is cores: `0.5`,
`2`, or `500m` thousandths.

**Names.** A service's name is a DNS label (RFC 1123) of at most {MAX_SERVICE_NAME_CHARS} characters, for its instances
are called `<service>-<number>`. A port's name is a service name of RFC 6335 (at most 15 characters). A label's key has
at most 63 characters, with an optional prefix (`example.org/disk`); its value at most 63.

**YAML.** UTF-8, at most {MAX_BYTES // 1024} KiB, {MAX_NODES:,} values, {MAX_DEPTH} levels, {MAX_ALIASES:,} aliases.
Anchors and aliases work; tags (`!!…`), merge keys (`<<`), duplicate keys and cycles are refused. So is what YAML 1.1
and 1.2 read differently, unless it is in quotes: `yes`, `no`, `on`, `off`, `017`, `22:22`, `1_000`. Where text is
expected, numbers stand in quotes: `env: {{PORT: "8080"}}`.
"""


def reference() -> str:
    """The whole page as markdown."""
    parts = [_INTRODUCTION]
    for kind, schema in SCHEMAS.items():
        parts.append(f"## kind: {kind}\n\n{_about(schema)}\n\n{_table(schema)}")
        parts += [f"### {path}\n\n{_about(inner)}\n\n{_table(inner)}" for path, inner in _nested(schema, "")]
    parts.append(
        "## Fields that plugins enforce\n\nThe core knows their shape and checks it; that they are heeded is the"
        " work of a plugin.\nSetting one that no enabled plugin enforces is an error, for it would be ignored silently."
        "\n\n| field | plugin of the default set |\n| --- | --- |\n"
        + "\n".join(f"| `{path}` | {enforced[0]} |" for path, enforced in ENFORCED.items())
    )
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def fields_of(schema: Strict, path: str = "") -> Iterator[tuple[str, fields.Field[Any]]]:
    """Every field by its path (``ports[].port``), nested ones after their parent."""
    for name, field in schema.fields.items():
        yield f"{path}{name}", field
        inner = inner_schema(field)
        if inner is not None:
            yield from fields_of(inner, f"{path}{name}{'[]' if isinstance(field, fields.List) else ''}.")


def inner_schema(field: fields.Field[Any]) -> Strict | None:
    """The schema of a mapping, or of the mappings in a list."""
    inner = field.inner if isinstance(field, fields.List) else field
    return inner.schema if isinstance(inner, fields.Nested) and isinstance(inner.schema, Strict) else None


def _nested(schema: Strict, path: str) -> Iterator[tuple[str, Strict]]:
    for name, field in schema.fields.items():
        inner = inner_schema(field)
        if inner is not None:
            here = f"{path}{name}{'[]' if isinstance(field, fields.List) else ''}"
            yield here, inner
            yield from _nested(inner, f"{here}.")


def _about(schema: Strict) -> str:
    return " ".join((type(schema).__doc__ or "").split())


def _table(schema: Strict) -> str:
    rows = ["| field | type | default | example | |", "| --- | --- | --- | --- | --- |"]
    for name, field in schema.fields.items():
        told = field.metadata
        default = "**required**" if field.required else _code(told.get("default"))
        rows.append(f"| `{name}` | {_type(field)} | {default} | {_code(told.get('example'))} | {told['description']} |")
    return "\n".join(rows)


def _code(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) and value else json.dumps(value)
    return f"`{text}`"


def _type(field: fields.Field[Any]) -> str:
    if isinstance(field, fields.List):
        return "list" if inner_schema(field) else f"list of {_type(field.inner)}"
    names: tuple[tuple[type, str], ...] = (
        (fields.Nested, "mapping"),
        (Pairs, "mapping of text"),
        (PlainMapping, "mapping"),
        (Duration, "duration"),
        (Flag, "true or false"),
        (Amount, "amount"),
    )
    for kind, name in names:
        if isinstance(field, kind):
            return name
    if isinstance(field, Whole | Decimal):
        return f"number, {field.least:g} to {field.most:g}" if field.most < 100_000 else f"number, from {field.least:g}"
    if "enum" in field.metadata:
        return ", ".join(f"`{name}`" for name in field.metadata["enum"])
    return "text" if isinstance(field, fields.String) else "text or number"


if __name__ == "__main__":
    sys.stdout.write(reference())
