"""What a node's agent says to the API server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec

from newbon_core.client.errors import ApiProblem, ServerUnreachable
from newbon_core.client.sse import read_events
from newbon_core.client.transport import BodyStream, Transport
from newbon_core.model.node import NodeStatus
from newbon_core.model.wire import OrdersUpdate, Report, ReportReply, StreamEnd, StreamInput, StreamRequest

_ENCODER = msgspec.json.Encoder()
_ORDERS = msgspec.json.Decoder(OrdersUpdate)
_STREAM = msgspec.json.Decoder(StreamRequest)
_INPUT = msgspec.json.Decoder(StreamInput)


def join(url: str, join_token: str, node: str, *, ca: Path | None = None, timeout_s: float = 10.0) -> str:
    """Exchange a join token for the token of ``node``. An earlier token of that node ends.

    Raises ApiProblem (401 the token is not valid, 409 the name is taken by a node that is alive) and ServerUnreachable.
    """
    transport = Transport(url, join_token, ca=ca, timeout_s=timeout_s)
    try:
        answer = transport.call("POST", "/v1/agent/join", body={"node": node})
    finally:
        transport.close()
    return str(answer["token"])


class AgentClient:
    """The API as one node's agent uses it; ``token`` is bound to the node. Safe to use from many threads."""

    def __init__(self, url: str, token: str, *, ca: Path | None = None, timeout_s: float = 10.0) -> None:
        self._transport = Transport(url, token, ca=ca, timeout_s=timeout_s)

    def register(self, status: NodeStatus) -> None:
        """Tell what the host is and has; to be repeated when it changes or a reply says ``registered`` False."""
        self._send("PUT", "/v1/agent/node", _ENCODER.encode(status))

    def report(self, report: Report) -> ReportReply:
        """A heartbeat with what is new. What was reported is durable when this returns."""
        answer = self._send("POST", "/v1/agent/report", _ENCODER.encode(report))
        return msgspec.convert(answer, ReportReply)

    def orders(self) -> OrdersStream:
        """The node's orders: at first all of them (``full``), then every change, and requests for streams.

        Does not reconnect by itself: open it again when it ends. A second stream of the same node ends the first.
        """
        body = self._transport.open("GET", "/v1/agent/orders", headers={"Accept": "text/event-stream"})
        return OrdersStream(body)

    def stream_output(self, stream_id: str, data: bytes) -> bool:
        """Carry a piece of output (1 B to 1 MiB) to the user. Blocks while the user reads slower than you write.

        False: nobody reads any more, end what makes the output.
        """
        try:
            self._send("POST", f"{_stream_path(stream_id)}/output", data, "application/octet-stream", timeout_s=60.0)
        except ApiProblem as problem:
            if problem.status in (404, 410):
                return False
            raise
        return True

    def stream_input(self, stream_id: str) -> Iterator[StreamInput]:
        """What the user sends, as it comes; the last one has ``closed`` True. Ends when the stream ends."""
        body = self._transport.open("GET", f"{_stream_path(stream_id)}/input")
        rest = b""
        for piece in body:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    yield _INPUT.decode(line)

    def stream_end(self, stream_id: str, end: StreamEnd) -> None:
        """Tell how the stream ended; one that is gone already is no error."""
        try:
            self._send("POST", f"{_stream_path(stream_id)}/end", _ENCODER.encode(end))
        except ApiProblem as problem:
            if problem.status not in (404, 410):
                raise

    def close(self) -> None:
        """Drop idle connections."""
        self._transport.close()

    def _send(
        self,
        method: str,
        path: str,
        data: bytes,
        content_type: str = "application/json",
        timeout_s: float | None = None,
    ) -> object:
        return self._transport.call(method, path, raw=data, content_type=content_type, timeout_s=timeout_s)


class OrdersStream:
    """An iterator of OrdersUpdate and StreamRequest in the order they were sent.

    Ends quietly when the server closes it or after ``close``; raises ServerUnreachable when the line goes dead (no
    heartbeat for 35 s, connection cut).
    """

    def __init__(self, body: BodyStream) -> None:
        self._body = body

    def __iter__(self) -> Iterator[OrdersUpdate | StreamRequest]:
        for event in read_events(self._body):
            try:
                if event.event == "orders":
                    yield _ORDERS.decode(event.data)
                elif event.event == "stream":
                    yield _STREAM.decode(event.data)
            except msgspec.DecodeError as error:
                raise ServerUnreachable(f"the server sent orders that cannot be read: {error}") from error

    def close(self) -> None:
        """End the stream from any thread."""
        self._body.close()


def _stream_path(stream_id: str) -> str:
    return f"/v1/agent/streams/{quote(stream_id, safe='')}"
