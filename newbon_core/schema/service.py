"""The ``kind: Service`` document: its fields, what forbids each other, and the model it makes."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, validates_schema

from newbon_core.model import (
    ContainerSpec,
    Mount,
    Port,
    Service,
)
from newbon_core.schema import grammar
from newbon_core.schema.behaviour import RestartSchema, ScheduleSchema, UpdateSchema
from newbon_core.schema.container import CapabilitiesSchema, MountSchema, PortSchema, ResourcesSchema, StopSchema
from newbon_core.schema.fields import (
    Flag,
    Items,
    Pairs,
    Part,
    PlainMapping,
    Strict,
    Text,
    Whole,
    Word,
    check_text,
    meta,
    twice,
)
from newbon_core.schema.grammar import MAX_REPLICAS, one_of

_NOT_YET = "is not supported by this version of Newbon"
_GRACE_S = ContainerSpec(image="").stop_grace_s


class ServiceSchema(Strict):
    """A service: what to run, how many, and where."""

    unsupported = {name: f"{name} {_NOT_YET}" for name in ("health", "scale", "network", "discovery")}  # noqa: RUF012  a constant

    kind = Word(
        one_of(("Service",)),
        "Service",
        required=True,
        metadata=meta("The kind of document.", example="Service", enum=["Service"]),
    )
    name = Word(
        grammar.check_service_name,
        "the service's name",
        required=True,
        metadata=meta(
            "A DNS label of at most 56 characters; instances are called web-1, web-2 and so on.", example="web"
        ),
    )
    labels = Pairs(
        grammar.check_label_key,
        grammar.check_label_value,
        "a mapping of labels",
        metadata=meta("For selectors; not seen by constraints.", default={}, example={"team": "shop"}),
    )
    image = Word(
        grammar.check_image,
        "an image such as registry.example/shop/web:1.4",
        required=True,
        metadata=meta("An image by reference, or by sha256: id.", example="registry.example/shop/web:1.4"),
    )
    command = Items(Text(), "a list of texts", metadata=meta("Instead of the image's entrypoint.", [], ["/app/serve"]))
    args = Items(Text(), "a list of texts", metadata=meta("Instead of the image's command.", [], ["--verbose"]))
    env = Pairs(
        grammar.check_env_name,
        check_text,
        "a mapping of environment variables",
        metadata=meta(
            "Environment variables; values are text, so numbers stand in quotes.", {}, {"MODE": "production"}
        ),
    )
    replicas = Whole(0, MAX_REPLICAS, metadata=meta("How many instances.", default=1, example=3))
    resources = Part(ResourcesSchema, metadata=meta("What one instance reserves, and its limits."))
    ports = Items(Part(PortSchema), "a list of ports", most=100, metadata=meta("Named ports of the container.", []))
    mounts = Items(Part(MountSchema), "a list of mounts", most=100, metadata=meta("Volumes and paths of the host.", []))
    user = Word(
        grammar.check_user, "a user such as www-data or 1000:1000", numbers=True,
        metadata=meta("User, or user:group. Not given: the image's own.", example="1000:1000"),
    )  # fmt: skip
    working_dir = Word(
        grammar.check_absolute_path, "an absolute path", metadata=meta("Not given: the image's own.", example="/app")
    )
    read_only = Flag(metadata=meta("The container cannot write to its own root.", default=False, example=True))
    capabilities = Part(CapabilitiesSchema, metadata=meta("Linux capabilities beside the engine's own set."))
    stop = Part(StopSchema, metadata=meta("How an instance is stopped."))
    runtime = Word(
        grammar.check_runtime_name, "the name of a runtime", metadata=meta("An installed runtime.", "docker", "docker")
    )
    runtime_options = PlainMapping(metadata=meta("Options of the runtime, checked by the runtime's own schema.", {}))
    schedule = Part(ScheduleSchema, metadata=meta("Where instances may and should go."))
    restart = Part(RestartSchema, metadata=meta("When an instance that has finished is replaced."))
    update = Part(UpdateSchema, metadata=meta("How instances of an older revision are replaced."))

    def check(self, data: dict[str, Any]) -> None:
        ports, mounts = data.get("ports"), data.get("mounts")
        errors: dict[str, Any] = {}
        if ports and len(ports) > 1:
            by_port = twice(ports, lambda p: (p.port, p.protocol), "port", "is the same port and protocol")
            by_host = twice(
                ports,
                lambda p: (p.host_port, p.protocol) if p.host_port else None,
                "host_port",
                "is the same host port",
            )
            by_name = twice(ports, lambda p: p.name, "name", "is the same name")
            found = {i: {**by_port.get(i, {}), **by_host.get(i, {}), **by_name.get(i, {})} for i in range(len(ports))}
            errors["ports"] = {i: messages for i, messages in found.items() if messages}
        if mounts and len(mounts) > 1:
            errors["mounts"] = twice(mounts, lambda m: m.path, "path", "is the same path")
        errors = {key: messages for key, messages in errors.items() if messages}
        if errors:
            raise ValidationError(errors)

    @validates_schema(skip_on_field_errors=False)
    def _check(self, data: Any, **_: Any) -> None:
        # Lists that are sound are compared also where another field is wrong, so that all of it is told at once.
        sound = {"ports": Port, "mounts": Mount}
        self.check({
            key: data[key]
            for key, kind in sound.items()
            if key in data and all(isinstance(item, kind) for item in data[key])
        })  # fmt: skip

    def make(self, data: dict[str, Any]) -> Service:
        data.pop("kind", None)
        service = {
            key: data.pop(key) for key in ("name", "replicas", "labels", "schedule", "restart", "update") if key in data
        }
        if "capabilities" in data:
            capabilities = data.pop("capabilities")
            data["capabilities_add"] = capabilities.get("add", ())
            data["capabilities_drop"] = capabilities.get("drop", ())
        if "stop" in data:
            stop = data.pop("stop")
            data["stop_signal"] = stop.get("signal")
            data["stop_grace_s"] = stop.get("grace", _GRACE_S)
        return Service(container=ContainerSpec(**data), **service)
