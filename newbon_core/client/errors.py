"""What a client raises."""

from __future__ import annotations

from collections.abc import Sequence

from newbon_core.client.views import ProblemEntry


class ClientError(Exception):
    """Base of what a client raises."""


class ServerUnreachable(ClientError):
    """No answer: refused, timed out, cut off, or TLS that does not verify. What was asked may have happened."""


class ApiProblem(ClientError):
    """The server refused. ``str()`` is one sentence; ``problems`` are the single faults of a document.

    ``retry_after_s`` is set where the server says when to ask again.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        problems: Sequence[ProblemEntry] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.title = title
        self.detail = detail
        self.problems = list(problems)
        self.retry_after_s = retry_after_s
