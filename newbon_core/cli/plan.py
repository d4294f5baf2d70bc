"""``newbon plan``: the diff, where new instances would go, and which would go away. Nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from newbon_core.cli import output as out
from newbon_core.cli.errors import EXIT_CHANGES, Finished
from newbon_core.cli.session import Session, pass_session
from newbon_core.cli.sources import call, files_option, read_batch
from newbon_core.cli.table import Cell, Column, Row

MAX_ROWS = 40


@click.command()
@files_option
@click.option(
    "--all", "everything", is_flag=True, help=f"Show every placement, not only {MAX_ROWS} lines of each kind."
)
@out.json_option
@pass_session
def plan(session: Session, files: tuple[str, ...], everything: bool, output: str) -> None:
    """Show what 'apply' would do: changed fields, where each new instance would go, which instances would go away.

    Exit code 0: nothing would change. 2: something would. 1: an error.
    """
    answer = call(read_batch(files), session.client.plan)
    changed = any(result["action"] != "unchanged" for result in answer["results"])
    if output == "json":
        out.write_json(answer)
    else:
        _show(session, answer, None if everything else MAX_ROWS)
    raise Finished(EXIT_CHANGES if changed else 0)


def _show(session: Session, answer: Mapping[str, Any], limit: int | None) -> None:
    for result in answer["results"]:
        for line in diff_lines(result):
            click.echo(line)
    groups, removals = answer.get("groups", []), answer.get("removals", [])
    if groups:
        click.echo(f"\n{out.paint('New instances', 'bold')}")
        columns = [Column("SERVICE"), Column("REVISION", right=True), Column("NODE"), Column("NEW", right=True),
                   Column("SCORE", right=True), Column("BECAUSE", flex=True)]  # fmt: skip
        _table(session, columns, placement_rows(groups), limit)
        for group in groups:
            if group.get("summary"):
                click.echo(out.paint(f"{group['service']}: {group['summary']}", "red"))
    if removals:
        click.echo(f"\n{out.paint('Instances that go away', 'bold')}")
        rows: list[Row] = [[item["instance"], item.get("node") or "-", item["reason"]] for item in removals]
        _table(session, [Column("INSTANCE"), Column("NODE"), Column("REASON", flex=True)], rows, limit)
    click.echo(f"\n{out.paint(summary(answer), 'bold')}")


def _table(session: Session, columns: Sequence[Column], rows: Sequence[Row], limit: int | None) -> None:
    out.write_table(session, columns, rows[:limit])
    if limit is not None and len(rows) > limit:
        click.echo(f"… and {len(rows) - limit} more (--all shows them)")


def diff_lines(result: Mapping[str, Any]) -> list[str]:
    """``~ replicas: 3 -> 5`` for each changed field of one document."""
    name = out.paint(f"{result['kind'].lower()}/{result['name']}", "bold")
    if result["action"] == "unchanged":
        return [f"  {name} is unchanged"]
    sign, style = ("+", "green") if result["action"] == "created" else ("~", "yellow")
    lines = [f"{out.paint(sign, style)} {name} would be {out.paint(result['action'], style)}"]
    for difference in result["differences"]:
        path, old, new = difference["path"], difference["old"], difference["new"]
        if old is None:
            lines.append("    " + out.paint(f"+ {path}: {_value(new)}", "green"))
        elif new is None:
            lines.append("    " + out.paint(f"- {path}: {_value(old)}", "red"))
        else:
            lines.append("    " + out.paint(f"~ {path}: {_value(old)} -> {_value(new)}", "yellow"))
    return lines


def _value(value: object) -> str:
    return value if isinstance(value, str) and value.strip() == value and value else out.json_text(value)


def placement_rows(groups: Sequence[Mapping[str, Any]]) -> list[Row]:
    """One row for each node that new instances of a service would go to."""
    rows: list[Row] = []
    for group in groups:
        by_node: dict[str | None, list[Any]] = {}
        for placement in group["placements"]:
            by_node.setdefault(placement["node"], []).append(placement.get("placement"))
        for node, placements in by_node.items():
            first = next((placement for placement in placements if placement), None)
            rows.append(
                [
                    group["service"],
                    str(group["revision"]),
                    Cell(node, "green") if node else Cell("no room", "red"),
                    str(len(placements)),
                    f"{first['score']:.3f}" if first else "-",
                    terms(first) if first else "",
                ]
            )
    return rows


def terms(placement: Mapping[str, Any]) -> str:
    """``spread 0.900, binpack 0.100; 3 of 5 nodes fit``."""
    parts = ", ".join(f"{plugin} {value:.3f}" for plugin, value in (placement.get("terms") or {}).items())
    fits = f"{placement.get('feasible', 0)} of {placement.get('nodes', 0)} nodes fit"
    return f"{parts}; {fits}" if parts else fits


def summary(answer: Mapping[str, Any]) -> str:
    """One line with all counts."""
    actions = [result["action"] for result in answer["results"]]
    placed = sum(1 for g in answer.get("groups", []) for p in g["placements"] if p["node"])
    wanted = sum(len(g["placements"]) for g in answer.get("groups", []))
    parts = [f"{actions.count('created')} to create", f"{actions.count('updated')} to change"]
    parts.append(f"{actions.count('unchanged')} unchanged")
    parts.append(f"{wanted} instance{'s' * (wanted != 1)} to start")
    if placed < wanted:
        parts.append(f"{wanted - placed} of them without room")
    parts.append(f"{len(answer.get('removals', []))} to go away")
    return f"Plan: {', '.join(parts)}."
