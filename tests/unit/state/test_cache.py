"""The cache is what the store says, at a known revision, with its indexes right, whatever the watch brings."""

from __future__ import annotations

import contextlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newbon_core.model import Instance, InstanceState, Service
from newbon_core.state.cache import Cache, ListenerFailed, ObjectChange
from newbon_core.state.codec import decode, encode, from_builtins, key_for, key_of, parse_key, to_builtins
from newbon_core.store.base import Change, KeyValue, WatchBatch
from newbon_core.testing.builders import make_cache, make_instance, make_node, make_service, make_status


def put(value, revision: int) -> Change:  # type: ignore[no-untyped-def]
    return Change(key_for(value), encode(value), revision, revision)


def delete(kind, name: str, revision: int) -> Change:  # type: ignore[no-untyped-def]
    return Change(key_of(kind, name), None, 1, revision)


def test_a_change_is_seen_with_what_was_before() -> None:
    cache = make_cache([make_service(replicas=1)])
    changes = cache.apply(WatchBatch([put(make_service(replicas=2), 5)], 5))
    assert [(c.old.replicas, c.new.replicas, c.revision) for c in changes] == [(1, 2, 5)]  # type: ignore[union-attr]
    assert cache.services["web"].revision == 5
    assert cache.revision == 5


def test_what_is_known_already_is_not_told_again() -> None:
    cache = make_cache([make_service()], revision=7)
    assert cache.apply(WatchBatch([put(make_service(replicas=9), 6)], 7)) == []
    assert cache.services["web"].value.replicas == 1


def test_a_status_of_an_earlier_uid_is_none() -> None:
    instance = make_instance()
    cache = make_cache([instance, make_status(make_instance(uid="earlier"))])
    assert cache.status_of(instance) is None


def test_indexes_follow_instances() -> None:
    cache = make_cache([make_instance("web-1", None), make_instance("web-2", "n1"), make_instance("db-1", "n1")])
    assert [one.name for one in cache.instances_on("n1")] == ["web-2", "db-1"]
    cache.apply(WatchBatch([put(make_instance("web-1", "n1"), 2), delete(Instance, "db-1", 3)], 3))
    assert {one.name for one in cache.instances_on("n1")} == {"web-1", "web-2"}
    assert {one.name for one in cache.instances_of("web")} == {"web-1", "web-2"}
    assert cache.instances_of("db") == []


def test_a_listener_that_fails_keeps_the_batch_from_nobody_and_is_told_of_it_once_more() -> None:
    cache, told, broken = make_cache([]), [], [True]
    heard: list[list[str]] = []

    def fails(changes: list[ObjectChange], revision: int) -> None:
        if broken[0]:
            raise RuntimeError(f"no room at {revision}")
        heard.append([change.name for change in changes])

    cache.subscribe(fails)
    cache.subscribe(lambda changes, revision: told.append((len(changes), revision)))
    with pytest.raises(ListenerFailed, match="fails: RuntimeError: no room at 5"):
        cache.apply(WatchBatch([put(make_service("a"), 5)], 5))
    assert (told, cache.revision) == ([(1, 5)], 5)
    broken[0] = False
    cache.apply(WatchBatch([put(make_service("b"), 6)], 6))
    cache.apply(WatchBatch([put(make_service("c"), 7)], 7))
    assert heard == [["a", "b"], ["c"]]


def test_what_a_listener_cannot_take_twice_is_dropped() -> None:
    cache = make_cache([])
    heard: list[list[str]] = []

    def fails_on_a(changes: list[ObjectChange], revision: int) -> None:
        if any(change.name == "a" for change in changes):
            raise RuntimeError
        heard.append([change.name for change in changes])

    cache.subscribe(fails_on_a)
    for revision, name in enumerate("abc", 5):
        with contextlib.suppress(ListenerFailed):
            cache.apply(WatchBatch([put(make_service(name), revision)], revision))
    assert heard == [["c"]]


