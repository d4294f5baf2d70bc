"""The agent's line to the server. ``newbon_core.client.AgentClient`` is the HTTP one; tests bring their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from newbon_core.model import NodeStatus
from newbon_core.model.wire import OrdersUpdate, Report, ReportReply, StreamEnd, StreamInput, StreamRequest


class Orders(Protocol):
    """The server's side of the conversation: at first a full OrdersUpdate, then what changes, and stream requests."""

    def __iter__(self) -> Iterator[OrdersUpdate | StreamRequest]: ...

    def close(self) -> None:
        """End it from any thread."""
        ...


class StreamLink(Protocol):
    """What carrying streams takes. All may be called from many threads and raise ClientError."""

    def stream_output(self, stream_id: str, data: bytes) -> bool:
        """Blocks while the user reads slower; False when nobody reads any more."""
        ...

    def stream_input(self, stream_id: str) -> Iterator[StreamInput]:
        """What the user sends; ends with the stream."""
        ...

    def stream_end(self, stream_id: str, end: StreamEnd) -> None: ...


class Link(StreamLink, Protocol):
    """The whole line. All may be called from many threads and raise ClientError."""

    def register(self, status: NodeStatus) -> None: ...

    def report(self, report: Report) -> ReportReply: ...

    def orders(self) -> Orders: ...

    def close(self) -> None: ...
