"""Nodes: list, show, change, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from marshmallow import Schema, fields, validate

from newbon_core.apiserver.auth import allow, identity
from newbon_core.apiserver.context import context
from newbon_core.apiserver.describing import Blueprint, statuses
from newbon_core.apiserver.documents import refuse
from newbon_core.apiserver.edits import check_match, commit, tag
from newbon_core.apiserver.errors import Problem
from newbon_core.apiserver.lists import SelectQuery, answer, both, label_match, list_or_watch
from newbon_core.apiserver.sources import Nodes
from newbon_core.apiserver.typed import page_of, schema_of
from newbon_core.apiserver.views import node_view
from newbon_core.client.views import NodeView
from newbon_core.model import FINISHED, Event, Node, NodeState, NodeStatus, Taint, Token, state_of
from newbon_core.schema import parse_documents
from newbon_core.schema.problems import nearest
from newbon_core.state import Changes, Stored
from newbon_core.state.apply import patched, write_node

blueprint = Blueprint("nodes", "The hosts of the fleet.")
IF_MATCH = [{"in": "header", "name": "If-Match", "schema": {"type": "string"}}]


class TaintBody(Schema):
    """A taint."""

    key = fields.String(required=True, validate=validate.Length(1, 253))
    value = fields.String(load_default="", validate=validate.Length(max=63))


class NodeBody(Schema):
    """What shall change; what is not given stays as it is."""

    labels = fields.Dict(
        keys=fields.String(),
        values=fields.String(allow_none=True),
        metadata={"description": "Merged over the operator's labels; null removes one."},
    )
    taints = fields.List(
        fields.Nested(TaintBody), metadata={"description": "All taints; they replace those there are."}
    )
    cordoned = fields.Boolean(metadata={"description": "Take no new instances."})


def find_node(name: str) -> Stored[Node]:
    """A node of the cache. Raises Problem 404 with the nearest name."""
    nodes = context().cache.nodes
    stored = nodes.get(name)
    if stored is None:
        near = nearest(name, list(nodes)[:20_000])
        raise Problem(404, f"there is no node {name[:100]}" + (f"; did you mean {near}?" if near else ""))
    return stored


def _shown(stored: Stored[Node]) -> Response:
    view = node_view(context().cache, context().fleet, stored.value)
    return answer(view, headers={"ETag": tag(stored.revision)})


@blueprint.route("/v1/nodes")
@allow("viewer")
@blueprint.arguments(SelectQuery, location="query")
@blueprint.response(200, page_of(NodeView))
@blueprint.alt_response(200, schema={"type": "string"}, content_type="text/event-stream", success=True)
def list_nodes(query: Mapping[str, Any]) -> Response:
    """List or watch nodes"""
    return list_or_watch(Nodes(context()), query, both(label_match(query.get("selector"))))


@blueprint.route("/v1/nodes/<name>")
@allow("viewer")
@statuses(404)
@blueprint.response(200, schema_of(NodeView))
def get_node(name: str) -> Response:
    """Show a node"""
    return _shown(find_node(name))


@blueprint.route("/v1/nodes/<name>", methods=["PATCH"])
@allow("admin")
@statuses(404, 409, 412)
@blueprint.arguments(NodeBody)
@blueprint.doc(parameters=IF_MATCH)
@blueprint.response(200, schema_of(NodeView))
def patch_node(body: Mapping[str, Any], name: str) -> Response:
    """Change a node's labels or taints, cordon or uncordon it"""
    taints = body.get("taints")

    def decide() -> tuple[Changes, None]:
        stored = find_node(name)
        check_match(stored)
        labels = None
        if "labels" in body:
            merged = {**stored.value.labels, **body["labels"]}
            labels = {key: value for key, value in merged.items() if value is not None}
        _check(name, labels, taints)
        new = patched(
            stored.value,
            labels=labels,
            taints=None if taints is None else [Taint(**one) for one in taints],
            cordoned=body.get("cordoned"),
        )
        changes = Changes()
        write_node(changes, stored, new, context().now(), identity().who)
        return changes, None

    commit(decide)
    return _shown(find_node(name))


def _check(name: str, labels: Mapping[str, str] | None, taints: list[dict[str, str]] | None) -> None:
    """The same rules as for a Node document."""
    document: dict[str, Any] = {"kind": "Node", "name": name}
    if labels is not None:
        document["labels"] = dict(labels)
    if taints is not None:
        document["taints"] = taints
    refuse(parse_documents([document], context().host))


@blueprint.route("/v1/nodes/<name>", methods=["DELETE"])
@allow("admin")
@statuses(404, 409, 412)
@blueprint.doc(parameters=IF_MATCH)
@blueprint.response(204)
def delete_node(name: str) -> Response:
    """Forget a node that is lost or empty; its token ends"""

    def decide() -> tuple[Changes, None]:
        stored = find_node(name)
        check_match(stored)
        cache = context().cache
        on_it = cache.instances_on(name)
        live = [one for one in on_it if state_of(one, cache.status_of(one)) not in FINISHED]
        if stored.value.state is not NodeState.LOST and live:
            raise Problem(
                409,
                f"node {name} is {stored.value.state.value} and has {len(live)} instances; cordon it and move them, "
                "or stop its agent and wait until it is lost",
            )
        changes = Changes()
        changes.delete(Node, name, stored)
        changes.delete(NodeStatus, name, None)
        for token in list(cache.tokens.values()):
            if token.value.node == name:
                changes.delete(Token, token.value.name, None)
        changes.events.append(
            Event(
                time=context().now(),
                level="info",
                reason="NodeDeleted",
                kind="Node",
                name=name,
                message=f"deleted by {identity().who}",
                node=name,
            )
        )
        return changes, None

    commit(decide)
    context().feed.disconnect(name, f"node {name} was deleted")
    return Response(status=204)
