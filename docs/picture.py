"""Draws docs/demo.svg, the picture in the README, from a real run of script/demo: python docs/picture.py"""

from __future__ import annotations

import os
import pty
import re
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 104
# Progress redraws itself: only the last state of a line that was drawn over belongs into a still picture.
_REDRAWN = re.compile(r"\x1b\[\?25[lh]|\x1b\[\d*[AJ]|\x1b\[2K")


def run() -> str:
    """The demo's output on a terminal of WIDTH columns."""
    os.environ |= {"COLUMNS": str(WIDTH), "LINES": "200", "TERM": "xterm-256color"}
    chunks: list[bytes] = []

    def keep(descriptor: int) -> bytes:
        chunks.append(os.read(descriptor, 65536))
        return chunks[-1]

    status = pty.spawn([str(ROOT / "script" / "demo"), "--check"], keep)
    if status:
        sys.exit("the demo failed")
    return b"".join(chunks).decode(errors="replace")


def still(text: str) -> list[str]:
    """The lines as they stand at the end, without what was drawn over."""
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        ups = len(re.findall(r"\x1b\[1?A", line))
        if ups:
            del lines[len(lines) - min(ups, len(lines)) :]
        lines.append(_REDRAWN.sub("", line.split("\r")[-1]))
    return lines


def main() -> None:
    """Write the picture."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor")
    for line in still(run()):
        console.print(Text.from_ansi(line), soft_wrap=True)
    console.save_svg(str(ROOT / "docs" / "demo.svg"), title="script/demo --check")


if __name__ == "__main__":
    main()
