"""What provider hooks yield: named, typed descriptors, and the protocols behind them.

A descriptor has the name that documents use, a marshmallow schema of its options (None: it takes none), and a factory
that is given the validated options. Names are unique over all plugins; the host reports a name claimed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from marshmallow import Schema

from newbon_core.model import ContainerSpec

# --- runtimes -------------------------------------------------------------------------------------------------------

ContainerState = Literal["created", "running", "exited"]


class RuntimeFailure(Exception):
    """A runtime could not do what it was asked; the text is one sentence for a person.

    ``retry`` says that the same call may succeed later without a change (engine away, registry unreachable).
    """

    def __init__(self, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.retry = retry


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOrder:
    """One container to be made. ``uid`` identifies it for ever; it is found again by labels that carry these names.

    ``owner`` is the agent that orders it: agents that share an engine leave each other's containers alone.
    """

    uid: str
    instance: str
    service: str
    revision: int
    node: str
    spec: ContainerSpec
    env: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container that carries Newbon's labels, as the engine tells of it. Times are seconds since the epoch."""

    id: str
    uid: str
    instance: str
    service: str
    revision: int
    state: ContainerState
    node: str = ""
    owner: str = ""
    pid: int | None = None
    image_id: str | None = None
    address: str | None = None
    host_ports: Mapping[str, int] = field(default_factory=dict)
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    oom_killed: bool = False


@dataclass(frozen=True, slots=True)
class RegistryCredentials:
    """How to log in to a registry; never logged."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """Something happened to a container of ours: look at it again. ``container_id`` None: look at all."""

    container_id: str | None
    kind: str


class ExecSession(Protocol):
    """A command running in a container, with its terminal."""

    def read(self, timeout_s: float) -> bytes | None:
        """Output; b"" when none came in time; None when the command has ended."""
        ...

    def write(self, data: bytes) -> None:
        """Input for the command; b"" closes its standard input."""
        ...

    def resize(self, rows: int, columns: int) -> None: ...

    def exit_code(self) -> int | None:
        """None while it runs."""
        ...

    def close(self) -> None: ...


class Runtime(Protocol):
    """One engine on one node. Every method is idempotent, may block, and raises RuntimeFailure."""

    def version(self) -> str:
        """The engine's version; the call that tells whether it answers."""
        ...

    def list(self) -> Sequence[Container]:
        """Every container with Newbon's labels, running or not, and no other."""
        ...

    def inspect(self, container_id: str) -> Container | None:
        """One of ours by id; None when it is gone."""
        ...

    def has_image(self, image: str) -> str | None:
        """The id of a local image by reference or id, or None."""
        ...

    def pull(self, image: str, credentials: RegistryCredentials | None, progress: Callable[[str], None]) -> str:
        """Fetch an image and return its id; ``progress`` is called with short sentences."""
        ...

    def start(self, order: ContainerOrder, image_id: str) -> Container:
        """Create (unless one of this uid exists) and start."""
        ...

    def stop(self, container_id: str, grace_s: float) -> Container | None:
        """Ask to stop, kill after ``grace_s``; returns its final state, None when it is gone."""
        ...

    def remove(self, container_id: str) -> None:
        """Delete the container and its anonymous volumes; one that is gone is no error."""
        ...

    def logs(
        self, container_id: str, *, follow: bool, tail: int | None, since: float | None, timestamps: bool
    ) -> Iterator[bytes]:
        """Chunks of standard output and error. Closing the iterator ends a follow."""
        ...

    def exec(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, rows: int, columns: int
    ) -> ExecSession: ...

    def events(self) -> Iterator[RuntimeEvent]:
        """Begins with an event without id as soon as nothing can be missed any more; blocks; ends when the engine
        goes away or after ``close``."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeType:
    """``create(options)`` makes a node's runtime; ``container_schema`` is for a service's ``runtime_options``."""

    name: str
    create: Callable[[Mapping[str, object]], Runtime]
    schema: type[Schema] | None = None
    container_schema: type[Schema] | None = None


# --- probes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeTarget:
    """What a probe looks at. ``ports`` maps names to numbers reachable at ``address`` from the node."""

    instance: str
    container_id: str
    address: str
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """One look. ``message`` is a sentence: ``GET /healthz: 503 Service Unavailable, expected 200-399``."""

    healthy: bool
    message: str
    latency_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeType:
    """``probe(target, options, timeout_s)`` looks once, within ``timeout_s``, and never raises for a sick target."""

    name: str
    probe: Callable[[ProbeTarget, Mapping[str, object], float], ProbeResult]
    schema: type[Schema] | None = None


# --- networks -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A container's place in a network."""

    instance: str
    uid: str
    addresses: tuple[str, ...]
    interface: str


