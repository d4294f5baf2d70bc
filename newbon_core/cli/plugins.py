"""``newbon plugins``: what there is, on the server or here, how it stands, and whether this set is whole."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from newbon_core.cli import output as out
from newbon_core.cli.columns import state_cell
from newbon_core.cli.errors import CliError, Finished
from newbon_core.cli.session import Session, pass_session
from newbon_core.cli.table import Cell, Column
from newbon_core.cli.text import one_line

if TYPE_CHECKING:
    from newbon_core.hooks.host import PluginHost

Info = dict[str, Any]
"""A plugin as ``PluginInfo.document`` and the API tell of it."""

BROKEN = frozenset({"failed", "incompatible", "quarantined"})
_LIST = (Column("NAME"), Column("STATUS"), Column("VERSION"), Column("DOES"), Column("WHY", flex=True))
_WIDE = (*_LIST[:3], Column("WEIGHT", right=True), Column("DISTRIBUTION"), Column("DOES"), Column("WHY", flex=True))


@click.group()
def plugins() -> None:
    """List, show and check plugins."""


local_option = click.option("--local", is_flag=True, help="Ask no server: what is installed on this machine.")


@plugins.command("list")
@local_option
@out.format_option
@pass_session
def list_(session: Session, local: bool, output: str) -> None:
    """Every plugin found, in the order in which they are asked, with its status and why.

    They are those of the server, where one is named or runs on this machine, else those installed here.
    """
    infos, warnings = _found(session, local)
    if output in ("json", "yaml"):
        (out.write_json if output == "json" else out.write_yaml)(infos)
        return
    wide = output == "wide"
    out.write_table(session, _WIDE if wide else _LIST, [_row(info, wide) for info in infos])
    for warning in warnings:
        _note("warning:", warning)


@plugins.command()
@click.argument("name")
@local_option
@out.format_option
@pass_session
def show(session: Session, name: str, local: bool, output: str) -> None:
    """One plugin: what it does, its options as they are now, and the options that it takes.

    It is that of the server, where one is named or runs on this machine, else that installed here. A name that is
    claimed twice is shown twice.
    """
    from newbon_core.hooks.settings import unknown

    infos, _ = _found(session, local)
    chosen = [info for info in infos if info["name"] == name]
    if not chosen:
        raise CliError(unknown("plugin", name, {info["name"] for info in infos}), "see 'newbon plugins list'")
    if output in ("json", "yaml"):
        (out.write_json if output == "json" else out.write_yaml)(chosen[0] if len(chosen) == 1 else chosen)
        return
    for number, info in enumerate(chosen):
        if number:
            click.echo()
        for line in _description(info):
            click.echo(line)


@plugins.command()
@click.argument("names", nargs=-1)
@out.json_option
@pass_session
def check(session: Session, names: tuple[str, ...], output: str) -> None:
    """Check the plugins NAMES, or all of them and whether they make a whole engine.

    Every plugin is imported and configured from the site's file, and nothing is started. Exit code 1 when something is
    wrong or missing.
    """
    from newbon_core.hooks.settings import unknown

    host = _host(session)
    known = {info.name for info in host.plugins}
    for name in names:
        if name not in known:
            raise CliError(unknown("plugin", name, known), "see 'newbon plugins list'")
    chosen = [info for info in host.plugins if not names or info.name in names]
    broken = [info for info in chosen if info.status in BROKEN or (info.status == "active" and info.reason)]
    findings = [f"{info.name}: {info.reason}" for info in broken] if names else host.warnings
    if output == "json":
        out.write_json({"plugins": [info.document() for info in chosen], "findings": findings})
        raise Finished(1 if findings else 0)
    for info in chosen:
        mark = out.paint("wrong", "red") if info in broken else out.paint("ok", "green")
        click.echo(f"{mark}  {info.name} ({info.status}): {one_line(info.reason or _does(info.document()))}")
    for finding in () if names else host.lacks:
        click.echo(f"{out.paint('finding:', 'yellow')} {one_line(finding)}")
    raise Finished(1 if findings else 0)


def _found(session: Session, local: bool) -> tuple[list[Info], list[str]]:
    """The plugins of the server, or of this machine, as documents; and what there is to warn of."""
    from newbon_core.client import ApiProblem, ServerUnreachable

    if not local and _server_is_known(session):
        try:
            infos = _of_server(session)
        except (ServerUnreachable, ApiProblem, CliError) as error:
            _note("note:", f"{error}; this is what is installed on this machine")
        else:
            return infos, _warnings(infos)
    host = _host(session)
    return [info.document() for info in host.plugins], host.warnings


def _server_is_known(session: Session) -> bool:
    return bool(session.server) or os.path.lexists(session.admin_token_path)


def _of_server(session: Session) -> list[Info]:
    # Whoever lists plugins waits for them; a server that hangs must not keep what is installed here.
    session.timeout_s = min(session.timeout_s, 5.0)
    return [{**view} for view in session.client.plugins()]


def _warnings(infos: Sequence[Info]) -> list[str]:
    from newbon_core.hooks.warnings import warnings_of

    standing = [SimpleNamespace(**{**info, "hooks": tuple(info["hooks"])}) for info in infos]
    others = [f"the plugin {one.name}: {one.reason}" for one in standing if one.status == "active" and one.reason]
    return warnings_of(standing, others)


def _note(label: str, text: str) -> None:
    click.echo(f"{out.paint(label, 'yellow')} {one_line(text)}", err=True)


def _host(session: Session) -> PluginHost:
    from newbon_core.hooks.host import PluginHost

    return PluginHost.discover(session.site.plugins)


def _row(info: Info, wide: bool) -> Sequence[Cell | str]:
    head = (info["name"], state_cell(info["status"]), info["version"])
    if not wide:
        return (*head, _does(info), info["reason"])
    weight = "" if info["weight"] is None else f"{info['weight']:g}"
    return (*head, weight, info["distribution"], _does(info), info["reason"])


def _does(info: Info) -> str:
    """What a plugin is for, in few words: ``filter``, ``score``, ``runtime docker``."""
    words = [word for hook, word in (("newbon_filter_nodes", "filter"), ("newbon_score_nodes", "score"))
             if hook in info["hooks"]]  # fmt: skip
    words += [f"{kind} {', '.join(names)}" for kind, names in info["providers"].items()]
    return "; ".join(words) or "-"


def _description(info: Info) -> list[str]:
    weight = "" if info["weight"] is None else f"{info['weight']:g}"
    facts = {
        "name": info["name"],
        "status": info["status"],
        "why": info["reason"],
        "distribution": f"{info['distribution']} {info['version']}".strip(),
        "does": _does(info),
        "hooks": ", ".join(info["hooks"]),
        "enforces": ", ".join(info["fields"]),
        "weight": weight,
        "options": json.dumps(info["options"], default=str) if info["options"] else "",
    }
    lines = [f"{key + ':':<14}{one_line(value)}" for key, value in facts.items() if value]
    for option in info["option_schema"]:
        default = "required" if option["required"] else f"default {json.dumps(option['default'], default=str)}"
        description = f": {option['description']}" if option["description"] else ""
        lines.append(
            one_line(f"  [plugins.{info['name']}] {option['name']} ({option['type']}, {default}){description}")
        )
    return lines
