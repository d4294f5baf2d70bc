"""Watched lists: what is there, then every change; resuming; and what happens to those who are too slow or too late."""

from __future__ import annotations

from typing import Any

import pytest
from api_builders import Api
from hypothesis import given, settings
from hypothesis import strategies as st

from newbon_core.apiserver import sse
from newbon_core.apiserver.feed import ChangeFeed
from newbon_core.model import Instance, InstanceState, Service
from newbon_core.state import Changes, commit_atomic


@pytest.fixture(autouse=True)
def no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for: a heartbeat comes when there is nothing else."""
    from newbon_core.apiserver.sources import Nodes, Services

    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.05)
    monkeypatch.setattr(Services, "pace_s", 0.0)
    monkeypatch.setattr(Nodes, "pace_s", 0.0)


def delete(api: Api, instance: Instance) -> None:
    changes = Changes()
    changes.delete(Instance, instance.name, None)
    commit_atomic(api.store, changes)


def test_a_watch_begins_with_what_is_there_and_follows(api: Api) -> None:
    api.instance(1)
    events = api.watch("/v1/instances?watch=true")
    assert events.names(2) == [("put", "web-1"), ("synced", "")]
    gone = api.instance(2)
    assert events.names(1) == [("put", "web-2")]
    delete(api, gone)
    assert events.names(1) == [("deleted", "web-2")]


def test_the_id_of_every_event_is_where_to_resume(api: Api) -> None:
    events = api.watch("/v1/instances?watch=true")
    events.until_synced()
    api.instance(1)
    _, _, revision = events.next()
    events.close()
    api.instance(2)
    delete(api, api.instance(3))
    resumed = api.watch(f"/v1/instances?watch=true&revision={revision}")
    assert resumed.names(3) == [("put", "web-2"), ("deleted", "web-3"), ("synced", "")]
    by_header = api.watch("/v1/instances?watch=true", headers={"Last-Event-ID": revision})
    assert by_header.names(3) == [("put", "web-2"), ("deleted", "web-3"), ("synced", "")]


def test_a_list_tells_where_to_watch_from(api: Api) -> None:
    api.instance(1)
    listed: Any = api.get("/v1/instances").json
    api.instance(2)
    events = api.watch(f"/v1/instances?watch=true&revision={listed['revision']}")
    assert events.names(1) == [("put", "web-2")]


def test_a_revision_that_is_no_longer_kept_begins_anew(api: Api) -> None:
    api.context.feed = ChangeFeed(api.cache, history=3)
    for number in range(1, 9):
        api.instance(number)
    events = api.watch("/v1/instances?watch=true&revision=2")
    assert events.next()[0] == "reset"
    items, _ = events.until_synced()
    assert len(items) == 8


def test_a_revision_of_the_future_begins_anew(api: Api) -> None:
    api.instance(1)
    events = api.watch("/v1/instances?watch=true&revision=99999")
    assert events.names(3) == [("reset", ""), ("put", "web-1"), ("synced", "")]


def test_who_reads_too_slowly_is_told_to_begin_anew(api: Api) -> None:
    api.context.feed = ChangeFeed(api.cache, backlog=10)
    events = api.watch("/v1/instances?watch=true")
    events.until_synced()
    for number in range(1, 30):
        api.instance(number)
    assert events.rest()[-1] == "reset"


def test_what_no_longer_matches_is_told_as_gone(api: Api) -> None:
    api.service("web", labels={"tier": "web"})
    events = api.watch("/v1/services?watch=true&selector=tier=web")
    events.until_synced()
    api.service("web", labels={"tier": "db"})
    assert events.names(1) == [("deleted", "web")]
    api.service("web", labels={"tier": "web"})
    assert events.names(1) == [("put", "web")]


def test_instances_follow_the_labels_of_their_service(api: Api) -> None:
    api.service("web")
    api.instance(1)
    events = api.watch("/v1/instances?watch=true&selector=tier=web")
    assert events.until_synced()[0] == []
    api.service("web", labels={"tier": "web"})
    assert events.names(1) == [("put", "web-1")]


def test_a_service_is_told_again_when_its_instances_run(api: Api) -> None:
    api.service("web")
    instance = api.instance(1)
    events = api.watch("/v1/services?watch=true")
    events.until_synced()
    api.status(instance, InstanceState.RUNNING)
    _, item, _ = events.next()
    assert item["running"] == 1


def test_a_node_is_told_again_when_its_free_room_changes(api: Api) -> None:
    api.node("n1")
    events = api.watch("/v1/nodes?watch=true")
    events.until_synced()
    instance = api.instance(1)
    assert events.next()[1]["instances"] == 1
    delete(api, instance)
    assert events.next()[1]["instances"] == 0


def test_events_and_revisions_are_watched_too(api: Api) -> None:
    events, revisions = api.watch("/v1/events?watch=true"), api.watch("/v1/revisions?watch=true&service=web")
    events.until_synced()
    revisions.until_synced()
    api.ask("PUT", "/v1/services/web", {"image": "x"})
    assert events.next()[1]["reason"] == "ServiceCreated"
    assert revisions.next()[1]["number"] == 1
    api.ask("PUT", "/v1/services/web", {"image": "y"})
    assert {revisions.next()[1]["number"] for _ in range(2)} == {1, 2}


def test_a_watch_ends_with_its_token(api: Api) -> None:
    token = api.token("viewer")
    events = api.watch("/v1/instances?watch=true", token=token)
    events.until_synced()
    api.ask("DELETE", f"/v1/tokens/{token.partition('.')[0]}")
    with pytest.raises(StopIteration):
        events.next()


def test_too_many_watches_are_refused(api: Api) -> None:
    api.context.limits = type(api.context.limits)(watches=2)
    open_ones = [api.watch("/v1/services?watch=true") for _ in range(2)]
    for one in open_ones:
        one.until_synced()
    assert api.get("/v1/services?watch=true").status_code == 429
    open_ones[0].close()
    assert api.get("/v1/services?watch=true").status_code == 200


def test_a_closed_watch_leaves_nothing_behind(api: Api) -> None:
    events = api.watch("/v1/services?watch=true")
    events.until_synced()
    events.close()
    assert not any(api.feed._by_kind.values())


def test_a_server_that_stops_ends_its_watches(api: Api) -> None:
    events = api.watch("/v1/services?watch=true")
    events.until_synced()
    api.feed.close()
    with pytest.raises(StopIteration):
        events.next()


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["put", "delete", "read", "reconnect"]), st.integers(1, 5)), max_size=30)
)
def test_whatever_happens_the_watcher_knows_in_the_end_what_is_there(steps: list[tuple[str, int]]) -> None:
    api = Api()
    known: dict[str, Any] = {}
    events = api.watch("/v1/services?watch=true")
    revision = ""

    def take() -> None:
        nonlocal revision
        event, data, number = events.next()
        if event == "put":
            known[data["name"]] = data["replicas"]
        elif event == "deleted":
            known.pop(data["name"], None)
        elif event == "reset":
            known.clear()
        revision = number or revision

    while not revision:
        take()
    for number, (step, which) in enumerate(steps):
        name = f"s{which}"
        if step == "put":
            api.service(name, replicas=number)
        elif step == "delete":
            changes = Changes()
            changes.delete(Service, name, None)
            commit_atomic(api.store, changes)
        elif step == "read" and len(known) != len(api.cache.services):
            take()
        elif step == "reconnect":
            events.close()
            events = api.watch("/v1/services?watch=true", headers={"Last-Event-ID": revision})
            _until_synced(events, take)
    events.close()
    events = api.watch("/v1/services?watch=true", headers={"Last-Event-ID": revision})
    _until_synced(events, take)
    assert known == {name: stored.value.replicas for name, stored in api.cache.services.items()}


def _until_synced(events: Any, take: Any) -> None:
    synced = False
    original = events.next

    def noting() -> Any:
        nonlocal synced
        found = original()
        synced = synced or found[0] == "synced"
        return found

    events.next = noting
    while not synced:
        take()
    events.next = original
