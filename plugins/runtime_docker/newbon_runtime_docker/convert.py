"""Between the contract's values and the engine's JSON (Docker Engine API 1.41). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from newbon_core.hooks import Container, ContainerOrder
from newbon_core.hooks.providers import ContainerState
from newbon_core.model import ContainerSpec
from newbon_runtime_docker.options import size_bytes

UID = "newbon.uid"

_STATES: Mapping[str, ContainerState] = {
    "created": "created",
    "running": "running",
    "paused": "running",
    "restarting": "running",
    "removing": "exited",
    "exited": "exited",
    "dead": "exited",
}


def container_name(order: ContainerOrder, *, long: bool = False) -> str:
    """``newbon-<instance>-<first 8 of uid>``; with the whole uid where that is taken by another."""
    return f"newbon-{order.instance}-{order.uid if long else order.uid.replace('-', '')[-8:]}"


def labels_of(order: ContainerOrder) -> dict[str, str]:
    """What a container is found again by."""
    return {
        UID: order.uid,
        "newbon.instance": order.instance,
        "newbon.service": order.service,
        "newbon.revision": str(order.revision),
        "newbon.node": order.node,
        "newbon.owner": order.owner,
        **ports_label(order.spec),
    }


def create_body(order: ContainerOrder, image_id: str, defaults: Mapping[str, object]) -> dict[str, Any]:
    """The body of ``POST /containers/create``. ``defaults`` are the site's options."""
    spec = order.spec
    body: dict[str, Any] = {
        "Image": image_id,
        "Env": [f"{key}={value}" for key, value in {**order.env, **spec.env}.items()],
        "Labels": labels_of(order),
        "ExposedPorts": {f"{port.port}/{port.protocol}": {} for port in spec.ports},
        "HostConfig": host_config(spec, defaults),
    }
    if spec.command:
        body["Entrypoint"] = list(spec.command)
    if spec.args:
        body["Cmd"] = list(spec.args)
    optional = {"User": spec.user, "WorkingDir": spec.working_dir, "StopSignal": spec.stop_signal}
    return body | {key: value for key, value in optional.items() if value is not None}


def host_config(spec: ContainerSpec, defaults: Mapping[str, object]) -> dict[str, Any]:
    """Limits, ports, mounts and privileges."""
    options = {"log_max_size": "10m", "log_max_files": 2, **_only_log(defaults), **spec.runtime_options}
    config: dict[str, Any] = {
        "RestartPolicy": {"Name": "no"},
        "NetworkMode": options.get("network_mode", "bridge"),
        "SecurityOpt": [] if options.get("allow_new_privileges") else ["no-new-privileges"],
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": str(options["log_max_size"]), "max-file": str(options["log_max_files"])},
        },
        "ReadonlyRootfs": spec.read_only,
        "CapAdd": list(spec.capabilities_add),
        "CapDrop": list(spec.capabilities_drop),
        "Mounts": [_mount(mount.path, mount.volume, mount.host_path, mount.read_only) for mount in spec.mounts],
        **_limits(spec),
    }
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in spec.ports:
        if port.host_port is not None:
            host_port = str(port.host_port) if port.host_port else ""
            bindings.setdefault(f"{port.port}/{port.protocol}", []).append({"HostPort": host_port})
    config["PortBindings"] = bindings
    if "init" in options:
        config["Init"] = options["init"]
    if "shm_size" in options:
        config["ShmSize"] = size_bytes(str(options["shm_size"]))
    if "pids_limit" in options:
        config["PidsLimit"] = options["pids_limit"]
    if "sysctls" in options:
        config["Sysctls"] = options["sysctls"]
    hosts = options.get("extra_hosts")
    if isinstance(hosts, Mapping):
        config["ExtraHosts"] = [f"{name}:{address}" for name, address in hosts.items()]
    return config


def _only_log(defaults: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in defaults.items() if key in ("log_max_size", "log_max_files")}


