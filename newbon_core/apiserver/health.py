"""Is it alive, is it ready, and what does it do: for supervisors, balancers and Prometheus."""

from __future__ import annotations

from flask import Response, request
from marshmallow import Schema, fields
from prometheus_client import CONTENT_TYPE_LATEST

from newbon_core.apiserver.auth import allow, token_of
from newbon_core.apiserver.context import context
from newbon_core.apiserver.describing import Blueprint, ProblemSchema
from newbon_core.apiserver.errors import CONTENT_TYPE, Problem, problem_response
from newbon_core.apiserver.lists import answer

blueprint = Blueprint("health", "Whether the server lives, is ready, and how it does.")


class AliveSchema(Schema):
    """The process answers."""

    status = fields.String(required=True)


class ReadySchema(Schema):
    """Whether the server can do its work."""

    ready = fields.Boolean(required=True)
    reasons = fields.List(fields.String(), required=True)


@blueprint.route("/healthz")
@allow("open")
@blueprint.response(200, AliveSchema)
def get_health() -> Response:
    """Whether the process answers; needs no token"""
    return answer({"status": "ok"})


@blueprint.route("/readyz")
@allow("open")
@blueprint.response(200, ReadySchema)
@blueprint.alt_response(503, schema=ProblemSchema, content_type=CONTENT_TYPE)
def get_ready() -> Response:
    """Whether store and cache are in order; without a token it does not say why not"""
    reasons = context().not_ready()
    if not reasons:
        return answer({"ready": True, "reasons": []})
    told = reasons if _known() else ["ask with a token to know why"]
    return problem_response(503, "; ".join(told), problems=[{"path": "", "message": one} for one in told])


def _known() -> bool:
    text = token_of(request)
    if text is None:
        return False
    try:
        context().auth.identify(text, request.remote_addr or "unknown")
    except Problem:
        return False
    return True


@blueprint.route("/metrics")
@allow("metrics")
@blueprint.response(200, {"type": "string"}, content_type="text/plain")
def get_metrics() -> Response:
    """Measurements in Prometheus' text format"""
    return Response(context().metrics.render(), content_type=CONTENT_TYPE_LATEST)
