"""Doing the executor's actions: ``perform`` is one action against a runtime, ThreadWorkers does them in threads."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping

from newbon_core.agent.actions import (
    Action,
    EnsureImage,
    Failure,
    ListContainers,
    LookAt,
    Ping,
    RemoveContainer,
    Result,
    StartContainer,
    StopContainer,
)
from newbon_core.hooks import RegistryCredentials, Runtime, RuntimeFailure

_NOBODY = "newbon-ping"
_log = logging.getLogger(__name__)

Progress = Callable[[Action, str], None]


def registry_of(image: str) -> str:
    """The registry host of an image reference: ``docker.io`` where it names none.

    As Docker reads references: the part before the first slash is a host if it has a dot or a colon, or is localhost.
    """
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def perform(
    action: Action,
    runtimes: Mapping[str, Runtime],
    credentials: Mapping[str, RegistryCredentials] | None = None,
    progress: Progress | None = None,
) -> Result:
    """Do one action now; blocks. Never raises for what a runtime does wrong: that is the result's failure."""
    runtime = runtimes.get(action.runtime)
    if runtime is None:
        return Result(action, failure=Failure(f"runtime {action.runtime!r} is not on this node"))
    try:
        return _perform(action, runtime, credentials or {}, progress)
    except RuntimeFailure as failure:
        return Result(action, failure=Failure(str(failure), failure.retry))
    except Exception as error:  # noqa: BLE001  a plugin's bug must not end the agent; it is told as a failure
        _log.exception("runtime %s: %s failed", action.runtime, type(action).__name__)
        return Result(action, failure=Failure(f"runtime {action.runtime}: {type(error).__name__}: {error}", retry=True))


def _perform(
    action: Action, runtime: Runtime, credentials: Mapping[str, RegistryCredentials], progress: Progress | None
) -> Result:
    match action:
        case ListContainers():
            return Result(action, containers=tuple(runtime.list()))
        case Ping():
            # The cheapest question of the contract; an engine's version costs Docker the start of two processes.
            runtime.inspect(_NOBODY)
            return Result(action)
        case LookAt():
            return Result(action, container=runtime.inspect(action.container_id))
        case EnsureImage():
            return Result(action, image_id=_ensure_image(action, runtime, credentials, progress))
        case StartContainer():
            return Result(action, container=runtime.start(action.order, action.image_id))
        case StopContainer():
            return Result(action, container=runtime.stop(action.container_id, action.grace_s))
        case RemoveContainer():
            runtime.remove(action.container_id)
            return Result(action)


def _ensure_image(
    action: EnsureImage, runtime: Runtime, credentials: Mapping[str, RegistryCredentials], progress: Progress | None
) -> str:
    found = runtime.has_image(action.image)
    if found is not None:
        return found

    def tell(message: str) -> None:
        if progress is not None:
            progress(action, message)

    tell(f"pulling {action.image}")
    return runtime.pull(action.image, credentials.get(registry_of(action.image)), tell)


class ThreadWorkers:
    """Each action in a thread of a pool that grows as far as it is needed; the executor's settings bound the work.

    ``done`` and ``progress`` are called from those threads.
    """

    def __init__(
        self,
        runtimes: Mapping[str, Runtime],
        done: Callable[[Result], None],
        progress: Progress,
        credentials: Mapping[str, RegistryCredentials] | None = None,
    ) -> None:
        self._runtimes = runtimes
        self._done = done
        self._progress = progress
        self._credentials = credentials or {}
        self._queue: queue.SimpleQueue[Action | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, action: Action) -> None:
        """Hand the action to an idle thread, or to a new one."""
        with self._lock:
            if self._closed:
                return
            if self._idle > 0:
                self._idle -= 1
            else:
                thread = threading.Thread(target=self._work, name=f"newbon-worker-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._queue.put(action)

    def close(self, timeout_s: float = 5.0) -> None:
        """Take no more actions and wait for those in flight; what does not end in time is left to its daemon thread."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
        for _ in threads:
            self._queue.put(None)
        for thread in threads:
            thread.join(timeout_s)

    def _work(self) -> None:
        while (action := self._queue.get()) is not None:
            result = perform(action, self._runtimes, self._credentials, self._progress)
            with self._lock:
                self._idle += 1
            self._done(result)
