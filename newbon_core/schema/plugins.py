"""What only installed plugins can say of a service: is its runtime there, does something enforce what it asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Protocol

from marshmallow import Schema, ValidationError

from newbon_core.hooks.providers import FieldProblem, RuntimeType, ServiceField
from newbon_core.model import Resources, Schedule, Service
from newbon_core.schema.problems import Path, Said, nearest

Finding = tuple[Path, str]
"""A place in the document and what is wrong there."""


class Installed(Protocol):
    """The part of ``newbon_core.hooks.host.PluginHost`` that documents are checked against."""

    @property
    def runtimes(self) -> Mapping[str, RuntimeType]: ...

    @property
    def service_fields(self) -> Mapping[str, tuple[str, ServiceField]]: ...


_NO_RESOURCES = Resources()
_NO_SCHEDULE = Schedule()


def _host_ports(service: Service) -> tuple[int | None, ...] | None:
    ports = tuple(port.host_port for port in service.container.ports)
    return ports if any(port is not None for port in ports) else None


ENFORCED: Mapping[str, tuple[str, Callable[[Service], object | None]]] = {
    "resources": (
        "newbon-filter-resources",
        lambda s: s.container.resources if s.container.resources != _NO_RESOURCES else None,
    ),
    "ports.host_port": ("newbon-filter-resources", _host_ports),
    "schedule.constraints": ("newbon-filter-constraints", lambda s: s.schedule.constraints or None),
    "schedule.tolerations": ("newbon-filter-constraints", lambda s: s.schedule.tolerations or None),
    "schedule.affinity": ("newbon-filter-constraints", lambda s: s.schedule.affinity or None),
    "schedule.max_per_node": ("newbon-filter-constraints", lambda s: s.schedule.max_per_node or None),
    "schedule.spread": (
        "newbon-score-spread",
        lambda s: s.schedule.spread if s.schedule.spread != _NO_SCHEDULE.spread else None,
    ),
}
"""Fields that the core enforces none of: the distribution that does, and the value where it is not the default.

The value of ``ports.host_port`` is a tuple over all ports (None: not published); ``[1]`` means the second port.
"""


_FILTERS = "newbon-filter-"
"""What the name of a distribution begins with whose fields must be kept; a score's are wishes."""


def unenforced(service: Service, host: Installed) -> str:
    """Why instances of a stored service must not be placed: nothing would keep what it asks for. "" where all is well.

    A document is refused for this when it is applied, but the plugin may have gone since.
    """
    known = host.service_fields
    missing: dict[str, list[str]] = {}
    for path, (distribution, wanted) in ENFORCED.items():
        if path not in known and distribution.startswith(_FILTERS) and wanted(service) is not None:
            missing.setdefault(distribution, []).append(path)
    return "; ".join(
        f"{', '.join(paths)} {'is' if len(paths) == 1 else 'are'} not enforced by any enabled plugin: "
        f"pip install {distribution}"
        for distribution, paths in missing.items()
    )


def findings(service: Service, host: Installed) -> Iterator[Finding]:
    """Everything that the installed plugins do not accept."""
    yield from _runtime(service, host)
    for path, (distribution, wanted) in ENFORCED.items():
        value = wanted(service)
        if value is None:
            continue
        known = host.service_fields.get(path)
        if known is None:
            yield (
                _path(path, ""),
                f"no enabled plugin enforces {path}: pip install {distribution}, or enable it in newbon.toml",
            )
        else:
            yield from _ask(path, value, *known)


def _runtime(service: Service, host: Installed) -> Iterator[Finding]:
    name, options = service.container.runtime, service.container.runtime_options
    runtime = host.runtimes.get(name)
    if runtime is None:
        installed = ", ".join(sorted(host.runtimes)) or "none"
        get = ": pip install newbon-runtime-docker" if name == "docker" else ""
        yield (
            ("runtime",),
            Said.of(f"no runtime {name} is installed{get}; installed: {installed}", nearest(name, host.runtimes)),
        )
        return
    if not options:
        return
    if runtime.container_schema is None:
        yield ("runtime_options",), f"runtime {name} takes no options"
        return
    yield from _options(name, runtime.container_schema, options)


@cache
def _made(schema_type: type[Schema]) -> Schema:
    """One instance of a plugin's schema: they are stateless, and making one costs more than a load."""
    return schema_type()


def _options(name: str, schema_type: type[Schema], options: Mapping[str, object]) -> Iterator[Finding]:
    try:
        schema = _made(schema_type)
        schema.load(dict(options))
    except ValidationError as wrong:
        known = list(_made(schema_type).fields)
        for path, message in flatten(wrong.messages):
            if len(path) == 1 and path[0] not in known:
                message = Said.of(
                    f"is not an option of runtime {name}; known are {', '.join(known)}", nearest(path[0], known)
                )
            yield ("runtime_options", *path), message
    except Exception as error:  # noqa: BLE001  a plugin's code may raise anything; it is told, and the document refused
        yield ("runtime_options",), f"runtime {name} could not check its options: {type(error).__name__}: {error}"


def flatten(messages: object, path: Path = ()) -> Iterator[Finding]:
    """marshmallow's nested messages as places and sentences."""
    if isinstance(messages, Mapping):
        for key, below in messages.items():
            yield from flatten(below, path if key == "_schema" else (*path, key))
    elif isinstance(messages, list | tuple):
        for message in messages:
            yield from flatten(message, path)
    else:
        yield path, messages if isinstance(messages, str) else str(messages)


def _ask(path: str, value: object, plugin: str, field: ServiceField) -> Iterator[Finding]:
    try:
        problems = list(field.validate(value))
        if not all(isinstance(problem, FieldProblem) for problem in problems):
            raise TypeError("validate did not return a sequence of FieldProblem")
    except Exception as error:  # noqa: BLE001  a plugin's code may raise anything; it is told, and the document refused
        yield _path(path, ""), f"plugin {plugin} could not check this: {type(error).__name__}: {error}"
        return
    for problem in problems:
        yield _path(path, problem.path), problem.message


def _path(field: str, below: str) -> Path:
    """``schedule.constraints`` and ``[2]`` as one path; an index below ``ports.host_port`` belongs to the ports."""
    parts: list[str | int] = list(field.split("."))
    tail: list[str | int] = []
    for word in below.replace("[", ".[").split("."):
        if word.startswith("[") and word.endswith("]") and word[1:-1].isdigit():
            tail.append(int(word[1:-1]))
        elif word:
            tail.append(word)
    if field == "ports.host_port":
        return ("ports", *tail[:1], "host_port", *tail[1:]) if tail else ("ports",)
    return (*parts, *tail)
