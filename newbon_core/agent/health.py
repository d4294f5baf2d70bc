"""What an executor knows of one engine: whether it answers, and when it is to be asked again."""

from __future__ import annotations


class EngineState:
    """``error`` None and ``listed`` is an engine that may be used."""

    def __init__(self) -> None:
        self.listed = False
        self.error: str | None = None
        self.listing = False
        self.list_at = 0.0

    @property
    def usable(self) -> bool:
        """True where it answers and its containers are known."""
        return self.listed and self.error is None
