"""What agents say and hear. A token speaks for one node, and nothing here lets it speak for another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from flask import Response, request
from marshmallow import Schema, fields

from newbon_core.apiserver.auth import allow, identity, require_node
from newbon_core.apiserver.context import Context, context
from newbon_core.apiserver.describing import Blueprint, read_body, statuses
from newbon_core.apiserver.edits import commit
from newbon_core.apiserver.errors import Problem
from newbon_core.apiserver.feed import Batch, Closed, Overflow, Subscription
from newbon_core.apiserver.lists import answer
from newbon_core.apiserver.peer import gone
from newbon_core.apiserver.sse import HEARTBEAT, HEARTBEAT_S, event, stream
from newbon_core.apiserver.streams import Stream
from newbon_core.apiserver.typed import schema_of
from newbon_core.model import Event, NodeStatus, Token
from newbon_core.model.wire import OrdersUpdate, Report, ReportReply, StreamEnd, StreamRequest
from newbon_core.schema.grammar import Wrong, check_label_key, check_label_value, check_node_name
from newbon_core.state import Changes, ObjectChange
from newbon_core.state.auth import new_token

blueprint = Blueprint("agent", "For agents: join, register, report, take orders, carry streams.")
T = TypeVar("T")
ROOM_WITHIN_S = 30.0
MOST = 2**53
MESSAGE_CHARS = 10_000


class JoinSchema(Schema):
    """Which node wants to join."""

    node = fields.String(required=True, metadata={"description": "The name it shall have: a DNS label."})


class JoinedSchema(Schema):
    """A node's own token."""

    node = fields.String(required=True)
    token = fields.String(required=True, metadata={"description": "Keep it; it is told only once."})


