"""The table holds what instances take, whatever the order in which it is told of things."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from newbon_core.model import (
    ContainerSpec,
    Instance,
    Node,
    NodeState,
    NodeStatus,
    Port,
    Resources,
    RevisionSpec,
    Schedule,
    Taint,
)
from newbon_core.scheduler import Table
from newbon_core.scheduler.claims import Claim, claim_of
from newbon_core.scheduler.view import TableView
from newbon_core.testing.plugins import MIB, make_request

SPEC = RevisionSpec(
    "web",
    1,
    ContainerSpec(
        image="app",
        resources=Resources(cpu_millis=100, memory_bytes=MIB, countable={"gpu": 1}),
        ports=(Port(name="http", port=80, host_port=8080), Port(name="any", port=81, host_port=0)),
    ),
    Schedule(),
)
SMALL = RevisionSpec("db", 1, ContainerSpec(image="app", resources=Resources(cpu_millis=10)), Schedule())


def status(name: str, cpu: int = 1000, gpus: int = 4) -> NodeStatus:
    return NodeStatus(
        name=name, cpu_millis=cpu, memory_bytes=100 * MIB, countable={"gpu": gpus}, runtimes={"docker": "27.0"}
    )


def add(table: Table, name: str, cpu: int = 1000, **fields: object) -> None:
    table.upsert_node(Node(name=name, **fields), status(name, cpu))  # type: ignore[arg-type]  fields of Node by name


def instance(name: str, node: str | None, **fields: object) -> Instance:
    service = name.rpartition("-")[0]
    return Instance(name=name, uid=name, service=service, number=0, revision=1, node=node, **fields)  # type: ignore[arg-type]  fields of Instance by name


def view(table: Table, added: int = 0, service: str = "web") -> TableView:
    return TableView(table, make_request(service, now=1000.0), claim_of(SPEC.container), added)


def free(table: Table) -> dict[str, int]:
    return dict(zip(view(table).names, view(table).cpu_free.tolist(), strict=True))


def grew(table: Table, act: Callable[[], object]) -> bool:
    before = table.improvements
    act()
    return table.improvements > before


# --- what views tell ---


def test_a_view_tells_what_is_free() -> None:
    table = Table()
    add(table, "n1")
    add(table, "n2")
    table.upsert_instance(instance("web-0", "n1"), SPEC)
    nodes = view(table)
    assert nodes.names == ("n1", "n2")
    assert nodes.cpu_free.tolist() == [900, 1000]
    assert nodes.memory_free.tolist() == [99 * MIB, 100 * MIB]
    assert nodes.resource_free("gpu").tolist() == [3, 4]
    assert nodes.resource_total("gpu").tolist() == [4, 4]
    assert nodes.resource_free("fpga").tolist() == [0, 0]
    assert nodes.instance_count.tolist() == [1, 0]
    assert nodes.count_of("web").tolist() == [1, 0]
    assert nodes.count_of("none").tolist() == [0, 0]
    assert nodes.host_port_used(8080, "tcp").tolist() == [True, False]
    assert nodes.host_port_used(8080, "udp").tolist() == [False, False]


def test_a_view_with_replicas_added_tells_of_every_node_as_if_it_had_them() -> None:
    table = Table()
    add(table, "n1")
    table.upsert_instance(instance("web-0", "n1"), SPEC)
    nodes = view(table, added=2)
    assert (nodes.cpu_free[0], nodes.memory_free[0], nodes.resource_free("gpu")[0]) == (700, 97 * MIB, 1)
    assert (nodes.instance_count[0], nodes.count_of("web")[0], nodes.count_of("db")[0]) == (3, 3, 0)
    assert nodes.host_port_used(8080, "tcp").tolist() == [True]
    assert view(table, added=2).cpu_total.tolist() == [1000]
    assert (nodes[0].cpu_free, nodes[0].count_of("web"), nodes[0].resource_free("gpu")) == (700, 3, 1)


def test_no_column_can_be_written() -> None:
    table = Table()
    add(table, "n1", labels={"zone": "a"})
    table.upsert_instance(instance("web-0", "n1"), SPEC)
    for added in (0, 1):
        nodes = view(table, added)
        columns = [nodes.cpu_free, nodes.cpu_total, nodes.memory_free, nodes.memory_total, nodes.instance_count]
        columns += [nodes.resource_free("gpu"), nodes.resource_total("gpu"), nodes.resource_free("none")]
        columns += [nodes.count_of("web"), nodes.count_of("db"), nodes.failures_of("web"), nodes.taint_codes]
        columns += [nodes.label("zone").codes]
        assert not any(column.flags.writeable for column in columns)


def test_labels_are_coded_columns() -> None:
    table = Table()
    for name, zone in (("n1", "a"), ("n2", "b"), ("n3", None)):
        add(table, name, labels={"zone": zone} if zone else {})
    column = view(table).label("zone")
    assert column.present.tolist() == [True, True, False]
    assert column.equals("b").tolist() == [False, True, False]
    assert column.equals("c").tolist() == [False] * 3
    assert column.is_in(["a", "c"]).tolist() == [True, False, False]
    assert column.where(lambda value: value > "a").tolist() == [False, True, False]
    assert view(table).label("node").equals("n3").tolist() == [False, False, True]
    add(table, "n3", labels={"zone": "b"})
    assert view(table).label("zone").equals("b").tolist() == [False, True, True]


def test_a_label_with_ever_new_values_does_not_grow_for_ever() -> None:
    table = Table()
    add(table, "n1")
    for number in range(100):
        add(table, "n1", labels={"build": str(number)}, taints=(Taint(key=str(number)),))
        assert view(table).label("build").equals(str(number)).all()
        assert view(table)[0].taints == (Taint(key=str(number)),)
    assert len(view(table).label("build").values) < 30
    assert len(view(table).taint_sets) < 30


def test_failures_are_forgotten_after_five_minutes() -> None:
    table = Table()
    add(table, "n1")
    add(table, "n2")
    table.record_failure("web", "n2", 699.0)
    table.record_failure("web", "n2", 701.0)
    table.record_failure("web", "n2", 999.0)
    table.record_failure("web", "n2", 999.0)
    table.record_failure("web", "gone", 999.0)
    assert view(table).failures_of("web").tolist() == [0, 2]
    assert view(table).failures_of("db").tolist() == [0, 0]


# --- order, and coming and going ---


def test_instances_may_come_before_their_node() -> None:
    table = Table()
    table.upsert_instance(instance("web-0", "n1"), SPEC)
    table.upsert_instance(instance("web-1", "n1"), SPEC)
    table.remove_instance("web-1")
    add(table, "n1")
    assert free(table) == {"n1": 900}
    assert view(table).count_of("web").tolist() == [1]


def test_a_node_that_comes_back_still_holds_its_instances() -> None:
    table = Table()
    for name in ("n1", "n2", "n3"):
        add(table, name)
    table.upsert_instance(instance("web-0", "n1"), SPEC)
    table.upsert_instance(instance("web-1", "n3"), SPEC)
    table.remove_node("n1")
    table.remove_node("n1")
    assert free(table) == {"n2": 1000, "n3": 900}
    assert dict(zip(view(table).names, view(table).count_of("web").tolist(), strict=True)) == {"n2": 0, "n3": 1}
    add(table, "n1")
    assert free(table) == {"n1": 900, "n2": 1000, "n3": 900}


def test_capacity_may_change_under_instances() -> None:
    table = Table()
    add(table, "n1")
    table.upsert_instance(instance("web-0", "n1"), SPEC)
    add(table, "n1", cpu=500)
    assert free(table) == {"n1": 400}
    table.upsert_node(Node(name="n1"), None)
    assert free(table) == {"n1": -100}
    assert view(table).resource_free("gpu").tolist() == [-1]


def test_a_lost_instance_keeps_its_room_but_is_not_one_of_its_service() -> None:
    table = Table()
    add(table, "n1")
    table.upsert_instance(instance("web-0", "n1"), SPEC)
    table.upsert_instance(instance("web-0", "n1", wanted="lost"), SPEC)
    assert free(table) == {"n1": 900}
    assert view(table).count_of("web").tolist() == [0]
    table.remove_instance("web-0")
    assert free(table) == {"n1": 1000}


# --- improvements ---


def test_what_could_help_counts_as_an_improvement() -> None:
    table = Table()
    assert grew(table, lambda: add(table, "n1"))
    assert grew(table, lambda: add(table, "n1", labels={"disk": "ssd"}))
    assert grew(table, lambda: add(table, "n1", cpu=2000))
    table.upsert_instance(instance("web-0", "n1"), SPEC)
    assert grew(table, lambda: table.remove_instance("web-0"))
    add(table, "n1", cordoned=True)
    assert grew(table, lambda: add(table, "n1"))
    table.awaited.add("db")
    assert grew(table, lambda: table.upsert_instance(instance("db-0", "n1"), SMALL))


def test_what_cannot_help_does_not() -> None:
    table = Table()
    add(table, "n1")
    table.upsert_instance(instance("web-0", "n1"), SPEC)
    assert not grew(table, lambda: add(table, "n1"))
    assert not grew(table, lambda: table.upsert_instance(instance("web-0", "n1"), SPEC))
    assert not grew(table, lambda: table.upsert_instance(instance("web-1", "n1"), SPEC))
    assert not grew(table, lambda: table.remove_instance("web-9"))
    assert not grew(table, lambda: table.upsert_instance(instance("web-2", None), SPEC))
    assert not grew(table, lambda: add(table, "n1", cordoned=True))
    assert not grew(table, lambda: add(table, "n2", state=NodeState.LOST))
    assert not grew(table, lambda: table.remove_node("n1"))


# --- the law: the table is what a fresh one would be ---

NODES = [f"n{number}" for number in range(5)]
NAMES = [f"{service}-{number}" for service in ("web", "db") for number in range(6)]


class TableMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, the columns are those of a table that is told only of the outcome."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table()
        self.nodes: dict[str, tuple[Node, NodeStatus | None]] = {}
        self.instances: dict[str, tuple[Instance, RevisionSpec]] = {}

    @rule(
        name=st.sampled_from(NODES),
        cpu=st.sampled_from([500, 1000]),
        gpus=st.integers(0, 2),
        zone=st.sampled_from(["a", "b", None]),
        cordoned=st.booleans(),
        known=st.booleans(),
    )
    def upsert_node(self, name: str, cpu: int, gpus: int, zone: str | None, cordoned: bool, known: bool) -> None:
        node = Node(name=name, labels={"zone": zone} if zone else {}, cordoned=cordoned)
        self.nodes[name] = (node, status(name, cpu, gpus) if known else None)
        self.table.upsert_node(*self.nodes[name])

    @rule(name=st.sampled_from(NODES))
    def remove_node(self, name: str) -> None:
        self.nodes.pop(name, None)
        self.table.remove_node(name)

    @rule(name=st.sampled_from(NAMES), node=st.sampled_from([*NODES, None]), lost=st.booleans(), large=st.booleans())
    def upsert_instance(self, name: str, node: str | None, lost: bool, large: bool) -> None:
        told = (instance(name, node, wanted="lost" if lost else "running"), SPEC if large else SMALL)
        self.instances[name] = told
        self.table.upsert_instance(*told)

    @rule(name=st.sampled_from(NAMES))
    def remove_instance(self, name: str) -> None:
        self.instances.pop(name, None)
        self.table.remove_instance(name)

    @precondition(lambda self: self.nodes)
    @rule(data=st.data(), names=st.lists(st.sampled_from(NAMES[:6]), min_size=1, max_size=4, unique=True))
    def reserve(self, data: st.DataObject, names: list[str]) -> None:
        slots = data.draw(st.lists(st.integers(0, len(self.nodes) - 1), min_size=len(names), max_size=len(names)))
        self.table.reserve(names, np.array(slots), "web", claim_of(SPEC.container))
        for name, slot in zip(names, slots, strict=True):
            self.instances[name] = (instance(name, self.table.nodes.names[slot]), SPEC)

    @invariant()
    def it_is_as_if_it_had_been_told_of_the_outcome_only(self) -> None:
        fresh = Table()
        for node, told in self.nodes.values():
            fresh.upsert_node(node, told)
        for one, spec in self.instances.values():
            fresh.upsert_instance(one, spec)
        assert columns(self.table) == columns(fresh)


def columns(table: Table) -> dict[str, tuple[object, ...]]:
    nodes = view(table)
    by_column = [
        nodes.cpu_free,
        nodes.cpu_total,
        nodes.memory_free,
        nodes.instance_count,
        nodes.resource_free("gpu"),
        nodes.resource_total("gpu"),
        nodes.count_of("web"),
        nodes.count_of("db"),
        nodes.host_port_used(8080, "tcp"),
        table.nodes.candidates("docker"),
    ]
    order = table.nodes.order
    in_order = nodes.names if order is None else tuple(nodes.names[slot] for slot in order)
    assert in_order == tuple(sorted(nodes.names))
    zones = [nodes[i].labels.get("zone") for i in range(len(nodes))]
    column = nodes.label("zone")
    assert zones == [column.values[code] if code >= 0 else None for code in column.codes.tolist()]
    return {name: (zones[i], *(one[i].item() for one in by_column)) for i, name in enumerate(nodes.names)}


TestTableMachine = TableMachine.TestCase
TestTableMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_claims_leave_out_what_is_nothing() -> None:
    spec = ContainerSpec(image="app", resources=Resources(countable={"gpu": 0, "fpga": 2}))
    assert claim_of(spec) == Claim(0, 0, (("fpga", 2),), ())
