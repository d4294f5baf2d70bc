"""The embedded store under kill -9: whatever it acknowledged is there, and nothing is half there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from newbon_core.store.sqlite import SqliteStore

WRITER = """
import itertools, os, sys, threading
from pathlib import Path
from newbon_core.store.base import Compare, Put
from newbon_core.store.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))

def write(thread):
    for number in itertools.count():
        key = f"/round{sys.argv[2]}/{thread}/{number:06d}"
        pair = [Put(f"{key}/{half}", b"x" * 300) for half in "ab"]
        result = store.txn([Compare(pair[0].key, 0)], pair)
        os.write(1, f"{key} {result.revision}\\n".encode())

for thread in range(4):
    threading.Thread(target=write, args=(thread,), daemon=True).start()
threading.Event().wait()
"""


def killed_writer(path: Path, number: int) -> dict[str, int]:
    """Let a process of four threads write for a moment, kill it, and return what it was acknowledged."""
    command = [sys.executable, "-c", WRITER, str(path), str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 65536)
        assert first, "the writer died by itself"
        time.sleep(0.1 + 0.07 * number)
        process.kill()
        output = (first + process.stdout.read()).decode()
    return {key: int(revision) for key, revision in re.findall(r"^(\S+) (\d+)$", output, re.MULTILINE)}


def test_every_acknowledged_write_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "newbon.db"
    acknowledged: dict[str, int] = {}
    for number in range(4):
        acknowledged |= killed_writer(path, number)
    assert len(acknowledged) > 100
    store = SqliteStore(path)
    items, revision = store.list("/")
    stored = {item.key: item.mod_revision for item in items}
    for key, at in acknowledged.items():
        assert stored.get(f"{key}/a") == stored.get(f"{key}/b") == at, f"{key} was acknowledged and is lost"
    assert len(stored) == 2 * len(set(stored.values())), "a transaction is half there"
    watch = store.watch("/", 1)
    seen: list[tuple[str, int]] = []
    while len(seen) < len(stored):
        batch = watch.poll(5)
        assert batch is not None
        seen += [(change.key, change.revision) for change in batch.changes]
    assert dict(seen) == stored
    assert seen[-1][1] == revision
    store.close()
