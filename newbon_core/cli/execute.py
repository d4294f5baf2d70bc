"""``newbon exec``: a command in an instance, wherever it runs, with this terminal as its own."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from newbon_core.cli.completing import complete_instance
from newbon_core.cli.errors import CliError, Finished
from newbon_core.cli.get import find
from newbon_core.cli.session import Session, pass_session

if TYPE_CHECKING:
    from newbon_core.client import ExecSession

_PIECE = 64 * 1024


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option("-i", "--interactive", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@click.argument("instance", shell_complete=complete_instance)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[--] COMMAND...")
@pass_session
def execute(session: Session, interactive: bool, tty: bool, instance: str, command: tuple[str, ...]) -> None:
    """Run a command in an instance and end with its exit code: newbon exec -it web-1 -- sh."""
    words = command[1:] if command[:1] == ("--",) else command
    if not words:
        raise click.UsageError("expected a command: newbon exec -it INSTANCE -- sh")
    if tty and interactive and not sys.stdin.isatty():
        raise click.UsageError("-t needs a terminal, and standard input is none; use -i alone")
    _must_exist(session.client, instance)
    size = _window()
    running = session.client.exec(instance, words, tty=tty, stdin=interactive, rows=size.lines, columns=size.columns)
    raise Finished(carry(running, interactive=interactive, tty=tty))


def _must_exist(client: Any, instance: str) -> None:
    try:
        find(client, "instances", instance)
    except CliError:
        names = [item["name"] for item in client.instances(service=instance)]
        if not names:
            raise
        raise CliError(f"{instance} is a service; name one of its instances", ", ".join(names[:10])) from None


def carry(running: ExecSession, *, interactive: bool, tty: bool) -> int:
    """Pass input, output and window sizes to and fro until the command ends; returns its exit code. Raises CliError."""
    stop_read, stop_write = os.pipe()
    pump: threading.Thread | None = None
    if interactive:
        pump = threading.Thread(target=_pump_input, args=(running, sys.stdin.fileno(), stop_read), daemon=True)
    try:
        with _raw_terminal(active=tty and interactive), _size_changes(running, active=tty):
            if pump is not None:
                pump.start()
            for piece in running.output():
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
    finally:
        os.close(stop_write)
        if pump is not None and pump.ident is not None:
            pump.join(timeout=1.0)
        running.close()
    return exit_code_of(running.result())


def exit_code_of(result: Any) -> int:
    """The command's exit code. Raises CliError where it did not run to its end."""
    if result.get("error"):
        raise CliError(f"the command did not run to its end: {result['error']}")
    code = result.get("exit_code")
    if code is None:
        raise CliError("the connection to the command was lost before it ended")
    return int(code) & 0xFF


def _pump_input(running: ExecSession, descriptor: int, stop: int) -> None:
    from newbon_core.client import ClientError

    # Ends quietly in any case: whether the command goes on without input is told by its output and exit code.
    with contextlib.suppress(ClientError, OSError):
        while True:
            ready, _, _ = select.select([descriptor, stop], [], [])
            if stop in ready:
                return
            data = os.read(descriptor, _PIECE)
            running.write(data)
            if not data:
                return


@contextlib.contextmanager
def _raw_terminal(*, active: bool) -> Iterator[None]:
    """Every key goes to the command, Ctrl-C too; what was set before comes back whatever happens."""
    if not active:
        yield
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    # A terminal that is closed or killed from outside must not stay raw.
    previous = signal.signal(signal.SIGTERM, _end)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        signal.signal(signal.SIGTERM, previous)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    raise Finished(128 + number)


@contextlib.contextmanager
def _size_changes(running: ExecSession, *, active: bool) -> Iterator[None]:
    """Tell the command's terminal whenever the window changes."""
    if not active or threading.current_thread() is not threading.main_thread():
        yield
        return
    changed = threading.Event()
    over = threading.Event()

    def watch() -> None:
        from newbon_core.client import ClientError

        while True:
            changed.wait()
            changed.clear()
            if over.is_set():
                return
            size = _window()
            with contextlib.suppress(ClientError):
                running.resize(size.lines, size.columns)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    # The handler only wakes a thread: a request made inside it could meet the one that it interrupted.
    previous = signal.signal(signal.SIGWINCH, lambda *_: changed.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, previous)
        over.set()
        changed.set()
        thread.join(timeout=1.0)


def _window() -> os.terminal_size:
    for stream in (sys.stdout, sys.stdin, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            return os.get_terminal_size(stream.fileno())
    return shutil.get_terminal_size()
