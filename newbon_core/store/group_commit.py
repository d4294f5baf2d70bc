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

    __slots__ = ("done", "error", "leads", "result", "run", "wake")

    def __init__(self, run: Callable[[], object]) -> None:
        self.run = run
        self.done = False
        self.leads = False
        self.wake: threading.Lock | None = None
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
        self._mutex = threading.Lock()
        self._queue: deque[Job] = deque()
        self._led = False

    def submit(self, run: Callable[[], T]) -> T:
        """Do this in the next group and return what it returns."""
        job = Job(run)
        self.run_all([job])
        return cast(T, job.outcome())

    def run_all(self, jobs: Sequence[Job]) -> None:
        """Have all of these done, in order."""
        if not jobs:
            return
        last = jobs[-1]
        with self._mutex:
            self._queue.extend(jobs)
            last.leads, self._led = not self._led, True
            if not last.leads:
                last.wake = threading.Lock()
                last.wake.acquire()
        if last.wake is not None:
            # Each waits for its own lock, not for the one that is held during a commit: who is done can queue again
            # while the next commit is under way, and so joins the one after.
            last.wake.acquire()
        if last.leads:
            try:
                while not last.done:
                    self._next_group()
            finally:
                self._pass_on()

    def _pass_on(self) -> None:
        """Let one of those who wait do the next group."""
        with self._mutex:
            heir = next((job for job in reversed(self._queue) if job.wake is not None), None)
            if heir is None:
                self._led = False
            else:
                heir.leads = True
                cast(threading.Lock, heir.wake).release()

    def _next_group(self) -> None:
        with self.lock:
            group = [self._queue.popleft() for _ in range(min(_GROUP, len(self._queue)))]
            try:
                self._commit(group)
            finally:
                for job in group:
                    job.done = True
                    if job.wake is not None and not job.leads:
                        job.wake.release()
