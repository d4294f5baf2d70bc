"""``newbon up`` as real processes: what dies comes back, Ctrl-C ends all, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from newbon_core.client import Client, ClientError
from newbon_core.testing.cluster import free_port
from newbon_core.testing.testbed import wait_until


class Up:
    """``newbon up`` with its data in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "up.log"
        config = folder / "newbon.toml"
        config.write_text(
            f'[server]\nlisten = "127.0.0.1:{port}"\ndata_dir = "{folder}/data"\n'
            f'[agent]\nname = "up"\n[plugins.runtime_docker]\nbase_url = "unix://{folder}/no-engine.sock"\n'
        )
        environment = {key: value for key, value in os.environ.items() if not key.startswith("NEWBON_")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "newbon_core", "up", "--config", str(config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment,
            )  # fmt: skip

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return bool(Client(self.url, None, timeout_s=2).ready()["ready"])
        except ClientError:
            return False

    def said(self, text: str, times: int = 1) -> bool:
        return self.log.read_text().count(text) >= times

    def children(self) -> dict[str, int]:
        """Process ids by role, of this process's own children."""
        found = {}
        for path in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            for pid in path.read_text().split():
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                found[next((role for role in ("server", "agent") if role.encode() in words), "")] = int(pid)
        return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    made = Up(tmp_path)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()


def test_what_dies_is_started_again_and_ctrl_c_ends_all_with_0(up: Up) -> None:
    wait_until(lambda: up.said("is connected to"), 30, "the agent is connected")
    assert up.said("Ctrl-C stops the server and the agent; containers go on running.")
    first = up.children()
    os.kill(first["server"], signal.SIGKILL)
    wait_until(lambda: up.said("the server ended with signal 9 (Killed)") and up.ready(), 30, "the server is back")
    wait_until(lambda: up.said("is connected to", 2), 30, "the agent is connected again")
    second = up.children()
    assert second["agent"] == first["agent"]
    assert second["server"] != first["server"]
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(20) == 0, up.log.read_text()
    assert not any(alive(pid) for pid in second.values())
    assert up.said("containers go on running, the next 'newbon up' takes them over")
    assert not up.said("Traceback")


def test_when_up_is_killed_its_children_end(up: Up) -> None:
    wait_until(lambda: "agent" in up.children(), 30, "both run")
    children = up.children()
    up.process.kill()
    up.process.wait()
    wait_until(lambda: not any(alive(pid) for pid in children.values()), 20, "the children have ended")


def test_a_port_that_is_taken_is_one_sentence_and_the_end(up: Up, tmp_path: Path) -> None:
    wait_until(up.ready, 30, "the first is ready")
    config = (tmp_path / "newbon.toml").read_text().replace("/data", "/other")
    (tmp_path / "second.toml").write_text(config)
    command = [sys.executable, "-m", "newbon_core", "up", "--config", str(tmp_path / "second.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "another program listens there" in done.stderr
    assert "Traceback" not in done.stderr
