"""marshmallow schemas made from the TypedDicts and dataclasses of the wire, so that the description cannot lie."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from enum import EnumMeta
from functools import cache
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from marshmallow import Schema, fields, validate


@cache
def schema_of(kind: type) -> type[Schema]:
    """The schema class of a TypedDict or a dataclass, named like it."""
    hints = get_type_hints(kind, include_extras=True)
    required = _required(kind)
    members: dict[str, Any] = {
        name: field_of(hint, required=name in required) for name, hint in hints.items() if not name.startswith("_")
    }
    members["__doc__"] = kind.__doc__
    return type(f"{kind.__name__}Schema", (Schema,), members)


def page_of(kind: type) -> type[Schema]:
    """The schema of one page of a list."""
    return _page(kind)


@cache
def _page(kind: type) -> type[Schema]:
    members: dict[str, Any] = {
        "items": fields.List(fields.Nested(schema_of(kind)), required=True),
        "revision": fields.Integer(
            required=True, metadata={"description": "The items are at least as new as this; where to watch from."}
        ),
        "continue": fields.String(
            required=True, allow_none=True, metadata={"description": "What to ask the next page with; null: the last."}
        ),
    }
    return type(f"{kind.__name__.removesuffix('View')}PageSchema", (Schema,), members)


def _required(kind: type) -> frozenset[str]:
    if is_typeddict(kind):
        found: frozenset[str] = kind.__required_keys__  # type: ignore[attr-defined]  # every TypedDict has it
        hints = get_type_hints(kind, include_extras=True)
        # With annotations as strings, Python itself takes NotRequired for required.
        return frozenset(name for name in found if get_origin(hints[name]) is not NotRequired)
    missing = dataclasses.MISSING
    return frozenset(
        one.name for one in dataclasses.fields(kind) if one.default is missing and one.default_factory is missing
    )


def field_of(hint: Any, *, required: bool) -> fields.Field[Any]:
    """The marshmallow field of a type hint."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is NotRequired:
        return field_of(arguments[0], required=False)
    nullable = origin in (Union, types.UnionType) and type(None) in arguments
    if nullable:
        (hint,) = (one for one in arguments if one is not type(None))
    return _bare(hint, {"required": required, "allow_none": nullable})


def _bare(hint: Any, options: dict[str, Any]) -> fields.Field[Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    simple: dict[Any, type[fields.Field[Any]]] = {
        str: fields.String,
        int: fields.Integer,
        float: fields.Float,
        bool: fields.Boolean,
    }
    if hint in simple:
        return simple[hint](**options)
    if origin is Literal:
        return fields.String(validate=validate.OneOf(arguments), **options)
    if isinstance(hint, EnumMeta):
        members: Mapping[str, Any] = hint.__members__
        words = [str(one) for one in members.values()]
        return fields.String(validate=validate.OneOf(words), **options)
    if origin is dict or (isinstance(origin, type) and issubclass(origin, Mapping)):
        values = None if arguments[1] in (Any, object) else field_of(arguments[1], required=False)
        return fields.Dict(keys=fields.String(), values=values, **options)
    if origin in (list, tuple):
        return fields.List(field_of(arguments[0], required=False), **options)
    if is_typeddict(hint) or dataclasses.is_dataclass(hint):
        return fields.Nested(schema_of(hint), **options)
    return fields.Raw(**(options | {"allow_none": True}))
