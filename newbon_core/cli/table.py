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
_LEAST = 8


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
    """The table as a rich renderable no wider than ``width``; cells that do not fit end in an ellipsis."""
    from rich.console import Group

    cells = [[_cell(cell) for cell in row] for row in rows]
    texts = [[column.title for column in columns], *[[cell.text for cell in row] for row in cells]]
    widths = fit(_natural(columns, texts), columns, width)
    lines = [_rich_line(columns, widths, [Cell(column.title, "bold") for column in columns])]
    lines += [_rich_line(columns, widths, row) for row in cells]
    return Group(*lines)


def fit(widths: Sequence[int], columns: Sequence[Column], available: int) -> list[int]:
    """Widths that fit: flexible columns give way first, widest first, then the others."""
    fitted = list(widths)
    for candidates in ([i for i, c in enumerate(columns) if c.flex], list(range(len(columns)))):
        excess = sum(fitted) + GAP * (len(fitted) - 1) - available
        while excess > 0:
            widest = max(candidates, key=lambda i: fitted[i] - max(_LEAST, len(columns[i].title)), default=None)
            if widest is None or fitted[widest] <= max(_LEAST, len(columns[widest].title)):
                break
            fitted[widest] -= 1
            excess -= 1
    return fitted


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
    return line
