"""Instances: list, show, explain, end; their logs, and commands in them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from flask import Response
from flask import request as http_request
from marshmallow import Schema, fields, validate

from newbon_core.apiserver.auth import allow, identity
from newbon_core.apiserver.context import Context, context
from newbon_core.apiserver.describing import Blueprint, statuses
from newbon_core.apiserver.edits import check_match, commit, tag
from newbon_core.apiserver.errors import Problem
from newbon_core.apiserver.explaining import explained_instance
from newbon_core.apiserver.lists import SelectQuery, answer, both, equal_match, label_match, list_or_watch
from newbon_core.apiserver.peer import LOOK_S, gone
from newbon_core.apiserver.sources import Instances
from newbon_core.apiserver.streams import Stream
from newbon_core.apiserver.typed import page_of, schema_of
from newbon_core.apiserver.views import instance_view
from newbon_core.client.views import ExplainView, InstanceView, StreamView
from newbon_core.model import Event, Instance, InstanceState, state_of
from newbon_core.model.wire import StreamRequest
from newbon_core.schema.problems import nearest
from newbon_core.state import Changes, Stored

blueprint = Blueprint("instances", "What runs.")
IF_MATCH = [{"in": "header", "name": "If-Match", "schema": {"type": "string"}}]
FIRST_BYTE_WITHIN_S = 12.0


class InstancesQuery(SelectQuery):
    """Which instances."""

    service = fields.String(metadata={"description": "Only those of this service."})
    node = fields.String(metadata={"description": "Only those on this node."})


class LogsQuery(Schema):
    """Which part of a log."""

    follow = fields.Boolean(load_default=False, metadata={"description": "Stay and send what comes."})
    tail = fields.Integer(validate=validate.Range(0, 1_000_000), metadata={"description": "Only the last lines."})
    since = fields.Float(
        validate=validate.Range(0, 1e12), metadata={"description": "Only from this time on (seconds since the epoch)."}
    )
    timestamps = fields.Boolean(load_default=False, metadata={"description": "Begin every line with its time."})


class ExecSchema(Schema):
    """A command and its terminal."""

    command = fields.List(
        fields.String(validate=validate.Length(max=100_000)), required=True, validate=validate.Length(1, 1000)
    )
    tty = fields.Boolean(load_default=False)
    stdin = fields.Boolean(load_default=False)
    rows = fields.Integer(load_default=24, strict=True, validate=validate.Range(1, 10_000))
    columns = fields.Integer(load_default=80, strict=True, validate=validate.Range(1, 10_000))


def find_instance(name: str) -> Stored[Instance]:
    """An instance of the cache. Raises Problem 404 with the nearest name."""
    cache = context().cache
    stored = cache.instances.get(name)
    if stored is None:
        siblings = [one.name for one in cache.instances_of(name.rpartition("-")[0])]
        near = nearest(name, siblings or list(cache.instances)[:5000])
        raise Problem(404, f"there is no instance {name[:100]}" + (f"; did you mean {near}?" if near else ""))
    return stored


@blueprint.route("/v1/instances")
@allow("viewer")
@blueprint.arguments(InstancesQuery, location="query")
@blueprint.response(200, page_of(InstanceView))
@blueprint.alt_response(200, schema={"type": "string"}, content_type="text/event-stream", success=True)
def list_instances(query: Mapping[str, Any]) -> Response:
    """List or watch instances; the selector is over the labels of their services"""
    match = both(label_match(query.get("selector")), equal_match(node=query.get("node")))
    return list_or_watch(Instances(context(), query.get("service")), query, match)


@blueprint.route("/v1/instances/<name>")
@allow("viewer")
@statuses(404)
@blueprint.response(200, schema_of(InstanceView))
def get_instance(name: str) -> Response:
    """Show an instance"""
    stored = find_instance(name)
    here = context()
    view = instance_view(here.cache, here.fleet, stored.value, here.now())
    return answer(view, headers={"ETag": tag(stored.revision)})


@blueprint.route("/v1/instances/<name>", methods=["DELETE"])
@allow("admin")
@statuses(404, 409, 412)
@blueprint.doc(parameters=IF_MATCH)
@blueprint.response(204)
def delete_instance(name: str) -> Response:
    """Stop an instance; its service gets another in its place"""

    def decide() -> tuple[Changes, None]:
        stored = find_instance(name)
        check_match(stored)
        changes = Changes()
        old = stored.value
        if old.wanted == "running":
            who = identity().who
            changes.update(replace(old, wanted="stopped", reason=f"deleted by {who}"), stored)
            changes.events.append(
                Event(
                    time=context().now(),
                    level="info",
                    reason="InstanceDeleted",
                    kind="Instance",
                    name=name,
                    message=f"stopped by {who}; another takes its place",
                    node=old.node,
                    service=old.service,
                )
            )
        return changes, None

    commit(decide)
    return Response(status=204)


@blueprint.route("/v1/instances/<name>/explain")
@allow("viewer")
@statuses(404)
@blueprint.response(200, schema_of(ExplainView))
def explain_instance(name: str) -> Response:
    """Tell why an instance is where it is, and what every node is to it now"""
    return answer(explained_instance(context(), find_instance(name).value))


@blueprint.route("/v1/instances/<name>/logs")
@allow("viewer")
@statuses(404, 409, 410)
@blueprint.arguments(LogsQuery, location="query")
@blueprint.response(
    200,
    {"type": "string", "format": "binary"},
    content_type="application/octet-stream",
    headers={"X-Newbon-Stream": {"schema": {"type": "string"}, "description": "Ask /v1/streams/{id} how it ended."}},
)
def get_logs(query: Mapping[str, Any], name: str) -> Response:
    """Read the output of an instance's container"""

    def request(stream_id: str) -> StreamRequest:
        return StreamRequest(
            id=stream_id,
            kind="logs",
            instance=name,
            uid=instance.uid,
            follow=query["follow"],
            tail=query.get("tail"),
            since=query.get("since"),
            timestamps=query["timestamps"],
        )

    instance = find_instance(name).value
    stream = _open(instance, request)
    return carried(context(), stream)


