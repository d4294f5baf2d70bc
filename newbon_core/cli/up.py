"""``newbon up``: server and agent of this machine as two supervised processes."""

from __future__ import annotations

import errno
import socket
import time
from pathlib import Path
from typing import Any

import click

from newbon_core import __version__
from newbon_core.cli import output as out
from newbon_core.cli.errors import CliError
from newbon_core.cli.session import Session, local_url, pass_session
from newbon_core.cli.supervise import Child, Signals, stop_all, supervise, why_ended

READY_TIMEOUT_S = 60.0
PORT_TIMEOUT_S = 5.0
"""How long the server of an earlier ``newbon up`` may take to let go of its address."""


@click.command()
@pass_session
def up(session: Session) -> None:
    """Run the server and an agent on this machine until Ctrl-C; containers go on running after it.

    What dies is started again. Where it listens and keeps its state is said by the site's file (--config); without one
    it listens at 127.0.0.1:7800 and keeps its state in SQLite.
    """
    site = session.site
    url = local_url(session.place)
    # Options and variables that name another server are for clients; here it is always this machine's own.
    environment = {"NEWBON_SERVER": url, "NEWBON_TOKEN": "", "NEWBON_TOKEN_FILE": ""}
    if session.config:
        environment["NEWBON_CONFIG"] = str(Path(session.config).absolute())
    if session.ca:
        environment["NEWBON_CA"] = str(Path(session.ca).absolute())
    server, agent = Child("server", ["server"], environment), Child("agent", ["agent"], environment)
    with Signals() as signals:
        _wait_free(site.listen, signals)
        try:
            server.start(time.monotonic())
            if _wait_ready(session, url, server, signals):
                _announce(session, url, site)
                supervise([server, agent], signals, lambda text: click.echo(out.paint(text, "yellow"), err=True))
        finally:
            if server.pid is not None:
                click.echo("stopping: containers go on running, the next 'newbon up' takes them over", err=True)
            stop_all([agent, server], signals)
    click.echo("stopped", err=True)


def _wait_free(listen: str, signals: Signals) -> None:
    """Raises CliError when another program listens there: its answers must not be taken for our server's."""
    from newbon_core.config import split_listen

    host, port = split_listen(listen)
    deadline = time.monotonic() + PORT_TIMEOUT_S
    while signals.count == 0:
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            if time.monotonic() < deadline and error.errno == errno.EADDRINUSE:
                signals.wait(0.2)
                continue
            busy = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror
            raise CliError(
                f"cannot serve at {listen}: {busy}",
                "is Newbon up already ('newbon version' tells)? [server] listen in the site's file sets another",
            ) from error
        return


def _wait_ready(session: Session, url: str, server: Child, signals: Signals) -> bool:
    """False when a signal asked to stop before. Raises CliError when the server ends or never gets ready."""
    from newbon_core.client import Client, ClientError

    client = Client(url, None, ca=Path(session.ca) if session.ca else None, timeout_s=5.0)
    deadline = time.monotonic() + READY_TIMEOUT_S
    last = "it does not answer"
    while signals.count == 0:
        now = time.monotonic()
        code = server.ended(now)
        if code is not None:
            raise CliError(f"the server could not start ({why_ended(code)}); what it said is above")
        if now > deadline:
            raise CliError(f"the server is not ready after {READY_TIMEOUT_S:.0f} s: {last}")
        try:
            answer = client.ready()
            if answer.get("ready"):
                client.close()
                return True
            last = "; ".join(str(reason) for reason in answer.get("reasons") or [last])
        except ClientError as error:
            last = str(error)
        signals.wait(0.1)
    return False


def _announce(session: Session, url: str, site: Any) -> None:
    store = site.store.kind if site.store.kind == "sqlite" else f"etcd at {', '.join(site.store.endpoints)}"
    click.echo(f"{out.paint(f'Newbon {__version__} is up', 'bold green')}")
    for key, value in (
        ("API", f"{url}  (documentation: {url}/docs)"),
        ("token", str(session.admin_token_path)),
        ("data", f"{site.data_dir}, store {store}"),
        ("file", str(site.path or "none, defaults")),
    ):
        click.echo(f"  {key:6} {value}")
    click.echo("Ctrl-C stops the server and the agent; containers go on running.")
