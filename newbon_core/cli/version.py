"""``newbon version``."""

from __future__ import annotations

import platform

import click

from newbon_core import __version__
from newbon_core.cli import output as out
from newbon_core.cli.errors import CliError
from newbon_core.cli.session import Session, pass_session


@click.command()
@click.option("--client", "client_only", is_flag=True, help="Do not ask the server.")
@out.json_option
@pass_session
def version(session: Session, client_only: bool, output: str) -> None:
    """Show the version of this program and, where one answers, whether the server is ready."""
    found: dict[str, object] = {"client": __version__, "python": platform.python_version()}
    if not client_only:
        found |= _server(session)
    if output == "json":
        out.write_json(found)
        return
    click.echo(f"newbon {__version__} (Python {found['python']})")
    if not client_only:
        click.echo(f"server {session.url}: {found['state']}")


def _server(session: Session) -> dict[str, object]:
    from newbon_core.client import ClientError

    try:
        answer = session.client.ready()
    except ClientError as error:
        return {"server": session.url, "state": f"does not answer ({error})"}
    except CliError as error:
        return {"server": session.url, "state": f"was not asked ({error})"}
    reasons = "; ".join(str(reason) for reason in answer.get("reasons") or [])
    state = "ready" if answer.get("ready") else f"not ready{f': {reasons}' if reasons else ''}"
    return {"server": session.url, "state": state}
