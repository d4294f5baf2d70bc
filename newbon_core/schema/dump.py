"""From models back to documents, in the spelling of a user: units, no defaults, fields in the order of the reference.

``load(dump(model)) == model`` holds for every model that a document can make (revision and times are not part of it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from newbon_core.model import (
    AUTO_HOST_PORT,
    Affinity,
    ContainerSpec,
    Mount,
    Port,
    Resources,
    Restart,
    Schedule,
    Service,
    Toleration,
    Update,
)
from newbon_core.schema.node import NodePatch
from newbon_core.schema.reader import resolve
from newbon_core.schema.units import format_cpu, format_duration, format_memory

Plain = dict[str, Any]

_CONTAINER = ContainerSpec(image="")
_RESOURCES = Resources()
_SCHEDULE = Schedule()
_RESTART = Restart()
_UPDATE = Update()


def dump_service(service: Service) -> Plain:
    """The document of a service: plain values for YAML or JSON, defaults left out."""
    container = service.container
    document: Plain = {"kind": "Service", "name": service.name}
    document |= _without({"labels": dict(service.labels)})
    document["image"] = container.image
    document |= _without(
        {
            "command": list(container.command),
            "args": list(container.args),
            "env": dict(container.env),
        }
    )
    if service.replicas != 1:
        document["replicas"] = service.replicas
    return document | _without(
        {
            "resources": dump_resources(container.resources) if container.resources != _RESOURCES else None,
            "ports": [_port(port) for port in container.ports],
            "mounts": [_mount(mount) for mount in container.mounts],
            "user": container.user,
            "working_dir": container.working_dir,
            "read_only": container.read_only,
            "capabilities": _capabilities(container),
            "stop": _stop(container),
            "runtime": container.runtime if container.runtime != _CONTAINER.runtime else None,
            "runtime_options": _copied(container.runtime_options),
            "schedule": _schedule(service.schedule) if service.schedule != _SCHEDULE else None,
            "restart": _restart(service.restart) if service.restart != _RESTART else None,
            "update": _update(service.update) if service.update != _UPDATE else None,
        }
    )


def dump_node(patch: NodePatch) -> Plain:
    """The document of what an operator sets on a node; what it leaves as it is is left out."""
    document: Plain = {"kind": "Node", "name": patch.name}
    if patch.labels is not None:
        document["labels"] = dict(patch.labels)
    if patch.taints is not None:
        document["taints"] = [_without({"key": taint.key, "value": taint.value}) for taint in patch.taints]
    if patch.cordoned is not None:
        document["cordoned"] = patch.cordoned
    return document


def dump_yaml(documents: Iterable[Mapping[str, Any]]) -> str:
    """Documents as one text that ``load_documents`` reads back as they are; small mappings and lists on one line."""
    return "---\n".join(to_yaml(dict(document), flow_leaves=True) for document in documents)


def to_yaml(value: object, *, flow_leaves: bool = False, ascii_only: bool = False) -> str:
    """Any plain value as YAML in which text stays text for every reader; mappings keep their order.

    PyYAML's own dump leaves text unquoted that other readers take for a number (``08``, ``1e3``).
    """
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=not ascii_only,
        default_flow_style=None if flow_leaves else False,
        width=120,
    )
    return text


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  PyYAML's signature
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    value, why = resolve(text, as_key=True)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if why is None and value == text else "'")


_Dumper.add_representer(str, _represent_text)


def dump_resources(resources: Resources) -> Plain:
    """``{"cpu": 0.5, "memory": "256MiB", "gpu": 1}``."""
    spelt: Plain = {}
    if resources.cpu_millis:
        spelt["cpu"] = format_cpu(resources.cpu_millis)
    if resources.memory_bytes:
        spelt["memory"] = format_memory(resources.memory_bytes)
    if resources.cpu_limit_millis is not None:
        spelt["cpu_limit"] = format_cpu(resources.cpu_limit_millis)
    if resources.memory_limit_bytes is not None:
        spelt["memory_limit"] = format_memory(resources.memory_limit_bytes)
    return spelt | {name: count for name, count in sorted(resources.countable.items()) if count}


def _without(values: Plain) -> Plain:
    """Without what is empty, false or not there: the defaults of those fields."""
    return {name: value for name, value in values.items() if value}


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list | tuple) else value


def _port(port: Port) -> Plain:
    spelt: Plain = {"name": port.name, "port": port.port}
    if port.protocol != "tcp":
        spelt["protocol"] = port.protocol
    if port.host_port is not None:
        spelt["host_port"] = "auto" if port.host_port == AUTO_HOST_PORT else port.host_port
    return spelt


def _mount(mount: Mount) -> Plain:
    return {"path": mount.path} | _without(
        {"volume": mount.volume, "host_path": mount.host_path, "read_only": mount.read_only}
    )


def _capabilities(container: ContainerSpec) -> Plain:
    return _without({"add": list(container.capabilities_add), "drop": list(container.capabilities_drop)})


def _stop(container: ContainerSpec) -> Plain:
    spelt = _without({"signal": container.stop_signal})
    if container.stop_grace_s != _CONTAINER.stop_grace_s:
        spelt["grace"] = format_duration(container.stop_grace_s)
    return spelt


def _toleration(toleration: Toleration) -> Plain:
    return {"key": toleration.key} | ({} if toleration.value is None else {"value": toleration.value})


def _affinity(affinity: Affinity) -> Plain:
    topology = affinity.topology if affinity.topology != "node" else None
    return {"service": affinity.service} | _without({"topology": topology, "anti": affinity.anti})


def _schedule(schedule: Schedule) -> Plain:
    spelt = _without(
        {
            "constraints": list(schedule.constraints),
            "tolerations": [_toleration(toleration) for toleration in schedule.tolerations],
            "affinity": [_affinity(affinity) for affinity in schedule.affinity],
        }
    )
    if schedule.spread != _SCHEDULE.spread:
        spelt["spread"] = list(schedule.spread)
    if schedule.priority != _SCHEDULE.priority:
        spelt["priority"] = schedule.priority
    if schedule.max_per_node:
        spelt["max_per_node"] = schedule.max_per_node
    return spelt


def _restart(restart: Restart) -> Plain:
    spelt: Plain = {}
    if restart.policy != _RESTART.policy:
        spelt["policy"] = restart.policy
    if restart.factor != _RESTART.factor:
        spelt["factor"] = int(restart.factor) if restart.factor == int(restart.factor) else restart.factor
    for name in ("backoff", "max_backoff", "reset_after"):
        seconds = getattr(restart, f"{name}_s")
        if seconds != getattr(_RESTART, f"{name}_s"):
            spelt[name] = format_duration(seconds)
    return spelt


def _update(update: Update) -> Plain:
    spelt: Plain = {}
    if update.parallelism != _UPDATE.parallelism:
        spelt["parallelism"] = update.parallelism
    if update.order != _UPDATE.order:
        spelt["order"] = update.order
    return spelt
