"""``newbon plugins``: what is installed here, how it stands, and whether this set is whole. No server is asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from newbon_core.cli import output as out
from newbon_core.cli.columns import state_cell
from newbon_core.cli.errors import CliError, Finished
from newbon_core.cli.session import Session, pass_session
from newbon_core.cli.table import Cell, Column
from newbon_core.cli.text import one_line

if TYPE_CHECKING:
    from newbon_core.hooks.host import PluginHost, PluginInfo

BROKEN = frozenset({"failed", "incompatible", "quarantined"})
_LIST = (Column("NAME"), Column("STATUS"), Column("VERSION"), Column("DOES"), Column("WHY", flex=True))
_WIDE = (*_LIST[:3], Column("WEIGHT", right=True), Column("DISTRIBUTION"), Column("DOES"), Column("WHY", flex=True))


@click.group()
def plugins() -> None:
    """List, show and check the plugins that are installed here."""


@plugins.command("list")
@out.format_option
@pass_session
def list_(session: Session, output: str) -> None:
    """Every plugin found, in the order in which they are asked, with its status and why."""
    host = _host(session)
    if output in ("json", "yaml"):
        documents = [info.document() for info in host.plugins]
        (out.write_json if output == "json" else out.write_yaml)(documents)
        return
    wide = output == "wide"
    out.write_table(session, _WIDE if wide else _LIST, [_row(info, wide) for info in host.plugins])
    for warning in host.warnings:
        click.echo(f"{out.paint('warning:', 'yellow')} {one_line(warning)}", err=True)


@plugins.command()
@click.argument("name")
@out.format_option
@pass_session
def show(session: Session, name: str, output: str) -> None:
    """One plugin: what it does, its options as they are now, and the options that it takes."""
    host = _host(session)
    try:
        info = host.plugin(name)
    except KeyError as error:
        raise CliError(str(error.args[0]), "see 'newbon plugins list'") from None
    if output in ("json", "yaml"):
        (out.write_json if output == "json" else out.write_yaml)(info.document())
        return
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
    host = _host(session)
    try:
        chosen = [host.plugin(name) for name in names] if names else list(host.plugins)
    except KeyError as error:
        raise CliError(str(error.args[0]), "see 'newbon plugins list'") from None
    broken = [info for info in chosen if info.status in BROKEN or (info.status == "active" and info.reason)]
    findings = [f"{info.name}: {info.reason}" for info in broken] if names else host.warnings
    if output == "json":
        out.write_json({"plugins": [info.document() for info in chosen], "findings": findings})
    else:
        for info in chosen:
            mark = out.paint("wrong", "red") if info in broken else out.paint("ok", "green")
            click.echo(f"{mark}  {info.name} ({info.status}): {one_line(info.reason or _does(info))}")
        for finding in findings:
            click.echo(f"{out.paint('finding:', 'yellow')} {one_line(finding)}")
    raise Finished(1 if findings else 0)


def _host(session: Session) -> PluginHost:
    from newbon_core.hooks.host import PluginHost

    return PluginHost.discover(session.site.plugins)


def _row(info: PluginInfo, wide: bool) -> Sequence[Cell | str]:
    head = (info.name, state_cell(info.status), info.version)
    if not wide:
        return (*head, _does(info), info.reason)
    weight = "" if info.weight is None else f"{info.weight:g}"
    return (*head, weight, info.distribution, _does(info), info.reason)


def _does(info: PluginInfo) -> str:
    """What a plugin is for, in few words: ``filter``, ``score``, ``runtime docker``."""
    words = [word for hook, word in (("newbon_filter_nodes", "filter"), ("newbon_score_nodes", "score"))
             if hook in info.hooks]  # fmt: skip
    words += [f"{kind} {', '.join(names)}" for kind, names in info.providers.items()]
    return "; ".join(words) or "-"


def _description(info: PluginInfo) -> list[str]:
    weight = "" if info.weight is None else f"{info.weight:g}"
    facts = {
        "name": info.name,
        "status": info.status,
        "why": info.reason,
        "distribution": f"{info.distribution} {info.version}".strip(),
        "does": _does(info),
        "hooks": ", ".join(info.hooks),
        "enforces": ", ".join(info.fields),
        "weight": weight,
        "options": json.dumps(info.options, default=str) if info.options else "",
    }
    lines = [f"{key + ':':<14}{one_line(value)}" for key, value in facts.items() if value]
    for option in info.option_schema:
        default = "required" if option.required else f"default {json.dumps(option.default, default=str)}"
        description = f": {option.description}" if option.description else ""
        lines.append(one_line(f"  [plugins.{info.name}] {option.name} ({option.type}, {default}){description}"))
    return lines
