"""What every benchmark prints: its conditions, a table, and with ``--json`` one object of metric -> number."""

from __future__ import annotations

import argparse
import json as _json
import os
import platform
from collections.abc import Mapping, Sequence

Number = int | float


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser with ``--json``, to which a benchmark adds its own options."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object: metric -> number")
    return parser


def machine() -> dict[str, object]:
    """The conditions that every benchmark shares."""
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}",
        "python": platform.python_version(),
        "load average of the last minute": f"{os.getloadavg()[0]:.1f}",
    }


def report(
    title: str,
    conditions: Mapping[str, object],
    rows: Sequence[Sequence[object]],
    metrics: Mapping[str, Number],
    json: bool,
    heading: Sequence[str] = (),
) -> None:
    """Print conditions and a table, with a heading if there is one; or, with ``json``, the metrics and nothing else.

    Units are in the metrics' names (``placed_per_s``, ``median_ms``).
    """
    if json:
        print(_json.dumps({name: round(value, 6) for name, value in metrics.items()}))
        return
    print(title)
    for name, value in {**machine(), **conditions}.items():
        print(f"  {name}: {value}")
    print()
    texts = [[_text(cell) for cell in row] for row in ([heading, *rows] if heading else rows)]
    widths = [max(len(row[i]) for row in texts if i < len(row)) for i in range(max(map(len, texts), default=0))]
    if heading:
        texts.insert(1, ["-" * width for width in widths])
    for row in texts:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip())


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:,.3g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
