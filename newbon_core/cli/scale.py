"""``newbon scale``."""

from __future__ import annotations

import click

from newbon_core.cli import output as out
from newbon_core.cli.completing import complete_scale
from newbon_core.cli.get import find
from newbon_core.cli.options import timeout_option
from newbon_core.cli.session import Session, pass_session


def parse_scale(words: tuple[str, ...]) -> dict[str, int]:
    """``("web=5", "api=2")`` as a mapping. Raises click.UsageError."""
    from newbon_core.schema.grammar import MAX_REPLICAS

    wanted: dict[str, int] = {}
    for word in words:
        name, sign, number = word.partition("=")
        if not (sign and name and number.isascii() and number.isdigit() and int(number) <= MAX_REPLICAS):
            raise click.UsageError(
                f"{word!r}: expected SERVICE=REPLICAS with 0 to {MAX_REPLICAS} replicas, such as web=5"
            )
        if name in wanted:
            raise click.UsageError(f"{name!r} is there twice")
        wanted[name] = int(number)
    return wanted


@click.command()
@click.argument("words", metavar="SERVICE=REPLICAS...", nargs=-1, required=True, shell_complete=complete_scale)
@click.option("--wait", is_flag=True, help="Wait until the wanted number runs.")
@timeout_option
@pass_session
def scale(session: Session, words: tuple[str, ...], wait: bool, timeout: float) -> None:
    """Set how many replicas services have. All names are looked up before anything is changed."""
    wanted = parse_scale(words)
    before = {name: find(session.client, "services", name)["replicas"] for name in wanted}
    for name, replicas in wanted.items():
        if before[name] == replicas:
            click.echo(f"service/{name} {out.paint('unchanged', 'dim')} ({replicas} replicas)")
            continue
        session.client.scale(name, replicas)
        click.echo(f"service/{name} {out.paint('scaled', 'yellow')} from {before[name]} to {replicas}")
    if wait:
        from newbon_core.cli.waiting import wait_for

        wait_for(session, list(wanted), 0, timeout)
