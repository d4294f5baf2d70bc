"""``newbon cordon``, ``uncordon``, ``label`` and ``taint``: what operators set on nodes."""

from __future__ import annotations

from typing import Any

import click

from newbon_core.cli import output as out
from newbon_core.cli.completing import complete_node
from newbon_core.cli.get import find, noun_of
from newbon_core.cli.session import Session, pass_session
from newbon_core.cli.text import pairs, taints

_NODES = click.argument("names", metavar="NODE...", nargs=-1, required=True, shell_complete=complete_node)


@click.command()
@_NODES
@pass_session
def cordon(session: Session, names: tuple[str, ...]) -> None:
    """Keep new instances off nodes. What runs there stays."""
    _cordon(session, names, True)


@click.command()
@_NODES
@pass_session
def uncordon(session: Session, names: tuple[str, ...]) -> None:
    """Let new instances on nodes again."""
    _cordon(session, names, False)


def _cordon(session: Session, names: tuple[str, ...], cordoned: bool) -> None:
    before = {name: find(session.client, "nodes", name)["cordoned"] for name in names}
    word = "cordoned" if cordoned else "uncordoned"
    for name, was in before.items():
        if was == cordoned:
            click.echo(f"node/{name} is {word} already")
            continue
        session.client.cordon(name, cordoned)
        click.echo(f"node/{name} {out.paint(word, 'yellow' if cordoned else 'green')}")


def parse_changes(words: tuple[str, ...]) -> dict[str, str | None]:
    """``("zone=a", "old-")`` as {"zone": "a", "old": None}. Raises click.UsageError."""
    changes: dict[str, str | None] = {}
    for word in words:
        key, sign, value = word.partition("=")
        removed = not sign and word.endswith("-")
        key = word[:-1] if removed else key
        if not key or (not sign and not removed):
            raise click.UsageError(f"{word!r}: expected KEY=VALUE to set, or KEY- to remove")
        changes[key] = None if removed else value
    return changes


def _node_and_changes(words: tuple[str, ...]) -> tuple[str, dict[str, str | None]]:
    rest = list(words)
    if len(rest) > 2 and "=" not in rest[0] and "=" not in rest[1] and not rest[1].endswith("-"):
        noun_of(rest.pop(0), ("nodes",))
    return rest[0], parse_changes(tuple(rest[1:]))


@click.command()
@click.argument("words", metavar="[node] NODE KEY=VALUE|KEY-...", nargs=-1, required=True, shell_complete=complete_node)
@pass_session
def label(session: Session, words: tuple[str, ...]) -> None:
    """Set labels of a node (KEY=VALUE) or remove them (KEY-). They override those of its agent."""
    name, changes = _node_and_changes(words)
    node = find(session.client, "nodes", name)
    if not changes:
        click.echo(pairs(node["labels"]))
        return
    answer = session.client.node_patch(name, labels=changes)
    click.echo(f"node/{name} {out.paint('labelled', 'yellow')}: {out.paint(pairs(answer['labels']), '')}")


@click.command()
@click.argument("words", metavar="[node] NODE KEY[=VALUE]|KEY-...", nargs=-1, required=True,
                shell_complete=complete_node)  # fmt: skip
@pass_session
def taint(session: Session, words: tuple[str, ...]) -> None:
    """Set taints of a node (KEY=VALUE) or remove them (KEY-).

    A taint keeps away every service that does not tolerate it. What runs there stays.
    """
    name, changes = _node_and_changes(words)
    node = find(session.client, "nodes", name)
    if not changes:
        click.echo(taints(node["taints"]))
        return
    answer = session.client.node_patch(name, taints=changed_taints(node["taints"], changes))
    click.echo(f"node/{name} {out.paint('tainted', 'yellow')}: {out.paint(taints(answer['taints']), '')}")


def changed_taints(present: list[Any], changes: dict[str, str | None]) -> list[dict[str, str]]:
    """The taints after the changes; a key is there once."""
    kept = [dict(each) for each in present if each["key"] not in changes]
    return kept + [{"key": key, "value": value} for key, value in changes.items() if value is not None]
