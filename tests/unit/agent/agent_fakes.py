"""A server's end of the agent's line, in memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from newbon_core.client import ServerUnreachable
from newbon_core.model import InstanceStatus, NodeStatus
from newbon_core.model.wire import OrdersUpdate, Report, ReportReply, StreamEnd, StreamInput, StreamRequest


class FakeOrders:
    def __init__(self) -> None:
        self.items: queue.SimpleQueue[OrdersUpdate | StreamRequest | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[OrdersUpdate | StreamRequest]:
        while (item := self.items.get()) is not None:
            yield item

    def close(self) -> None:
        self.items.put(None)


class FakeLink:
    """Remembers what agents say; ``down`` makes it unreachable."""

    def __init__(self) -> None:
        self.down = False
        self.heartbeat_s = 0.2
        self.registered: list[NodeStatus] = []
        self.reports: list[Report] = []
        self.statuses: dict[str, InstanceStatus] = {}
        self.full: tuple[OrdersUpdate, ...] = ()
        self.streams: list[FakeOrders] = []
        self.output: dict[str, bytes] = {}
        self.ends: dict[str, StreamEnd] = {}
        self.inputs: dict[str, queue.SimpleQueue[StreamInput]] = {}
        self.nobody_reads = False
        self._lock = threading.Lock()

    def _check(self) -> None:
        if self.down:
            raise ServerUnreachable("no answer from the server")

    def register(self, status: NodeStatus) -> None:
        self._check()
        self.registered.append(status)

    def report(self, report: Report) -> ReportReply:
        self._check()
        self.reports.append(report)
        for status in report.statuses:
            self.statuses[status.uid] = status
        return ReportReply(registered=bool(self.registered), heartbeat_s=self.heartbeat_s)

    def orders(self) -> FakeOrders:
        self._check()
        stream = FakeOrders()
        for update in self.full:
            stream.items.put(update)
        self.streams.append(stream)
        return stream

    def send(self, item: OrdersUpdate | StreamRequest) -> None:
        self.streams[-1].items.put(item)

    def cut(self) -> None:
        """The server goes away."""
        self.down = True
        for stream in self.streams:
            stream.close()

    def stream_output(self, stream_id: str, data: bytes) -> bool:
        with self._lock:
            self.output[stream_id] = self.output.get(stream_id, b"") + data
        return not self.nobody_reads

    def stream_input(self, stream_id: str) -> Iterator[StreamInput]:
        pieces = self.inputs.setdefault(stream_id, queue.SimpleQueue())
        while not (piece := pieces.get()).closed:
            yield piece
        yield piece

    def stream_end(self, stream_id: str, end: StreamEnd) -> None:
        self.ends[stream_id] = end
        self.inputs.setdefault(stream_id, queue.SimpleQueue()).put(StreamInput(closed=True))

    def close(self) -> None:
        pass

    def states(self) -> dict[str, str]:
        return {status.name: str(status.state) for status in self.statuses.values()}
