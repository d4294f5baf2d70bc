"""What is kept of the past."""

from __future__ import annotations

from newbon_core.controllers.garbage import plan_events, plan_garbage
from newbon_core.controllers.roster import Roster
from newbon_core.controllers.settings import ControlSettings
from newbon_core.model import Event, EventBatch, InstanceState, NodeState
from newbon_core.state.codec import Object
from newbon_core.testing.builders import make_cache, make_instance, make_node, make_service, make_status

NOW = 100_000.0
SETTINGS = ControlSettings(keep_finished=2, keep_finished_s=100.0, keep_revisions=3, keep_events=4, keep_events_s=50.0)


def finished(number: int, ago_s: float, node: str = "n1") -> list[Object]:
    instance = make_instance(f"web-{number}", node, wanted="stopped", placed_at=NOW - ago_s - 1)
    return [instance, make_status(instance, InstanceState.STOPPED, finished_at=NOW - ago_s)]


def plan(objects: list[Object], *, deleted: bool = False, past: tuple[int, ...] = ()):  # type: ignore[no-untyped-def]
    cache = make_cache(objects)
    roster = Roster("web", past=dict.fromkeys(past))
    for stored in cache.instances.values():
        roster.put(stored.value, cache.status_of(stored.value))
    return plan_garbage(None if deleted else make_service(), roster, cache, NOW, SETTINGS)


def test_the_newest_finished_ones_stay() -> None:
    result = plan(finished(1, 30) + finished(2, 20) + finished(3, 10))
    assert result.instances == ["web-1"]
    assert result.wake_at == NOW - 20 + 100


def test_old_ones_go_however_few_they_are() -> None:
    assert plan(finished(1, 100) + finished(2, 20)).instances == ["web-1"]


def test_what_has_not_reported_its_end_stays_though_its_service_is_deleted() -> None:
    leaving = make_instance("web-1", wanted="stopped")
    assert not plan([leaving, make_status(leaving)], deleted=True).instances


def test_without_its_service_all_that_is_finished_goes() -> None:
    assert plan(finished(1, 1), deleted=True).instances == ["web-1"]


def test_a_lost_one_is_forgotten_only_while_its_node_is_out_of_reach() -> None:
    lost = make_instance("web-1", wanted="lost")
    away = [lost, make_status(lost), make_node(state=NodeState.LOST)]
    back = [lost, make_status(lost), make_node(state=NodeState.READY)]
    assert plan(away, deleted=True).instances == ["web-1"]
    assert not plan(back, deleted=True).instances


def test_an_agents_wrong_clock_keeps_nothing_for_ever() -> None:
    ahead = make_instance("web-1", wanted="stopped", placed_at=NOW - 500)
    result = plan([ahead, make_status(ahead, InstanceState.STOPPED, finished_at=NOW + 1e6), *finished(2, 5)])
    assert result.wake_at is not None
    assert result.wake_at <= NOW + 100


def test_the_newest_revisions_stay_and_any_that_is_in_use() -> None:
    assert plan([make_instance("web-1", revision=2)], past=(1, 2, 3, 4, 5, 6)).revisions == [1, 3]


def test_events_go_by_age_and_by_number() -> None:
    def batch(at: float, count: int) -> EventBatch:
        event = Event(time=at, level="info", reason="R", kind="Service", name="web", message="m")
        return EventBatch(name=f"{int(at * 1e6):018d}-x", events=(event,) * count)

    batches = [batch(NOW - 60, 1), batch(NOW - 40, 2), batch(NOW - 30, 2), batch(NOW - 20, 2)]
    gone = plan_events(make_cache(batches), NOW, SETTINGS)
    assert sorted(gone) == [batches[0].name, batches[1].name]