def read_wire(kind: type[T]) -> T:
    """The body as a class of the wire. Raises Problem 400, 415 and 422."""
    if request.mimetype != "application/json":
        raise Problem(415, f"expected a body of type application/json, not {request.mimetype[:100] or 'none'}")
    try:
        return msgspec.json.decode(read_body(request), type=kind)
    except msgspec.ValidationError as error:
        raise Problem(422, str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from None


@blueprint.route("/v1/agent/join", methods=["POST"])
@allow("join")
@statuses(409)
@blueprint.arguments(JoinSchema)
@blueprint.response(201, JoinedSchema)
def join_fleet(body: Mapping[str, Any]) -> Response:
    """Exchange a join token for the token of one node; an earlier token of that node ends"""
    node = body["node"]
    try:
        check_node_name(node)
    except Wrong as error:
        raise Problem(422, f"node: {error}", problems=[{"path": "node", "message": str(error)}]) from None
    here = context()
    if here.feed.connected(node):
        raise Problem(409, f"a node {node} is connected already; give this host another name")
    made = new_token("agent", here.now(), node=node, description=f"agent of node {node}")

    def decide() -> tuple[Changes, None]:
        changes = Changes()
        for stored in list(here.cache.tokens.values()):
            if stored.value.node == node:
                changes.delete(Token, stored.value.name, None)
        changes.create(made.token)
        message = f"joined with token {identity().token}"
        changes.events.append(
            Event(
                time=here.now(), level="info", reason="NodeJoined", kind="Node", name=node, message=message, node=node
            )
        )
        return changes, None

    commit(decide)
    return answer({"node": node, "token": made.text}, 201)


@blueprint.route("/v1/agent/node", methods=["PUT"])
@allow("agent")
@blueprint.doc(requestBody={"required": True, "content": {"application/json": {"schema": schema_of(NodeStatus)}}})
@blueprint.response(204)
def register_node() -> Response:
    """Tell what this host is and has"""
    status = read_wire(NodeStatus)
    require_node(status.name)
    _check_host(status)
    context().fleet.register(status, context().now())
    return Response(status=204)


@blueprint.route("/v1/agent/report", methods=["POST"])
@allow("agent")
@blueprint.doc(requestBody={"required": True, "content": {"application/json": {"schema": schema_of(Report)}}})
@blueprint.response(200, schema_of(ReportReply))
def take_report() -> Response:
    """A heartbeat, with what is new on the node"""
    report = read_wire(Report)
    require_node(report.node)
    if any(status.node != report.node for status in report.statuses):
        raise Problem(403, "a report tells only of instances on its own node")
    _check_report(report)
    here = context()
    with here.metrics.report():
        reply = here.fleet.report(report, here.now())
    return answer(reply)


def _check_host(status: NodeStatus) -> None:
    """Amounts that the scheduler can count with, labels and taints as documents may have. Raises Problem 422."""
    amounts = {"cpu_millis": status.cpu_millis, "memory_bytes": status.memory_bytes}
    amounts |= {f"countable.{name}": count for name, count in status.countable.items()}
    problems = [
        {"path": path, "value": str(amount)[:80], "message": f"expected 0 to {MOST}"}
        for path, amount in amounts.items()
        if not 0 <= amount <= MOST
    ]
    pairs = [(f"labels.{key}", key, value) for key, value in status.labels.items()]
    pairs += [(f"taints.{taint.key}", taint.key, taint.value) for taint in status.taints]
    for path, key, value in pairs:
        try:
            check_label_key(key)
            check_label_value(value)
        except Wrong as error:
            problems.append({"path": path[:80], "value": value[:80], "message": str(error)})
    if problems:
        raise Problem(422, f"{problems[0]['path']}: {problems[0]['message']}", problems=problems)


def _check_report(report: Report) -> None:
    """What is kept of a report must stay small. Raises Problem 422."""
    if any(len(status.message) > MESSAGE_CHARS for status in report.statuses):
        raise Problem(422, f"a status has a message of more than {MESSAGE_CHARS} characters")
    if any(not 0 <= sample.memory_bytes <= MOST for sample in report.containers):
        raise Problem(422, f"a container's memory_bytes is not within 0 to {MOST}")


@blueprint.route("/v1/agent/orders")
@allow("agent")
@blueprint.response(200, {"type": "string"}, content_type="text/event-stream")
def watch_orders() -> Response:
    """The node's orders, all of them and then every change, and requests for streams"""
    node = _own_node()
    return stream(context(), "orders", orders(context(), node))


def orders(here: Context, node: str) -> Iterator[bytes]:
    """The events of one node's stream."""
    while True:
        subscription = here.feed.listen_node(node)
        try:
            yield _orders_event(here.fleet.orders(node))
            yield from _follow(here, node, subscription)
        except Overflow:
            # Begin anew with all orders.
            continue
        except Closed:
            return
        finally:
            here.feed.leave(subscription, node)


def _follow(here: Context, node: str, subscription: Subscription) -> Iterator[bytes]:
    while True:
        found = subscription.take(HEARTBEAT_S)
        if found is None:
            yield HEARTBEAT
            continue
        requests: list[StreamRequest] = []
        changes: list[ObjectChange] = []
        revision = 0
        while found is not None:
            if isinstance(found, Batch):
                changes += found.changes
                revision = found.revision
            else:
                requests.append(found)
            found = subscription.take(0)
        if changes:
            update = here.fleet.orders_since(node, changes, revision)
            if update is not None:
                yield _orders_event(update)
        for one in requests:
            yield event("stream", one)


def _orders_event(update: OrdersUpdate) -> bytes:
    return event("orders", update, update.revision)


@blueprint.route("/v1/agent/streams/<stream_id>/output", methods=["POST"])
@allow("agent")
@statuses(404, 410)
@blueprint.doc(
    requestBody={"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
)
@blueprint.response(204)
def post_stream_output(stream_id: str) -> Response:
    """Carry a piece of output; waits while the user reads slower"""
    found = _own_stream(stream_id)
    data = read_body(request)
    done = found.output.put(data, ROOM_WITHIN_S) if data else "taken"
    if done == "ended":
        raise Problem(410, "nobody reads this stream any more")
    if done == "full":
        found.finish(StreamEnd(error=f"the reader did not read for {ROOM_WITHIN_S:g} s"), context().now())
        raise Problem(410, f"the reader did not read for {ROOM_WITHIN_S:g} s")
    return Response(status=204)


@blueprint.route("/v1/agent/streams/<stream_id>/input")
@allow("agent")
@statuses(404)
@blueprint.response(200, {"type": "string"}, content_type="application/jsonl")
def get_stream_input(stream_id: str) -> Response:
    """What the user sends, one JSON object a line; the last one has closed true"""
    found = _own_stream(stream_id)
    has_gone = gone(request.environ)

    def lines() -> Iterator[bytes]:
        yield b"\n"
        while True:
            piece = found.input.take(HEARTBEAT_S)
            if piece is None:
                yield b'{"closed":true}\n'
                return
            if not piece and has_gone():
                return
            # An empty line is a heartbeat.
            yield piece or b"\n"

    return Response(lines(), content_type="application/jsonl")


@blueprint.route("/v1/agent/streams/<stream_id>/end", methods=["POST"])
@allow("agent")
@statuses(404)
@blueprint.doc(requestBody={"required": True, "content": {"application/json": {"schema": schema_of(StreamEnd)}}})
@blueprint.response(204)
def end_stream(stream_id: str) -> Response:
    """Tell how a stream ended"""
    found = _own_stream(stream_id)
    found.finish(read_wire(StreamEnd), context().now())
    return Response(status=204)


def _own_node() -> str:
    node = identity().node
    if node is None:
        raise Problem(403, "this is for agents: it takes a token that is bound to a node")
    return node


def _own_stream(stream_id: str) -> Stream:
    found = context().streams.get(stream_id)
    if found is None or found.node != _own_node():
        raise Problem(404, f"there is no stream {stream_id[:50]} for this node")
    found.answered = True
    return found
