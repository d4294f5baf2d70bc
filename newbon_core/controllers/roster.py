"""The instances of one service, sorted by what is to be done about them, and kept so one change at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

from newbon_core.model import FINISHED, Instance, InstanceState, InstanceStatus

Names = dict[str, int]
"""Names of instances in order of arrival, with the revision of each."""


@dataclass(slots=True)
class Roster:
    """Each instance is in exactly one of the groups.

    ``waiting`` has no node yet. ``starting`` and ``running`` have one. ``leaving`` was told to stop and has not
    reported that it did. ``lost`` was on a lost node, which has not reported its end. ``exited`` has finished by
    itself, and nothing has been decided about it. ``finished`` is only kept to be looked at. ``past`` holds the
    numbers of stored revisions.

    ``hint`` is a number below which none is free. ``life`` is when the service was created whose instances these are.
    ``tried`` and ``tried_at``: the table's improvements, and the time, when those that wait were placed last.
    ``explained_at``: when it was last written why they wait, ``stale`` where that has changed since.
    ``held``: why instances of a revision must not be placed, "" where nothing is in the way.
    """

    service: str
    waiting: Names = field(default_factory=dict)
    starting: Names = field(default_factory=dict)
    running: Names = field(default_factory=dict)
    leaving: Names = field(default_factory=dict)
    lost: Names = field(default_factory=dict)
    exited: Names = field(default_factory=dict)
    finished: Names = field(default_factory=dict)
    past: dict[int, None] = field(default_factory=dict)
    active: dict[int, int] = field(default_factory=dict)
    hint: int = 1
    life: float | None = None
    tried: int = -1
    tried_at: float = float("-inf")
    explained_at: float = float("-inf")
    stale: bool = False
    wake_at: float | None = None
    held: tuple[int, str] = (0, "")

    @property
    def groups(self) -> tuple[Names, ...]:
        """All groups; those that count as wanted replicas come first."""
        return (
            self.waiting,
            self.starting,
            self.running,
            self.leaving,
            self.lost,
            self.exited,
            self.finished,
        )

    @property
    def empty(self) -> bool:
        """True when nothing is left of the service."""
        return not self.past and not any(self.groups)

    def settled(self, revision: int, replicas: int) -> bool:
        """True when there are exactly so many instances, all of this revision and all on a node, and no others."""
        if self.waiting or self.leaving or self.lost or self.exited or self.finished:
            return False
        return self.active.get(revision, 0) == replicas == len(self.starting) + len(self.running)

    def put(self, instance: Instance, status: InstanceStatus | None) -> None:
        """Take an instance as it is now; ``status`` must be of the same uid."""
        self.drop(instance.name)
        group = self._group_of(instance, status)
        group[instance.name] = instance.revision
        if group is self.waiting or group is self.starting or group is self.running:
            self.active[instance.revision] = self.active.get(instance.revision, 0) + 1

    def remove(self, name: str, number: int) -> None:
        """Forget an instance that no longer exists; its number may be used again."""
        self.drop(name)
        self.hint = min(self.hint, number)

    def drop(self, name: str) -> None:
        """Take a name out of its group."""
        for position, group in enumerate(self.groups):
            revision = group.pop(name, None)
            if revision is None:
                continue
            if position < 3:
                self.active[revision] -= 1
                if not self.active[revision]:
                    del self.active[revision]
            return

    def _group_of(self, instance: Instance, status: InstanceStatus | None) -> Names:
        if status is not None and status.state in FINISHED:
            return self.exited if instance.wanted == "running" else self.finished
        if instance.wanted == "lost":
            return self.lost
        if instance.wanted == "stopped":
            return self.leaving if instance.node is not None else self.finished
        if instance.node is None:
            return self.waiting
        if status is not None and status.state is InstanceState.RUNNING:
            return self.running
        return self.starting
