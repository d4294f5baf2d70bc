"""``newbon events``: what happened and why."""

from __future__ import annotations

from typing import Any

import click

from newbon_core.cli import output as out
from newbon_core.cli.columns import LAYOUTS
from newbon_core.cli.completing import complete_target
from newbon_core.cli.options import to_seconds
from newbon_core.cli.session import Session, pass_session


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_target)
@click.option("-w", "--watch", is_flag=True, help="Stay and show every event as it happens.")
@click.option("--since", callback=to_seconds, metavar="DURATION", help="Only events of the last 10m, 2h, …")
@click.option("--node", metavar="NODE", help="Only events of a node.")
@click.option("--level", type=click.Choice(("info", "warning", "error")), help="Only events of a level.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=200, show_default=True, help="At most so many, the newest."
)
@out.format_option
@pass_session
def events(
    session: Session,
    names: tuple[str, ...],
    watch: bool,
    since: float | None,
    node: str | None,
    level: str | None,
    limit: int,
    output: str,
) -> None:
    """Show what happened and why, oldest first. NAME: a service, an instance, or any object that events tell of."""
    if watch:
        from newbon_core.cli.live import watch_objects

        params = {key: value for key, value in (("node", node), ("level", level)) if value}
        if since is not None:
            params["since"] = str(session.now() - since)
        watch_objects(session, "events", names, params, output)
        return
    items = _events(session, names, since, node, level, limit)
    if output in ("json", "yaml"):
        out.write_json(items) if output == "json" else out.write_yaml(items)
    elif not items:
        click.echo("no events", err=True)
    else:
        layout = LAYOUTS["events"]
        shown = layout.shown(output == "wide")
        rows = [layout.row(item, session.now()) for item in items]
        out.write_table(session, [layout.columns[i] for i in shown], [[row[i] for i in shown] for row in rows])


def _events(
    session: Session, names: tuple[str, ...], since: float | None, node: str | None, level: str | None, limit: int
) -> list[Any]:
    wanted: dict[str, Any] = {"node": node, "level": level, "limit": limit}
    wanted["since"] = None if since is None else session.now() - since
    if not names:
        return list(session.client.events(**wanted))
    found: dict[tuple[Any, ...], Any] = {}
    for name in names:
        for field in ("service", "name"):
            for item in session.client.events(**{**wanted, field: name}):
                found[(item["time"], item["kind"], item["name"], item["reason"], item["message"])] = item
    return sorted(found.values(), key=lambda item: float(item["time"]))[-limit:]
