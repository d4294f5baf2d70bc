"""The parts of a Service document that describe its container: resources, ports, mounts, capabilities, stop."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from marshmallow import INCLUDE, ValidationError, validates_schema

from newbon_core.model import (
    AUTO_HOST_PORT,
    Mount,
    Port,
    Resources,
)
from newbon_core.schema import grammar, units
from newbon_core.schema.fields import (
    Amount,
    Duration,
    Flag,
    Items,
    Reads,
    Strict,
    Whole,
    Word,
    expecting,
    meta,
)
from newbon_core.schema.grammar import Wrong, one_of
from newbon_core.schema.problems import Said

HOUR_MS = 3_600_000
MAX_COUNTABLE = 1_000_000
MAX_RESOURCES = 64
_MEANT = {"mem": "memory", "ram": "memory", "cores": "cpu", "limit": "memory_limit", "mem_limit": "memory_limit"}


class ResourcesSchema(Strict):
    """What one instance reserves. Any name beside the four is a countable resource that nodes advertise."""

    class Meta:
        unknown = INCLUDE

    cpu = Amount(
        units.parse_cpu_millis,
        units.CPU_EXPECTED,
        metadata=meta("Cores reserved on the node: 0.5, 2 or 500m. Not given: nothing is reserved.", example=0.5),
    )
    memory = Amount(
        units.parse_memory_bytes,
        units.MEMORY_EXPECTED,
        metadata=meta(
            "Memory reserved: 256MiB, 1GiB, 512M (millions of bytes), or a number of bytes. At least 1MiB.",
            example="256MiB",
        ),
    )
    cpu_limit = Amount(
        units.parse_cpu_millis,
        units.CPU_EXPECTED,
        metadata=meta("Cores that the instance can use at most. Not given: no limit.", example=1),
    )
    memory_limit = Amount(
        units.parse_memory_bytes,
        units.MEMORY_EXPECTED,
        metadata=meta("Memory above which the instance is killed. Not given: the reservation.", example="512MiB"),
    )

    def accept(self, data: Any) -> Any:
        if isinstance(data, dict) and len(data) > MAX_RESOURCES:
            raise ValidationError("")
        return super().accept(data)

    def take_unknown(self, key: object, value: object) -> object:
        slip = _slip(key, self.fields)
        if slip or not isinstance(key, str):
            raise ValidationError([Said.of("is not a known resource", slip)])
        try:
            grammar.check_label_key(key)
        except Wrong:
            raise ValidationError("expected the name of a countable resource, such as gpu") from None
        if type(value) is not int or not 1 <= value <= MAX_COUNTABLE:
            raise ValidationError(
                f"expected a whole number from 1 to {MAX_COUNTABLE}, for {key} is a countable resource"
            )
        return value

    def check(self, data: dict[str, Any]) -> None:
        errors = {}
        for name in ("cpu", "memory"):
            limit = data.get(f"{name}_limit")
            if limit is not None and limit < data.get(name, 0):
                errors[f"{name}_limit"] = [f"expected at least what is reserved as {name}"]
        if errors:
            raise ValidationError(errors)

    @validates_schema(skip_on_field_errors=False)
    def _check_others(self, data: dict[Any, Any], **_: Any) -> None:
        if len(data) > MAX_RESOURCES:
            raise ValidationError(f"expected at most {MAX_RESOURCES} resources, this has {len(data)}")
        errors: dict[Any, Any] = {}
        for key in data.keys() - self.fields.keys():
            try:
                self.take_unknown(key, data[key])
            except ValidationError as wrong:
                errors[key] = wrong.messages
        if errors:
            raise ValidationError(errors)

    def make(self, data: dict[str, Any]) -> Resources:
        countable = {key: data[key] for key in sorted(data) if key not in self.fields}
        return Resources(
            cpu_millis=data.get("cpu", 0),
            memory_bytes=data.get("memory", 0),
            countable=countable,
            cpu_limit_millis=data.get("cpu_limit"),
            memory_limit_bytes=data.get("memory_limit"),
        )


def _slip(key: object, names: Iterable[str]) -> str | None:
    """The known name that ``key`` is so near to that it must be meant (``memroy``, ``cpus``), unlike ``gpu``."""
    if not isinstance(key, str):
        return None
    folded = key[:100].lower()
    close = difflib.get_close_matches(folded, names, n=1, cutoff=0.8)
    return _MEANT.get(folded) or (close[0] if close else None)


class HostPort(Reads):
    """``auto`` or a fixed port of the node."""

    def __init__(self, **more: Any) -> None:
        super().__init__(error_messages=expecting("auto or a port number from 1 to 65535"), **more)
        bounds = {"pattern": "^auto$", "minimum": 1, "maximum": 65535}
        self.metadata = {"type": ["string", "integer"], **bounds, **self.metadata}

    def read(self, value: Any) -> int:
        if value == "auto":
            return AUTO_HOST_PORT
        if type(value) is not int or not 1 <= value <= 65535:
            raise self.make_error("invalid")
        return value


class PortSchema(Strict):
    """A named port of the container."""

    name = Word(
        grammar.check_port_name,
        "the port's name, such as http",
        required=True,
        metadata=meta("At most 15 lower-case letters, digits and dashes (RFC 6335).", example="http", maxLength=15),
    )
    port = Whole(1, 65535, required=True, metadata=meta("Where the program in the container listens.", example=8080))
    protocol = Word(
        one_of(("tcp", "udp")),
        "tcp or udp",
        metadata=meta("The transport.", default="tcp", example="udp", enum=["tcp", "udp"]),
    )
    host_port = HostPort(
        metadata=meta(
            "Publish on the node's own address: a number (then one instance per node), or auto for any free one.",
            example="auto",
        )
    )

    def make(self, data: dict[str, Any]) -> Port:
        return Port(**data)


class MountSchema(Strict):
    """A volume or a path of the host, seen inside the container. Exactly one of volume and host_path is given."""

    path = Word(
        grammar.check_mount_path,
        "an absolute path",
        required=True,
        metadata=meta("Where the container sees it.", example="/data"),
    )
    volume = Word(
        grammar.check_volume,
        "a volume's name",
        metadata=meta("The name of a volume of the engine, made when it is missing.", example="web-data"),
    )
    host_path = Word(
        grammar.check_absolute_path,
        "an absolute path",
        metadata=meta("A path of the node.", example="/srv/data"),
    )
    read_only = Flag(metadata=meta("The container cannot write to it.", default=False, example=True))

    def check(self, data: dict[str, Any]) -> None:
        if ("volume" in data) == ("host_path" in data):
            raise ValidationError("expected exactly one of volume and host_path")

    def make(self, data: dict[str, Any]) -> Mount:
        return Mount(**data)


class CapabilitiesSchema(Strict):
    """Linux capabilities beside the engine's own set."""

    add = Items(
        Word(grammar.check_capability, "a capability"),
        "a list of capabilities",
        unique=True,
        metadata=meta("Given in addition.", default=[], example=["NET_ADMIN"]),
    )
    drop = Items(
        Word(grammar.check_capability, "a capability"),
        "a list of capabilities",
        unique=True,
        metadata=meta("Taken away.", default=[], example=["ALL"]),
    )

    def check(self, data: dict[str, Any]) -> None:
        both = set(data.get("add", ())) & set(data.get("drop", ()))
        if both:
            raise ValidationError({"drop": [f"{', '.join(sorted(both))} is added and dropped"]})


class StopSchema(Strict):
    """How an instance is stopped."""

    signal = Word(
        grammar.check_signal,
        "a signal by its name",
        metadata=meta("Sent first. Not given: the image's own, else SIGTERM.", example="SIGQUIT"),
    )
    grace = Duration(0, HOUR_MS, metadata=meta("How long it may take before it is killed; at most 1h.", "10s", "30s"))
