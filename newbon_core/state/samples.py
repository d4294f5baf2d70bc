"""The last minutes of load figures of hosts and containers, in memory only and small.

A ring of slots of ten seconds per container and per host; the last sample within a slot counts. One container takes
400 bytes of columns, so 100,000 take 40 MB, and only those that report take any.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from newbon_core.model.wire import ContainerSample, HostSample

SLOT_S = 10.0
SLOTS = 20
_BLOCK = 256
_FIELDS = 4


class _Rings:
    """Rows of ``SLOTS`` slots of four numbers; rows are given and taken back, blocks are never moved."""

    def __init__(self) -> None:
        self._values: list[NDArray[np.float32]] = []
        self._slots: list[NDArray[np.int32]] = []
        self._free: list[int] = []

    def take(self) -> int:
        if not self._free:
            first = len(self._values) * _BLOCK
            self._values.append(np.zeros((_BLOCK, SLOTS, _FIELDS), np.float32))
            self._slots.append(np.full((_BLOCK, SLOTS), -1, np.int32))
            self._free = list(range(first + _BLOCK - 1, first - 1, -1))
        return self._free.pop()

    def give_back(self, row: int) -> None:
        self._slots[row // _BLOCK][row % _BLOCK] = -1
        self._free.append(row)

    def put(self, row: int, time: float, values: tuple[float, float, float, float]) -> None:
        slot = int(time // SLOT_S)
        self._values[row // _BLOCK][row % _BLOCK, slot % SLOTS] = values
        self._slots[row // _BLOCK][row % _BLOCK, slot % SLOTS] = slot

    def read(self, row: int, since: float) -> list[tuple[float, list[float]]]:
        slots = self._slots[row // _BLOCK][row % _BLOCK]
        values = self._values[row // _BLOCK][row % _BLOCK]
        first = int(since // SLOT_S)
        found = sorted((int(slot), at) for at, slot in enumerate(slots) if slot >= max(first, 0))
        return [(slot * SLOT_S, values[at].tolist()) for slot, at in found]


class Samples:
    """What agents measured lately, by instance uid and by node name. Times are the server's, since the epoch.

    One thread at a time may write. Reading from other threads sees whole samples or older ones.
    """

    def __init__(self) -> None:
        self._rings = _Rings()
        self._rows: dict[str, int] = {}
        self._latest: dict[str, tuple[float, str, int]] = {}
        self._hosts: dict[str, list[HostSample]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def add_container(self, sample: ContainerSample, now: float) -> None:
        """Take a sample; ``now`` stands in for the agent's clock, which may be wrong."""
        row = self._rows.get(sample.uid)
        if row is None:
            row = self._rows[sample.uid] = self._rings.take()
        values = (sample.cpu_cores, float(sample.memory_bytes), sample.receive_bytes_s, sample.transmit_bytes_s)
        self._rings.put(row, now, values)
        self._latest[sample.uid] = (now, sample.instance, sample.pids)

    def container(self, uid: str, now: float, within_s: float = 60.0) -> ContainerSample | None:
        """The newest sample, unless it is older than ``within_s``."""
        window = self.container_window(uid, now - within_s)
        return window[-1] if window else None

    def container_window(self, uid: str, since: float) -> list[ContainerSample]:
        """The samples since a time, oldest first, at most one per ten seconds; memory is rounded to 24 bits."""
        row = self._rows.get(uid)
        latest = self._latest.get(uid)
        if row is None or latest is None:
            return []
        found = []
        for time, (cpu, memory, receive, transmit) in self._rings.read(row, since):
            found.append(
                ContainerSample(
                    instance=latest[1],
                    uid=uid,
                    time=min(time + SLOT_S, latest[0]),
                    cpu_cores=cpu,
                    memory_bytes=int(memory),
                    receive_bytes_s=receive,
                    transmit_bytes_s=transmit,
                    pids=latest[2],
                )
            )
        return found

    def add_host(self, node: str, sample: HostSample) -> None:
        """Take a host's sample; the last twenty are kept, one per ten seconds."""
        ring = self._hosts.setdefault(node, [])
        if ring and ring[-1].time // SLOT_S == sample.time // SLOT_S:
            ring[-1] = sample
        else:
            ring.append(sample)
            del ring[:-SLOTS]

    def host(self, node: str) -> HostSample | None:
        """The newest sample of a host."""
        ring = self._hosts.get(node)
        return ring[-1] if ring else None

    def host_window(self, node: str, since: float) -> list[HostSample]:
        """A host's samples since a time (by its agent's clock), oldest first."""
        return [sample for sample in self._hosts.get(node, ()) if sample.time >= since]

    def forget_container(self, uid: str) -> None:
        """Drop what is known of a container; one that is unknown is no error."""
        row = self._rows.pop(uid, None)
        self._latest.pop(uid, None)
        if row is not None:
            self._rings.give_back(row)

    def forget_host(self, node: str) -> None:
        """Drop what is known of a host."""
        self._hosts.pop(node, None)
