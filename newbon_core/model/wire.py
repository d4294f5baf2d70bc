"""What agents and the API server tell each other. JSON on the wire, these classes at both ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from newbon_core.model.instance import InstanceStatus
from newbon_core.model.service import ContainerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one node shall do about one instance: have its container running, or have it gone.

    ``begun``: its agent has told that it runs, so where an engine that answers has no container of it, the container is
    lost and the instance has failed; it is not to be made again. An agent that has just started tells nothing of an
    instance, not even that one to be stopped is ``stopped``, before its engine has been listed: absence proves nothing
    till then, and the server forgets what is told to have ended (newbon-sim seed 0 shows it).
    """

    name: str
    uid: str
    service: str
    revision: int
    wanted: Literal["running", "stopped"]
    container: ContainerSpec
    begun: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OrdersUpdate:
    """Orders of one node at ``revision``. ``full``: this is all of them, whatever else the node has is not wanted.

    ``withdrawn`` are uids whose instances no longer exist: their containers have to go, nothing is to be reported.
    """

    revision: int
    full: bool
    orders: tuple[Order, ...] = ()
    withdrawn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSample:
    """A host's load: ``cpu_cores`` used, of ``cpu_count``; rates are bytes per second."""

    time: float
    cpu_cores: float
    cpu_count: int
    memory_used_bytes: int
    memory_total_bytes: int
    disk_used_bytes: int
    disk_total_bytes: int
    receive_bytes_s: float
    transmit_bytes_s: float
    load1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerSample:
    """A container's load: ``cpu_cores`` 0.5 is half of one core; rates are bytes per second."""

    instance: str
    uid: str
    time: float
    cpu_cores: float
    memory_bytes: int
    receive_bytes_s: float
    transmit_bytes_s: float
    pids: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A heartbeat and what is new since the last one that the server acknowledged.

    ``full`` means that ``statuses`` are all there are on the node. ``runtime_errors`` names each runtime that does not
    answer and why. Statuses are sent again until a reply acknowledges them.
    """

    node: str
    boot_id: str
    sent_at: float
    statuses: tuple[InstanceStatus, ...] = ()
    full: bool = False
    runtime_errors: Mapping[str, str] = field(default_factory=dict)
    host: HostSample | None = None
    containers: tuple[ContainerSample, ...] = ()
    messages: tuple[str, ...] = ()


_AGAIN = "; tried again in "


def tried_again(trouble: str, pause_s: float) -> str:
    """The message of a status while something that failed waits to be tried again."""
    return f"{trouble}{_AGAIN}{pause_s:.0f} s"


def trouble_of(message: str) -> str | None:
    """What failed, of a message by ``tried_again``; None of any other."""
    trouble, again, _ = message.rpartition(_AGAIN)
    return trouble if again else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportReply:
    """``registered`` False asks the agent to register again; ``heartbeat_s`` is the pace that the site wants."""

    registered: bool
    heartbeat_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRequest:
    """Asks an agent to carry the logs of a container, or a command run in it, to the server."""

    id: str
    kind: Literal["logs", "exec"]
    instance: str
    uid: str
    follow: bool = False
    tail: int | None = None
    since: float | None = None
    timestamps: bool = False
    command: tuple[str, ...] = ()
    tty: bool = False
    stdin: bool = False
    rows: int = 24
    columns: int = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInput:
    """One piece of what the user sends: bytes as base64 (empty: end of input), a new window size, or the end."""

    data: str | None = None
    rows: int | None = None
    columns: int | None = None
    closed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnd:
    """How a stream ended: a command's exit code, or a sentence about what went wrong."""

    exit_code: int | None = None
    error: str | None = None
