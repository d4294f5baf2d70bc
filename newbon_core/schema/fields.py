"""marshmallow fields that say what they expect, and the schema class that reads a sound document quickly.

``Strict.load`` first tries ``accept``: only the fields that are present are looked at, and the first thing wrong ends
it. Then marshmallow's own load runs on the same fields and collects everything that is wrong. A property test holds
the two together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, types, validates_schema

from newbon_core.schema import units
from newbon_core.schema.grammar import PATTERNS, Check, Wrong
from newbon_core.schema.problems import Said, nearest

MAX_ITEMS = 1_000
MAX_TEXT_CHARS = 32_768
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_NOT_A_FIELD = frozenset({"kind"})


def meta(about: str, default: object = None, example: object = None, **more: object) -> dict[str, Any]:
    """The metadata of a field: what OpenAPI and docs/documents.md tell of it."""
    told: dict[str, Any] = {"description": about, **more}
    if default is not None:
        told["default"] = default
    if example is not None:
        told["example"] = example
    return told


def expecting(what: str) -> types.ErrorMessages:
    """Error messages of a field that expects ``what``."""
    return {
        "invalid": f"expected {what}",
        "null": f"is empty: expected {what}; leave the field out to get its default",
        "required": f"is missing: expected {what}",
    }


def check_text(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """Refuses control characters and what UTF-8 cannot carry. Raises ValidationError."""
    if len(text) > limit:
        raise ValidationError(f"expected at most {limit} characters, this has {len(text)}")
    if not (text.isascii() and text.isprintable()) and _CONTROL.search(text):
        raise ValidationError("expected text without control characters")
    return text


class Reads(fields.Field[Any]):
    """Mixed into fields: ``read(value)`` gives the model's value of one that is present and not null."""

    def read(self, value: Any) -> Any:
        """Raises ValidationError with what was expected."""
        raise NotImplementedError(type(self).__name__)

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:  # noqa: ARG002  marshmallow's signature
        return self.read(value)


class Text(Reads, fields.String):
    """A string as it is. Numbers and booleans are refused, for ``1.10`` would lose its zero."""

    def __init__(self, what: str = "text", *, limit: int = MAX_TEXT_CHARS, **more: Any) -> None:
        super().__init__(error_messages=expecting(what), **more)
        self.limit = limit

    def read(self, value: Any) -> str:
        if not isinstance(value, str):
            hint = ": put it in quotes" if isinstance(value, int | float) else ""
            raise ValidationError(f"{self.error_messages['invalid']}{hint}")
        return check_text(value, self.limit)


class Word(Reads, fields.String):
    """A string of a grammar; ``check`` gives the canonical form. ``numbers`` also takes whole numbers (user ids)."""

    def __init__(self, check: Check, what: str, *, numbers: bool = False, **more: Any) -> None:
        super().__init__(error_messages=expecting(what), **more)
        self.check = check
        self.numbers = numbers
        told = {"pattern": PATTERNS[check]} if check in PATTERNS else {}
        kinds = {"type": ["string", "integer"], "minimum": 0} if numbers else {}
        self.metadata = {**told, **kinds, **self.metadata}

    def read(self, value: Any) -> str:
        if self.numbers and type(value) is int and 0 <= value < 1 << 32:
            value = str(value)
        if not isinstance(value, str):
            hint = ": put it in quotes" if isinstance(value, int | float) else ""
            raise ValidationError(f"{self.error_messages['invalid']}{hint}")
        try:
            return self.check(value)
        except Wrong as wrong:
            raise ValidationError(wrong.said) from None


class Whole(Reads, fields.Integer):
    """A whole number within bounds; never a string, a boolean or 3.0."""

    def __init__(self, least: int, most: int, **more: Any) -> None:
        super().__init__(strict=True, error_messages=expecting(f"a whole number from {least} to {most}"), **more)
        self.least, self.most = least, most
        self.metadata = {**self.metadata, "minimum": least, "maximum": most}

    def read(self, value: Any) -> int:
        if type(value) is not int or not self.least <= value <= self.most:
            raise self.make_error("invalid")
        return value


