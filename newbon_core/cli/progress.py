"""How far a service is: a pure judgement from the service and its instances as the API shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from newbon_core.cli.columns import detail_of, natural_key

FINISHED = ("stopped", "failed", "lost")
GIVE_UP_FAILURES = 3
"""A service whose instances failed so often in a row is called failed, though its restarts go on."""

Outcome = Literal["waiting", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Progress:
    """One service. ``ready`` of ``replicas`` run (or have done their work) in the wanted revision.

    ``counts`` are its other instances by state, ``details`` sentences about those that do not run yet, ``reason`` why
    it failed, and ``culprits`` the failed instances, the latest first.
    """

    service: str
    outcome: Outcome
    ready: int
    replicas: int
    counts: Mapping[str, int]
    details: tuple[str, ...] = ()
    reason: str = ""
    culprits: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """``2/3 running, 1 starting``."""
        others = [f"{count} {state}" for state, count in self.counts.items()]
        return ", ".join([f"{self.ready}/{self.replicas} running", *others])


def judge(service: Mapping[str, Any], instances: Sequence[Mapping[str, Any]], applied_at: float = 0.0) -> Progress:
    """Where a service stands. Failures that ended before ``applied_at`` are of an earlier time and do not count."""
    revision, replicas = service["revision"], service["replicas"]
    runs_once = restart_policy(service) != "always"
    current = [item for item in instances if item["revision"] == revision]
    outdated = [item for item in instances if item["revision"] != revision and item["state"] not in FINISHED]
    running = [item for item in current if item["state"] == "running"]
    completed = [item for item in current if runs_once and item["state"] == "stopped" and item.get("exit_code") == 0]
    ended = [item for item in current if item["state"] == "failed" and _ended_at(item) >= applied_at]
    ended.sort(key=_ended_at, reverse=True)
    ready = min(replicas, len(running) + len(completed))
    surplus = max(0, len(running) - replicas)
    live = [item for item in current if item["state"] not in FINISHED and item["state"] != "running"]
    counts = Counter(item["state"] for item in live)
    if outdated or surplus:
        counts["to be replaced" if outdated else "to be stopped"] = len(outdated) or surplus
    reason = _failure(current, ended, restart_policy(service))
    done = ready >= replicas and not outdated and not surplus and not live
    outcome: Outcome = "done" if done else "failed" if reason else "waiting"
    waiting = sorted(live, key=lambda item: natural_key(item["name"]))
    return Progress(
        service=service["name"],
        outcome=outcome,
        ready=ready,
        replicas=replicas,
        counts={state: count for state, count in counts.items() if count},
        details=tuple(_sentences(waiting)),
        reason=reason if outcome == "failed" else "",
        culprits=tuple(item["name"] for item in ended),
    )


def _ended_at(item: Mapping[str, Any]) -> float:
    """When it ended; of an instance that never started, when it was placed."""
    return float(item.get("finished_at") or item.get("placed_at") or item.get("created_at") or 0.0)


def restart_policy(service: Mapping[str, Any]) -> str:
    """The policy that the service's document names, or the default."""
    restart = service.get("spec", {}).get("restart")
    policy = restart.get("policy") if isinstance(restart, Mapping) else restart
    return str(policy or "always")


def _failure(current: Sequence[Mapping[str, Any]], ended: Sequence[Mapping[str, Any]], policy: str) -> str:
    last = detail_of(ended[0]) if ended else ""
    if policy == "never" and ended:
        return f"{ended[0]['name']} failed and is not restarted: {last or 'its agent gave no reason'}"
    worst = max(
        (item for item in current if item["state"] != "running"), key=lambda i: i.get("failures", 0), default=None
    )
    if worst is None or worst.get("failures", 0) < GIVE_UP_FAILURES:
        return ""
    return f"its instances failed {worst['failures']} times in a row{f': {last}' if last else ''}"


def _sentences(items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each different sentence once, with the names that it is about."""
    names: dict[tuple[str, str], list[str]] = {}
    for item in items:
        detail = detail_of(item)
        if detail:
            names.setdefault((item["state"], detail), []).append(item["name"])
    return [f"{_some(about)} {state}: {detail}" for (state, detail), about in names.items()]


def _some(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
