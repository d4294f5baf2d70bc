"""Deciding what an apply writes: revisions, differences, authors, and what stays untouched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from newbon_core.model import ContainerSpec, Instance, Node, Resources, Revision, Schedule, Service, Taint
from newbon_core.schema import NodePatch
from newbon_core.state import Cache, Changes, commit_atomic
from newbon_core.state.apply import ApplyPlan, UnknownNode, differences, plan_apply
from newbon_core.state.codec import ROOT, Object
from newbon_core.testing.memory_store import MemoryStore


@dataclass
class Document:
    value: Service | NodePatch


class Site:
    """A store, its cache, and applying at a time that the test sets."""

    def __init__(self) -> None:
        self.store, self.cache = MemoryStore(), Cache()
        self._watch = self.store.watch(ROOT, 1)
        self.now = 100.0

    def put(self, *objects: Object) -> None:
        changes = Changes()
        for one in objects:
            changes.put(one)
        self.commit(changes)

    def commit(self, changes: Changes) -> bool:
        done = commit_atomic(self.store, changes)
        while (batch := self._watch.poll(0)) is not None:
            self.cache.apply(batch)
        return done.succeeded

    def plan(self, *values: Service | NodePatch) -> ApplyPlan:
        return plan_apply(self.cache, [Document(value) for value in values], self.now, "ann")

    def apply(self, *values: Service | NodePatch) -> ApplyPlan:
        plan = self.plan(*values)
        if plan.changes:
            assert self.commit(plan.changes)
        return plan

    def service(self, name: str = "web") -> Service:
        return self.cache.services[name].value


def web(image: str = "shop/web:1", name: str = "web", **more: Any) -> Service:
    return Service(name=name, container=ContainerSpec(image=image), **more)


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_new_service_begins_at_revision_one_with_its_author(site: Site) -> None:
    plan = site.apply(web(replicas=3))
    made = site.service()
    assert (made.revision, made.created_at, made.updated_at, made.updated_by) == (1, 100.0, 100.0, "ann")
    assert plan.results[0].action == "created"
    assert [event.reason for event in plan.changes.events] == ["ServiceCreated"]


def test_what_is_so_already_writes_nothing(site: Site) -> None:
    site.apply(web())
    plan = site.plan(web())
    assert not plan.changes
    assert (plan.results[0].action, plan.results[0].differences) == ("unchanged", [])
    assert plan.services == []


@pytest.mark.parametrize(
    ("change", "revision"),
    [
        ({"replicas": 5}, 1),
        ({"labels": {"a": "b"}}, 1),
        ({"schedule": Schedule(priority=70)}, 2),
        ({"container": ContainerSpec(image="shop/web:2")}, 2),
        ({"container": ContainerSpec(image="shop/web:1", env={"A": "b"})}, 2),
    ],
)
def test_only_container_and_schedule_make_a_revision(site: Site, change: dict[str, Any], revision: int) -> None:
    site.apply(web())
    site.now = 200.0
    site.apply(replace(web(), **change))
    assert site.service().revision == revision
    assert site.service().updated_at == 200.0
    assert site.service().created_at == 100.0
    assert len(site.cache.revisions) == revision - 1


def test_the_version_before_is_kept_as_it_was(site: Site) -> None:
    site.apply(web("shop/web:1"))
    site.now = 200.0
    site.apply(web("shop/web:2"))
    kept = site.cache.revisions["web/000001"].value
    assert kept == Revision(
        service="web",
        number=1,
        container=ContainerSpec(image="shop/web:1"),
        schedule=Schedule(),
        created_at=100.0,
        created_by="ann",
    )


def test_going_back_to_an_old_version_is_a_new_revision(site: Site) -> None:
    for image in ("a", "b", "a"):
        site.apply(web(image))
    assert site.service().revision == 3


def test_a_name_used_again_counts_on(site: Site) -> None:
    site.put(Instance(name="web-1", uid="u", service="web", number=1, revision=4))
    site.apply(web())
    assert site.service().revision == 5


def test_many_documents_are_one_unit_that_fails_whole(site: Site) -> None:
    site.apply(web(name="a"), web(name="b"))
    plan = site.plan(web("new", name="a"), web("new", name="b"), web(name="c"))
    site.put(replace(site.service("b"), replicas=9))
    assert not site.commit(plan.changes)
    assert site.service("a").container.image == "shop/web:1"
    assert "c" not in site.cache.services


def test_a_node_is_changed_only_in_what_its_document_names(site: Site) -> None:
    site.put(Node(name="n1", labels={"a": "1"}, taints=(Taint(key="t"),)))
    site.apply(NodePatch(name="n1", cordoned=True))
    assert site.cache.nodes["n1"].value == Node(name="n1", labels={"a": "1"}, taints=(Taint(key="t"),), cordoned=True)
    plan = site.apply(NodePatch(name="n1", labels={"b": "2"}))
    assert site.cache.nodes["n1"].value.labels == {"b": "2"}
    assert {one.path for one in plan.results[0].differences} == {"labels.a", "labels.b"}
    assert site.plan(NodePatch(name="n1", cordoned=True)).results[0].action == "unchanged"


def test_a_node_that_never_joined_is_an_error_that_names_those_that_did(site: Site) -> None:
    site.put(Node(name="n1"))
    with pytest.raises(UnknownNode, match=r"no node 'n9'.*n1"):
        site.plan(NodePatch(name="n9", cordoned=True))


def test_differences_are_in_the_users_spelling(site: Site) -> None:
    site.apply(web())
    container = ContainerSpec(image="shop/web:1", resources=Resources(cpu_millis=500))
    found = site.plan(replace(web(), container=container)).results[0].differences
    assert [(one.path, one.old) for one in found] == [("resources", None)]


def test_events_never_hold_values_of_the_environment(site: Site) -> None:
    site.apply(replace(web(), container=ContainerSpec(image="x", env={"PASSWORD": "old-secret"})))
    plan = site.plan(replace(web(), container=ContainerSpec(image="x", env={"PASSWORD": "new-secret"})))
    text = plan.changes.events[0].message
    assert "env.PASSWORD" in text
    assert "secret" not in text


documents = st.recursive(
    st.none() | st.integers(0, 3) | st.sampled_from(["a", "b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y", "z"]), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.sampled_from(["x", "y", "z"]), documents, max_size=3)


@settings(max_examples=150, deadline=None)
@given(old=mappings, new=mappings)
def test_differences_are_there_exactly_when_something_differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    found = differences(old, new)
    told = {key: value for key, value in old.items() if value is not None}
    wanted = {key: value for key, value in new.items() if value is not None}
    if found:
        assert old != new
    elif not _has_none(old) and not _has_none(new):
        assert told == wanted
    assert all(one.old != one.new for one in found)
    assert len({one.path for one in found}) == len(found)


def _has_none(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_none(one) for one in value.values())
    return any(_has_none(one) for one in value) if isinstance(value, list) else value is None