class Decimal(Reads, fields.Float):
    """A number within bounds."""

    def __init__(self, least: float, most: float, **more: Any) -> None:
        super().__init__(error_messages=expecting(f"a number from {least:g} to {most:g}"), **more)
        self.least, self.most = least, most
        self.metadata = {**self.metadata, "minimum": least, "maximum": most}

    def read(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.least <= value <= self.most:
            raise self.make_error("invalid")
        return float(value)


class Flag(Reads, fields.Boolean):
    """``true`` or ``false`` and nothing that looks alike."""

    def __init__(self, **more: Any) -> None:
        super().__init__(error_messages=expecting("true or false"), **more)

    def read(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class Duration(Reads, fields.String):
    """``1m30s`` to seconds, within bounds given in milliseconds."""

    def __init__(self, least_ms: int, most_ms: int, **more: Any) -> None:
        super().__init__(error_messages=expecting(units.DURATION_EXPECTED), **more)
        self.least_ms, self.most_ms = least_ms, most_ms
        self.metadata = {"pattern": units.DURATION_PATTERN, **self.metadata}

    def read(self, value: Any) -> float:
        if not isinstance(value, str):
            missing = "the unit is missing: " if isinstance(value, int | float) and not isinstance(value, bool) else ""
            raise ValidationError(f"{missing}{self.error_messages['invalid']}")
        try:
            ms = units.parse_duration_ms(value)
        except ValueError as wrong:
            raise ValidationError(str(wrong)) from None
        if not self.least_ms <= ms <= self.most_ms:
            least, most = (units.format_duration(bound / 1000) for bound in (self.least_ms, self.most_ms))
            raise ValidationError(f"expected a duration from {least} to {most}")
        return ms / 1000


class Amount(Reads):
    """Cores or memory in their spellings; ``parse`` raises ValueError with a sentence."""

    def __init__(self, parse: Callable[[object], int], what: str, **more: Any) -> None:
        super().__init__(error_messages=expecting(what), **more)
        self.parse = parse
        self.metadata = {"type": ["string", "number"], "pattern": units.PATTERNS[parse], **self.metadata}

    def read(self, value: Any) -> int:
        try:
            return self.parse(value)
        except ValueError as wrong:
            raise ValidationError(str(wrong)) from None


class Part(Reads, fields.Nested):  # type: ignore[misc]  # Nested's own partial loading is not offered
    """A mapping with a schema of its own."""

    def __init__(self, schema: type[Schema], **more: Any) -> None:
        super().__init__(schema, error_messages=expecting("a mapping"), **more)

    def read(self, value: Any) -> Any:
        if not isinstance(value, dict):
            known = ", ".join(self.schema.fields)
            raise ValidationError(f"expected a mapping with the fields {known}" if known else "expected a mapping")
        return self.schema.load(value)


class Items(Reads, fields.List[Any]):
    """A list to a tuple. ``unique`` refuses what is there twice."""

    def __init__(
        self, inner: fields.Field[Any], what: str, *, unique: bool = False, most: int = MAX_ITEMS, **more: Any
    ) -> None:
        super().__init__(inner, error_messages=expecting(what), **more)
        self.unique = unique
        self.most = most

    def read(self, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            hint = ", each in its own line after a dash or in [ ]" if isinstance(value, str) else ""
            raise ValidationError(f"{self.error_messages['invalid']}{hint}")
        if len(value) > self.most:
            raise ValidationError(f"expected at most {self.most} items, this has {len(value)}")
        items = tuple(fields.List._deserialize(self, value, None, None))
        if self.unique and len(set(items)) != len(items):
            raise ValidationError({i: ["is there twice"] for i, item in enumerate(items) if item in items[:i]})
        return items


class Pairs(Reads, fields.Dict):
    """A mapping of texts to texts; ``check_key`` and ``check_value`` give canonical forms."""

    def __init__(self, check_key: Check, check_value: Check, what: str, *, most: int = MAX_ITEMS, **more: Any) -> None:
        super().__init__(fields.String(), fields.String(), error_messages=expecting(what), **more)
        self.check_key, self.check_value, self.most = check_key, check_value, most

    def read(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        if len(value) > self.most:
            raise ValidationError(f"expected at most {self.most} entries, this has {len(value)}")
        result: dict[str, str] = {}
        errors: dict[Any, list[str]] = {}
        for key, item in value.items():
            try:
                if not isinstance(key, str):
                    raise ValidationError("expected text as the name: put it in quotes")
                result[self.check_key(key)] = self.check_value(self._text(item))
            except Wrong as wrong:
                errors[key] = [wrong.said]
            except ValidationError as wrong:
                errors[key] = list(wrong.messages)
        if errors:
            raise ValidationError(errors)
        return result

    @staticmethod
    def _text(item: object) -> str:
        if isinstance(item, str):
            return item
        if isinstance(item, int | float):
            raise ValidationError("expected text: put it in quotes")
        raise ValidationError('expected text, "" for an empty one')


def plain_value(value: object, depth: int = 8) -> object:
    """A value of JSON, copied and with sound text throughout. Raises ValidationError."""
    if isinstance(value, str):
        return check_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and value.bit_length() <= 63:
        return value
    if isinstance(value, float) and abs(value) < float("inf"):
        return value
    if depth and isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {check_text(key, 256): plain_value(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple):
        return [plain_value(item, depth - 1) for item in value]
    raise ValidationError(
        "expected plain values: text, numbers of 64 bits, true, false, lists and mappings, 8 deep at most"
    )


class PlainMapping(Reads, fields.Dict):
    """A mapping of plain values whose meaning only a plugin knows."""

    def __init__(self, **more: Any) -> None:
        super().__init__(fields.String(), fields.Raw(), error_messages=expecting("a mapping"), **more)

    def read(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise self.make_error("invalid")
        return plain_value(value)


def twice(items: Iterable[Any], key: Callable[[Any], Hashable], place: str | None, message: str) -> dict[int, Any]:
    """Messages by index for items whose key was there before; keys of None never clash."""
    seen: dict[Hashable, int] = {}
    errors: dict[int, Any] = {}
    for index, item in enumerate(items):
        found = key(item)
        if found is None:
            continue
        if found in seen:
            said = [f"{message} as item {seen[found]}"]
            errors[index] = {place: said} if place else said
        else:
            seen[found] = index
    return errors


class Strict(Schema):
    """A mapping of known fields. Subclasses give ``check`` (what fields forbid each other) and ``make`` (the model)."""

    class Meta:
        unknown = RAISE

    error_messages = {"type": "expected a mapping", "unknown": "is not a known field"}  # noqa: RUF012  marshmallow's own way
    unsupported: Mapping[str, str] = {}
    """Fields that people will look for, and why this version refuses them."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self._by_key = {name: field for name, field in self.fields.items() if isinstance(field, Reads)}
        self._required = frozenset(name for name, field in self.fields.items() if field.required)

    def load(self, data: Any, **options: Any) -> Any:
        """The model of a sound mapping. Raises ValidationError with everything that is wrong."""
        if not options:
            try:
                return self.accept(data)
            except ValidationError:
                return super().load(data)
        return super().load(data, **options)

    def accept(self, data: Any) -> Any:
        """The model, or ValidationError at the first thing that is wrong (its text is of no use)."""
        if not isinstance(data, dict):
            raise ValidationError("")
        loaded: dict[str, Any] = {}
        known = self._by_key
        for key, value in data.items():
            field = known.get(key)
            if field is None:
                loaded[key] = self.take_unknown(key, value)
            elif value is None:
                raise ValidationError("")
            else:
                loaded[key] = field.read(value)
        if not self._required <= loaded.keys():
            raise ValidationError("")
        self.check(loaded)
        return self.make(loaded)

    def take_unknown(self, key: object, value: object) -> object:  # noqa: ARG002  for subclasses
        """The value of a field that the schema does not list, where it takes any such field."""
        raise ValidationError("")

    def check(self, data: dict[str, Any]) -> None:
        """Raises ValidationError when sound fields do not go together."""

    def make(self, data: dict[str, Any]) -> Any:
        """The model of loaded fields."""
        return data

    @validates_schema
    def _check(self, data: Any, **_: Any) -> None:
        self.check(data)

    @post_load
    def _make(self, data: Any, **_: Any) -> Any:
        return self.make(data)

    def explain_unknown(self, key: object) -> Said:
        """The sentence about a field that does not exist here."""
        if isinstance(key, str) and key in self.unsupported:
            return Said(self.unsupported[key])
        names = [name for name in self.fields if name not in _NOT_A_FIELD]
        near = nearest(key, names)
        return Said.of("is not a known field" + ("" if near else f"; known are {', '.join(names)}"), near)
