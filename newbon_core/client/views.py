"""The JSON that the API speaks, as TypedDicts: the server renders these, the client returns them."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Json = dict[str, Any]


class ProblemEntry(TypedDict, total=False):
    """One thing that is wrong in a document: where, what, and the nearest right name.

    ``document`` counts those of ``source`` from 0, ``line`` the lines of a text from 1.
    """

    source: str
    document: int | None
    path: str
    value: str | None
    message: str
    nearest: str | None
    kind: str | None
    name: str | None
    line: int | None


class Usage(TypedDict):
    """What an instance uses now: cores, bytes, and bytes per second; ``pids`` counts its processes."""

    cpu_cores: float
    memory_bytes: int
    receive_bytes_s: float
    transmit_bytes_s: float
    pids: int
    time: float


class InstanceView(TypedDict):
    """An instance as the API shows it. Times are seconds since the epoch; ``state`` is that of ``model.state_of``."""

    name: str
    uid: str
    service: str
    revision: int
    state: str
    wanted: str
    node: str | None
    address: str | None
    host_ports: dict[str, int]
    message: str
    created_at: float
    placed_at: float | None
    started_at: float | None
    finished_at: float | None
    exit_code: int | None
    oom_killed: bool
    container_id: str | None
    image_id: str | None
    placement: Json | None
    waiting: str | None
    reason: str
    failures: int
    usage: Usage | None
    labels: dict[str, str]


class ServiceView(TypedDict):
    """A service: ``spec`` is the document as its user spells it; ``running`` counts those that run, of any revision."""

    name: str
    labels: dict[str, str]
    replicas: int
    running: int
    revision: int
    image: str
    created_at: float
    updated_at: float
    updated_by: str
    spec: Json


class NodeUsage(TypedDict):
    """A host's load as its agent sampled it last."""

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


class NodeView(TypedDict):
    """A node. ``*_free_*`` is what is not reserved by instances; ``labels`` are all that constraints see."""

    name: str
    state: str
    state_since: float
    state_reason: str
    cordoned: bool
    labels: dict[str, str]
    own_labels: dict[str, str]
    taints: list[dict[str, str]]
    cpu_millis: int
    cpu_free_millis: int
    memory_bytes: int
    memory_free_bytes: int
    countable: dict[str, int]
    instances: int
    address: str
    last_heard: float | None
    runtimes: dict[str, str]
    agent_version: str
    created_at: float
    usage: NodeUsage | None


class EventView(TypedDict):
    """One event; the fields of ``model.Event``."""

    time: float
    level: Literal["info", "warning", "error"]
    reason: str
    kind: str
    name: str
    message: str
    node: str | None
    service: str | None


class RevisionView(TypedDict):
    """A version of a service. ``current`` marks the one that is wanted now; ``spec`` is spelt as users do."""

    name: str
    service: str
    number: int
    image: str
    created_at: float
    created_by: str
    current: bool
    spec: Json


class TokenView(TypedDict):
    """A token without its secret; ``token`` is there once, in the answer that made it."""

    name: str
    role: str
    node: str | None
    description: str
    created_at: float
    expires_at: float | None
    token: NotRequired[str]


class PluginView(TypedDict):
    """A plugin as the host lists it; ``status`` is active, disabled, incompatible, failed or quarantined.

    ``fields`` are the fields of a service that it enforces; ``seconds`` is the time spent in its hooks.
    """

    name: str
    distribution: str
    version: str
    status: str
    reason: str
    hooks: list[str]
    providers: dict[str, list[str]]
    fields: list[str]
    options: Json
    option_schema: list[Json]
    weight: float | None
    calls: int
    errors: int
    seconds: float
    last_error: str
    last_error_at: float | None


class FilterView(TypedDict):
    """One filter's word on one node."""

    plugin: str
    passed: bool
    reason: str


class ScoreView(TypedDict):
    """One score's word on one node: ``normalised`` times ``weight`` is ``weighted``."""

    plugin: str
    raw: float
    normalised: float
    weight: float
    weighted: float


class ExplainedNode(TypedDict):
    """One node: ``reasons`` of all filters that rejected it; ``chosen`` counts the replicas it would get."""

    node: str
    passed: bool
    reasons: list[str]
    filters: list[FilterView]
    scores: list[ScoreView]
    total: float | None
    chosen: int


class ExplainView(TypedDict):
    """Where one more instance would go now; for an instance also where it is and why (``placement``, as of then)."""

    service: str
    instance: str | None
    node: str | None
    waiting: str | None
    placement: Json | None
    count: int
    placed: int
    summary: str
    rejected: dict[str, int]
    nodes: list[ExplainedNode]
    advice: list[str]
    notes: list[str]


class DifferenceView(TypedDict):
    """One field that an apply changes (or would): ``old`` or ``new`` is None where it is absent."""

    path: str
    old: object
    new: object


class ApplyResultView(TypedDict):
    """What an apply did with one document."""

    kind: str
    name: str
    action: Literal["created", "updated", "unchanged"]
    differences: list[DifferenceView]


class ApplyView(TypedDict):
    """The answer to an apply. ``revision`` is the store's revision at which all of it is durable; 0 for a dry run."""

    results: list[ApplyResultView]
    revision: int
    dry_run: bool


class PlannedPlacement(TypedDict):
    """Where one new instance would go; ``node`` None means that no node fits (see the group's ``summary``)."""

    node: str | None
    placement: Json | None


class PlannedGroup(TypedDict):
    """The new instances of one service. ``summary`` is a sentence when not all of them fit, else None."""

    service: str
    revision: int
    count: int
    placements: list[PlannedPlacement]
    summary: str | None


class PlannedRemoval(TypedDict):
    """An instance that goes away, and why."""

    instance: str
    service: str
    node: str | None
    reason: str


class PlanView(TypedDict):
    """The answer to a plan: nothing of it was written or reserved."""

    results: list[ApplyResultView]
    groups: list[PlannedGroup]
    removals: list[PlannedRemoval]


class StreamView(TypedDict):
    """A carried stream: ``waiting`` for its agent, ``open``, or ``ended`` with an exit code or an error."""

    id: str
    kind: Literal["logs", "exec"]
    instance: str
    node: str
    state: Literal["waiting", "open", "ended"]
    exit_code: int | None
    error: str | None
