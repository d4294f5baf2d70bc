"""What a user wants to run: services, the containers they are made of, and their revisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Protocol = Literal["tcp", "udp"]
RestartPolicy = Literal["always", "on-failure", "never"]
UpdateOrder = Literal["start-first", "stop-first"]

AUTO_HOST_PORT = 0
"""A host port of 0 asks the engine for any free one; the agent reports which it got."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one instance reserves on its node. Zero means that nothing is reserved.

    ``countable`` holds any further resource that nodes advertise, such as ``{"gpu": 1}``.
    ``cpu_limit_millis`` and ``memory_limit_bytes`` are enforced by the runtime; None means the reservation
    for memory and no limit for cpu.
    """

    cpu_millis: int = 0
    memory_bytes: int = 0
    countable: Mapping[str, int] = field(default_factory=dict)
    cpu_limit_millis: int | None = None
    memory_limit_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A named port of the container; ``host_port`` publishes it on the node's own address."""

    name: str
    port: int
    protocol: Protocol = "tcp"
    host_port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A named volume of the engine (``volume``) or a path of the host (``host_path``) seen at ``path``."""

    path: str
    volume: str | None = None
    host_path: str | None = None
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSpec:
    """Everything a runtime needs to make one container."""

    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    resources: Resources = field(default_factory=Resources)
    ports: tuple[Port, ...] = ()
    mounts: tuple[Mount, ...] = ()
    user: str | None = None
    working_dir: str | None = None
    read_only: bool = False
    capabilities_add: tuple[str, ...] = ()
    capabilities_drop: tuple[str, ...] = ()
    stop_signal: str | None = None
    stop_grace_s: float = 10.0
    runtime: str = "docker"
    runtime_options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Toleration:
    """A taint that the service accepts. ``value`` None accepts any value of ``key``."""

    key: str
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Affinity:
    """Be (or, with ``anti``, do not be) where instances of ``service`` are, within one ``topology`` domain.

    ``topology`` is a label key; ``node`` is the node itself.
    """

    service: str
    topology: str = "node"
    anti: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Where instances may and should go.

    ``constraints`` are expressions over node labels (grammar: plugin filter_constraints); ``spread`` is a list of
    topology labels in order of weight, ``node`` being the node itself. ``max_per_node`` 0 means no limit.
    """

    constraints: tuple[str, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    affinity: tuple[Affinity, ...] = ()
    spread: tuple[str, ...] = ("node",)
    priority: int = 50
    max_per_node: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """When a finished instance is replaced, and how long the replacement waits.

    The n-th failure in a row waits ``min(backoff_s * factor**(n-1), max_backoff_s)``; an instance that ran for
    ``reset_after_s`` starts the count anew.
    """

    policy: RestartPolicy = "always"
    backoff_s: float = 1.0
    factor: float = 2.0
    max_backoff_s: float = 300.0
    reset_after_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """How instances of an older revision are replaced: so many at a time, in this order."""

    parallelism: int = 1
    order: UpdateOrder = "start-first"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service as it is wanted now. ``revision`` counts changes of ``container`` or ``schedule``, from 1."""

    name: str
    container: ContainerSpec
    replicas: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)
    schedule: Schedule = field(default_factory=Schedule)
    restart: Restart = field(default_factory=Restart)
    update: Update = field(default_factory=Update)
    revision: int = 1
    created_at: float = 0.0
    updated_at: float = 0.0
    updated_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A past version of a service: written when a newer one takes its place."""

    service: str
    number: int
    container: ContainerSpec
    schedule: Schedule
    created_at: float
    created_by: str = ""

    @property
    def name(self) -> str:
        """The key of this object: ``web/000003``."""
        return revision_name(self.service, self.number)


def revision_name(service: str, number: int) -> str:
    """The name of a service's revision; zero-padded so that names sort by number."""
    return f"{service}/{number:06d}"


@dataclass(frozen=True, slots=True)
class RevisionSpec:
    """What an instance is made from: the part of a service that a revision fixes."""

    service: str
    number: int
    container: ContainerSpec
    schedule: Schedule