@blueprint.route("/v1/instances/<name>/exec", methods=["POST"])
@statuses(404, 409, 410)
@blueprint.arguments(ExecSchema)
@blueprint.response(201, schema_of(StreamView))
def exec_instance(body: Mapping[str, Any], name: str) -> Response:
    """Run a command in an instance; its streams are under /v1/streams/{id}"""

    def request(stream_id: str) -> StreamRequest:
        return StreamRequest(
            id=stream_id,
            kind="exec",
            instance=name,
            uid=instance.uid,
            command=tuple(body["command"]),
            tty=body["tty"],
            stdin=body["stdin"],
            rows=body["rows"],
            columns=body["columns"],
        )

    instance = find_instance(name).value
    state = state_of(instance, context().cache.status_of(instance))
    if state is not InstanceState.RUNNING:
        raise Problem(409, f"instance {name} is {state.value}, and commands only run in a running one")
    stream = _open(instance, request)
    if stream.end is not None:
        raise Problem(410, stream.end.error or "the stream ended at once")
    return answer(stream.view(), 201)


def _open(instance: Instance, request: Callable[[str], StreamRequest]) -> Stream:
    if instance.node is None:
        raise Problem(
            409, f"instance {instance.name} has no node yet: {instance.waiting or 'it was not placed so far'}"
        )
    return context().streams.open(request, instance.node, context().now())


def carried(here: Context, stream: Stream) -> Response:
    """A response with a stream's output. Raises Problem 410 when it ends with an error before the first byte."""
    stream.read = True
    has_gone = gone(http_request.environ)
    first = stream.output.take(FIRST_BYTE_WITHIN_S) if not stream.request.follow else b""
    if stream.end is not None and stream.end.error is not None and not first:
        raise Problem(410, stream.end.error)

    def body() -> Iterator[bytes]:
        data = first
        try:
            with here.metrics.stream(stream.request.kind):
                while data is not None:
                    if data:
                        yield data
                    elif has_gone():
                        return
                    data = stream.output.take(LOOK_S)
        finally:
            stream.abandon(here.now())

    response = Response(body(), content_type="application/octet-stream")
    response.headers["X-Newbon-Stream"] = stream.id
    response.headers["X-Accel-Buffering"] = "no"
    return response
