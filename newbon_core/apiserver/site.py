"""The rest: revisions, events, tokens, plugins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from newbon_core.apiserver.auth import allow, identity
from newbon_core.apiserver.context import context
from newbon_core.apiserver.describing import Blueprint, statuses
from newbon_core.apiserver.edits import commit
from newbon_core.apiserver.errors import Problem
from newbon_core.apiserver.lists import PageQuery, WatchQuery, answer, both, equal_match, list_or_watch, page
from newbon_core.apiserver.sources import Events, Revisions
from newbon_core.apiserver.typed import page_of, schema_of
from newbon_core.apiserver.views import token_view
from newbon_core.client.views import EventView, PluginView, RevisionView, TokenView
from newbon_core.model import Token
from newbon_core.schema.grammar import Wrong, check_node_name
from newbon_core.state import Changes
from newbon_core.state.auth import new_token
from newbon_core.state.codec import to_builtins

blueprint = Blueprint("site", "History, access, and what the server is made of.")
CONTENT = {"schema": {"type": "string"}, "content_type": "text/event-stream", "success": True}


class RevisionsQuery(WatchQuery):
    """Which versions."""

    service = fields.String(metadata={"description": "Only those of this service."})


class EventsQuery(WatchQuery):
    """Which events."""

    kind = fields.String(metadata={"description": "Only about objects of this kind."})
    name = fields.String(metadata={"description": "Only about the object of this name."})
    service = fields.String(metadata={"description": "Only those of this service."})
    node = fields.String(metadata={"description": "Only those of this node."})
    level = fields.String(validate=validate.OneOf(["info", "warning", "error"]))
    reason = fields.String(metadata={"description": "Only with this reason."})
    since = fields.Float(metadata={"description": "Only from this time on (seconds since the epoch)."})
    newest = fields.Boolean(load_default=False, metadata={"description": "The last ones, instead of the first page."})


class TokenSchema(Schema):
    """A token to be made."""

    role = fields.String(required=True, validate=validate.OneOf(["admin", "viewer", "agent", "join"]))
    node = fields.String(load_default=None, allow_none=True, metadata={"description": "For role agent: its node."})
    description = fields.String(load_default="", validate=validate.Length(max=200))
    expires_at = fields.Float(load_default=None, allow_none=True, validate=validate.Range(0, 1e12))

    @validates_schema
    def check_node(self, data: Mapping[str, Any], **kwargs: object) -> None:
        """An agent's token has a node, and no other has."""
        del kwargs
        node = data["node"]
        if (data["role"] == "agent") != (node is not None):
            raise ValidationError({"node": ["a token of role agent needs a node, and no other may have one"]})
        if node is not None:
            try:
                check_node_name(node)
            except Wrong as error:
                raise ValidationError({"node": [str(error)]}) from None


@blueprint.route("/v1/revisions")
@allow("viewer")
@blueprint.arguments(RevisionsQuery, location="query")
@blueprint.response(200, page_of(RevisionView))
@blueprint.alt_response(200, **CONTENT)
def list_revisions(query: Mapping[str, Any]) -> Response:
    """List or watch the versions of services, oldest first"""
    return list_or_watch(Revisions(context(), query.get("service")), query, both())


@blueprint.route("/v1/events")
@allow("viewer")
@blueprint.arguments(EventsQuery, location="query")
@blueprint.response(200, page_of(EventView))
@blueprint.alt_response(200, **CONTENT)
def list_events(query: Mapping[str, Any]) -> Response:
    """List or watch what happened, oldest first"""
    since = query.get("since")
    names = ("kind", "name", "service", "node", "level", "reason")
    match = both(
        equal_match(**{name: query.get(name) for name in names}),
        (lambda item: item["time"] >= since) if since is not None else None,
    )
    source = Events(context())
    if not query["newest"] or query["watch"]:
        return list_or_watch(source, query, match)
    revision = context().cache.revision
    found: list[Mapping[str, Any]] = []
    for key in sorted(source.keys(), reverse=True):
        item = source.view(key)
        if item is not None and match(item):
            found.append(item)
            if len(found) == query["limit"]:
                break
    return answer({"items": found[::-1], "revision": revision, "continue": None})


@blueprint.route("/v1/tokens")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(TokenView))
def list_tokens(query: Mapping[str, Any]) -> Response:
    """List tokens; secrets are known to nobody"""
    cache = context().cache

    def view(name: str) -> Mapping[str, Any] | None:
        stored = cache.tokens.get(name)
        return token_view(stored.value) if stored is not None else None

    return page(list(cache.tokens), view, both(), query, cache.revision)


@blueprint.route("/v1/tokens", methods=["POST"])
@blueprint.arguments(TokenSchema)
@blueprint.response(201, schema_of(TokenView))
def create_token(body: Mapping[str, Any]) -> Response:
    """Make a token; the answer is the only place where its secret ever is"""
    made = new_token(
        body["role"],
        context().now(),
        node=body["node"],
        description=body["description"],
        expires_at=body["expires_at"],
    )

    def decide() -> tuple[Changes, None]:
        changes = Changes()
        changes.create(made.token)
        return changes, None

    commit(decide)
    return answer({**token_view(made.token), "token": made.text}, 201)


@blueprint.route("/v1/tokens/<name>", methods=["DELETE"])
@statuses(404, 409)
@blueprint.response(204)
def delete_token(name: str) -> Response:
    """End a token at once"""

    def decide() -> tuple[Changes, None]:
        cache = context().cache
        stored = cache.tokens.get(name)
        if stored is None:
            raise Problem(404, f"there is no token {name[:100]}")
        if name == identity().token:
            raise Problem(409, "this is the token that you use now; delete it with another one")
        changes = Changes()
        changes.delete(Token, name, stored)
        return changes, None

    stored = context().cache.tokens.get(name)
    commit(decide)
    if stored is not None and stored.value.node is not None:
        context().feed.disconnect(stored.value.node, "its token has ended")
    return Response(status=204)


@blueprint.route("/v1/plugins")
@allow("viewer")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, page_of(PluginView))
def list_plugins(query: Mapping[str, Any]) -> Response:
    """List the server's plugins, also those that take no part, and why"""
    # In the order in which they are asked; a name that two distributions claim is listed once for each.
    infos = {f"{number:06}": info for number, info in enumerate(context().host.plugins)}
    return page(list(infos), lambda key: to_builtins(infos[key]), both(), query, context().cache.revision)
