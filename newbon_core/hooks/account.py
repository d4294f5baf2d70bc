"""What the host keeps of each plugin: calls, time, errors, and quarantine for one that keeps failing."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureBudget:
    """``errors`` within ``within_s`` put a plugin in quarantine; after ``retry_after_s`` one call tries it again."""

    errors: int = 10
    within_s: float = 60.0
    retry_after_s: float = 60.0


@dataclass(slots=True)
class Account:
    """The counters of one plugin. ``seconds`` is time spent in its hooks; times are seconds since the epoch."""

    plugin: str
    budget: FailureBudget
    calls: int = 0
    errors: int = 0
    seconds: float = 0.0
    last_error: str = ""
    last_error_at: float | None = None
    retry_at: float | None = None
    _recent: deque[float] = field(default_factory=deque)

    @property
    def quarantined(self) -> bool:
        """True from the error that used up the budget until a call has worked again."""
        return self.retry_at is not None

    def rests(self, now: float) -> bool:
        """True when the plugin must not be asked now: in quarantine, and not yet due for the next try."""
        return self.retry_at is not None and now < self.retry_at

    def note(self, message: str, now: float | None) -> None:
        """Count an error that left the rest of the answer usable: it is shown, but uses up no budget."""
        self.errors += 1
        self.last_error = message
        self.last_error_at = now

    def failed(self, message: str, now: float) -> None:
        """Count a failed call; the one that uses up the budget, and any on a later try, starts a quarantine."""
        self.note(message, now)
        recent = self._recent
        recent.append(now)
        while recent and recent[0] < now - self.budget.within_s:
            recent.popleft()
        if self.retry_at is not None or len(recent) >= self.budget.errors:
            self.retry_at = now + self.budget.retry_after_s

    def worked(self) -> None:
        """A try during quarantine went well: the plugin is active again with a fresh budget."""
        self.retry_at = None
        self._recent.clear()

    def quarantine_reason(self) -> str:
        """A sentence about the quarantine; the empty string outside it."""
        if self.retry_at is None:
            return ""
        budget = self.budget
        return (
            f"in quarantine after {budget.errors} errors within {budget.within_s:g} s, asked again every "
            f"{budget.retry_after_s:g} s; the last error: {self.last_error}"
        )