def _limits(spec: ContainerSpec) -> dict[str, int]:
    """Memory is limited to its reservation unless said otherwise, without swap; a cpu reservation is a weight."""
    resources = spec.resources
    limits: dict[str, int] = {}
    memory = resources.memory_limit_bytes or resources.memory_bytes
    if memory:
        limits["Memory"] = memory
        limits["MemorySwap"] = memory
    if resources.cpu_limit_millis is not None:
        limits["NanoCpus"] = resources.cpu_limit_millis * 1_000_000
    if resources.cpu_millis:
        limits["CpuShares"] = max(2, resources.cpu_millis * 1024 // 1000)
    return limits


def _mount(path: str, volume: str | None, host_path: str | None, read_only: bool) -> dict[str, Any]:
    if host_path is not None:
        return {"Type": "bind", "Source": host_path, "Target": path, "ReadOnly": read_only}
    mount = {"Type": "volume", "Target": path, "ReadOnly": read_only}
    return mount if volume is None else mount | {"Source": volume}


def is_ours(labels: Mapping[str, str] | None) -> bool:
    """True for a container that carries Newbon's labels."""
    return bool(labels and labels.get(UID))


def container_of(inspected: Mapping[str, Any]) -> Container:
    """The contract's view of ``GET /containers/{id}/json``."""
    labels = inspected["Config"]["Labels"] or {}
    state = inspected["State"]
    status: ContainerState = _STATES.get(state["Status"], "exited")
    network = inspected.get("NetworkSettings") or {}
    ended = status == "exited"
    return Container(
        id=inspected["Id"],
        uid=labels[UID],
        instance=labels.get("newbon.instance", ""),
        service=labels.get("newbon.service", ""),
        revision=_number(labels.get("newbon.revision")),
        state=status,
        node=labels.get("newbon.node", ""),
        owner=labels.get("newbon.owner", ""),
        pid=state.get("Pid") or None,
        image_id=inspected.get("Image"),
        address=_address(network),
        host_ports=_host_ports(network, labels),
        started_at=seconds_of(state.get("StartedAt")),
        finished_at=seconds_of(state.get("FinishedAt")) if ended else None,
        exit_code=state.get("ExitCode") if ended else None,
        oom_killed=bool(state.get("OOMKilled")),
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isdigit() else 0


def _address(network: Mapping[str, Any]) -> str | None:
    if network.get("IPAddress"):
        return str(network["IPAddress"])
    for attached in (network.get("Networks") or {}).values():
        if attached.get("IPAddress"):
            return str(attached["IPAddress"])
    return None


def _host_ports(network: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, int]:
    """Named host ports; the names are kept in a label so that an adopted container has them too."""
    names = port_names(labels)
    found: dict[str, int] = {}
    for key, bindings in (network.get("Ports") or {}).items():
        for binding in bindings or ():
            found[names.get(key, key)] = int(binding["HostPort"])
    return found


def ports_label(spec: ContainerSpec) -> dict[str, str]:
    """The label that keeps the names of published ports: ``8080/tcp=http,53/udp=dns``."""
    published = [port for port in spec.ports if port.host_port is not None]
    if not published:
        return {}
    return {"newbon.ports": ",".join(f"{port.port}/{port.protocol}={port.name}" for port in published)}


def port_names(labels: Mapping[str, str]) -> dict[str, str]:
    """The names of published ports from the label."""
    pairs = (pair.partition("=") for pair in labels.get("newbon.ports", "").split(",") if pair)
    return {key: name for key, _, name in pairs}


def seconds_of(stamp: str | None) -> float | None:
    """Seconds since the epoch of the engine's RFC 3339 time; None for its zero time (year 1)."""
    if not stamp or stamp.startswith("0001-"):
        return None
    whole, _, rest = stamp.removesuffix("Z").partition(".")
    digits = rest[:6].ljust(6, "0") if rest[:1].isdigit() else "000000"
    moment = datetime.strptime(whole[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC, microsecond=int(digits))
    return moment.timestamp()
