"""Whether the client of a request is still there: for answers that may have nothing to say for a long time."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

GONE_KEY = "newbon.client_gone"
"""Where the server leaves its question in a request's WSGI environment; other servers leave nothing."""
LOOK_S = 3.0
"""A stream that has nothing to say looks for its reader this often."""
_ESTABLISHED = 1  # TCP_ESTABLISHED of Linux' include/net/tcp_states.h; the first byte of tcp_info is the state
_SYN_RECV = 3


def closed(connection: socket.socket) -> bool:
    """True when the other side has closed its end, or this side its own.

    The kernel's state is asked, not the bytes: what is left to be read (as TLS' last words) would hide the end.
    """
    try:
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:
        return True
    return state not in (_ESTABLISHED, _SYN_RECV)


def gone(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """A function that tells whether the client of this request has gone; without a way to know, it has not."""
    found: Callable[[], bool] | None = environ.get(GONE_KEY)
    return found or (lambda: False)
