"""Lists: pages, selectors, filters, and the ``watch=true`` that turns one into a stream."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec
from flask import Response, request
from marshmallow import Schema, fields, validate

from newbon_core.apiserver.context import context
from newbon_core.apiserver.errors import Problem, encode
from newbon_core.apiserver.sse import Source, watch_response
from newbon_core.schema.selector import SelectorError, parse_selector

K = TypeVar("K")
Match = Callable[[Mapping[str, Any]], bool]
NOT_A_CURSOR = "continue is not from a page of this list"


class PageQuery(Schema):
    """What every list takes."""

    limit = fields.Integer(
        load_default=500,
        validate=validate.Range(1, 5000),
        metadata={"description": "At most so many items in one page."},
    )
    cursor = fields.String(
        data_key="continue",
        validate=validate.Length(max=2000),
        metadata={"description": "``continue`` of the page before."},
    )


class WatchQuery(PageQuery):
    """What lists take that can be watched."""

    watch = fields.Boolean(
        load_default=False,
        metadata={"description": "Answer with server-sent events: what is there, then every change."},
    )
    revision = fields.Integer(
        validate=validate.Range(0, 2**63 - 1),
        metadata={"description": "With watch: only what has changed after this revision (also: header Last-Event-ID)."},
    )


class SelectQuery(WatchQuery):
    """What lists take whose items have labels."""

    selector = fields.String(
        validate=validate.Length(max=4000),
        metadata={"description": "Over labels: ``a=b,c!=d,e in (x,y),f,!g``.", "example": "tier=web"},
    )


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    response = Response(encode(body), status=status, content_type="application/json")
    response.headers.extend(dict(headers or {}))
    return response


def label_match(selector: str | None) -> Match | None:
    """A test of an item's labels. Raises Problem 422 for a selector that cannot be read."""
    if not selector:
        return None
    try:
        parsed = parse_selector(selector)
    except SelectorError as error:
        raise Problem(422, str(error), problems=[{"path": "selector", "message": str(error)}]) from None
    return lambda item: parsed.matches(item["labels"])


def equal_match(**wanted: object) -> Match | None:
    """A test of an item's fields; None values are not asked for."""
    asked = {key: value for key, value in wanted.items() if value is not None}
    return (lambda item: all(item.get(key) == value for key, value in asked.items())) if asked else None


def both(*matches: Match | None) -> Match:
    """All of the tests."""
    real = [one for one in matches if one is not None]
    return lambda item: all(match(item) for match in real)


def list_or_watch(source: Source, query: Mapping[str, Any], match: Match) -> Response:
    """One page of the source's items, or, with ``watch``, a stream of their changes."""
    if query["watch"]:
        return watch_response(context(), source, match, _resume_from(query))
    revision = context().cache.revision
    return page(source.keys(), source.view, match, query, revision)


def _resume_from(query: Mapping[str, Any]) -> int | None:
    last = request.headers.get("Last-Event-ID", "")
    if last.isascii() and last.isdigit() and len(last) < 20:
        return int(last)
    revision: int | None = query.get("revision")
    return revision


def page(
    keys: Iterable[K],
    view: Callable[[K], Mapping[str, Any] | None],
    match: Match,
    query: Mapping[str, Any],
    revision: int,
) -> Response:
    """One page in the order of the keys. Keys that come or go between two pages shift nothing."""
    after = _read_cursor(query.get("cursor"))
    limit: int = query["limit"]
    try:
        rest = [key for key in keys if after is None or key > after]
    except TypeError:
        raise Problem(422, NOT_A_CURSOR) from None
    items: list[Mapping[str, Any]] = []
    last: K | None = None
    for key in sorted(rest):  # type: ignore[type-var]  # keys are ordered
        item = view(key)
        if item is None or not match(item):
            continue
        if len(items) == limit:
            return answer({"items": items, "revision": revision, "continue": _cursor(last)})
        items.append(item)
        last = key
    return answer({"items": items, "revision": revision, "continue": None})


def _cursor(key: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def _read_cursor(text: str | None) -> Any:
    if text is None:
        return None
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=str | tuple[str, int])
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise Problem(422, NOT_A_CURSOR) from None
    return found
