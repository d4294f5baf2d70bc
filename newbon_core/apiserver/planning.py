"""What an apply would set in motion: where new instances would go, and which would go away."""

from __future__ import annotations

from collections.abc import Sequence

from newbon_core.apiserver.context import Context
from newbon_core.apiserver.explaining import live_instances, request_for
from newbon_core.client.views import PlannedGroup, PlannedPlacement, PlannedRemoval
from newbon_core.model import Instance, Service
from newbon_core.state.codec import to_builtins

MAX_SHOWN = 10_000


def planned(context: Context, services: Sequence[Service]) -> tuple[list[PlannedGroup], list[PlannedRemoval]]:
    """The new and the leaving instances of services that are created or changed; nothing is reserved.

    Each service is asked about by itself: what two of them would take from each other is not seen.
    """
    groups, removals = [], []
    for service in services:
        live = live_instances(context, service.name)
        outdated = [one for one in live if one.revision != service.revision]
        current = [one for one in live if one.revision == service.revision]
        missing = max(service.replicas - len(current), 0)
        if missing:
            groups.append(_group(context, service, missing))
        reason = f"revision {service.revision} takes the place of revision {{}}"
        removals += [_removal(one, reason.format(one.revision)) for one in outdated]
        excess = sorted(current, key=lambda one: (one.created_at, one.number))[service.replicas :]
        removals += [_removal(one, f"{service.replicas} replicas are wanted; the newest go first") for one in excess]
    return groups, removals


def _group(context: Context, service: Service, count: int) -> PlannedGroup:
    group = context.scheduler.place(request_for(context, service, count))
    placements = [
        PlannedPlacement(node=node, placement=to_builtins(group.placement(i)) if node is not None else None)
        for i, node in enumerate(group.nodes[:MAX_SHOWN])
    ]
    unplaced = any(node is None for node in group.nodes)
    return PlannedGroup(
        service=service.name,
        revision=service.revision,
        count=count,
        placements=placements,
        summary=group.summary() if unplaced else None,
    )


def _removal(instance: Instance, reason: str) -> PlannedRemoval:
    return PlannedRemoval(instance=instance.name, service=instance.service, node=instance.node, reason=reason)
