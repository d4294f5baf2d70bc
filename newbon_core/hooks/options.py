"""A plugin's options: checked by the plugin's own marshmallow schema before it is used, and shown to operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from marshmallow import RAISE, Schema, ValidationError, fields, missing

from newbon_core.hooks.settings import SiteProblem, unknown
from newbon_core.hooks.telling import step_failed

WEIGHT = "weight"
RESERVED = (WEIGHT, "enabled")
SECRET = "(secret)"


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionInfo:
    """One option of a plugin as its schema tells: for ``newbon plugins show``."""

    name: str
    type: str
    required: bool
    default: object = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``values`` go to the plugin; ``shown`` are JSON values for operators, with secrets hidden."""

    values: dict[str, object] = field(default_factory=dict)
    shown: Mapping[str, object] = field(default_factory=dict)


def load_options(
    plugin: str, schema: object, table: Mapping[str, object], *, without: str = "", package: str = ""
) -> tuple[Options, list[SiteProblem]]:
    """Validate ``[plugins.NAME]`` without its ``weight``; every problem is returned.

    ``schema`` is the plugin's ``OptionsSchema``: a marshmallow Schema class, or None where it takes no options;
    ``without`` then says more on why not. Raises StepFailed where the schema itself raises; ``package`` is where it is
    looked for.
    """
    where = f"[plugins.{plugin}]"
    given = {key: value for key, value in table.items() if key != WEIGHT}
    if schema is None:
        reason = f"this plugin takes no options ({without or f'{plugin} has no OptionsSchema'})"
        return Options(), [SiteProblem(f"{where} {key}", reason) for key in given]
    if not (isinstance(schema, type) and issubclass(schema, Schema)):
        return Options(), [SiteProblem(where, f"OptionsSchema is {schema!r}; it must be a marshmallow Schema class")]
    made = _made(schema, package)
    if taken := [name for name in RESERVED if name in made.load_fields]:
        reason = f"OptionsSchema has a field {taken[0]!r}, which is the core's own word; give it another name"
        return Options(), [SiteProblem(f"{where} {taken[0]}", reason)]
    try:
        values = made.load(given)
        shown = _shown(made, values)
    except ValidationError as error:
        return Options(), _problems(where, error.messages, made, given)
    except Exception as error:
        raise step_failed("OptionsSchema", error, package, secrets_of(schema, given)) from error
    return Options(values=dict(values), shown=shown), []


def _made(schema: type[Schema], package: str) -> Schema:
    try:
        return schema(unknown=RAISE)
    except Exception as error:
        raise step_failed("OptionsSchema", error, package) from error


def secrets_of(schema: object, given: Mapping[str, object]) -> list[str]:
    """The texts among these options that no message may tell."""
    if not (isinstance(schema, type) and issubclass(schema, Schema)):
        return []
    secret = {name for name, option in schema().load_fields.items() if _is_secret(option)}
    return [text for key, value in given.items() if key in secret for text in _words(value)]


def _words(value: object) -> list[str]:
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _words(inner)]
    if isinstance(value, (list, tuple)):
        return [text for inner in value for text in _words(inner)]
    return [str(value)] if str(value) else []


def _is_secret(option: fields.Field[object]) -> bool:
    """True of a field that is only ever loaded, and of one that has such a field within."""
    if option.load_only:
        return True
    if isinstance(option, fields.Nested):
        return any(_is_secret(inner) for inner in option.schema.load_fields.values())
    if isinstance(option, fields.List):
        return _is_secret(option.inner)
    if isinstance(option, fields.Dict):
        return option.value_field is not None and _is_secret(option.value_field)
    return False


def load_weight(plugin: str, table: Mapping[str, object], scores: bool) -> tuple[float | None, list[SiteProblem]]:
    """The site's weight for a plugin, None where it names none."""
    if WEIGHT not in table:
        return None, []
    weight = table[WEIGHT]
    path = f"[plugins.{plugin}] {WEIGHT}"
    if not scores:
        return None, [SiteProblem(path, "this plugin gives no scores, so a weight has no meaning")]
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= 1e9:
        return None, [SiteProblem(path, f"{weight!r} is not a number from 0 to 1e9")]
    return float(weight), []


def describe_schema(schema: object) -> tuple[OptionInfo, ...]:
    """The options that a schema takes, in the order of their declaration; none for anything that is no schema."""
    if not (isinstance(schema, type) and issubclass(schema, Schema)):
        return ()
    return tuple(
        OptionInfo(
            name=name,
            type=type(option).__name__.lower(),
            required=option.required,
            default=_shown_default(option),
            description=str(option.metadata.get("description", "")),
        )
        for name, option in schema().load_fields.items()
    )


def _shown_default(option: fields.Field[object]) -> object:
    default = option.load_default
    if default is missing or default is None:
        return None
    return SECRET if _is_secret(option) else _plain_default(default)


def _plain_default(default: object) -> object:
    if default is missing or default is None or callable(default):
        return None
    return default if isinstance(default, (bool, int, float, str, list, dict)) else str(default)


def _problems(where: str, messages: object, schema: Schema, given: Mapping[str, object]) -> list[SiteProblem]:
    problems: list[SiteProblem] = []
    if not isinstance(messages, Mapping):
        return [SiteProblem(where, text) for text in _texts(messages)]
    for key, found in messages.items():
        if key == "_schema":
            problems += [SiteProblem(where, text) for text in _texts(found)]
            continue
        path = f"{where} {key}"
        option = schema.load_fields.get(key)
        if option is None:
            problems.append(SiteProblem(path, unknown("option", key, schema.load_fields)))
            continue
        value = "" if _is_secret(option) or key not in given else f" (the value is {given[key]!r})"
        problems += [SiteProblem(inner, text + value) for inner, text in _flat(path, found)]
    return problems


def _flat(path: str, messages: object) -> list[tuple[str, str]]:
    if isinstance(messages, Mapping):
        return [pair for key, inner in messages.items() for pair in _flat(f"{path}.{key}", inner)]
    return [(path, text) for text in _texts(messages)]


def _texts(messages: object) -> list[str]:
    return [str(text) for text in messages] if isinstance(messages, list) else [str(messages)]


def _shown(schema: Schema, values: Mapping[str, object]) -> dict[str, object]:
    shown: dict[str, object] = dict(schema.dump(values))
    secret = {name for name, option in schema.load_fields.items() if option.load_only and name in values}
    return shown | dict.fromkeys(sorted(secret), SECRET)
