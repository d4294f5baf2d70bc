"""Writers that queue: none is forgotten, each gets its own answer, and one that fails does not stop the rest."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from newbon_core.store.group_commit import GroupCommit, Job


class Commits:
    """Carries out jobs and notes the groups."""

    def __init__(self) -> None:
        self.groups: list[int] = []
        self.failing = False

    def __call__(self, jobs: Sequence[Job]) -> None:
        self.groups.append(len(jobs))
        if self.failing:
            for job in jobs:
                job.error = OSError("no disk")
            raise OSError("no disk")
        for job in jobs:
            job.result = job.run()


def in_threads(count: int, work: object) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive(), "a writer was forgotten"


def test_each_writer_gets_its_own_answer() -> None:
    commits = Commits()
    queue = GroupCommit(commits)
    answers: dict[int, list[int]] = {}

    def write(thread: int) -> None:
        answers[thread] = [queue.submit(lambda n=n: thread * 1000 + n) for n in range(200)]

    in_threads(8, write)
    assert answers == {thread: [thread * 1000 + n for n in range(200)] for thread in range(8)}
    assert sum(commits.groups) == 1600


def test_who_waits_is_carried_out_together() -> None:
    commits = Commits()
    queue = GroupCommit(commits)
    queue.lock.acquire()
    threads = [threading.Thread(target=queue.submit, args=(lambda: 1,)) for _ in range(10)]
    for thread in threads:
        thread.start()
    while len(queue._queue) < 10:
        pass
    queue.lock.release()
    for thread in threads:
        thread.join(10)
    assert commits.groups == [10]


def test_several_jobs_of_one_writer_are_done_in_order() -> None:
    queue = GroupCommit(Commits())
    order: list[int] = []
    queue.run_all([Job(lambda n=n: order.append(n)) for n in range(600)])
    queue.run_all([])
    assert order == [*range(600)]


def test_a_commit_that_fails_leaves_the_next_one_unharmed() -> None:
    commits = Commits()
    queue = GroupCommit(commits)
    commits.failing = True
    failures: list[str] = []

    def write(_thread: int) -> None:
        with pytest.raises(OSError, match="no disk"):
            queue.submit(lambda: 1)
        failures.append("told")

    in_threads(6, write)
    commits.failing = False
    assert len(failures) == 6
    assert queue.submit(lambda: 2) == 2
