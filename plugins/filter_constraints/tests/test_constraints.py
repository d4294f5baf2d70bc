"""filter_constraints: expressions over labels."""

from __future__ import annotations

import string
import time

import newbon_filter_constraints
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from newbon_filter_constraints.expressions import ConstraintError, parse
from newbon_filter_constraints.versions import version_of

from newbon_core.hooks.host import PluginHost
from newbon_core.model import Affinity, Schedule, Toleration
from newbon_core.testing.plugins import Bench, FilterConformance, host_of, make_request

HOST = host_of(filter_constraints=newbon_filter_constraints)


class TestConformance(FilterConformance):
    plugin = newbon_filter_constraints

    def requests(self) -> list:
        texts = ("node.labels.disk == ssd", "node.labels.zone != z0", "node.labels.rack in (r1, r2)", "nonsense")
        schedules = [Schedule(constraints=(text,)) for text in texts]
        schedules.append(Schedule(affinity=(Affinity(service="web", topology="zone", anti=True),)))
        return [*super().requests(), *(make_request(schedule=schedule, count=3) for schedule in schedules)]


def test_it_is_silent_where_nothing_is_demanded() -> None:
    assert HOST.filter_nodes(make_request(), Bench().node("n1").nodes(make_request())) == []


FLEET = {
    "n1": {"disk": "ssd", "v": "20.10.0"},
    "n2": {"disk": "hdd", "v": "9.1"},
    "n3": {"disk": "nvme-ssd", "v": "24.0.0-rc1"},
    "n4": {"v": "24.0.0", "gpu": ""},
}


def passing(*constraints: str) -> set[str]:
    bench = Bench()
    for name, labels in FLEET.items():
        bench.node(name, labels=labels, runtimes={"docker": "27.1.2" if name == "n1" else "26.0"})
    request = make_request(schedule=Schedule(constraints=constraints))
    return {node.name for node in bench.explain(HOST, request).nodes if node.passed}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("node.labels.disk == ssd", {"n1"}),
        ("node.labels.disk==ssd", {"n1"}),
        ("node.labels.disk == 'ssd'", {"n1"}),
        ("node.labels.disk != ssd", {"n2", "n3", "n4"}),
        ("node.labels.disk in (ssd, hdd)", {"n1", "n2"}),
        ("node.labels.disk in(ssd)", {"n1"}),
        ("node.labels.disk not in (ssd, hdd)", {"n3", "n4"}),
        ("node.labels.disk exists", {"n1", "n2", "n3"}),
        ("node.labels.gpu exists", {"n4"}),
        ("node.labels.disk not exists", {"n4"}),
        ("node.labels.disk =~ /(nvme-)?ssd/", {"n1", "n3"}),
        ("node.labels.disk !~ /.*ssd/", {"n2", "n4"}),
        ("node.labels.v >= 20.10", {"n1", "n3", "n4"}),
        ("node.labels.v > 24.0.0-rc1", {"n4"}),
        ("node.labels.v < 20", {"n2"}),
        ("node.labels.v <= 9.1.0", {"n2"}),
        ("node.labels.none >= 1", set()),
        ("node.name == n3", {"n3"}),
        ("node.name in (n3, n4, n9)", {"n3", "n4"}),
        ("node.os == linux", {"n1", "n2", "n3", "n4"}),
        ("engine.version >= 27", {"n1"}),
        ("node.labels.docker.version >= 27", {"n1"}),
    ],
)
def test_an_expression_chooses_nodes(text: str, expected: set[str]) -> None:
    assert passing(text) == expected


def test_all_expressions_must_hold() -> None:
    assert passing("node.labels.disk exists", "node.labels.v > 10", "node.name != n1") == {"n3"}


def test_the_reason_tells_what_the_node_has_and_the_advice_what_to_do() -> None:
    bench = Bench().node("n1", labels={"disk": "hdd"}).node("n2")
    found = bench.explain(HOST, make_request(schedule=Schedule(constraints=("node.labels.disk == ssd",))))
    assert [node.reasons for node in found.nodes] == [
        ("constraint node.labels.disk == ssd: disk is hdd",),
        ("constraint node.labels.disk == ssd: the node has no disk",),
    ]
    assert found.summary == "no node fits: 2 of 2 constraint node.labels.disk == ssd: disk is hdd (n1)"
    assert found.advice == ("label a node disk=ssd",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at character 1: expected node.labels.KEY, node.name"),
        ("node.label.disk == ssd", "at character 1"),
        ("node.nam == n1", "did you mean 'node.name'?"),
        ("disk == ssd", "a label is written node.labels.KEY"),
        ("node.labels.disk = ssd", "at character 18: expected one of ==, !="),
        ("node.labels.disk = ssd", "did you mean '=='?"),
        ("node.labels.disk exist", "did you mean 'exists'?"),
        ("node.labels.disk", "at character 17: expected one of"),
        ("node.labels.disk ==", "at character 20: expected a value (other signs need quotes), found nothing"),
        ("node.labels.disk == ssd hdd", "at character 25: expected the end of the expression, found 'hdd'"),
        ("node.labels.disk in ssd", "at character 21: expected a list such as (a, b)"),
        ("node.labels.disk in (ssd", "at character 25: expected , or ) in the list"),
        ("node.labels.disk in ()", "at character 22: expected a value"),
        ("node.labels.disk == 'ssd", "at character 21: this quote is never closed"),
        ("node.labels.v >= new", "at character 18: >= compares versions and numbers, such as 20.10; 'new' is none"),
        ("node.labels.disk =~ ssd", "at character 21: expected a regular expression such as /ssd.*/"),
        ("node.labels.disk =~ /a(b/", "at character 23: this ( is never closed"),
        ("node.labels.disk =~ /^a/", "at character 22: leave out ^"),
        ("node.labels.disk == " + "x" * 600, "an expression has at most 512 characters"),
    ],
)
def test_an_error_tells_its_place_and_what_was_expected(text: str, message: str) -> None:
    with pytest.raises(ConstraintError) as caught:
        parse(text)
    assert message in str(caught.value)


