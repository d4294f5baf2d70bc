"""The Flask app: every blueprint, authentication before and measurement around them."""

from __future__ import annotations

import json
import time
from typing import Any

from flask import Flask, Response, g, request

from newbon_core.apiserver import (
    agents,
    auth,
    docs,
    documents,
    errors,
    health,
    instances,
    nodes,
    services,
    site,
    streaming,
)
from newbon_core.apiserver.context import EXTENSION, Context
from newbon_core.apiserver.context import context as current
from newbon_core.apiserver.describing import Api

BLUEPRINTS = (documents, services, instances, nodes, site, streaming, agents, health)
LARGE_BODIES = frozenset({"agent.take_report", "agent.register_node"})
DESCRIPTION = """Every request but those for /healthz and /readyz carries `Authorization: Bearer <id>.<secret>`.
Errors are application/problem+json. Lists are paged (`limit`, `continue`), selected over labels (`selector`), and
watched with `watch=true`: server-sent events `put`, `deleted`, `synced` (what was there is complete) and `reset`
(forget everything; it begins anew). The id of an event is the revision from which a watch may be resumed after it."""


def create_app(context: Context) -> Flask:
    """The API over this context. It is served by any WSGI server with threads (see ``serving``)."""
    app = Flask("newbon", static_folder=None, template_folder=None)
    app.extensions[EXTENSION] = context
    app.config.update(
        API_TITLE="Newbon",
        API_VERSION=context.version,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
        API_SPEC_OPTIONS={
            "info": {"description": DESCRIPTION},
            "security": [{"token": []}],
            "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        },
        MAX_CONTENT_LENGTH=context.limits.body_bytes,
        PROPAGATE_EXCEPTIONS=False,
    )
    app.before_request(_begin)
    auth.install(app)
    app.after_request(auth.secure)
    app.after_request(_end)
    errors.install(app)
    api = Api(app)
    # flask-smorest has put its own handler in place of ours.
    errors.install(app)
    documents.register_kinds(api.spec)
    for module in BLUEPRINTS:
        api.register_blueprint(module.blueprint)
    app.register_blueprint(docs.blueprint(lambda: describe(api)))
    return app


def describe(api: Any) -> dict[str, Any]:
    """The OpenAPI description as plain values."""
    found: dict[str, Any] = json.loads(json.dumps(api.spec.to_dict()))
    return found


def _begin() -> None:
    g.began = time.perf_counter()
    limits = current().limits
    request.max_content_length = limits.report_bytes if request.endpoint in LARGE_BODIES else limits.body_bytes


def _end(response: Response) -> Response:
    metrics = current().metrics
    view = request.endpoint or "none"
    metrics.answered(request.method, view, response.status_code, g.began, streamed=response.is_streamed)
    return response
