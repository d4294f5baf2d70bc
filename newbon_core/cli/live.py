"""``--watch``: a table that changes in place on a terminal, one line per change when piped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from newbon_core.cli import output as out
from newbon_core.cli.columns import LAYOUTS, Layout
from newbon_core.cli.errors import CliError
from newbon_core.cli.feed import Ended, Feed
from newbon_core.cli.session import Session
from newbon_core.cli.table import Cell, Column, Row, cell_width, rich_table
from newbon_core.cli.text import one_line

REFRESH_PER_SECOND = 4


class Mirror:
    """The objects of a watch as they are now.

    ``take`` returns what an event means for a reader: ("put", object), ("deleted", object) or nothing. After a reset
    what is there comes again; what does not come again was deleted meanwhile.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.objects: dict[str, Any] = {}
        self.complete = False
        self._names = frozenset(names)
        self._stale: dict[str, Any] = {}

    def snapshot(self) -> list[Any]:
        """The objects at one moment; safe while another thread takes events."""
        return list(self.objects.values())

    def take(self, event: Any) -> list[tuple[str, Any]]:
        """Apply one event; returns the changes in order."""
        name = event.object.get("name")
        if event.event == "reset":
            self._stale |= self.objects
            self.complete = False
            return []
        if event.event == "synced":
            self.complete = True
            gone, self._stale = self._stale, {}
            for each in gone:
                self.objects.pop(each, None)
            return [("deleted", item) for item in gone.values()]
        if self._names and name not in self._names:
            return []
        self._stale.pop(name, None)
        if event.event == "deleted":
            known = self.objects.pop(name, None)
            return [("deleted", known)] if known is not None else []
        changed = self.objects.get(name) != event.object
        self.objects[name] = event.object
        return [("put", event.object)] if changed else []


def watch_objects(session: Session, noun: str, names: Sequence[str], params: Mapping[str, str], output: str) -> None:
    """Show a kind of objects until Ctrl-C."""
    if noun == "revisions" and len(names) == 1:
        params, names = {"service": names[0]}, ()
    feed = Feed(watch=session.client.watch(f"/v1/{noun}", params=params))
    try:
        if noun == "events":
            _events(session, feed, names, output)
        elif output in ("json", "yaml"):
            _documents(feed, Mirror(names), output)
        elif session.console().is_terminal:
            _table(session, noun, feed, Mirror(names), output == "wide")
        else:
            _lines(session, LAYOUTS[noun], feed, Mirror(names), output == "wide")
    except Ended:
        raise CliError("the server ended the watch") from None
    finally:
        feed.close()


def _table(session: Session, noun: str, feed: Feed, mirror: Mirror, wide: bool) -> None:
    from rich.live import Live
    from rich.text import Text

    layout = LAYOUTS[noun]
    shown = layout.shown(wide)
    columns = [layout.columns[i] for i in shown]
    console = session.console()

    def render() -> Any:
        now = session.now()
        items = sorted(mirror.snapshot(), key=layout.key)
        rows = [[layout.row(item, now)[i] for i in shown] for item in items]
        if not rows:
            return Text(f"no {noun}" if mirror.complete else "…", style="dim")
        # A table higher than the terminal cannot be redrawn in place, so its end is cut with a note.
        room = max(1, console.height - 2)
        if len(rows) <= room:
            return rich_table(columns, rows, console.width)
        from rich.console import Group

        more = Text(f"… and {len(rows) - room + 1} more", style="dim")
        return Group(rich_table(columns, rows[: room - 1], console.width), more)

    with Live(get_renderable=render, console=console, refresh_per_second=REFRESH_PER_SECOND, redirect_stdout=False,
              redirect_stderr=False):  # fmt: skip
        while True:
            for _, event in feed.drain(1.0):
                mirror.take(event)


class LineWriter:
    """Rows as lines, aligned as far as it can be known: a column grows with what it has held."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._widths = [len(column.title) for column in columns]
        self._head = False

    def write(self, rows: Sequence[Row]) -> None:
        """Print rows that came together, before the first ones also the heading."""
        cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
        for row in cells:
            self._widths = [
                max(width, cell_width(one_line(cell.text))) for width, cell in zip(self._widths, row, strict=True)
            ]
        if cells and not self._head:
            self._head = True
            self._print([Cell(column.title, "bold") for column in self._columns])
        for row in cells:
            self._print(row)

    def _print(self, row: Sequence[Cell]) -> None:
        parts = []
        for i, cell in enumerate(row):
            plain = one_line(cell.text)
            padding = " " * (self._widths[i] - cell_width(plain))
            painted = out.paint(plain, cell.style)
            last = i == len(row) - 1
            parts.append(painted if last else padding + painted if self._columns[i].right else painted + padding)
        click.echo("  ".join(parts).rstrip())


def _lines(session: Session, layout: Layout, feed: Feed, mirror: Mirror, wide: bool) -> None:
    shown = layout.shown(wide)
    writer = LineWriter([Column("CHANGE"), *(layout.columns[i] for i in shown)])
    printed: dict[str, tuple[str, ...]] = {}
    while True:
        rows: list[Row] = []
        for _, event in feed.drain(3600.0):
            for change, item in mirror.take(event):
                row = layout.row(item, session.now())
                known = printed.pop(item["name"], None)
                word = "changed" if known is not None else "new" if mirror.complete else "present"
                if change == "deleted":
                    rows.append(["deleted", *(row[i] for i in shown)])
                    continue
                steady = printed[item["name"]] = tuple(str(row[i]) for i in shown if i not in layout.volatile)
                if steady != known:
                    rows.append([word, *(row[i] for i in shown)])
        writer.write(rows)


def _documents(feed: Feed, mirror: Mirror, output: str) -> None:
    while True:
        for _, event in feed.drain(3600.0):
            for change, item in mirror.take(event):
                _document({"event": change, "object": item}, output)


def _document(value: Any, output: str) -> None:
    click.echo(out.json_text(value) if output == "json" else f"---\n{out.yaml_text(value)}", nl=output == "json")


def _events(session: Session, feed: Feed, names: Sequence[str], output: str) -> None:
    layout = LAYOUTS["events"]
    shown = event_columns(output == "wide")
    writer = LineWriter([layout.columns[i] for i in shown])
    while True:
        rows: list[Row] = []
        for _, event in feed.drain(3600.0):
            item = event.object
            if event.event != "put" or (names and not set(names) & {item.get("name"), item.get("service")}):
                continue
            if output in ("json", "yaml"):
                _document(item, output)
            else:
                row = layout.row(item, session.now())
                rows.append([row[i] for i in shown])
        writer.write(rows)


def event_columns(wide: bool) -> list[int]:
    """A line that stays on the screen tells the time, not an age."""
    return [5, 1, 2, 3, *([4] if wide else []), 6]
