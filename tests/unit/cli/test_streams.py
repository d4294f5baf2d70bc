"""``logs`` and ``exec``: bytes carried through, names before lines, the terminal given back."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import SYNCED, FakeClient, FakeExec, instance, put, run, run_session
from hypothesis import given
from hypothesis import strategies as st

from newbon_core.cli.execute import exit_code_of
from newbon_core.cli.logs import _followed, lines_of, merge_by_time, without_stamp
from newbon_core.client import ServerUnreachable

HERE = Path(__file__).parent


def stamp(second: int, text: str) -> bytes:
    return f"2026-01-01T00:00:{second:02d}.5Z {text}\n".encode()


def test_the_log_of_an_instance_is_passed_on_byte_by_byte(client: FakeClient) -> None:
    client.log["web-1"] = [b"\x1b[31mred\x1b[0m \xff\xfe", b"no newline"]
    assert run(client, "logs", "web-1").stdout_bytes == b"\x1b[31mred\x1b[0m \xff\xfeno newline"


def test_what_is_asked_of_a_log_reaches_the_server(client: FakeClient) -> None:
    run(client, "logs", "web-1", "-f", "--tail", "5", "--since", "10m", "--timestamps")
    wanted = {"follow": True, "timestamps": True, "tail": 5, "since": 1_700_000_000.0 - 600}
    assert client.called("logs") == [("web-1", wanted)]


def test_logs_of_a_service_are_in_the_order_of_time_with_names(client: FakeClient) -> None:
    client.log = {
        "web-1": [stamp(1, "a") + stamp(4, "d")[:20], stamp(4, "d")[20:]],
        "web-2": [stamp(2, "b"), stamp(3, "c")],
    }
    assert run(client, "logs", "web").stdout.splitlines() == ["web-1  | a", "web-2  | b", "web-2  | c", "web-1  | d"]
    assert run(client, "logs", "web", "--timestamps").stdout.splitlines()[0].endswith("| 2026-01-01T00:00:01.5Z a")


def test_a_service_without_containers_says_so(client: FakeClient) -> None:
    client.objects["instances"] = [instance(container_id=None)]
    done = run(client, "logs", "web")
    assert (done.exit_code, "no instance of web has a container yet" in done.stderr) == (1, True)


def test_following_a_service_takes_in_instances_that_come_later(client: FakeClient) -> None:
    client.watches["/v1/instances"] = [put(instance("web-1")), SYNCED, put(instance("web-2"))]
    client.watches_end = True
    client.log = {"web-1": [stamp(1, "old")], "web-2": [stamp(2, "new")]}
    run(client, "logs", "-f", "web", "--tail", "1")
    options = {name: asked["tail"] for name, asked in client.called("logs")}
    assert options == {"web-1": 1, "web-2": None}


def cut_off(*pieces: bytes) -> Iterator[bytes]:
    """A log that the server's death ends."""
    yield from pieces
    raise ServerUnreachable("the stream was cut off")