class NetworkFailure(Exception):
    """An attach or detach did not work; the text is one sentence, and nothing of it is left behind."""


class Network(Protocol):
    """A network on one node. Both methods are idempotent."""

    def attach(self, order: ContainerOrder, pid: int) -> Attachment:
        """Give the container whose first process is ``pid`` its interface and addresses. Raises NetworkFailure."""
        ...

    def detach(self, uid: str) -> None:
        """Take them back; one that never was attached is no error. Raises NetworkFailure."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkType:
    """``create(options)`` is called once per node."""

    name: str
    create: Callable[[Mapping[str, object]], Network]
    schema: type[Schema] | None = None


# --- DNS publishers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DnsRecord:
    """One record of the zone; ``name`` is absolute without the last dot, ``data`` in presentation form (RFC 1035)."""

    name: str
    type: Literal["A", "AAAA", "SRV", "TXT"]
    ttl_s: int
    data: str


class PublishFailure(Exception):
    """A publisher could not bring its server to the wanted zone; it will be called again."""


class Publisher(Protocol):
    """Brings one DNS server to the wanted zone; records of others are never touched."""

    def publish(self, zone: str, wanted: frozenset[DnsRecord], added: frozenset[DnsRecord],
                removed: frozenset[DnsRecord]) -> None:  # fmt: skip
        """Idempotent; returns when the server has confirmed. Raises PublishFailure."""
        ...

    def present(self, zone: str) -> frozenset[DnsRecord]:
        """What the server holds of ours. Raises PublishFailure."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherType:
    name: str
    create: Callable[[Mapping[str, object]], Publisher]
    schema: type[Schema] | None = None


# --- balancers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One place where a service is served."""

    instance: str
    address: str
    port: int
    weight: int = 100
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """All that a balancer's configuration is made from: its own document and the endpoints of ``service/port``."""

    name: str
    options: Mapping[str, object]
    endpoints: Mapping[str, Sequence[Endpoint]]


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """A file of the configuration; ``path`` is relative to the balancer's own directory."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o600


class BalancerFailure(Exception):
    """The program refused the configuration or did not start; the running one goes on."""


class Balancer(Protocol):
    """One balancer program on one node."""

    def render(self, request: RenderRequest) -> Sequence[RenderedFile]:
        """Pure: the same request gives the same files."""
        ...

    def apply(self, files: Sequence[RenderedFile], request: RenderRequest) -> str:
        """Check, then bring into force with the smallest step there is (runtime API, reload); returns which it was.

        Raises BalancerFailure.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancerType:
    name: str
    create: Callable[[Mapping[str, object]], Balancer]
    schema: type[Schema] | None = None


# --- provisioners -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRequest:
    """A host that is wanted: at least so much room, and cloud-init user data that makes it join."""

    name: str
    cpu_millis: int
    memory_bytes: int
    labels: Mapping[str, str] = field(default_factory=dict)
    user_data: str = field(default="", repr=False)


class ProvisionFailure(Exception):
    """The cloud said no, or did not answer."""


class Provisioner(Protocol):
    """Gives and takes back hosts. Idempotent by host name."""

    def provision(self, request: HostRequest) -> None:
        """Raises ProvisionFailure."""
        ...

    def release(self, name: str) -> None:
        """One that is gone is no error. Raises ProvisionFailure."""
        ...

    def hosts(self) -> Sequence[str]:
        """Names of the hosts that this provisioner gave and that still exist."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionerType:
    name: str
    create: Callable[[Mapping[str, object]], Provisioner]
    schema: type[Schema] | None = None


# --- fields of a service that only a plugin can enforce ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing wrong in a field: ``path`` below the field (``"[2]"``, ``".cpu"`` or ``""``), and what was expected."""

    path: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceField:
    """A field of the service document that this plugin enforces, such as ``schedule.constraints``.

    A document that sets a field which no enabled plugin enforces is refused, for it would be ignored silently.
    ``validate(value)`` is given the model's value (as in ``newbon_core.model.Service``) and returns what is wrong.
    """

    path: str
    validate: Callable[[object], Sequence[FieldProblem]] = lambda _value: ()


ProviderKind = Literal["probe", "network", "publisher", "balancer", "runtime", "provisioner"]
ProviderType = ProbeType | NetworkType | PublisherType | BalancerType | RuntimeType | ProvisionerType
