"""The description as a page: one self-contained HTML document, nothing is fetched from anywhere."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flask import Blueprint, Response

from newbon_core.apiserver.auth import allow

Json = Mapping[str, Any]
_METHODS = ("get", "put", "post", "patch", "delete")
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0; display: grid; grid-template-columns: 17rem 1fr; }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1rem; box-sizing: border-box;
  border-right: 1px solid var(--line); }
nav a { display: block; color: inherit; text-decoration: none; padding: .1rem 0; font-size: 13px; }
main { padding: 1rem 2rem; max-width: 60rem; }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; }
code, pre { font-family: ui-monospace, monospace; font-size: 13px; }
pre { background: var(--soft); padding: .6rem; overflow: auto; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; margin: .4rem 0; }
td, th { text-align: left; border-bottom: 1px solid var(--line); padding: .2rem .6rem .2rem 0; vertical-align: top; }
.method { display: inline-block; min-width: 4.2rem; font-weight: 700; text-transform: uppercase; font-size: 12px; }
.get { color: #2b7; } .put, .patch { color: #c80; } .post { color: #28c; } .delete { color: #d33; }
"""


def blueprint(describe: Callable[[], Json]) -> Blueprint:
    """``/docs``, rendered from the description once."""
    made = Blueprint("docs", __name__)
    rendered: list[str] = []

    @allow("viewer")
    def page() -> Response:
        if not rendered:
            rendered.append(render(describe()))
        response = Response(rendered[0], content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
        return response

    made.add_url_rule("/docs", view_func=page, endpoint="page")
    return made


def render(spec: Json) -> str:
    """The whole page."""
    schemas: Json = spec.get("components", {}).get("schemas", {})
    by_tag: dict[str, list[tuple[str, str, Json]]] = {tag["name"]: [] for tag in spec.get("tags", ())}
    for path, operations in spec["paths"].items():
        for method in _METHODS:
            if method in operations:
                operation = dict(operations[method])
                operation["parameters"] = [*operations.get("parameters", ()), *operation.get("parameters", ())]
                by_tag.setdefault(operation["tags"][0], []).append((path, method, operation))
    told = {tag["name"]: tag.get("description", "") for tag in spec.get("tags", ())}
    body = "".join(_tag(tag, told.get(tag, ""), operations) for tag, operations in by_tag.items())
    body += '<h2 id="schemas">Schemas</h2>' + "".join(_schema(name, one) for name, one in schemas.items())
    links = "".join(f'<a href="#{_text(tag)}">{_text(tag)}</a>' for tag in [*by_tag, "schemas"])
    title = f"{_text(spec['info']['title'])} {_text(spec['info']['version'])}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style>'
        f"<nav><b>{title}</b>{links}<a>The same for programs: /openapi.json</a></nav>"
        f"<main><h1>{title}</h1><p>{_text(spec['info'].get('description', ''))}</p>{body}</main></html>"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _tag(tag: str, told: str, operations: list[tuple[str, str, Json]]) -> str:
    rows = "".join(_operation(path, method, operation) for path, method, operation in operations)
    return f'<h2 id="{_text(tag)}">{_text(tag)}</h2><p>{_text(told)}</p>{rows}'


def _operation(path: str, method: str, operation: Json) -> str:
    parts = [f"<p>{_text(operation['description'])}</p>"] if operation.get("description") else []
    if operation["parameters"]:
        rows = "".join(
            f"<tr><td><code>{_text(one['name'])}</code></td><td>{_text(one['in'])}</td>"
            f"<td>{_kind(one.get('schema', {}))}</td><td>{_text(one.get('description', ''))}</td></tr>"
            for one in operation["parameters"]
        )
        parts.append(f"<table><tr><th>parameter<th>in<th>type<th></tr>{rows}</table>")
    for content, media in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body <code>{_text(content)}</code>: {_kind(media.get('schema', {}))}</p>")
    answers = "".join(
        f"<tr><td>{_text(status)}</td><td>{_text(answer.get('description', ''))}</td><td>{_contents(answer)}</td></tr>"
        for status, answer in sorted(operation["responses"].items())
    )
    parts.append(f"<table><tr><th>answer<th><th></tr>{answers}</table>")
    summary = (
        f'<span class="method {method}">{method}</span> <code>{_text(path)}</code> '
        f"&nbsp; {_text(operation.get('summary', ''))}"
    )
    return f"<details><summary>{summary}</summary>{''.join(parts)}</details>"


def _contents(answer: Json) -> str:
    return "<br>".join(
        f"<code>{_text(content)}</code> {_kind(media.get('schema', {}))}"
        for content, media in answer.get("content", {}).items()
    )


def _kind(schema: Json) -> str:
    if "$ref" in schema:
        name = _text(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    either = schema.get("anyOf") or schema.get("oneOf")
    if either:
        return " or ".join(_kind(one) for one in either)
    kind = schema.get("type", "anything")
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    words = schema.get("enum")
    return _text(f"{text}: {', '.join(str(one) for one in words)}" if words else text)


def _schema(name: str, schema: Json) -> str:
    required = schema.get("required", ())
    rows = "".join(_rows(schema, required))
    table = f"<table><tr><th>field<th>type<th></tr>{rows}</table>"
    if not schema.get("properties"):
        table = f"<pre>{_text(json.dumps(schema, indent=1))}</pre>"
    return (
        f'<details id="schema-{_text(name)}"><summary><code>{_text(name)}</code></summary>'
        f"<p>{_text(schema.get('description', ''))}</p>{table}</details>"
    )


def _rows(schema: Json, required: Any) -> Iterator[str]:
    for field, one in schema.get("properties", {}).items():
        star = " *" if field in required else ""
        yield (
            f"<tr><td><code>{_text(field)}</code>{star}</td><td>{_kind(one)}</td>"
            f"<td>{_text(one.get('description', ''))}</td></tr>"
        )
