"""Objects of the cache as the API shows them: plain dicts of the shapes in ``newbon_core.client.views``."""

from __future__ import annotations

from typing import cast

from newbon_core.client.views import (
    EventView,
    InstanceView,
    NodeUsage,
    NodeView,
    RevisionView,
    ServiceView,
    TokenView,
    Usage,
)
from newbon_core.model import (
    FINISHED,
    Event,
    Instance,
    InstanceState,
    Node,
    Resources,
    Revision,
    Service,
    Token,
    labels_of,
    revision_name,
    state_of,
)
from newbon_core.schema.dump import dump_service
from newbon_core.state import Cache
from newbon_core.state.apply import revision_of
from newbon_core.state.codec import to_builtins
from newbon_core.state.fleet import Fleet


def service_view(cache: Cache, service: Service) -> ServiceView:
    """A service with how many of its instances run."""
    running = sum(
        state_of(instance, cache.status_of(instance)) is InstanceState.RUNNING
        for instance in cache.instances_of(service.name)
    )
    return ServiceView(
        name=service.name,
        labels=dict(service.labels),
        replicas=service.replicas,
        running=running,
        revision=service.revision,
        image=service.container.image,
        created_at=service.created_at,
        updated_at=service.updated_at,
        updated_by=service.updated_by,
        spec=dump_service(service),
    )


def instance_view(cache: Cache, fleet: Fleet, instance: Instance, now: float) -> InstanceView:
    """An instance with what its agent told and measured."""
    status = cache.status_of(instance)
    service = cache.services.get(instance.service)
    return InstanceView(
        name=instance.name,
        uid=instance.uid,
        service=instance.service,
        revision=instance.revision,
        state=state_of(instance, status).value,
        wanted=instance.wanted,
        node=instance.node,
        address=status.address if status is not None else None,
        host_ports=dict(status.host_ports) if status is not None else {},
        message=status.message if status is not None else "",
        created_at=instance.created_at,
        placed_at=instance.placed_at,
        started_at=status.started_at if status is not None else None,
        finished_at=status.finished_at if status is not None else None,
        exit_code=status.exit_code if status is not None else None,
        oom_killed=status.oom_killed if status is not None else False,
        container_id=status.container_id if status is not None else None,
        image_id=status.image_id if status is not None else None,
        placement=to_builtins(instance.placement) if instance.placement is not None else None,
        waiting=instance.waiting,
        reason=instance.reason,
        failures=instance.failures,
        usage=_usage(fleet, instance.uid, now),
        labels=dict(service.value.labels) if service is not None else {},
    )


def _usage(fleet: Fleet, uid: str, now: float) -> Usage | None:
    sample = fleet.samples.container(uid, now)
    if sample is None:
        return None
    return Usage(
        cpu_cores=sample.cpu_cores,
        memory_bytes=sample.memory_bytes,
        receive_bytes_s=sample.receive_bytes_s,
        transmit_bytes_s=sample.transmit_bytes_s,
        pids=sample.pids,
        time=sample.time,
    )


def node_view(cache: Cache, fleet: Fleet, node: Node) -> NodeView:
    """A node with what is free on it: its size less what its unfinished instances reserve."""
    stored = cache.node_statuses.get(node.name)
    status = stored.value if stored is not None else None
    live = [one for one in cache.instances_on(node.name) if state_of(one, cache.status_of(one)) not in FINISHED]
    reserved = [_resources(cache, instance) for instance in live]
    cpu = status.cpu_millis if status is not None else 0
    memory = status.memory_bytes if status is not None else 0
    host = fleet.samples.host(node.name)
    return NodeView(
        name=node.name,
        state=node.state.value,
        state_since=node.state_since,
        state_reason=node.state_reason,
        cordoned=node.cordoned,
        labels=labels_of(node, status),
        own_labels=dict(node.labels),
        taints=[{"key": taint.key, "value": taint.value} for taint in node.taints],
        cpu_millis=cpu,
        cpu_free_millis=cpu - sum(one.cpu_millis for one in reserved),
        memory_bytes=memory,
        memory_free_bytes=memory - sum(one.memory_bytes for one in reserved),
        countable=dict(status.countable) if status is not None else {},
        instances=len(live),
        address=status.address if status is not None else "",
        last_heard=fleet.last_heard.get(node.name),
        runtimes=dict(status.runtimes) if status is not None else {},
        agent_version=status.agent_version if status is not None else "",
        created_at=node.created_at,
        usage=cast(NodeUsage, to_builtins(host)) if host is not None else None,
    )


def _resources(cache: Cache, instance: Instance) -> Resources:
    service = cache.services.get(instance.service)
    if service is not None and service.value.revision == instance.revision:
        return service.value.container.resources
    past = cache.revisions.get(revision_name(instance.service, instance.revision))
    return past.value.container.resources if past is not None else Resources()


def past_view(revision: Revision) -> RevisionView:
    """A past version of a service."""
    return _revision_view(revision, current=False)


def present_view(service: Service) -> RevisionView:
    """The version of a service that is wanted now."""
    return _revision_view(revision_of(service), current=True)


def _revision_view(revision: Revision, *, current: bool) -> RevisionView:
    spelt = Service(name=revision.service, container=revision.container, schedule=revision.schedule)
    return RevisionView(
        name=revision.name,
        service=revision.service,
        number=revision.number,
        image=revision.container.image,
        created_at=revision.created_at,
        created_by=revision.created_by,
        current=current,
        spec=dump_service(spelt),
    )


def event_view(event: Event) -> EventView:
    """An event."""
    return EventView(
        time=event.time,
        level=event.level,
        reason=event.reason,
        kind=event.kind,
        name=event.name,
        message=event.message,
        node=event.node,
        service=event.service,
    )


def token_view(token: Token) -> TokenView:
    """A token without its digest."""
    return TokenView(
        name=token.name,
        role=token.role,
        node=token.node,
        description=token.description,
        created_at=token.created_at,
        expires_at=token.expires_at,
    )
