"""Placement: all filters, then all weighted scores, the best node, ties by name; a service's replicas as one group.

The result is exactly that of placing one replica after another and asking every plugin again in between, with each
score's scale fixed for the group (module ``layers``), only without doing so (module ``select``). Groups for which a
plugin says ``stepwise`` really are placed one by one, each replica being a group of its own, until no plugin says so
any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from newbon_core.hooks.types import PlacementRequest, Rejection
from newbon_core.scheduler.alike import Wanted, alike
from newbon_core.scheduler.asking import PlacementHost
from newbon_core.scheduler.claims import Claim, claim_of
from newbon_core.scheduler.core_filter import CoreFilter
from newbon_core.scheduler.explain import Explanation, explained
from newbon_core.scheduler.group import GroupPlacement, Segment, Share
from newbon_core.scheduler.layers import Layers
from newbon_core.scheduler.rejections import rejections
from newbon_core.scheduler.select import choose, nothing
from newbon_core.scheduler.table import Table

_REASONS_WHEN_PLACED = 64
_REASONS_WHEN_NOT = 2000
_ANY = "-"
"""Stands for the name of any service of a group of several: no service can be called so."""


class Scheduler:
    """Decides where instances go. ``table`` is what it knows; the control loop keeps it up to date."""

    def __init__(self, host: PlacementHost) -> None:
        self.host = host
        self.table = Table()
        self._core = CoreFilter(self.table.nodes)

    def place(self, request: PlacementRequest, names: Sequence[str] | None = None) -> GroupPlacement:
        """Choose nodes for the request's replicas.

        With ``names`` (one per replica) those placed are reserved in the table under them, ``names[k]`` on
        ``nodes[k]``. Raises ValueError when there are not as many names as replicas.
        """
        if names is not None and len(names) != request.count:
            raise ValueError(f"place() got {len(names)} names for {request.count} replicas of {request.service}")
        claim = claim_of(request.container)
        with self.table.lock:
            group = self._decide(request, claim)
            if names is not None and group.placed:
                self.table.reserve(names[: group.placed], group.slots, request.service, claim)
        return group

    def place_many(self, wanted: Sequence[Wanted]) -> list[GroupPlacement | Share]:
        """What ``place`` would give for each of these requests with its names, one after another; only quicker.

        Consecutive requests for a single replica of services of which nothing is known yet, and which are alike in all
        but the service's name, are placed as one group where no plugin's answer depends on the name itself
        (``PlacementHost.nameless``), nor on where the others of the group go.
        """
        found: list[GroupPlacement | Share] = []
        with self.table.lock:
            for run in alike(wanted, self.table) if self.host.nameless else ((one,) for one in wanted):
                shares = self._place_apart(run) if len(run) > 1 else []
                found += shares
                found += [self.place(request, names) for request, names in run[len(shares) :]]
        return found

    def _place_apart(self, wanted: Sequence[Wanted]) -> list[Share]:
        """The first ones of these, as many as find a node; none where they cannot be placed as a group."""
        request = replace(wanted[0][0], service=_ANY)
        claim = claim_of(request.container)
        layers = Layers(self.host, self._core, self.table, request, claim, apart=True)
        if not layers.feasible or not layers.separable:
            return []
        picks = choose(layers.values, layers[0].passed, self.table.nodes.order, len(wanted))
        if layers.asked - {_ANY}:
            # Another service's instances have a say, and it may be one of these.
            return []
        why = self._turned_down(layers)
        together = replace(request, count=len(wanted))
        group = GroupPlacement(together, self.table.nodes.names, [Segment(picks, layers, ())], layers.feasible, why)
        placed = wanted[: group.placed]
        self.table.reserve_each(
            [names[0] for _, names in placed], picks.slots, [one.service for one, _ in placed], claim
        )
        return [Share(one, group, k) for k, (one, _) in enumerate(placed)]

    def _turned_down(self, layers: Layers) -> tuple[Rejection, ...]:
        if layers.feasible == len(self.table):
            return ()
        return rejections(layers, self.table.nodes.zeros(), _REASONS_WHEN_PLACED)

    def release(self, names: Iterable[str]) -> None:
        """Undo reservations by name."""
        self.table.release(names)

    def explain(self, request: PlacementRequest) -> Explanation:
        """Tell for every node what every filter and score says of it now, and where the replicas would go."""
        claim = claim_of(request.container)
        with self.table.lock:
            group = self._decide(request, claim)
            layers = Layers(self.host, self._core, self.table, request, claim)
            return explained(request, layers, self.table.nodes, group, self.host.left_out)

    def _decide(self, request: PlacementRequest, claim: Claim) -> GroupPlacement:
        segments: list[Segment] = []
        assumed: list[int] = []
        left = request.count
        feasible: int | None = None
        why: tuple[Rejection, ...] = ()
        try:
            while left > 0:
                asked = request if left == request.count else replace(request, count=left)
                layers = Layers(self.host, self._core, self.table, asked, claim)
                segment, stepwise = self._choose(layers, left)
                left -= len(segment.picks)
                if feasible is None:
                    feasible = layers.feasible
                    why = self._turned_down(layers)
                segments.append(segment)
                if not stepwise or not len(segment.picks):
                    break
                slot = int(segment.picks.slots[0])
                self.table.assume(slot, request.service, claim, 1)
                assumed.append(slot)
            if left > 0:
                taken = np.bincount(segment.picks.slots, minlength=len(self.table))
                why = rejections(layers, taken, _REASONS_WHEN_NOT)
                self.table.awaited |= layers.asked - {request.service}
        finally:
            for slot in assumed:
                self.table.assume(slot, request.service, claim, -1)
        return GroupPlacement(request, self.table.nodes.names, segments, feasible or 0, why)

    def _choose(self, layers: Layers, count: int) -> tuple[Segment, bool]:
        if not layers.feasible:
            return Segment(nothing(), layers, ()), False
        stepwise = count > 1 and layers.stepwise
        terms = layers.domain_terms()
        picks = choose(
            layers.values,
            layers[0].passed,
            self.table.nodes.order,
            1 if stepwise else count,
            [term for _, term in terms],
        )
        return Segment(picks, layers, terms), stepwise
