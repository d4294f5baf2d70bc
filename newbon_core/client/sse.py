"""Server-sent events, read from pieces of bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event; ``id`` is the last id the server gave, "" before the first."""

    event: str
    data: str
    id: str


def read_events(pieces: Iterable[bytes]) -> Iterator[ServerEvent]:
    """The events in a body, without comments (heartbeats); an event that the end cut off is dropped."""
    event, last_id = "message", ""
    data: list[str] = []
    for line in _lines(pieces):
        if not line:
            if data:
                yield ServerEvent(event, "\n".join(data), last_id)
            event, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "event":
            event = value
        elif field == "id" and "\0" not in value:
            last_id = value


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece if rest else piece).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r").decode("utf-8", "replace")
