"""What each kind of object shows in a table: one function per kind from the API's object to a row."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from newbon_core.cli import text
from newbon_core.cli.table import Cell, Column

Object = Mapping[str, Any]

STATE_STYLES = {
    "running": "green", "ready": "green", "active": "green",
    "pending": "yellow", "assigned": "yellow", "pulling": "yellow", "starting": "yellow", "unready": "yellow",
    "stopping": "dim", "stopped": "dim", "disabled": "dim",
    "failed": "red", "lost": "red", "incompatible": "red", "quarantined": "red",
    "info": "", "warning": "yellow", "error": "red",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a kind. ``row`` gives all cells; ``wide`` are the indexes that only ``-o wide`` shows.

    ``volatile`` are indexes of cells that change by the clock alone (ages), which is no change worth a line.
    """

    columns: tuple[Column, ...]
    row: Callable[[Object, float], tuple[Cell | str, ...]]
    wide: frozenset[int]
    volatile: frozenset[int]
    key: Callable[[Object], Any]

    def shown(self, wide: bool) -> list[int]:
        """Indexes of the cells to print."""
        return [i for i in range(len(self.columns)) if wide or i not in self.wide]


def natural_key(name: str) -> tuple[Any, ...]:
    """Sorts ``web-2`` before ``web-10``."""
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"([0-9]+)", name) if part)


def state_cell(state: str) -> Cell:
    """A state in its colour."""
    return Cell(state, STATE_STYLES.get(state, ""))


def _by_name(item: Object) -> Any:
    return natural_key(str(item.get("name", "")))


def _service(item: Object, now: float) -> tuple[Cell | str, ...]:
    running, replicas = item.get("running", 0), item.get("replicas", 0)
    style = "green" if running == replicas else "yellow" if running else "red"
    return (
        item["name"],
        Cell(f"{running}/{replicas}", style),
        str(item.get("revision", "-")),
        text.age(item.get("created_at"), now),
        item.get("image", "-"),
        text.age(item.get("updated_at"), now),
        item.get("updated_by") or "-",
        text.pairs(item.get("labels")),
    )


def detail_of(item: Object) -> str:
    """The one sentence that matters about an instance now: why it waits, how it ended, or what its agent says."""
    state = item.get("state")
    if state == "pending":
        return str(item.get("waiting") or item.get("reason") or "")
    ended, message = exit_text(item), str(item.get("message") or "")
    if "memory" in message.lower():
        ended = ended.removesuffix("out of memory").removesuffix(", ")
    parts = [message] if ended and message.startswith(ended) else [ended, message]
    if state in ("stopping", "stopped", "lost"):
        parts.append(str(item.get("reason") or ""))
    return "; ".join(dict.fromkeys(part for part in parts if part))


def exit_text(item: Object) -> str:
    """``exit code 137, out of memory``, or nothing for an instance that has not ended."""
    parts = []
    if item.get("exit_code") is not None:
        parts.append(f"exit code {item['exit_code']}")
    if item.get("oom_killed"):
        parts.append("out of memory")
    return ", ".join(parts)


def _instance(item: Object, now: float) -> tuple[Cell | str, ...]:
    usage = item.get("usage") or {}
    cpu = usage.get("cpu_cores")
    return (
        item["name"],
        state_cell(str(item.get("state"))),
        item.get("node") or "-",
        text.age(item.get("created_at"), now),
        str(item.get("revision", "-")),
        item.get("address") or "-",
        text.pairs(item.get("host_ports")),
        f"{cpu:.2f}" if isinstance(cpu, int | float) else "-",
        text.mib(usage.get("memory_bytes")),
        text.rate(usage.get("receive_bytes_s")),
        text.rate(usage.get("transmit_bytes_s")),
        str(item.get("failures", 0)),
        detail_of(item),
    )


def node_state(item: Object) -> Cell:
    """State, and whether new instances are kept off."""
    state = str(item.get("state"))
    style = STATE_STYLES.get(state, "")
    return (
        Cell(f"{state},cordoned", "yellow" if state == "ready" else style)
        if item.get("cordoned")
        else Cell(state, style)
    )