def test_a_document_with_wrong_expressions_is_refused_with_all_of_them() -> None:
    validate = fields(HOST)["schedule.constraints"]
    found = validate(("node.labels.a == b", "node.labels.a = b", "x"))
    assert [problem.path for problem in found] == ["[1]", "[2]"]


def test_other_fields_are_validated() -> None:
    assert [one.path for one in fields(HOST)["schedule.tolerations"]((Toleration(key=""),))] == ["[0].key"]
    assert [one.path for one in fields(HOST)["schedule.affinity"]((Affinity(service="a", topology=""),))] == [
        "[0].topology"
    ]
    at_odds = (Affinity(service="a"), Affinity(service="a", anti=True))
    assert [one.path for one in fields(HOST)["schedule.affinity"](at_odds)] == ["[1]"]
    assert fields(HOST)["schedule.max_per_node"](-1)
    assert not fields(HOST)["schedule.max_per_node"](3)


def fields(host: PluginHost) -> dict:
    return {path: field.validate for path, (_, field) in host.service_fields.items()}


# --- laws ---


@settings(max_examples=300)
@given(st.text(alphabet=string.ascii_lowercase + "node.labels. =!<>~()/'\"\\[]{}*+?|^$1,", max_size=60))
def test_any_text_is_read_or_refused_with_a_place_in_it(text: str) -> None:
    for candidate in (text, f"node.labels.{text}", f"node.labels.a =~ /{text}/"):
        place = place_of_error(candidate)
        assert place is None or 1 <= place <= len(candidate) + 1


def place_of_error(text: str) -> int | None:
    try:
        parse(text)
    except ConstraintError as error:
        return error.position
    return None


WORDS = st.text(alphabet=string.ascii_letters + string.digits + "._-", min_size=1, max_size=8)


@given(WORDS, st.lists(WORDS, min_size=1, max_size=3), WORDS)
def test_an_operator_and_its_opposite_never_agree(key: str, values: list[str], value: str) -> None:
    listed = ", ".join(values)
    for one, other in (("==", "!="), ("in", "not in"), ("exists", "not exists"), ("=~", "!~")):
        operand = {"==": values[0], "in": f"({listed})", "exists": "", "=~": "/[a-f]+.*/"}[one]
        yes, no = parse(f"node.labels.{key} {one} {operand}"), parse(f"node.labels.{key} {other} {operand}")
        assert yes.accept(value) != no.accept(value)
        assert not yes.absent
        assert no.absent


@given(st.lists(st.integers(0, 30), min_size=1, max_size=4), st.lists(st.integers(0, 30), min_size=1, max_size=4))
def test_versions_are_ordered_by_their_numbers(one: list[int], other: list[int]) -> None:
    texts = [".".join(map(str, numbers)) for numbers in (one, other)]
    left, right = (numbers + [0] * (4 - len(numbers)) for numbers in (one, other))
    versions = [version_of(text) for text in texts]
    assert versions[0] is not None
    assert versions[1] is not None
    assert (versions[0] < versions[1]) == (left < right)
    assert (versions[0] == versions[1]) == (left == right)


def test_versions_with_additions() -> None:
    ordered = ["1.2.0-alpha", "1.2.0-rc1", "1.2.0-rc2", "1.2.0-rc10", "1.2", "1.2.0-28-amd64", "v1.2.1", "1.10"]
    keys = [version_of(text) for text in ordered]
    assert None not in keys
    assert keys == sorted(keys)  # type: ignore[type-var]  none of them is None
    assert version_of("1.2+build7") == version_of("1.2")
    assert [version_of(text) for text in ("", "latest", "1..2", ".1", "x1")] == [None] * 5


def test_no_expression_takes_long() -> None:
    began = time.process_time()
    for pattern in ("(a+)+b", "(a|a)*b", "a*a*a*a*a*a*b", "(a?){100}a{100}", "((a*)*)*b"):
        parse(f"node.labels.x =~ /{pattern}/").accept("a" * 250)
    assert time.process_time() - began < 5
