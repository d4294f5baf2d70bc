"""Deciding what an apply of documents writes: pure, from the cache to one set of changes and a result per document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from newbon_core.model import Event, Node, Revision, Service, Taint, labels_of
from newbon_core.schema import NodePatch, dump_service
from newbon_core.state.cache import Cache, Stored
from newbon_core.state.changes import Changes

Action = Literal["created", "updated", "unchanged"]


class HasValue(Protocol):
    """What is needed of a document: the model object that it says."""

    @property
    def value(self) -> Service | NodePatch: ...


@dataclass(frozen=True, slots=True)
class Difference:
    """One field in the user's spelling; ``old`` or ``new`` is None where it is absent."""

    path: str
    old: object
    new: object


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What applying one document does. ``value`` is the object as it is then."""

    kind: str
    name: str
    action: Action
    differences: list[Difference]
    value: Service | Node


@dataclass(frozen=True, slots=True)
class ApplyPlan:
    """``changes`` is one unit, to be committed whole; it is empty where nothing changes."""

    changes: Changes
    results: list[ApplyResult] = field(default_factory=list)

    @property
    def services(self) -> list[Service]:
        """The services that are created or changed, as they are then."""
        return [r.value for r in self.results if r.action != "unchanged" and isinstance(r.value, Service)]


class UnknownNode(Exception):
    """A Node document names a node that has never joined; the text is a sentence."""


def plan_apply(cache: Cache, documents: Sequence[HasValue], now: float, who: str) -> ApplyPlan:
    """What has to be written so that everything is as the documents say.

    A changed container or schedule raises the service's revision and writes the version before it as a Revision.
    ``now`` is seconds since the epoch, ``who`` is kept as the author. Raises UnknownNode.
    """
    plan, first = ApplyPlan(Changes()), _First(cache)
    for document in documents:
        value = document.value
        if isinstance(value, Service):
            result = _apply_service(plan.changes, cache, value, first, now, who)
        else:
            result = _apply_node(plan.changes, cache, value, now, who)
        plan.results.append(result)
    return plan


class _First:
    """The number of a new service's first version: higher than any that is still known under its name.

    A service that was deleted and is made again must not take the old one's instances for its own.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._past: dict[str, int] | None = None

    def of(self, service: str) -> int:
        if self._past is None:
            self._past = {}
            for stored in list(self._cache.revisions.values()):
                past = stored.value
                self._past[past.service] = max(past.number, self._past.get(past.service, 0))
        numbers = [instance.revision for instance in self._cache.instances_of(service)]
        return max([*numbers, self._past.get(service, 0)]) + 1


def revision_of(service: Service) -> Revision:
    """The present version of a service as the Revision that is kept when another takes its place."""
    return Revision(
        service=service.name,
        number=service.revision,
        container=service.container,
        schedule=service.schedule,
        created_at=service.updated_at,
        created_by=service.updated_by,
    )


def _apply_service(changes: Changes, cache: Cache, wanted: Service, first: _First, now: float, who: str) -> ApplyResult:
    present = cache.services.get(wanted.name)
    if present is None:
        new = replace(wanted, revision=first.of(wanted.name), created_at=now, updated_at=now, updated_by=who)
        changes.create(new)
        changes.events.append(_service_event(new, "ServiceCreated", f"created with {_replicas(new)} by {who}", now))
        return ApplyResult("Service", new.name, "created", _all_new(dump_service(new)), new)
    old = present.value
    kept = replace(
        wanted,
        revision=old.revision,
        created_at=old.created_at,
        updated_at=old.updated_at,
        updated_by=old.updated_by,
    )
    if kept == old:
        # Committing only while this is still so makes the answer "unchanged" true at the revision it names.
        changes.require(Service, old.name, present)
        return ApplyResult("Service", old.name, "unchanged", [], old)
    if kept.container != old.container or kept.schedule != old.schedule:
        kept = replace(kept, revision=old.revision + 1)
        changes.put(revision_of(old))
    new = replace(kept, updated_at=now, updated_by=who)
    changes.update(new, present)
    found = differences(dump_service(old), dump_service(new))
    changes.events.append(_service_event(new, "ServiceUpdated", _told(old, new, found, who), now))
    return ApplyResult("Service", new.name, "updated", found, new)