def test_a_followed_log_goes_on_where_the_server_was_restarted(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("newbon_core.cli.logs.RETRY_S", 0.0)
    client.objects["instances"] = [instance("web-1")]
    streams = [cut_off(stamp(1, "a"), stamp(2, "b")), iter([stamp(2, "b"), stamp(3, "c")])]
    monkeypatch.setattr(client, "logs", lambda name, **wanted: (asked.append(wanted), streams.pop(0))[1])
    asked: list[dict[str, Any]] = []
    lines = list(_followed(run_session(client), "web-1", "uid-web-1", {"tail": 5, "since": None}))
    assert lines == [stamp(1, "a"), stamp(2, "b"), stamp(3, "c")], "none lost, none twice"
    assert asked[1]["tail"] is None
    assert asked[1]["since"] == datetime(2026, 1, 1, 0, 0, 2, tzinfo=UTC).timestamp()


def test_a_followed_log_ends_where_another_instance_has_the_name(
    client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("newbon_core.cli.logs.RETRY_S", 0.0)
    client.objects["instances"] = [instance("web-1", uid="another")]
    monkeypatch.setattr(client, "logs", lambda name, **wanted: cut_off(stamp(1, "a")))
    assert list(_followed(run_session(client), "web-1", "uid-web-1", {})) == [stamp(1, "a")]


@given(st.lists(st.binary(max_size=12).map(lambda piece: piece.replace(b"\r", b""))))
def test_lines_are_whole_however_the_pieces_are_cut(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    lines = list(lines_of(pieces))
    assert b"".join(lines) == whole + (b"\n" if whole and not whole.endswith(b"\n") else b"")
    assert all(line.count(b"\n") == 1 for line in lines)


@given(st.lists(st.lists(st.integers(0, 59), max_size=6).map(sorted), max_size=4))
def test_merging_keeps_each_stream_in_order_and_times_ascending(times: list[list[int]]) -> None:
    streams = [(str(i).encode(), [stamp(t, f"{i}.{n}") for n, t in enumerate(each)]) for i, each in enumerate(times)]
    merged = list(merge_by_time(streams))
    assert [line[:20] for _, line in merged] == sorted(line[:20] for _, line in merged)
    for prefix, lines in streams:
        assert [line for name, line in merged if name == prefix] == lines


def test_only_a_time_of_the_engine_is_taken_off() -> None:
    assert without_stamp(stamp(1, "2026-01-01T00:00:00Z mine")) == b"2026-01-01T00:00:00Z mine\n"
    assert without_stamp(b"2026 was a year\n") == b"2026 was a year\n"


# --- exec ------------------------------------------------------------------------------------------------------------


def test_exec_ends_with_the_commands_exit_code(client: FakeClient) -> None:
    client.exec_session = FakeExec([b"out\xff"], 7)
    done = run(client, "exec", "web-1", "--", "ls", "-l", "--", "x")
    assert (done.exit_code, done.stdout_bytes) == (7, b"out\xff")
    [(name, command, wanted)] = client.called("exec")
    assert (name, command, wanted["tty"], wanted["stdin"]) == ("web-1", ("ls", "-l", "--", "x"), False, False)


def test_what_follows_the_instance_belongs_to_the_command(client: FakeClient) -> None:
    run(client, "exec", "web-1", "ls", "-it", "--token", "x")
    assert client.called("exec")[0][1] == ("ls", "-it", "--token", "x")


def test_exec_without_a_command_or_a_terminal_is_wrong_usage(client: FakeClient) -> None:
    assert run(client, "exec", "web-1").exit_code == 64
    assert "use -i alone" in run(client, "exec", "-it", "web-1", "--", "sh").stderr


def test_a_service_is_no_place_for_a_command_and_its_instances_are_named(client: FakeClient) -> None:
    done = run(client, "exec", "web", "--", "ls")
    assert (done.exit_code, "web-1, web-2, web-10" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("result", "says"),
    [({"exit_code": None, "error": "the agent was lost"}, "the agent was lost"), ({"exit_code": None}, "was lost")],
)
def test_a_command_that_did_not_end_by_itself_is_an_error(result: dict[str, Any], says: str) -> None:
    with pytest.raises(Exception, match=says):
        exit_code_of(result)


class Terminal:
    """A program of this folder run on a terminal of its own."""

    def __init__(self, program: str, *arguments: str, rows: int = 24, columns: int = 100) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(self.master, (rows, columns))
        self.slave = slave
        self.process = subprocess.Popen(
            [sys.executable, HERE / program, *arguments], stdin=slave, stdout=slave, stderr=slave, close_fds=True,
            start_new_session=True, env=os.environ | {"TERM": "xterm-256color", "PYTHONPATH": str(HERE)},
        )  # fmt: skip
        os.set_blocking(self.master, False)
        self.seen = b""

    def until(self, text: bytes, within_s: float = 10.0) -> None:
        deadline = time.monotonic() + within_s
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} did not come: {self.seen!r}"
            try:
                self.seen += os.read(self.master, 65536)
            except BlockingIOError:
                time.sleep(0.01)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def test_exec_on_a_terminal_passes_keys_and_sizes_on_and_gives_the_terminal_back() -> None:
    terminal = Terminal("pty_exec.py")
    try:
        before = termios.tcgetattr(terminal.slave)
        terminal.until(b"ready 24x100")
        assert not termios.tcgetattr(terminal.slave)[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
        os.write(terminal.master, b"\x03")
        terminal.until(b"key b'\\x03'")
        termios.tcsetwinsize(terminal.master, (50, 132))
        os.kill(terminal.process.pid, signal.SIGWINCH)
        terminal.until(b"size 50x132")
        os.write(terminal.master, b"q")
        assert terminal.process.wait(10) == 5
        assert termios.tcgetattr(terminal.slave) == before
    finally:
        terminal.close()


def test_a_watch_on_a_terminal_changes_in_place_and_ends_quietly_with_130() -> None:
    terminal = Terminal("pty_watch.py", "get", "ins", "--watch")
    try:
        terminal.until(b"pending")
        terminal.until(b"running")
        assert b"\x1b[" in terminal.seen
        os.kill(terminal.process.pid, signal.SIGINT)
        assert terminal.process.wait(10) == 130
        terminal.until(b"\x1b[?25h")
        assert b"Traceback" not in terminal.seen
    finally:
        terminal.close()
