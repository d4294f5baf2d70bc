"""Writers that queue: whichever comes first does the work of all that wait, in one go."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

T = TypeVar("T")
_GROUP = 256


class Job:
    """One writer's work. Who carries it out sets ``result`` or ``error``."""

    __slots__ = ("done", "error", "result", "run")

    def __init__(self, run: Callable[[], object]) -> None:
        self.run = run
        self.done = False
        self.result: object = None
        self.error: BaseException | None = None

    def outcome(self) -> object:
        """The result; raises the error instead where there is one."""
        if self.error is not None:
            raise self.error
        return self.result


class GroupCommit:
    """``commit`` carries out a group of jobs; ``lock`` is held meanwhile, so there is one group at a time."""

    def __init__(self, commit: Callable[[Sequence[Job]], None]) -> None:
        self.lock = threading.Lock()
        self._commit = commit
        self._queue: deque[Job] = deque()

    def submit(self, run: Callable[[], T]) -> T:
        """Do this in the next group and return what it returns."""
        job = Job(run)
        self.run_all([job])
        return cast(T, job.outcome())

    def run_all(self, jobs: Sequence[Job]) -> None:
        """Have all of these done, in order."""
        if not jobs:
            return
        self._queue.extend(jobs)
        while not jobs[-1].done:
            # Those who waited for the lock mostly find that its last holder did their work too.
            with self.lock:
                if not jobs[-1].done:
                    self._next_group()

    def _next_group(self) -> None:
        group = [self._queue.popleft() for _ in range(min(_GROUP, len(self._queue)))]
        try:
            self._commit(group)
        finally:
            for job in group:
                job.done = True
