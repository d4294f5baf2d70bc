"""Children that are kept running, ended in order, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cli_fakes import eventually

from newbon_core.cli.errors import CliError
from newbon_core.cli.serve import check_words, parse_labels, parse_resources
from newbon_core.cli.supervise import Child, Signals, stop_all, supervise, why_ended
from newbon_core.model import Taint

SLEEPER = (sys.executable, "-c", "import time; time.sleep(60)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)",
)


def test_a_child_that_dies_is_started_again_and_it_is_said() -> None:
    child = Child("server", [], command=SLEEPER)
    said: list[str] = []

    def kill_two_and_stop() -> None:
        for _ in range(2):
            eventually(lambda: child.pid is not None)
            pid = child.pid
            os.kill(pid or 0, signal.SIGKILL)
            eventually(lambda before=pid: child.pid not in (None, before))
        os.kill(os.getpid(), signal.SIGTERM)

    with Signals() as signals:
        killer = threading.Thread(target=kill_two_and_stop)
        killer.start()
        try:
            supervise([child], signals, said.append)
        finally:
            stop_all([child], signals)
            killer.join()
    assert said == ["the server ended with signal 9 (Killed); starting it again"] * 2


def test_a_child_that_dies_at_once_is_started_again_more_and_more_slowly() -> None:
    child = Child("server", [], command=(sys.executable, "-c", "pass"))
    pauses = []
    for _ in range(7):
        child.start(100.0)
        eventually(lambda: child.ended(101.0) is not None)
        pauses.append(round(child.due - 101.0, 3))
    assert pauses == [0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_a_child_that_ran_long_is_started_again_soon() -> None:
    child = Child("server", [], command=(sys.executable, "-c", "pass"))
    child.start(100.0)
    eventually(lambda: child.ended(500.0) is not None)
    assert round(child.due - 500.0, 3) == 0.2


def test_a_child_that_does_not_listen_is_killed_when_the_user_asks_again() -> None:
    child = Child("server", [], command=STUBBORN)
    child.start(0.0)
    pid = child.pid
    started = time.monotonic()
    child.stop(30.0, lambda: time.monotonic() - started > 0.3)
    assert child.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid or 0, 0)


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    child = (
        "import os, sys, time; from newbon_core.cli.supervise import hold_lifeline; hold_lifeline(int(sys.argv[-1])); "
        f"open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )
    parent = (
        "import sys, time; from newbon_core.cli.supervise import Child; "
        f"c = Child('x', [], command=(sys.executable, '-c', {child!r})); c.start(0.0); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    eventually(lambda: mark.exists() and mark.read_text() != "")
    process.kill()
    process.wait()
    eventually(lambda: not Path(f"/proc/{mark.read_text()}/cmdline").exists()
               or not Path(f"/proc/{mark.read_text()}/cmdline").read_bytes())  # fmt: skip


def test_how_a_child_ended_is_a_sentence() -> None:
    assert (why_ended(1), why_ended(-15)) == ("exit code 1", "signal 15 (Terminated)")


def test_labels_and_resources_of_an_agent() -> None:
    assert parse_labels(("zone=a", "x=")) == {"zone": "a", "x": ""}
    assert parse_resources(("gpu=2",)) == {"gpu": 2}
    for wrong in ("gpu", "gpu=", "gpu=-1", "=1", "gpu=1.5"):
        with pytest.raises(Exception, match="expected NAME=COUNT"):
            parse_resources((wrong,))


def test_labels_and_taints_of_an_agent_follow_the_rules_of_documents() -> None:
    check_words({"zone": "a"}, [Taint(key="gpu", value="only"), Taint(key="spot")])
    with pytest.raises(CliError) as caught:
        check_words({"zone": "a b"}, [Taint(key="", value="db")])
    assert "label zone=a b: 'a b': expected a label value" in str(caught.value)
    assert "taint =db: '': expected a label key" in str(caught.value)
