"""What the executor asks its workers to do, and what comes back. Values only.

Every action is idempotent: it may be done again after a crash at any point of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from newbon_core.hooks import Container, ContainerOrder


@dataclass(frozen=True, slots=True)
class ListContainers:
    """Look at everything of ours in one engine. ``asked`` orders listings against other actions."""

    runtime: str
    asked: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask an engine anything, to see that it answers."""

    runtime: str


@dataclass(frozen=True, slots=True)
class LookAt:
    """Look at one container again."""

    runtime: str
    uid: str
    container_id: str


@dataclass(frozen=True, slots=True)
class EnsureImage:
    """Find the image in the engine, pull it if it is not there."""

    runtime: str
    image: str


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Create the container, unless it exists, and start it, unless it ever ran."""

    runtime: str
    uid: str
    order: ContainerOrder
    image_id: str


@dataclass(frozen=True, slots=True)
class StopContainer:
    """Ask the container to stop, kill it after ``grace_s``."""

    runtime: str
    uid: str
    container_id: str
    grace_s: float


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Delete a container that does not run."""

    runtime: str
    uid: str
    container_id: str


Action = ListContainers | Ping | LookAt | EnsureImage | StartContainer | StopContainer | RemoveContainer


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an action did not work, as one sentence; ``retry``: the same may work later without a change."""

    message: str
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """How an action ended.

    ``containers`` answers ListContainers; ``container`` (None: it is gone) LookAt, StartContainer and StopContainer;
    ``image_id`` EnsureImage. With ``failure`` nothing else is set.
    """

    action: Action
    containers: tuple[Container, ...] = ()
    container: Container | None = None
    image_id: str | None = None
    failure: Failure | None = None


class Workers(Protocol):
    """Does actions elsewhere: threads in real life, virtual time in the simulator."""

    def submit(self, action: Action) -> None:
        """Returns at once. Every action is answered once, by ``Executor.complete``, from the executor's own thread."""
        ...
