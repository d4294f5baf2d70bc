"""``newbon token``: who may speak to the API."""

from __future__ import annotations

import click

from newbon_core.cli import output as out
from newbon_core.cli.errors import CliError
from newbon_core.cli.get import fetch, show_objects, unknown
from newbon_core.cli.options import to_seconds
from newbon_core.cli.session import Session, pass_session


@click.group(no_args_is_help=True)
def token() -> None:
    """Create, list and delete tokens."""


@token.command("create")
@click.option("--role", type=click.Choice(("admin", "viewer", "agent", "join")), required=True,
              help="admin: all; viewer: look only; join: for new agents; agent: bound to one node.")  # fmt: skip
@click.option("--node", metavar="NODE", help="The node that an agent's token is bound to.")
@click.option("--description", default="", metavar="TEXT", help="What it is for.")
@click.option("--expires", callback=to_seconds, metavar="DURATION", help="End it after 1h, 30d, …")
@out.json_option
@pass_session
def create(session: Session, role: str, node: str | None, description: str, expires: float | None, output: str) -> None:
    """Make a token and print it; it is shown this once, the server keeps only its hash."""
    if (role == "agent") != (node is not None):
        raise click.UsageError("--node belongs to --role agent, and only to it")
    expires_at = None if expires is None else session.now() + expires
    made = session.client.create_token(
        role, node=node, description=description, expires_at=expires_at  # type: ignore[arg-type]  # click checked the role
    )  # fmt: skip
    if output == "json":
        out.write_json(made)
    else:
        click.echo(made["token"])
        click.echo("keep it: it is not shown again", err=True)


@token.command("list")
@out.format_option
@pass_session
def list_tokens(session: Session, output: str) -> None:
    """List tokens without their secrets."""
    show_objects(session, "tokens", fetch(session.client, "tokens"), output)


@token.command("delete")
@click.argument("names", metavar="ID...", nargs=-1, required=True)
@pass_session
def delete(session: Session, names: tuple[str, ...]) -> None:
    """End tokens at once. ID is the part of a token before the dot."""
    if any("." in name for name in names):
        raise CliError("this looks like a whole token", "give only the part before the dot; 'newbon token list' has it")
    known = {item["name"] for item in session.client.tokens()}
    for name in names:
        if name not in known:
            raise unknown("tokens", name, known)
    for name in names:
        session.client.delete_token(name)
        click.echo(f"token/{name} {out.paint('deleted', 'red')}")
