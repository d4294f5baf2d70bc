"""Aligned tables: cut to the terminal's width on a terminal, whole when piped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from newbon_core.cli.text import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

GAP = 2
_LEAST = 20


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in one field, with its colour (a rich style; empty: none)."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A heading. ``flex`` columns are cut first when the terminal is narrow; ``right`` aligns numbers."""

    title: str
    flex: bool = False
    right: bool = False


Row = Sequence[Cell | str]


def plain_lines(columns: Sequence[Column], rows: Sequence[Row], *, head: bool = True) -> list[str]:
    """The table as text of whatever width it needs."""
    texts = [[_cell(cell).text for cell in row] for row in rows]
    if head:
        texts.insert(0, [column.title for column in columns])
    widths = _natural(columns, texts)
    return [_line(columns, widths, row) for row in texts]


def rich_table(columns: Sequence[Column], rows: Sequence[Row], width: int) -> RenderableType:
    """The table as a rich renderable no wider than ``width``.

    Flexible columns are cut first, with an ellipsis. What still does not fit goes into a second table below that begins
    with the same first column, so that nothing is lost.
    """
    from rich.console import Group

    cells = [[_cell(cell) for cell in row] for row in rows]
    texts = [[column.title for column in columns], *[[cell.text for cell in row] for row in cells]]
    widths = fit(_natural(columns, texts), columns, width)
    lines: list[Text] = []
    for chunk in split(widths, width):
        shown = [columns[i] for i in chunk]
        room = [widths[i] for i in chunk]
        if lines:
            lines.append(_rich_line([], [], []))
        lines.append(_rich_line(shown, room, [Cell(column.title, "bold") for column in shown]))
        lines += [_rich_line(shown, room, [row[i] for i in chunk]) for row in cells]
    return Group(*lines)


def fit(widths: Sequence[int], columns: Sequence[Column], available: int) -> list[int]:
    """Widths that fit, as far as flexible columns can give way, the widest first; no column is wider than the line."""
    fitted = [min(width, available) for width in widths]
    flexible = [i for i, column in enumerate(columns) if column.flex]
    excess = sum(fitted) + GAP * (len(fitted) - 1) - available
    while excess > 0:
        widest = max(flexible, key=lambda i: fitted[i], default=None)
        if widest is None or fitted[widest] <= _LEAST:
            break
        fitted[widest] -= 1
        excess -= 1
    return fitted


def split(widths: Sequence[int], available: int) -> list[list[int]]:
    """Indexes of columns for each table: all in one where they fit, else the first column begins each of several."""
    chunks: list[list[int]] = [[0]] if widths else [[]]
    used = widths[0] if widths else 0
    for i in range(1, len(widths)):
        if used + GAP + widths[i] > available and len(chunks[-1]) > 1:
            chunks.append([0])
            used = widths[0]
        chunks[-1].append(i)
        used += GAP + widths[i]
    return chunks


def _cell(cell: Cell | str) -> Cell:
    made = cell if isinstance(cell, Cell) else Cell(cell)
    return Cell(one_line(made.text), made.style)


def _natural(columns: Sequence[Column], texts: Sequence[Sequence[str]]) -> list[int]:
    return [max((cell_width(row[i]) for row in texts), default=0) for i in range(len(columns))]


def cell_width(text: str) -> int:
    """Columns of the terminal that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _line(columns: Sequence[Column], widths: Sequence[int], row: Sequence[str]) -> str:
    parts = []
    for column, width, text in zip(columns, widths, row, strict=True):
        padding = " " * (width - cell_width(text))
        parts.append(padding + text if column.right else text + padding)
    return (" " * GAP).join(parts).rstrip()


def _rich_line(columns: Sequence[Column], widths: Sequence[int], row: Sequence[Cell]) -> Text:
    from rich.text import Text

    line = Text(no_wrap=True, overflow="ellipsis")
    for i, (column, width, cell) in enumerate(zip(columns, widths, row, strict=True)):
        text = Text(cell.text, style=cell.style)
        text.truncate(width, overflow="ellipsis")
        missing = width - text.cell_len
        if column.right:
            line.append(" " * missing)
        line.append_text(text)
        if i < len(columns) - 1:
            line.append(" " * (GAP + (0 if column.right else missing)))
    line.rstrip()
    return line
