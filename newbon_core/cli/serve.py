"""``newbon server`` and ``newbon agent``: the two mains, each in this process, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from newbon_core.cli import output as out
from newbon_core.cli.errors import CliError
from newbon_core.cli.session import Session, pass_session
from newbon_core.cli.supervise import hold_lifeline

if TYPE_CHECKING:
    from newbon_core.agent.main import RunningAgent
    from newbon_core.config import Site
    from newbon_core.hooks.host import PluginHost
    from newbon_core.model import Taint

JOIN_TOKEN_LIFE_S = 600.0
lifeline_option = click.option("--lifeline", type=int, hidden=True, help="A pipe that closes when the parent ends.")


def set_up_logging() -> None:
    """Logs go to standard error, one line each; NEWBON_LOG names another level than INFO."""
    level = os.environ.get("NEWBON_LOG", "INFO").upper()
    if level not in logging.getLevelNamesMapping():
        raise CliError(f"NEWBON_LOG={level!r} is no level", "write debug, info, warning or error")
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(message)s")
    for noisy in ("urllib3", "apscheduler", "werkzeug"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))


def discover(site: Site, *, tell: bool) -> PluginHost:
    """The installed plugins; what is missing is told on standard error."""
    from newbon_core.hooks.host import PluginHost

    host = PluginHost.discover(site.plugins)
    for warning in host.warnings if tell else ():
        click.echo(f"{out.paint('warning:', 'yellow')} {warning}", err=True)
    return host


@click.command()
@lifeline_option
@pass_session
def server(session: Session, lifeline: int | None) -> None:
    """Run the API server with its controllers until SIGTERM or Ctrl-C.

    Where it listens and keeps its state is said by the site's file (--config). At its first start it writes the first
    admin token to the file admin.token in its data directory. Containers go on running without it.
    """
    from newbon_core.server import ServerError, run_server

    set_up_logging()
    hold_lifeline(lifeline)
    site = session.site
    host = discover(site, tell=True)
    stopping = _on_signals()
    try:
        running = run_server(site, host)
    except ServerError as error:
        raise CliError(str(error)) from error
    while not stopping.wait(3600.0):
        pass
    running.stop()
    click.echo("the server has ended; containers go on running", err=True)


def _on_signals() -> threading.Event:
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping


@click.command()
@click.option("--server", metavar="URL", help="The API server (default: this machine's).")
@click.option("--token", metavar="TOKEN", help="A join token: 'newbon token create --role join'.")
@click.option("--token-file", metavar="FILE", help="A file that holds it.")
@click.option("--ca", metavar="FILE", help="PEM certificates that the server's must be signed by.")
@click.option("--name", metavar="NODE", help="The node's name (default: the site's, else the host's).")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the node; repeatable.")
@click.option("--resource", "resources", multiple=True, metavar="NAME=COUNT",
              help="A countable resource, such as gpu=2; repeatable.")  # fmt: skip
@lifeline_option
@pass_session
def agent(
    session: Session,
    server: str | None,
    token: str | None,
    token_file: str | None,
    ca: str | None,
    name: str | None,
    labels: tuple[str, ...],
    resources: tuple[str, ...],
    lifeline: int | None,
) -> None:
    """Run the agent of this machine until SIGTERM or Ctrl-C; its containers go on running without it.

    The token is needed once: the agent exchanges it for its own, which it keeps in its data directory. An agent beside
    its server needs none.
    """
    _given(session, server, token, token_file, ca)
    from newbon_core.agent.main import run_agent

    set_up_logging()
    hold_lifeline(lifeline)
    site = with_resources(session.site, parse_resources(resources))
    check_words({**site.agent.labels, **parse_labels(labels)}, site.agent.taints)
    host = discover(site, tell=lifeline is None)
    node = name or site.agent.name or socket.gethostname().split(".")[0].lower()
    stopping = _on_signals()
    made, secret = None, None
    if not (Path(site.data_dir) / f"agent-{node}.token").exists():
        made, secret = _join_token(session, node)
    try:
        running = run_agent(
            site, session.url, secret, node=node, host=host, ca=Path(session.ca) if session.ca else None,
            labels=parse_labels(labels),
        )  # fmt: skip
    except Exception as error:
        if type(error).__name__ != "AgentError":
            raise
        raise CliError(str(error)) from error
    try:
        _run(session, running, stopping, made)
    finally:
        running.stop()
    click.echo(f"the agent of {node} has ended; its containers go on running", err=True)


def _given(session: Session, server: str | None, token: str | None, token_file: str | None, ca: str | None) -> None:
    session.server, session.ca = server or session.server, ca or session.ca
    if token or token_file:
        session.token, session.token_file = token, token_file


def _join_token(session: Session, node: str) -> tuple[str | None, str]:
    """(id of a token made here, token). Raises CliError."""
    if session.token or session.token_file:
        return None, session.find_token()
    try:
        session.find_token()
    except CliError as error:
        raise CliError(
            f"node {node} needs a token to join {session.url}",
            "on the server: 'newbon token create --role join'; here: newbon agent --server URL --token-file FILE",
        ) from error
    made = session.client.create_token(
        "join", description=f"agent beside its server, node {node}", expires_at=session.now() + JOIN_TOKEN_LIFE_S
    )
    return made["name"], made["token"]


def _run(session: Session, running: RunningAgent, stopping: threading.Event, made: str | None) -> None:
    from newbon_core.client import ClientError

    told = False
    while not stopping.is_set() and running.failure is None:
        if told:
            stopping.wait(1.0)
        elif running.wait_connected(0.3):
            told = True
            if made is not None:
                try:
                    session.client.delete_token(made)
                except ClientError as error:
                    logging.getLogger(__name__).info("the used join token %s ends by itself: %s", made, error)
        elif running.failure is None:
            time.sleep(0.2)
    if running.failure is not None:
        raise CliError(running.failure)


def parse_labels(words: tuple[str, ...]) -> dict[str, str]:
    """``("zone=a",)`` as a mapping. Raises click.UsageError."""
    found: dict[str, str] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not key or not sign:
            raise click.UsageError(f"--label {word!r}: expected KEY=VALUE")
        found[key] = value
    return found


def check_words(labels: Mapping[str, str], taints: Iterable[Taint]) -> None:
    """Labels and taints by the rules of a Node document. Raises CliError with every one that is wrong."""
    from newbon_core.schema.grammar import Wrong, check_label_key, check_label_value

    wrong = []
    pairs = [("label", key, value) for key, value in labels.items()]
    pairs += [("taint", taint.key, taint.value) for taint in taints]
    for noun, key, value in pairs:
        for check, text in ((check_label_key, key), (check_label_value, value)):
            try:
                check(text)
            except Wrong as error:
                wrong.append(f"{noun} {key}={value}: {text!r}: {error}")
    if wrong:
        raise CliError("; ".join(wrong))


def parse_resources(words: tuple[str, ...]) -> dict[str, int]:
    """``("gpu=2",)`` as a mapping. Raises click.UsageError."""
    found: dict[str, int] = {}
    for word in words:
        name, _, count = word.partition("=")
        if not name or not (count.isascii() and count.isdigit()):
            raise click.UsageError(f"--resource {word!r}: expected NAME=COUNT with 0 or more, such as gpu=2")
        found[name] = int(count)
    return found


def with_resources(site: Any, resources: dict[str, int]) -> Any:
    """The site with these countable resources over those of its file."""
    if not resources:
        return site
    return replace(site, agent=replace(site.agent, countable={**site.agent.countable, **resources}))
