"""``newbon logs``: what one instance wrote, or all instances of a service, interleaved."""

from __future__ import annotations

import heapq
import queue
import re
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

import click

from newbon_core.cli import output as out
from newbon_core.cli.columns import natural_key
from newbon_core.cli.completing import complete_target
from newbon_core.cli.errors import CliError
from newbon_core.cli.feed import Ended, Feed
from newbon_core.cli.options import to_seconds
from newbon_core.cli.session import Session, pass_session
from newbon_core.cli.targets import find_target

COLOURS = ("cyan", "green", "yellow", "magenta", "blue", "bright_cyan", "bright_green", "bright_yellow")
_STAMP = re.compile(rb"^\d{4}-\d\d-\d\dT[0-9:.]+(?:Z|[+-]\d\d:\d\d) ")
LIVE = ("running", "stopping")
RETRY_S = 1.0
_LONGEST_LINE = 64 * 1024


@click.command()
@click.argument("words", metavar="INSTANCE|SERVICE", nargs=-1, required=True, shell_complete=complete_target)
@click.option("-f", "--follow", is_flag=True, help="Stay and show what comes; a service's new instances join in.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines (of each instance).")
@click.option("--since", callback=to_seconds, metavar="DURATION", help="Only what was written in the last 10m, 2h, …")
@click.option("-t", "--timestamps", is_flag=True, help="Begin each line with its time.")
@pass_session
def logs(
    session: Session, words: tuple[str, ...], follow: bool, tail: int | None, since: float | None, timestamps: bool
) -> None:
    """Show what an instance wrote; of a service all its instances, each line with its instance's name.

    The text of one instance is passed on exactly as it was written, also to a terminal.
    """
    kind, item = find_target(session.client, words)
    wanted: dict[str, Any] = {"tail": tail, "since": None if since is None else session.now() - since}
    if kind == "instance":
        for piece in session.client.logs(item["name"], follow=follow, timestamps=timestamps, **wanted):
            _write(piece)
    elif follow:
        _follow_service(session, item["name"], timestamps, wanted)
    else:
        _merged(session, item["name"], timestamps, wanted)


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines, each with its newline, from pieces that are cut anywhere; a line without end comes in parts."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(rest) > _LONGEST_LINE:
            yield rest + b"\n"
            rest = b""
    if rest:
        yield rest + b"\n"


def _prefix(name: str, width: int, number: int) -> bytes:
    return f"{out.paint(name.ljust(width), COLOURS[number % len(COLOURS)])} | ".encode()


def merge_by_time(streams: Iterable[tuple[bytes, Iterable[bytes]]]) -> Iterator[tuple[bytes, bytes]]:
    """(prefix, line) over all streams by the time that each line begins with; one without stays with the last."""

    def keyed(number: int, prefix: bytes, lines: Iterable[bytes]) -> Iterator[tuple[bytes, int, bytes, bytes]]:
        last = b""
        for line in lines:
            match = _STAMP.match(line)
            last = match[0] if match else last
            yield last, number, prefix, line

    sources = [keyed(number, prefix, lines) for number, (prefix, lines) in enumerate(streams)]
    # Only time and stream are compared: within one stream the order is as it was written.
    for _, _, prefix, line in heapq.merge(*sources, key=lambda item: item[:2]):
        yield prefix, line


def without_stamp(line: bytes) -> bytes:
    """The line without the time that the engine put before it."""
    return _STAMP.sub(b"", line, count=1)


def _merged(session: Session, service: str, timestamps: bool, wanted: dict[str, Any]) -> None:
    items = [item for item in session.client.instances(service=service) if item.get("container_id")]
    if not items:
        raise CliError(f"no instance of {service} has a container yet", f"'newbon explain {service}' tells why")
    items.sort(key=lambda item: natural_key(item["name"]))
    width = max(len(item["name"]) for item in items)
    streams = [
        (_prefix(item["name"], width, i), _log_lines(session, item["name"], wanted)) for i, item in enumerate(items)
    ]
    for prefix, line in merge_by_time(streams):
        _write(prefix + (line if timestamps else without_stamp(line)))


def _log_lines(session: Session, name: str, wanted: dict[str, Any], **more: Any) -> Iterator[bytes]:
    from newbon_core.client import ClientError

    try:
        yield from lines_of(session.client.logs(name, timestamps=True, **wanted, **more))
    except ClientError as error:
        click.echo(f"{name}: {out.paint(str(error), '')}", err=True)


def _followed(session: Session, name: str, uid: str, wanted: dict[str, Any]) -> Iterator[bytes]:
    """Lines with their times until the instance ends; a stream that is cut off is taken up where it broke off."""
    from newbon_core.client import ClientError

    last = b""
    while True:
        try:
            for line in lines_of(session.client.logs(name, timestamps=True, follow=True, **wanted)):
                match = _STAMP.match(line)
                if match is None or match[0] > last:
                    last = match[0] if match else last
                    yield line
            return
        except ClientError as error:
            if not _goes_on(session, name, uid):
                click.echo(f"{name}: {out.paint(str(error), '')}", err=True)
                return
        if last:
            wanted = {"tail": None, "since": datetime.fromisoformat(last[:19].decode() + "+00:00").timestamp()}


def _goes_on(session: Session, name: str, uid: str) -> bool:
    """Wait until the server answers again, and tell whether the same instance still runs then."""
    from newbon_core.client import ClientError, ServerUnreachable

    while True:
        time.sleep(RETRY_S)
        try:
            item = session.client.instance(name)
        except ServerUnreachable:
            continue
        except ClientError:
            return False
        return item["uid"] == uid and item["state"] in LIVE


def _follow_service(session: Session, service: str, timestamps: bool, wanted: dict[str, Any]) -> None:
    lines: queue.Queue[bytes] = queue.Queue(maxsize=1000)
    seen: set[str] = set()
    pumps: list[threading.Thread] = []

    def pump(name: str, uid: str, prefix: bytes, options: dict[str, Any]) -> None:
        for line in _followed(session, name, uid, options):
            lines.put(prefix + (line if timestamps else without_stamp(line)))

    feed = Feed(instances=session.client.watch("/v1/instances", params={"service": service}))
    complete = False
    try:
        while True:
            for _, event in feed.drain(0.1):
                complete = complete or event.event == "synced"
                item = event.object
                live = item.get("container_id") and item.get("state") in LIVE
                if event.event == "put" and live and item["uid"] not in seen:
                    seen.add(item["uid"])
                    # An instance that joins later is shown from its first line, not from its last N.
                    options = {"tail": None, "since": None} if complete else wanted
                    prefix = _prefix(item["name"], len(service) + 3, len(seen) - 1)
                    pumps.append(
                        threading.Thread(target=pump, args=(item["name"], item["uid"], prefix, options), daemon=True)
                    )
                    pumps[-1].start()
            _write_all(lines)
    except Ended:
        for each in pumps:
            each.join(1.0)
        _write_all(lines)
        raise CliError("the server ended the watch") from None
    finally:
        feed.close()


def _write_all(lines: queue.Queue[bytes]) -> None:
    while not lines.empty():
        _write(lines.get())
