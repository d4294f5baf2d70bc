"""Which services failed on which nodes lately."""

from __future__ import annotations

from collections.abc import Mapping

FAILURE_WINDOW_S = 300.0
_SWEEP_EVERY = 1024


class Failures:
    """Times of failures by service and node; those older than five minutes are forgotten."""

    def __init__(self) -> None:
        self._times: dict[str, dict[str, list[float]]] = {}
        self._recorded = 0

    def __contains__(self, service: object) -> bool:
        return service in self._times

    def record(self, service: str, node: str, at: float) -> None:
        """Add one failure. The same one (service, node, time) told twice counts once."""
        times = self._times.setdefault(service, {}).setdefault(node, [])
        if at not in times:
            times.append(at)
        self._recorded += 1
        if self._recorded % _SWEEP_EVERY == 0:
            self._sweep(at)

    def counts(self, service: str, now: float) -> Mapping[str, int]:
        """Failures by node within the window before ``now``; nodes without any are left out."""
        by_node = self._times.get(service)
        if by_node is None:
            return {}
        recent = {node: sum(1 for at in times if at > now - FAILURE_WINDOW_S) for node, times in by_node.items()}
        return {node: count for node, count in recent.items() if count}

    def _sweep(self, now: float) -> None:
        for service, by_node in list(self._times.items()):
            for node, times in list(by_node.items()):
                times[:] = [at for at in times if at > now - FAILURE_WINDOW_S]
                if not times:
                    del by_node[node]
            if not by_node:
                del self._times[service]