def _node(item: Object, now: float) -> tuple[Cell | str, ...]:
    usage = item.get("usage") or {}
    load = usage.get("cpu_cores")
    return (
        item["name"],
        node_state(item),
        str(item.get("instances", 0)),
        f"{text.cores(item.get('cpu_free_millis'))} of {text.cores(item.get('cpu_millis'))}",
        f"{text.mib(item.get('memory_free_bytes')).removesuffix(' MiB')} of {text.mib(item.get('memory_bytes'))}",
        text.age(item.get("last_heard"), now),
        item.get("address") or "-",
        f"{load:.2f}" if isinstance(load, int | float) else "-",
        text.mib(usage.get("memory_used_bytes")),
        text.pairs(item.get("countable")),
        text.pairs(item.get("runtimes")),
        item.get("agent_version") or "-",
        text.taints(item.get("taints")),
        text.pairs(item.get("own_labels") if "own_labels" in item else item.get("labels")),
    )


def _event(item: Object, now: float) -> tuple[Cell | str, ...]:
    level = str(item.get("level", ""))
    return (
        text.age(item.get("time"), now),
        Cell(level, STATE_STYLES.get(level, "")),
        str(item.get("reason", "")),
        f"{str(item.get('kind', '')).lower()}/{item.get('name', '')}",
        item.get("node") or "-",
        text.timestamp(item.get("time")),
        str(item.get("message", "")),
    )


def _revision(item: Object, now: float) -> tuple[Cell | str, ...]:
    return (
        str(item.get("service", "")),
        str(item.get("number", "")),
        Cell("current", "green") if item.get("current") else "-",
        text.age(item.get("created_at"), now),
        item.get("created_by") or "-",
        str(item.get("image", "-")),
    )


def _token(item: Object, now: float) -> tuple[Cell | str, ...]:
    expires = item.get("expires_at")
    left = "never" if expires is None else text.duration(expires - now) if expires > now else "expired"
    return (
        str(item["name"]),
        str(item.get("role", "")),
        item.get("node") or "-",
        text.age(item.get("created_at"), now),
        Cell(left, "red" if left == "expired" else ""),
        item.get("description") or "-",
    )


def _columns(*titles: str) -> tuple[Column, ...]:
    """A trailing ``~`` marks a column that is cut first, ``>`` one that is aligned to the right."""
    return tuple(Column(title.rstrip("~>"), flex="~" in title, right=">" in title) for title in titles)


LAYOUTS: dict[str, Layout] = {
    "services": Layout(
        _columns("NAME", "RUNNING>", "REVISION>", "AGE", "IMAGE~", "UPDATED", "BY", "LABELS~"),
        _service, frozenset({5, 6, 7}), frozenset({3, 5}), _by_name,
    ),
    "instances": Layout(
        _columns("NAME", "STATE", "NODE", "AGE", "REV>", "ADDRESS", "PORTS~", "CPU>", "MEMORY>", "IN>", "OUT>",
                 "FAILURES>", "DETAIL~"),
        _instance, frozenset({4, 5, 6, 7, 8, 9, 10, 11}), frozenset({3, 7, 8, 9, 10}), _by_name,
    ),
    "nodes": Layout(
        _columns("NAME", "STATE", "INSTANCES>", "CPU FREE>", "MEMORY FREE>", "HEARD", "ADDRESS", "LOAD>", "USED>",
                 "COUNTABLE~", "RUNTIMES~", "AGENT", "TAINTS~", "LABELS~"),
        _node, frozenset(range(6, 14)), frozenset({5, 7, 8}), _by_name,
    ),
    "events": Layout(
        _columns("AGE", "LEVEL", "REASON", "OBJECT", "NODE", "TIME", "MESSAGE~"),
        _event, frozenset({4, 5}), frozenset({0}), lambda item: item.get("time", 0),
    ),
    "revisions": Layout(
        _columns("SERVICE", "REVISION>", "STATUS", "AGE", "BY", "IMAGE~"),
        _revision, frozenset({4}), frozenset({3}), lambda item: (str(item.get("service")), item.get("number", 0)),
    ),
    "tokens": Layout(
        _columns("ID", "ROLE", "NODE", "AGE", "EXPIRES", "DESCRIPTION~"),
        _token, frozenset(), frozenset({3, 4}), lambda item: item.get("created_at", 0),
    ),
}  # fmt: skip
