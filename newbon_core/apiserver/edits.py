"""Committing what a request decides: read the cache, decide, compare and swap, and again when somebody was faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flask import request

from newbon_core.apiserver.context import context
from newbon_core.apiserver.errors import Problem
from newbon_core.state import Changes, Stored, commit_atomic

T = TypeVar("T")
ATTEMPTS = 8
VISIBLE_WITHIN_S = 5.0


def commit(decide: Callable[[], tuple[Changes, T]]) -> tuple[T, int]:
    """Write what ``decide`` says, deciding anew while others were faster; returns its second part and the revision.

    When this returns, the change is durable and, unless the cache lags by more than five seconds, also visible.
    Raises Problem 409 when others are faster again and again, and StoreUnavailable.
    """
    here = context()
    for _ in range(ATTEMPTS):
        changes, result = decide()
        if not changes:
            return result, here.cache.revision
        with here.metrics.commit():
            done = commit_atomic(here.store, changes)
        here.cache.wait_for(done.revision, VISIBLE_WITHIN_S)
        if done.succeeded:
            return result, done.revision
    raise Problem(409, "others change the same objects all the time; try again")


def tag(revision: int) -> str:
    """The ETag of an object: the store's revision of its last change."""
    return f'"{revision}"'


def check_match(stored: Stored[object]) -> None:
    """Hold the request's If-Match against the object as it is now. Raises Problem 412."""
    wanted = request.headers.get("If-Match")
    if wanted is None or wanted.strip() == "*":
        return
    tags = {one.strip() for one in wanted.split(",")}
    if tag(stored.revision) not in tags:
        raise Problem(
            412,
            f"it has changed since: it is at {tag(stored.revision)}, the request is for {wanted[:100]}",
            headers={"ETag": tag(stored.revision)},
        )
