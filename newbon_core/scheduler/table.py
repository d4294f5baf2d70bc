"""All nodes and what instances hold on them, kept up in place: what every placement is decided from.

Every change is idempotent: it is compared with what is known and only the difference is carried out, so the control
loop may tell the same thing twice, and what ``Scheduler.place`` reserved is confirmed by ``upsert_instance`` at no
cost. Instances may be told of before their node. All methods may be called from any thread.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

import numpy as np

from newbon_core.hooks.types import IntArray
from newbon_core.model import Instance, Node, NodeStatus, RevisionSpec
from newbon_core.scheduler.claims import Claim, Held, claim_of, facts_of
from newbon_core.scheduler.failures import Failures
from newbon_core.scheduler.nodes import NodeColumns

_DENSE_KEPT = 64
_CLAIMS_SHARED = 4096


class Table:
    """The scheduler's knowledge.

    ``improvements`` grows whenever something changed that could help a request that found no room: a usable node came
    or changed, an instance gave up its room, or an instance of a service in ``awaited`` came (its presence is what some
    unplaced request's filters asked about).
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.improvements = 0
        self.awaited: set[str] = set()
        self.nodes = NodeColumns()
        self.failures = Failures()
        self._held: dict[str, Held] = {}
        self._homeless: dict[str, dict[str, None]] = {}
        self._counts: dict[str, dict[str, int]] = {}
        self._dense: OrderedDict[str, IntArray] = OrderedDict()
        self._ports: dict[tuple[int, str], dict[str, int]] = {}
        self._claims: dict[Claim, Claim] = {}

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, instance: object) -> bool:
        return instance in self._held

    # --- nodes ---

    def upsert_node(self, node: Node, status: NodeStatus | None) -> None:
        """Take what is known of a node. Without a status no agent has registered yet, and it takes no instances."""
        facts = facts_of(node, status)
        with self.lock:
            slot = self.nodes.slots.get(node.name)
            if slot is not None and self.nodes.facts[slot] == facts:
                return
            self.nodes.put(facts)
            if slot is None:
                self._settle(node.name)
            if facts.usable:
                self.improvements += 1

    def _settle(self, node: str) -> None:
        self._dense.clear()
        slot = self.nodes.slots[node]
        for name in self._homeless.pop(node, ()):
            self.nodes.take(slot, self._held[name].claim, 1)

    def remove_node(self, name: str) -> None:
        """Forget a node; what its instances hold is remembered in case it comes back."""
        with self.lock:
            if name not in self.nodes.slots:
                return
            left = {instance: None for instance, held in self._held.items() if held.node == name}
            if left:
                self._homeless[name] = left
            self.nodes.remove(name)
            self._dense.clear()

    # --- instances ---

    def upsert_instance(self, instance: Instance, spec: RevisionSpec) -> None:
        """Count an instance on its node (on none while it has none) with what its revision reserves.

        One that is wanted ``lost`` keeps its room, for its container may still be there, but is no longer counted as an
        instance of its service.
        """
        if instance.node is None:
            self.remove_instance(instance.name)
            return
        claim = claim_of(spec.container)
        with self.lock:
            held = Held(instance.node, instance.service, self._shared(claim), instance.wanted != "lost")
            old = self._held.get(instance.name)
            if old != held:
                self._replace(instance.name, old, held)

    def remove_instance(self, name: str) -> None:
        """Give up what an instance holds; one that is not known is no error."""
        with self.lock:
            old = self._held.pop(name, None)
            if old is not None:
                self._drop(name, old)

    def record_failure(self, service: str, node: str, at: float) -> None:
        """Remember that an instance of the service failed on the node at this time (seconds since the epoch)."""
        with self.lock:
            self.failures.record(service, node, at)

    def _replace(self, name: str, old: Held | None, held: Held) -> None:
        if old is not None:
            self._drop(name, old)
        self._held[name] = held
        claim = held.claim
        slot = self.nodes.slots.get(held.node)
        if slot is None:
            self._homeless.setdefault(held.node, {})[name] = None
        else:
            self.nodes.take(slot, claim, 1)
        if claim.ports:
            self._hold_ports(held.node, claim, 1)
        if held.counted:
            self._count(held.service, held.node, 1)

    def _drop(self, name: str, old: Held) -> None:
        slot = self.nodes.slots.get(old.node)
        if slot is None:
            waiting = self._homeless.get(old.node, {})
            waiting.pop(name, None)
            if not waiting:
                self._homeless.pop(old.node, None)
        else:
            self.nodes.take(slot, old.claim, -1)
        if old.claim.ports:
            self._hold_ports(old.node, old.claim, -1)
        if old.counted:
            self._count(old.service, old.node, -1)
        self.improvements += 1

    def _shared(self, claim: Claim) -> Claim:
        if len(self._claims) > _CLAIMS_SHARED:
            self._claims.clear()
        return self._claims.setdefault(claim, claim)

    def _hold_ports(self, node: str, claim: Claim, count: int) -> None:
        for port in claim.ports:
            holders = self._ports.setdefault(port, {})
            left = holders.get(node, 0) + count
            if left > 0:
                holders[node] = left
            else:
                holders.pop(node, None)
                if not holders:
                    del self._ports[port]

    def _count(self, service: str, node: str, count: int) -> None:
        counts = self._counts.get(service)
        if counts is None:
            counts = self._counts[service] = {}
        left = counts.get(node, 0) + count
        if left > 0:
            counts[node] = left
        else:
            counts.pop(node, None)
            if not counts:
                del self._counts[service]
        dense = self._dense.get(service)
        if dense is not None:
            slot = self.nodes.slots.get(node)
            if slot is not None:
                dense[slot] += count
        if count > 0 and service in self.awaited:
            self.improvements += 1

    # --- reservations by slot: what the scheduler decided ---

    def reserve(self, names: Sequence[str], slots: IntArray, service: str, claim: Claim) -> None:
        """Count new instances, ``names[k]`` on the node of ``slots[k]``. One that is known already is moved."""
        with self.lock:
            for name in self._held.keys() & set(names):
                self._drop(name, self._held.pop(name))
            claim = self._shared(claim)
            node_names = self.nodes.names
            if len(names) == 1:
                slot = int(slots[0])
                self._held[names[0]] = Held(node_names[slot], service, claim)
                self.assume(slot, service, claim, 1)
                return
            counts = np.bincount(slots, minlength=len(self.nodes))
            used = np.flatnonzero(counts).tolist()
            held = {slot: Held(node_names[slot], service, claim) for slot in used}
            self._held.update(zip(names, map(held.__getitem__, slots.tolist()), strict=True))
            self.nodes.take_many(counts, claim)
            for slot in used:
                count = int(counts[slot])
                self._count(service, node_names[slot], count)
                if claim.ports:
                    self._hold_ports(node_names[slot], claim, count)

    def reserve_each(self, names: Sequence[str], slots: IntArray, services: Sequence[str], claim: Claim) -> None:
        """Count one new instance of each of these services; none of the names may be known already."""
        with self.lock:
            claim = self._shared(claim)
            node_names = self.nodes.names
            self.nodes.take_many(np.bincount(slots, minlength=len(self.nodes)), claim)
            for name, slot, service in zip(names, slots.tolist(), services, strict=True):
                node = node_names[slot]
                self._held[name] = Held(node, service, claim)
                self._count(service, node, 1)
                if claim.ports:
                    self._hold_ports(node, claim, 1)

    def assume(self, slot: int, service: str, claim: Claim, count: int) -> None:
        """Take (or, with a negative count, give back) room without a name; no improvement is noted."""
        node = self.nodes.facts[slot].name
        self.nodes.take(slot, claim, count)
        if claim.ports:
            self._hold_ports(node, claim, count)
        self._count(service, node, count)

    def release(self, names: Iterable[str]) -> None:
        """Undo reservations (or forget instances) by name."""
        with self.lock:
            for name in names:
                self.remove_instance(name)

    # --- reading ---

    def is_new(self, service: str) -> bool:
        """True when nothing is known of the service: neither instances nor failures."""
        return service not in self._counts and service not in self.failures

    def counts_of(self, service: str) -> IntArray | None:
        """Instances of a service by slot, read-only; None where it has none at all."""
        counts = self._counts.get(service)
        if counts is None:
            return None
        dense = self._dense.get(service)
        if dense is None:
            dense = np.zeros(len(self.nodes), dtype=np.int64)
            slots = self.nodes.slots
            for node, count in counts.items():
                slot = slots.get(node)
                if slot is not None:
                    dense[slot] = count
            self._dense[service] = dense
            if len(self._dense) > _DENSE_KEPT:
                self._dense.popitem(last=False)
        else:
            self._dense.move_to_end(service)
        shown = dense[:]
        shown.flags.writeable = False
        return shown

    def port_holders(self, port: int, protocol: str) -> list[int]:
        """Slots of the nodes on which an instance holds this host port."""
        slots = self.nodes.slots
        return [slots[node] for node in self._ports.get((port, protocol), ()) if node in slots]

    def service_total(self, service: str) -> int:
        """Instances of a service on all nodes."""
        return sum(self._counts.get(service, {}).values())
