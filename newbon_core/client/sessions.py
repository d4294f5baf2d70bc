"""A command run in an instance, as its user sees it."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from newbon_core.client.transport import BodyStream, Transport
from newbon_core.client.views import StreamView


class ExecSession:
    """One command. Read ``output`` in one thread, ``write`` and ``resize`` from others; ``result`` after the end."""

    def __init__(self, transport: Transport, stream_id: str) -> None:
        self.id = stream_id
        self._transport = transport
        self._path = f"/v1/streams/{quote(stream_id, safe='')}"
        self._body: BodyStream | None = None

    def output(self) -> Iterator[bytes]:
        """Standard output and standard error as they come; ends with the command. To be called once."""
        self._body = self._transport.open("GET", f"{self._path}/output", silence_s=None)
        yield from self._body

    def write(self, data: bytes) -> None:
        """Input for the command; b"" closes its standard input. Raises ApiProblem 410 when it has ended."""
        self._transport.call("POST", f"{self._path}/input", raw=data, content_type="application/octet-stream")

    def resize(self, rows: int, columns: int) -> None:
        """Tell the command's terminal its size."""
        self._transport.call("PUT", f"{self._path}/size", body={"rows": rows, "columns": columns})

    def result(self) -> StreamView:
        """How the stream stands: after the output's end ``exit_code`` or ``error`` tells how it went."""
        view: StreamView = self._transport.call("GET", self._path)
        return view

    def close(self) -> None:
        """Stop reading; the server ends the command's stream. May be called from another thread."""
        if self._body is not None:
            self._body.close()
