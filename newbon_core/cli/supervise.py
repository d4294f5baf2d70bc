"""Keeps child processes running: started again when they die, ended in order when the parent is told to end.

A child holds the reading end of a pipe, its lifeline: when the parent dies, however it dies, the pipe closes and the
child ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
STEADY_S = 10.0
"""A child that ran so long is started again without a longer pause."""
STOP_GRACE_S = 8.0


class Child:
    """One process, ``python -m newbon_core ARGUMENTS``, in a session of its own so that Ctrl-C does not reach it."""

    def __init__(
        self, name: str, arguments: Sequence[str], environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "newbon_core"),
    ) -> None:  # fmt: skip
        self.name = name
        self._command = [*command, *arguments]
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._started = 0.0
        self._pause_s = FIRST_PAUSE_S
        self.due = 0.0

    def start(self, now: float) -> None:
        """Start it."""
        reading, self._lifeline = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*self._command, "--lifeline", str(reading)],
                stdin=subprocess.DEVNULL, pass_fds=(reading,), start_new_session=True,
                env=os.environ | self._environment,
            )  # fmt: skip
        finally:
            os.close(reading)
        self._started = now

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process is not None else None

    def ended(self, now: float) -> int | None:
        """The exit code (negative: the signal) once it has ended; then ``due`` says when to start it again."""
        if self._process is None:
            return None
        code = self._process.poll()
        if code is None:
            return None
        self._forget()
        self._pause_s = FIRST_PAUSE_S if now - self._started >= STEADY_S else min(self._pause_s * 2, LONGEST_PAUSE_S)
        self.due = now + self._pause_s
        return code

    def stop(self, grace_s: float, hurry: Callable[[], bool]) -> None:
        """SIGTERM, and SIGKILL after ``grace_s`` or as soon as ``hurry`` says so."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        deadline = time.monotonic() + grace_s
        while process.poll() is None and time.monotonic() < deadline and not hurry():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
        self._forget()

    def _forget(self) -> None:
        self._process = None
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


class Signals:
    """Counts SIGINT, SIGTERM and SIGHUP while it is entered, and wakes who waits on a signal or a child's end."""

    def __init__(self) -> None:
        self.count = 0
        self._woken = threading.Event()
        self._previous: dict[int, object] = {}

    def __enter__(self) -> Signals:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._previous[number] = signal.signal(number, self._stop)
        self._previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: self._woken.set())
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal itself returned

    def _stop(self, *_: object) -> None:
        self.count += 1
        self._woken.set()

    def wait(self, timeout_s: float) -> None:
        """Until the next signal or child's end, at most ``timeout_s``."""
        self._woken.wait(timeout_s)
        self._woken.clear()


def why_ended(code: int) -> str:
    """``exit code 1``, ``signal 9 (Killed)``."""
    if code >= 0:
        return f"exit code {code}"
    return f"signal {-code} ({signal.strsignal(-code)})"


def supervise(
    children: Sequence[Child], signals: Signals, say: Callable[[str], None], now: Callable[[], float] = time.monotonic
) -> None:
    """Keep all children running until a signal asks to stop."""
    while signals.count == 0:
        wake = 5.0
        for child in children:
            code = child.ended(now())
            if code is not None:
                say(f"the {child.name} ended with {why_ended(code)}; starting it again")
            if child.pid is None and now() >= child.due:
                child.start(now())
            elif child.pid is None:
                wake = min(wake, child.due - now())
        signals.wait(max(0.0, wake))


def stop_all(children: Sequence[Child], signals: Signals) -> None:
    """End the children one after another in the order given; a further signal kills at once."""
    already = signals.count
    for child in children:
        child.stop(STOP_GRACE_S, lambda: signals.count > already)


def hold_lifeline(descriptor: int | None) -> None:
    """In a child: end this process by SIGTERM as soon as the parent is gone."""
    if descriptor is None:
        return

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(descriptor, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    os.set_inheritable(descriptor, False)
    threading.Thread(target=watch, daemon=True, name="lifeline").start()
