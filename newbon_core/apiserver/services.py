"""Services: list, show, replace, scale, explain, delete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask import Response, request
from marshmallow import Schema, fields, validate

from newbon_core.apiserver.auth import allow, identity
from newbon_core.apiserver.context import context
from newbon_core.apiserver.describing import Blueprint, read_json, statuses
from newbon_core.apiserver.documents import decided, refuse
from newbon_core.apiserver.edits import check_match, commit, tag
from newbon_core.apiserver.errors import Problem
from newbon_core.apiserver.explaining import explained_service
from newbon_core.apiserver.lists import SelectQuery, answer, both, label_match, list_or_watch
from newbon_core.apiserver.sources import Services
from newbon_core.apiserver.typed import page_of, schema_of
from newbon_core.apiserver.views import service_view
from newbon_core.client.views import ExplainView, ServiceView
from newbon_core.model import Event, Service
from newbon_core.schema import ServiceSchema, parse_documents
from newbon_core.schema.grammar import MAX_REPLICAS
from newbon_core.schema.problems import nearest
from newbon_core.state import Changes, Stored
from newbon_core.state.apply import revision_of

blueprint = Blueprint("services", "What shall run.")


class ReplicasSchema(Schema):
    """How many instances a service shall have."""

    replicas = fields.Integer(required=True, strict=True, validate=validate.Range(0, MAX_REPLICAS))


def find_service(name: str) -> Stored[Service]:
    """A service of the cache. Raises Problem 404 with the nearest name."""
    services = context().cache.services
    stored = services.get(name)
    if stored is None:
        near = nearest(name, list(services)[:20_000])
        raise Problem(404, f"there is no service {name[:100]}" + (f"; did you mean {near}?" if near else ""))
    return stored


def _shown(stored: Stored[Service], status: int = 200) -> Response:
    return answer(service_view(context().cache, stored.value), status, {"ETag": tag(stored.revision)})


@blueprint.route("/v1/services")
@allow("viewer")
@blueprint.arguments(SelectQuery, location="query")
@blueprint.response(200, page_of(ServiceView))
@blueprint.alt_response(200, schema={"type": "string"}, content_type="text/event-stream", success=True)
def list_services(query: Mapping[str, Any]) -> Response:
    """List or watch services"""
    return list_or_watch(Services(context()), query, both(label_match(query.get("selector"))))


@blueprint.route("/v1/services/<name>")
@allow("viewer")
@statuses(404)
@blueprint.response(200, schema_of(ServiceView))
def get_service(name: str) -> Response:
    """Show a service"""
    return _shown(find_service(name))


@blueprint.route("/v1/services/<name>", methods=["PUT"])
@allow("admin")
@statuses(409, 412)
@blueprint.doc(
    requestBody={"required": True, "content": {"application/json": {"schema": ServiceSchema}}},
    parameters=[{"in": "header", "name": "If-Match", "schema": {"type": "string"}}],
)
@blueprint.response(200, schema_of(ServiceView))
@blueprint.alt_response(201, schema=schema_of(ServiceView), success=True)
def put_service(name: str) -> Response:
    """Create or replace a service; If-Match guards against the changes of others"""
    document = read_json(request)
    if isinstance(document, dict):
        document = {"kind": "Service", "name": name, **document}
        if document["kind"] != "Service" or document["name"] != name:
            raise Problem(422, f"the document must be of kind Service and named {name[:100]}, as the path says")
    loaded = parse_documents([document], context().host)
    refuse(loaded)

    def decide() -> tuple[Changes, str]:
        stored = context().cache.services.get(name)
        if stored is not None:
            check_match(stored)
        elif request.headers.get("If-Match") is not None:
            raise Problem(412, f"there is no service {name[:100]}")
        plan = decided(loaded.documents)
        return plan.changes, plan.results[0].action

    action, _ = commit(decide)
    return _shown(find_service(name), 201 if action == "created" else 200)


@blueprint.route("/v1/services/<name>/replicas", methods=["PUT"])
@allow("admin")
@statuses(404, 409, 412)
@blueprint.arguments(ReplicasSchema)
@blueprint.doc(parameters=[{"in": "header", "name": "If-Match", "schema": {"type": "string"}}])
@blueprint.response(200, schema_of(ServiceView))
def scale_service(body: Mapping[str, Any], name: str) -> Response:
    """Set how many instances a service has"""
    replicas: int = body["replicas"]

    def decide() -> tuple[Changes, None]:
        stored = find_service(name)
        check_match(stored)
        changes = Changes()
        old = stored.value
        if old.replicas != replicas:
            now, who = context().now(), identity().who
            changes.update(replace(old, replicas=replicas, updated_at=now, updated_by=who), stored)
            message = f"scaled from {old.replicas} to {replicas} replicas by {who}"
            changes.events.append(_event(name, "ServiceScaled", message, now))
        return changes, None

    commit(decide)
    return _shown(find_service(name))


@blueprint.route("/v1/services/<name>", methods=["DELETE"])
@allow("admin")
@statuses(404, 409, 412)
@blueprint.doc(parameters=[{"in": "header", "name": "If-Match", "schema": {"type": "string"}}])
@blueprint.response(204)
def delete_service(name: str) -> Response:
    """Delete a service; its instances are stopped"""

    def decide() -> tuple[Changes, None]:
        stored = find_service(name)
        check_match(stored)
        changes = Changes()
        changes.delete(Service, name, stored)
        # Its instances still have to be stopped the way this version says (grace, signal).
        changes.put(revision_of(stored.value))
        message = f"deleted with {stored.value.replicas} replicas by {identity().who}"
        changes.events.append(_event(name, "ServiceDeleted", message, context().now()))
        return changes, None

    commit(decide)
    return Response(status=204)


@blueprint.route("/v1/services/<name>/explain")
@allow("viewer")
@statuses(404)
@blueprint.response(200, schema_of(ExplainView))
def explain_service(name: str) -> Response:
    """Tell where the next instance of a service would go, and why"""
    return answer(explained_service(context(), find_service(name).value))


def _event(name: str, reason: str, message: str, now: float) -> Event:
    return Event(time=now, level="info", reason=reason, kind="Service", name=name, message=message, service=name)