def test_a_reset_drops_what_is_not_in_it() -> None:
    cache = make_cache([make_service("a"), make_service("b"), make_instance("a-1")])
    changes = cache.apply(WatchBatch([put(make_service("b", replicas=3), 9)], 10, reset=True))
    assert {(c.name, c.new is None) for c in changes} == {("b", False), ("a", True), ("a-1", True)}
    assert set(cache.services) == {"b"}
    assert cache.instances_on("n1") == []


def test_what_cannot_be_read_is_named_and_absent_and_comes_back_when_mended() -> None:
    cache = make_cache([make_service()])
    cache.apply(WatchBatch([Change("/newbon/services/web", b'{"name": 3}', 1, 2)], 2))
    assert "web" not in cache.services
    assert "/newbon/services/web" in cache.undecodable
    cache.apply(WatchBatch([put(make_service(), 3)], 3))
    assert "web" in cache.services
    assert not cache.undecodable


def test_fields_of_a_newer_version_and_keys_of_others_are_passed_over() -> None:
    cache = Cache()
    value = encode(make_service())[:-1] + b',"from_the_future":1}'
    cache.load([KeyValue("/newbon/services/web", value, 1, 1), KeyValue("/newbon/journal/x/part/0", b"?", 1, 1)], 1)
    assert cache.services["web"].value == make_service()
    assert not cache.undecodable


def test_listeners_hear_every_batch_until_they_leave() -> None:
    cache = Cache()
    heard: list[tuple[int, int]] = []

    def listen(changes: list[ObjectChange], revision: int) -> None:
        heard.append((len(changes), revision))

    leave = cache.subscribe(listen)
    cache.apply(WatchBatch([put(make_node(), 1)], 1))
    cache.apply(WatchBatch([], 4))
    leave()
    cache.apply(WatchBatch([put(make_node("n2"), 5)], 5))
    assert heard == [(1, 1), (0, 4)]


def test_one_can_wait_for_a_revision() -> None:
    cache = Cache()
    assert not cache.wait_for(3, timeout_s=0.01)
    feeder = threading.Timer(0.02, lambda: cache.apply(WatchBatch([], 3)))
    feeder.start()
    assert cache.wait_for(3, timeout_s=5)
    feeder.join()


def test_keys_are_taken_apart() -> None:
    assert parse_key("/newbon/revisions/web/000003").name == "web/000003"  # type: ignore[union-attr]
    assert parse_key("/newbon/services/") is None
    assert parse_key("/newbon/journal/x") is None
    assert parse_key("/other/services/web") is None


NAMES = st.sampled_from(["web-1", "web-2", "db-1"])
STEPS = st.lists(st.tuples(NAMES, st.sampled_from(["n1", "n2", None, "delete"])), max_size=30)


@given(STEPS, st.integers(1, 5))
def test_however_it_is_fed_it_ends_as_the_last_state(steps: list[tuple[str, str | None]], batch: int) -> None:
    changes: list[Change] = []
    truth: dict[str, Instance] = {}
    for revision, (name, what) in enumerate(steps, start=1):
        if what == "delete":
            changes.append(delete(Instance, name, revision))
            truth.pop(name, None)
        else:
            truth[name] = make_instance(name, what)
            changes.append(put(truth[name], revision))
    cache = Cache()
    for first in range(0, len(changes), batch):
        part = changes[first : first + batch]
        cache.apply(WatchBatch(part, part[-1].revision))
    assert {name: stored.value for name, stored in cache.instances.items()} == truth
    for node in ("n1", "n2"):
        assert {one.name for one in cache.instances_on(node)} == {n for n, i in truth.items() if i.node == node}
    for service in ("web", "db"):
        assert {one.name for one in cache.instances_of(service)} == {
            name for name, one in truth.items() if one.service == service
        }


@given(st.text(min_size=1), st.integers(0, 10**6), st.dictionaries(st.text(), st.text(), max_size=3))
def test_objects_survive_being_written_and_read(name: str, replicas: int, labels: dict[str, str]) -> None:
    service = make_service(name, replicas, labels=labels)
    assert decode(Service, "k", encode(service)) == service
    assert from_builtins(Service, to_builtins(service)) == service
    status = make_status(make_instance(), InstanceState.FAILED, exit_code=3, host_ports={"http": 8080})
    assert decode(type(status), "k", encode(status)) == status
