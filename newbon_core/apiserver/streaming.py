"""The user's side of carried streams: output, input, size, and how it ended."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
from flask import Response, request
from marshmallow import Schema, fields, validate

from newbon_core.apiserver.auth import allow, identity
from newbon_core.apiserver.context import context
from newbon_core.apiserver.describing import Blueprint, read_body, statuses
from newbon_core.apiserver.errors import Problem
from newbon_core.apiserver.instances import carried
from newbon_core.apiserver.lists import answer
from newbon_core.apiserver.streams import Stream
from newbon_core.apiserver.typed import schema_of
from newbon_core.client.views import StreamView
from newbon_core.model.wire import StreamInput

blueprint = Blueprint("streams", "Logs and commands on their way.")
WAIT_S = 30.0


class SizeSchema(Schema):
    """A terminal's size in characters."""

    rows = fields.Integer(required=True, strict=True, validate=validate.Range(1, 10_000))
    columns = fields.Integer(required=True, strict=True, validate=validate.Range(1, 10_000))


def find_stream(stream_id: str) -> Stream:
    """A stream; a viewer sees those of logs only. Raises Problem 404."""
    stream = context().streams.get(stream_id)
    if stream is None or (identity().role != "admin" and stream.request.kind != "logs"):
        raise Problem(404, f"there is no stream {stream_id[:50]}; ended ones are forgotten after a minute")
    return stream


@blueprint.route("/v1/streams/<stream_id>")
@allow("viewer")
@statuses(404)
@blueprint.response(200, schema_of(StreamView))
def get_stream(stream_id: str) -> Response:
    """Tell how a stream stands or how it ended"""
    return answer(find_stream(stream_id).view())


@blueprint.route("/v1/streams/<stream_id>/output")
@statuses(404, 409, 410)
@blueprint.response(200, {"type": "string", "format": "binary"}, content_type="application/octet-stream")
def get_output(stream_id: str) -> Response:
    """Read what a command puts out, as it comes; it is ended when nobody reads any more"""
    stream = find_stream(stream_id)
    if stream.read:
        raise Problem(409, "the output of this stream is being read already")
    return carried(context(), stream)


@blueprint.route("/v1/streams/<stream_id>/input", methods=["POST"])
@statuses(404, 410)
@blueprint.doc(
    requestBody={"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
)
@blueprint.response(204)
def post_input(stream_id: str) -> Response:
    """Send input to a command; an empty body closes its standard input"""
    data = base64.b64encode(read_body(request)).decode()
    return _put(stream_id, StreamInput(data=data))


@blueprint.route("/v1/streams/<stream_id>/size", methods=["PUT"])
@statuses(404, 410)
@blueprint.arguments(SizeSchema)
@blueprint.response(204)
def put_size(body: Mapping[str, Any], stream_id: str) -> Response:
    """Tell a command's terminal its size"""
    return _put(stream_id, StreamInput(rows=body["rows"], columns=body["columns"]))


def _put(stream_id: str, piece: StreamInput) -> Response:
    stream = find_stream(stream_id)
    done = stream.input.put(msgspec.json.encode(piece) + b"\n", WAIT_S)
    if done == "ended":
        raise Problem(410, "the stream has ended")
    if done == "full":
        raise Problem(429, f"the command takes no input, for {WAIT_S:g} s already", headers={"Retry-After": "5"})
    return Response(status=204)