def _apply_node(changes: Changes, cache: Cache, patch: NodePatch, now: float, who: str) -> ApplyResult:
    present = cache.nodes.get(patch.name)
    if present is None:
        known = ", ".join(sorted(cache.nodes)[:5]) or "none yet"
        raise UnknownNode(f"there is no node {patch.name!r}: nodes exist once their agent has joined (known: {known})")
    old = present.value
    new = patched(old, labels=patch.labels, taints=patch.taints, cordoned=patch.cordoned)
    return write_node(changes, present, new, now, who)


def patched(
    node: Node,
    *,
    labels: Mapping[str, str] | None = None,
    taints: Sequence[Taint] | None = None,
    cordoned: bool | None = None,
) -> Node:
    """The node with what is given changed; None leaves a field as it is."""
    return replace(
        node,
        labels=node.labels if labels is None else dict(labels),
        taints=node.taints if taints is None else tuple(taints),
        cordoned=node.cordoned if cordoned is None else cordoned,
    )


def write_node(changes: Changes, present: Stored[Node], new: Node, now: float, who: str) -> ApplyResult:
    """Add the change of a node to ``changes``, with an event that says what it was."""
    old = present.value
    if new == old:
        changes.require(Node, old.name, present)
        return ApplyResult("Node", old.name, "unchanged", [], old)
    changes.update(new, present)
    found = differences(_node_document(old), _node_document(new))
    message = f"{', '.join(_sentence(one) for one in found)} by {who}"
    turned = "NodeCordoned" if new.cordoned else "NodeUncordoned"
    reason = turned if old.cordoned != new.cordoned else "NodeChanged"
    changes.events.append(
        Event(time=now, level="info", reason=reason, kind="Node", name=new.name, message=message, node=new.name)
    )
    return ApplyResult("Node", new.name, "updated", found, new)


def _node_document(node: Node) -> dict[str, Any]:
    return {
        "labels": dict(node.labels),
        "taints": [{"key": taint.key, "value": taint.value} for taint in node.taints],
        "cordoned": node.cordoned,
    }


def all_labels(cache: Cache, node: str) -> dict[str, str]:
    """Every label of a node as constraints see them; empty for one that does not exist."""
    stored, status = cache.nodes.get(node), cache.node_statuses.get(node)
    return labels_of(stored.value, status.value if status is not None else None) if stored is not None else {}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Every field that differs: mappings are compared by key, lists of alike length by position."""
    return list(_differences("", old, new))


def _all_new(new: Mapping[str, Any]) -> list[Difference]:
    """``differences({}, new)``."""
    return [Difference(path, None, value) for path, value in new.items() if value is not None]


def _differences(path: str, old: object, new: object) -> Iterator[Difference]:
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(f"{path}.{key}" if path else str(key), old.get(key), new.get(key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for position, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(f"{path}[{position}]", one, other)
    else:
        yield Difference(path, old, new)


def _told(old: Service, new: Service, found: Sequence[Difference], who: str) -> str:
    changed = ", ".join(_sentence(one) for one in found[:5]) or "only in spelling"
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    revision = f"; revision {old.revision} -> {new.revision}" if new.revision != old.revision else ""
    return f"{changed}{more}{revision}, by {who}"


def _sentence(difference: Difference) -> str:
    # Values of the environment may be secrets: events tell that they changed, never what they are.
    if difference.path == "env" or difference.path.startswith("env."):
        return f"{difference.path} changed"
    return f"{difference.path}: {_short(difference.old)} -> {_short(difference.new)}"


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _replicas(service: Service) -> str:
    return "1 replica" if service.replicas == 1 else f"{service.replicas} replicas"


def _service_event(service: Service, reason: str, message: str, now: float) -> Event:
    return Event(
        time=now,
        level="info",
        reason=reason,
        kind="Service",
        name=service.name,
        message=message,
        service=service.name,
    )
