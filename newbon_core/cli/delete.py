"""``newbon delete``: services, instances and nodes, by name or by the documents that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from newbon_core.cli import output as out
from newbon_core.cli.completing import complete_noun, complete_object
from newbon_core.cli.errors import CliError
from newbon_core.cli.get import find, noun_of
from newbon_core.cli.nouns import singular
from newbon_core.cli.session import Session, pass_session
from newbon_core.cli.sources import read_sources, refused

if TYPE_CHECKING:
    from newbon_core.client.api import Deletable

DELETABLE = ("services", "instances", "nodes")


@click.command()
@click.argument("noun", metavar="[KIND]", required=False, shell_complete=complete_noun)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_object)
@click.option("-f", "--file", "files", multiple=True, metavar="FILE|DIR|-", help="Delete what these documents name.")
@click.option("--ignore-missing", is_flag=True, help="What does not exist is no error.")
@pass_session
def delete(
    session: Session, noun: str | None, names: tuple[str, ...], files: tuple[str, ...], ignore_missing: bool
) -> None:
    """Delete a service with its instances, an instance (it is replaced by a new one), or a lost or empty node.

    All names are looked up before anything is deleted.
    """
    if bool(noun) == bool(files) or (noun and not names):
        raise click.UsageError("expected KIND NAME... or -f FILE")
    wanted = _named_in(files) if files else [(noun_of(str(noun), DELETABLE), name) for name in names]
    wanted = [each for each in dict.fromkeys(wanted) if _exists(session.client, *each, ignore_missing)]
    for kind, name in wanted:
        session.client.delete(cast("Deletable", singular(kind)), name)
        extra = "; it is replaced by a new one" if kind == "instances" else ""
        click.echo(f"{singular(kind)}/{name} {out.paint('deleted', 'red')}{extra}")


def _exists(client: Any, kind: str, name: str, ignore_missing: bool) -> bool:
    try:
        find(client, kind, name)
    except CliError:
        if not ignore_missing:
            raise
        click.echo(f"{singular(kind)}/{name} does not exist", err=True)
        return False
    return True


def _named_in(files: tuple[str, ...]) -> list[tuple[str, str]]:
    """Kind and name of every document. A document that only patches a node deletes nothing, so it is refused."""
    from newbon_core.schema.reader import read

    wanted: list[tuple[str, str]] = []
    problems: list[str] = []
    for source in read_sources(files):
        result = read(source.text)
        problems += [f"{source.name}: {problem.message}" for problem in result.problems]
        for index, document in result.documents:
            kind = document.get("kind") if isinstance(document, dict) else None
            name = document.get("name") if isinstance(document, dict) else None
            if kind == "Service" and isinstance(name, str):
                wanted.append(("services", name))
            else:
                problems.append(
                    f"{source.name}: document {index + 1}: only documents of kind Service can be deleted by -f"
                )
    if problems:
        raise refused(problems)
    return wanted
