"""Writing results: tables, JSON and YAML."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from newbon_core.cli.session import Session, colour_wanted
from newbon_core.cli.table import Column, Row, plain_lines, rich_table
from newbon_core.cli.text import escape_unsafe, harmless, has_unsafe

FORMATS = ("table", "wide", "json", "yaml")
format_option = click.option(
    "-o", "--output", "output", type=click.Choice(FORMATS), default="table", show_default=True, help="How to print."
)
json_option = click.option("-o", "--output", "output", type=click.Choice(("text", "json")), default="text",
                           show_default=True, help="How to print.")  # fmt: skip


def write_table(session: Session, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """A table on standard output: coloured and cut to fit on a terminal, plain and whole when piped."""
    console = session.console()
    if console.is_terminal:
        console.print(rich_table(columns, rows, console.width))
    else:
        click.echo("\n".join(plain_lines(columns, rows)))


def write_json(value: object) -> None:
    """The value exactly as the API gave it."""
    click.echo(json_text(value, indent=2))


def json_text(value: object, *, indent: int | None = None) -> str:
    """JSON in which nothing can act on a terminal."""
    return escape_unsafe(json.dumps(value, indent=indent, ensure_ascii=False))


def yaml_text(value: object) -> str:
    """YAML in which nothing can act on a terminal; keys keep their order."""
    import yaml

    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    if has_unsafe(text):
        text = yaml.safe_dump(value, sort_keys=False, allow_unicode=False, width=120)
    return text


def write_yaml(value: object) -> None:
    """The value as one YAML document."""
    click.echo(yaml_text(value), nl=False)


def paint(text: str, style: str) -> str:
    """The text in a colour, where standard output takes colours. ``style`` is a colour, or ``bold``, or ``dim``."""
    if not style or not colour_wanted(1):
        return harmless(text)
    parts = style.split()
    colours = [part for part in parts if part not in ("bold", "dim")]
    return click.style(
        harmless(text), fg=colours[0] if colours else None, bold="bold" in parts or None, dim="dim" in parts or None
    )
