"""``newbon get``: lists as tables, JSON or YAML, once or live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from newbon_core.cli import output as out
from newbon_core.cli.columns import LAYOUTS
from newbon_core.cli.completing import complete_noun, complete_object
from newbon_core.cli.errors import CliError
from newbon_core.cli.nouns import UnknownNoun, resolve, singular
from newbon_core.cli.session import Session, pass_session

SELECTABLE = ("services", "instances", "nodes")
WATCHABLE = ("services", "instances", "nodes", "revisions", "events")


@click.command()
@click.argument("noun", metavar="KIND", shell_complete=complete_noun)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_object)
@out.format_option
@click.option("-l", "--selector", metavar="SELECTOR", help="Labels: 'app=web,tier in (a,b),!old'.")
@click.option("-w", "--watch", is_flag=True, help="Stay and show every change.")
@pass_session
def get(session: Session, noun: str, names: tuple[str, ...], output: str, selector: str | None, watch: bool) -> None:
    """List services, instances, nodes, events, revisions or tokens.

    Short names: svc, ins, no, ev, rev, tok. A NAME after 'events' or 'revisions' is that of a service (or of any
    object that events tell of). '-o json' prints one list of the API's objects; '-o yaml' of services prints documents
    that can be applied again.
    """
    noun = noun_of(noun)
    if selector and noun not in SELECTABLE:
        raise click.UsageError(f"{noun} have no labels; -l works with {', '.join(SELECTABLE)}")
    if watch:
        if noun not in WATCHABLE:
            raise click.UsageError(f"{noun} cannot be watched; --watch works with {', '.join(WATCHABLE)}")
        from newbon_core.cli.live import watch_objects

        watch_objects(session, noun, names, {"selector": selector} if selector else {}, output)
        return
    show_objects(session, noun, fetch(session.client, noun, names, selector), output)


def noun_of(word: str, allowed: tuple[str, ...] = tuple(LAYOUTS)) -> str:
    """The plural of a noun; a misspelt one is wrong usage."""
    try:
        return resolve(word, allowed)
    except UnknownNoun as error:
        raise click.UsageError(str(error)) from error


def fetch(client: Any, noun: str, names: Sequence[str] = (), selector: str | None = None) -> list[Any]:
    """The objects of a kind, in the order that tables have. Raises CliError where a name has none."""
    wide: dict[str, Callable[[], list[Any]]] = {
        "services": lambda: client.services(selector=selector),
        "instances": lambda: client.instances(selector=selector),
        "nodes": lambda: client.nodes(selector=selector),
        "events": client.events,
        "revisions": client.revisions,
        "tokens": client.tokens,
    }
    single = {"services": client.service, "instances": client.instance, "nodes": client.node}
    if len(names) == 1 and noun in single and not selector:
        return [find(client, noun, names[0])]
    if len(names) == 1 and noun == "revisions":
        found = client.revisions(service=names[0])
        return list(found) if found else [missing(client, "services", names[0])]
    items = sorted(wide[noun](), key=LAYOUTS[noun].key)
    if noun in ("events", "revisions"):
        return [item for item in items if not names or set(names) & {item.get("service"), item.get("name")}]
    if names:
        known = {item["name"] for item in items}
        for name in names:
            if name not in known and not selector:
                raise unknown(noun, name, known)
        items = [item for item in items if item["name"] in names]
    return items


def find(client: Any, noun: str, name: str) -> Any:
    """One service, instance or node. Raises CliError with the nearest name where there is none."""
    from newbon_core.client import ApiProblem

    single = {"services": client.service, "instances": client.instance, "nodes": client.node}
    try:
        return single[noun](name)
    except ApiProblem as problem:
        if problem.status != 404:
            raise
    return missing(client, noun, name)


def missing(client: Any, noun: str, name: str) -> Any:
    """Raises CliError: there is no object of this name, and which has the nearest."""
    lists = {"services": client.services, "instances": client.instances, "nodes": client.nodes}
    raise unknown(noun, name, [item["name"] for item in lists[noun]()])


def unknown(noun: str, name: str, known: Any) -> CliError:
    """There is no object of this name; the hint has the nearest, or how to list them."""
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else f"list them with 'newbon get {noun}'"
    return CliError(f"there is no {singular(noun)} {name!r}", hint)


def show_objects(session: Session, noun: str, items: list[Any], output: str) -> None:
    """Print a list in the asked format."""
    if output == "json":
        out.write_json(items)
    elif output == "yaml" and noun == "services":
        click.echo("---\n".join(out.yaml_text(document_of(item)) for item in items), nl=False)
    elif output == "yaml":
        out.write_yaml(items)
    elif not items:
        click.echo(f"no {noun}", err=True)
    else:
        layout = LAYOUTS[noun]
        shown = layout.shown(output == "wide")
        now = session.now()
        rows = [layout.row(item, now) for item in items]
        out.write_table(session, [layout.columns[i] for i in shown], [[row[i] for i in shown] for row in rows])


def document_of(service: dict[str, Any]) -> dict[str, Any]:
    """The document of a service as its user spells it; it can be applied again."""
    spec = dict(service["spec"])
    return {"kind": spec.pop("kind", "Service"), "name": spec.pop("name", service["name"]), **spec}
