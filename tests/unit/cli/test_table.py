"""Tables: whole when piped, cut or split on a terminal."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from newbon_core.cli.table import Cell, Column, fit, plain_lines, rich_table, split

COLUMNS = [Column("NAME"), Column("COUNT", right=True), Column("DETAIL", flex=True)]


def on_terminal(width: int, rows: list[list[Cell | str]], columns: list[Column] | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(rich_table(columns or COLUMNS, rows, width))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # it is the StringIO above


def test_columns_are_aligned_and_numbers_stand_to_the_right() -> None:
    assert plain_lines(COLUMNS, [["web", "3", "ok"], ["gateway", "12", ""]]) == [
        "NAME     COUNT  DETAIL",
        "web          3  ok",
        "gateway     12",
    ]


def test_a_piped_table_is_never_cut() -> None:
    assert plain_lines(COLUMNS, [["web", "3", "x" * 500]])[1].endswith("x" * 500)


def test_wide_characters_keep_the_columns_straight() -> None:
    lines = plain_lines([Column("NAME"), Column("X")], [["日本", "a"], ["abcd", "b"]])
    assert lines == ["NAME  X", "日本  a", "abcd  b"]


def test_on_a_terminal_the_flexible_column_ends_in_an_ellipsis() -> None:
    lines = on_terminal(40, [["web", "3", "a sentence that is longer than the terminal is wide"]])
    assert [len(line) for line in lines] == [len("NAME  COUNT  DETAIL"), 40]
    assert lines[1].endswith("…")


def test_what_does_not_fit_at_all_goes_into_a_second_table_with_the_same_first_column() -> None:
    columns = [Column(title) for title in ("NAME", "AAAAAAAA", "BBBBBBBB", "CCCCCCCC")]
    lines = on_terminal(24, [["web", "1", "2", "3"]], columns)
    assert lines == ["NAME  AAAAAAAA  BBBBBBBB", "web   1         2", "", "NAME  CCCCCCCC", "web   3"]


def test_markup_and_escape_codes_in_cells_are_plain_text() -> None:
    assert on_terminal(60, [["[red]web[/red]", "1", "a\x1b[31mb\nc"]])[1] == "[red]web[/red]      1  ab c"


@given(
    st.lists(st.tuples(st.integers(1, 90), st.booleans()), min_size=1, max_size=8),
    st.integers(10, 200),
)
def test_every_column_is_shown_once_and_no_line_is_wider_than_the_terminal(
    shape: list[tuple[int, bool]], width: int
) -> None:
    columns = [Column("T", flex=flex) for _, flex in shape]
    widths = fit([natural for natural, _ in shape], columns, width)
    chunks = split(widths, width)
    assert sorted({i for chunk in chunks for i in chunk}) == list(range(len(shape)))
    assert all(chunk[0] == 0 for chunk in chunks)
    for chunk in chunks:
        assert sum(widths[i] for i in chunk) + 2 * (len(chunk) - 1) <= width or len(chunk) <= 2
