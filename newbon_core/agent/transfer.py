"""Carries pieces of output to the server, joining what comes while the last piece is on its way."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator

_PIECE_BYTES = 256 * 1024
_QUEUED_PIECES = 256
_JOINS = 100


class Transfer:
    """One stream's output. ``run`` blocks; ``hang_up`` ends it from any thread.

    ``send`` returns False when nobody reads any more. ``close`` makes ``pieces`` end, where the runtime can do that.
    """

    def __init__(self, pieces: Iterator[bytes], close: Callable[[], None], send: Callable[[bytes], bool]) -> None:
        self._pieces = pieces
        self._close = close
        self._send = send
        self._waiting: queue.Queue[bytes | BaseException | None] = queue.Queue(_QUEUED_PIECES)
        self._gone = threading.Event()

    def hang_up(self) -> None:
        """Whatever is still to come is not wanted."""
        self._gone.set()
        # A plain generator cannot be closed while another thread is in it; that thread then ends it itself.
        with contextlib.suppress(ValueError):
            self._close()
        # With a full queue the sender is busy, and sees that it is over when it has sent its piece.
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)

    def run(self) -> None:
        """Until the output ends or somebody hangs up. Raises what ``pieces`` and ``send`` raise."""
        reader = threading.Thread(target=self._read, name="newbon-output", daemon=True)
        reader.start()
        try:
            while not self._gone.is_set():
                data, end, error = self._take()
                if data and not self._gone.is_set() and not self._send(data):
                    return
                if error is not None:
                    raise error
                if end:
                    return
        finally:
            self.hang_up()
            # One that a runtime does not let go is left to its daemon thread.
            for _ in range(_JOINS):
                self._drain()
                reader.join(0.05)
                if not reader.is_alive():
                    break

    def _read(self) -> None:
        last: BaseException | None = None
        try:
            for piece in self._pieces:
                if self._gone.is_set():
                    break
                if piece:
                    self._waiting.put(piece)
        except Exception as error:  # noqa: BLE001  raised again by the thread that sends
            last = error
        self._waiting.put(last)

    def _take(self) -> tuple[bytes, bool, BaseException | None]:
        """What there is, at least one piece: the bytes, whether it was the end, and the error that ended it."""
        parts: list[bytes] = []
        size = 0
        item = self._waiting.get()
        while isinstance(item, bytes):
            parts.append(item)
            size += len(item)
            if size >= _PIECE_BYTES:
                return b"".join(parts), False, None
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                return b"".join(parts), False, None
        return b"".join(parts), True, item

    def _drain(self) -> None:
        """The reader may be waiting for room."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
