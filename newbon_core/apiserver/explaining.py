"""Placements, explained: what the scheduler says of every node, as the API shows it."""

from __future__ import annotations

from typing import Any

from newbon_core.apiserver.context import Context
from newbon_core.client.views import ExplainView
from newbon_core.hooks.types import PlacementRequest
from newbon_core.model import FINISHED, ContainerSpec, Instance, Schedule, Service, revision_name, state_of
from newbon_core.state.codec import to_builtins


def explained_service(context: Context, service: Service) -> ExplainView:
    """Where one more instance of a service would go."""
    request = request_for(context, service, 1)
    return _view(context, request, service.name, None)


def explained_instance(context: Context, instance: Instance) -> ExplainView:
    """Why an instance is where it is (its ``placement``), and where it would go now."""
    container, schedule = spec_of(context, instance)
    request = PlacementRequest(
        service=instance.service,
        revision=instance.revision,
        container=container,
        schedule=schedule,
        count=1,
        now=context.now(),
    )
    return _view(context, request, instance.service, instance)


def request_for(context: Context, service: Service, count: int) -> PlacementRequest:
    """A question to the scheduler about new instances of a service as it is given."""
    return PlacementRequest(
        service=service.name,
        revision=service.revision,
        container=service.container,
        schedule=service.schedule,
        count=count,
        now=context.now(),
    )


def spec_of(context: Context, instance: Instance) -> tuple[ContainerSpec, Schedule]:
    """What an instance was made from; of a version that is no longer kept, the defaults."""
    service = context.cache.services.get(instance.service)
    if service is not None and service.value.revision == instance.revision:
        return service.value.container, service.value.schedule
    past = context.cache.revisions.get(revision_name(instance.service, instance.revision))
    if past is not None:
        return past.value.container, past.value.schedule
    return ContainerSpec(image=""), Schedule()


def live_instances(context: Context, service: str) -> list[Instance]:
    """The instances of a service that shall run and have not finished, oldest first."""
    cache = context.cache
    return [
        one
        for one in cache.instances_of(service)
        if one.wanted == "running" and state_of(one, cache.status_of(one)) not in FINISHED
    ]


def _view(context: Context, request: PlacementRequest, service: str, instance: Instance | None) -> ExplainView:
    told = to_builtins(context.scheduler.explain(request))
    nodes: list[Any] = []
    for node in told["nodes"]:
        reasons = [one["reason"] for one in node["filters"] if not one["passed"]]
        nodes.append({"node": node.pop("name"), **node, "reasons": reasons})
    placement = instance.placement if instance is not None else None
    return ExplainView(
        service=service,
        instance=instance.name if instance is not None else None,
        node=instance.node if instance is not None else None,
        waiting=instance.waiting if instance is not None else None,
        placement=to_builtins(placement) if placement is not None else None,
        count=told["count"],
        placed=told["placed"],
        summary=told["summary"],
        rejected=told["rejected"],
        nodes=nodes,
        advice=told["advice"],
        notes=told["notes"],
    )
