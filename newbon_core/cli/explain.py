"""``newbon explain``: node by node, which filter said no with which amounts, and what each score was worth."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import click

from newbon_core.cli import output as out
from newbon_core.cli.columns import natural_key
from newbon_core.cli.completing import complete_target
from newbon_core.cli.describe import placement_lines
from newbon_core.cli.session import Session, pass_session
from newbon_core.cli.table import Cell, Column, Row
from newbon_core.cli.targets import find_target
from newbon_core.cli.text import one_line

MAX_NODES = 20
_COLUMN_GAP = "  "


@click.command()
@click.argument("words", metavar="[KIND] NAME", nargs=-1, required=True, shell_complete=complete_target)
@click.option("--all", "everything", is_flag=True, help=f"Show every node, not only {MAX_NODES} of each verdict.")
@out.json_option
@pass_session
def explain(session: Session, words: tuple[str, ...], everything: bool, output: str) -> None:
    """Say why an instance is where it is, or where the next instance of a service would go.

    For each node: the weighted scores that it got, or the filters that rejected it, with amounts. An instance shows
    first how it was decided when it was placed. Exit code 0 also where no node fits.
    """
    kind, item = find_target(session.client, words)
    answer = session.client.explain(kind, item["name"])
    if output == "json":
        out.write_json(answer)
        return
    if kind == "instance":
        _kept(item, answer)
    else:
        click.echo(out.paint(f"Where the next instance of {item['name']} would go", "bold"))
    nodes = answer.get("nodes", [])
    limit = None if everything else MAX_NODES
    width = max((len(one_line(node["node"])) for node in nodes), default=4)
    _passed(session, [node for node in nodes if node["passed"]], limit, width)
    _rejected(session, [node for node in nodes if not node["passed"]], limit, width)
    if not nodes:
        click.echo("there are no nodes")
    for line in answer.get("advice") or []:
        click.echo(_wrapped(session, f"{out.paint('To change that:', 'cyan')} ", line, len("To change that: ")))
    for line in answer.get("notes") or []:
        click.echo(_wrapped(session, f"{out.paint('Note:', 'yellow')} ", line, len("Note: ")))


def _kept(item: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    node = answer.get("node") or item.get("node")
    placement = answer.get("placement") or item.get("placement")
    if node:
        click.echo(f"{out.paint(item['name'], 'bold')} was placed on {out.paint(node, 'bold green')}")
    else:
        why = one_line(item.get("waiting") or item.get("reason") or "no node was found yet")
        click.echo(f"{out.paint(item['name'], 'bold')} {out.paint('has no node', 'yellow')}: {why}")
    if placement:
        for line in placement_lines(placement):
            click.echo(f"  {line}")
    elif node:
        click.echo("  how it was decided is no longer known")
    click.echo(f"\n{out.paint('How the nodes would be judged now', 'bold')}")


def _passed(session: Session, nodes: list[Any], limit: int | None, width: int) -> None:
    if not nodes:
        return
    nodes = sorted(nodes, key=lambda node: (-(node.get("total") or 0.0), natural_key(node["node"])))
    plugins = list(dict.fromkeys(score["plugin"] for node in nodes for score in node.get("scores", [])))
    columns = [Column("NODE".ljust(width)), Column("VERDICT".ljust(len("rejected")))]
    columns += [Column(plugin.removeprefix("score_").upper(), right=True) for plugin in plugins]
    columns.append(Column("TOTAL", right=True))
    rows: list[Row] = []
    for node in nodes[:limit]:
        scores = {score["plugin"]: score for score in node.get("scores", [])}
        cells: list[Cell | str] = [node["node"], Cell("passed", "green")]
        cells += [score_text(scores.get(plugin)) for plugin in plugins]
        cells.append(Cell(f"{node['total']:.3f}" if node.get("total") is not None else "-", "bold"))
        rows.append(cells)
    out.write_table(session, columns, rows)
    _more(len(nodes), limit, "that passed")


def score_text(score: Mapping[str, Any] | None) -> str:
    """``0.830 x 2``: the normalised value and its weight."""
    return f"{score['normalised']:.3f} x {score['weight']:g}" if score else "-"


def _rejected(session: Session, nodes: Sequence[Any], limit: int | None, width: int) -> None:
    if not nodes:
        return
    nodes = sorted(nodes, key=lambda node: natural_key(node["node"]))
    shown = nodes[:limit]
    width = max(width, len("NODE"))
    for node in shown:
        # Reasons are wrapped, never cut: their amounts are what the user came for.
        head = f"{one_line(node['node']).ljust(width)}{_COLUMN_GAP}{out.paint('rejected', 'red')}{_COLUMN_GAP}"
        indent = width + len("rejected") + 2 * len(_COLUMN_GAP)
        for reason in node.get("reasons") or ["no reason was given"]:
            click.echo(_wrapped(session, head, reason, indent))
            head = " " * indent
    _more(len(nodes), limit, "that were rejected")


def _more(count: int, limit: int | None, which: str) -> None:
    if limit is not None and count > limit:
        click.echo(f"… and {count - limit} more nodes {which} (--all shows them)")


def _wrapped(session: Session, head: str, sentence: str, indent: int) -> str:
    console = session.console()
    clean = one_line(sentence)
    if not console.is_terminal or console.width - indent < 20:
        return head + clean
    lines = textwrap.wrap(clean, console.width - indent) or [""]
    return head + ("\n" + " " * indent).join(lines)
