"""Options that several commands share."""

from __future__ import annotations

import click

from newbon_core.cli.text import parse_duration


def to_seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """The callback of an option whose value is a duration such as 90s, 5m or 1h30m."""
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


timeout_option = click.option(
    "--timeout",
    metavar="DURATION",
    default="5m",
    show_default=True,
    callback=to_seconds,
    help="How long --wait waits.",
)
