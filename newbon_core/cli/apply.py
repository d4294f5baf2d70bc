"""``newbon apply``: write documents, and wait until they are true."""

from __future__ import annotations

from typing import Any

import click

from newbon_core.cli import output as out
from newbon_core.cli.options import timeout_option
from newbon_core.cli.session import Session, pass_session
from newbon_core.cli.sources import call, files_option, read_batch

ACTION_STYLES = {"created": "green", "updated": "yellow", "unchanged": "dim"}


@click.command()
@files_option
@click.option("--wait", is_flag=True, help="Wait until everything runs; show progress, and why it does not.")
@timeout_option
@click.option("--dry-run", is_flag=True, help="Say what would be done; change nothing.")
@out.json_option
@pass_session
def apply(session: Session, files: tuple[str, ...], wait: bool, timeout: float, dry_run: bool, output: str) -> None:
    """Create or change what the documents describe: all of it in one transaction, or nothing.

    Applying the same documents again changes nothing. With --wait the exit code is 1 when something failed or the
    time was over; then the reasons and the last lines of the logs are printed.
    """
    if wait and dry_run:
        raise click.UsageError("--wait and --dry-run exclude each other: a dry run starts nothing to wait for")
    batch = read_batch(files)
    answer = call(batch, lambda payload: session.client.apply(payload, dry_run=dry_run))
    if output == "json":
        out.write_json(answer)
    else:
        show_results(answer["results"], dry_run=dry_run)
    services = [result["name"] for result in answer["results"] if result["kind"].lower() == "service"]
    if wait and services:
        from newbon_core.cli.waiting import wait_for

        wait_for(session, services, answer["revision"], timeout)


def show_results(results: list[Any], *, dry_run: bool) -> None:
    """One line for each document."""
    for result in results:
        action = result["action"]
        fields = [difference["path"] for difference in result["differences"]] if action == "updated" else []
        what = f" ({', '.join(fields[:4])}{', …' if len(fields) > 4 else ''})" if fields else ""
        tail = " (dry run)" if dry_run else ""
        name = out.paint(f"{result['kind'].lower()}/{result['name']}", "")
        click.echo(f"{name} {out.paint(action, ACTION_STYLES.get(action, ''))}{out.paint(what, '')}{tail}")
