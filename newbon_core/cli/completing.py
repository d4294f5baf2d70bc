"""Names for the shell's completion: asked from the server, quickly or not at all."""

from __future__ import annotations

from typing import Any

import click

from newbon_core.cli.nouns import NOUNS, UnknownNoun, resolve
from newbon_core.cli.session import Session

TIMEOUT_S = 1.5


def complete_noun(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - click's signature
    """Kinds of objects."""
    return [noun for noun in NOUNS if noun.startswith(incomplete)]


def complete_object(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - as above
    """Names of the kind that was given before."""
    try:
        noun = resolve(str(ctx.params.get("noun") or ""))
    except UnknownNoun:
        return []
    return _names(ctx, {"events": "services", "revisions": "services"}.get(noun, noun), incomplete)


def complete_service(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - as above
    """Names of services."""
    return _names(ctx, "services", incomplete)


def complete_instance(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - as above
    """Names of instances."""
    return _names(ctx, "instances", incomplete)


def complete_node(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - as above
    """Names of nodes."""
    return _names(ctx, "nodes", incomplete)


def complete_target(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - as above
    """Names of services and instances."""
    return _names(ctx, "services", incomplete) + _names(ctx, "instances", incomplete)


def complete_scale(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:  # noqa: ARG001 - as above
    """Names of services, each with the sign that a number follows."""
    return [f"{name}=" for name in _names(ctx, "services", incomplete)]


def _names(ctx: click.Context, noun: str, incomplete: str) -> list[str]:
    # Click builds the contexts without running the commands, so the options stand in params, not in the session.
    session = ctx.find_object(Session) or Session()
    session.timeout_s = TIMEOUT_S
    try:
        client: Any = session.client
        asked: dict[str, Any] = {
            "services": client.services, "instances": client.instances, "nodes": client.nodes, "tokens": client.tokens,
        }  # fmt: skip
        names = [str(item["name"]) for item in asked[noun]()]
    except Exception:  # noqa: BLE001 - a completion that cannot be had must not write into the user's command line
        return []
    return [name for name in names if name.startswith(incomplete)]
