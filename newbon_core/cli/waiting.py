"""``apply --wait``: live progress for each service, and what went wrong with its last log lines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from newbon_core.cli.errors import CliError
from newbon_core.cli.feed import Ended, Feed
from newbon_core.cli.live import Mirror
from newbon_core.cli.progress import Progress, judge
from newbon_core.cli.session import Session, make_console
from newbon_core.cli.text import duration, harmless, one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

LOG_LINES = 10
BAR_WIDTH = 20
SETTLE_S = 2.0
"""How long a watch that is older than the apply is not believed."""


class Wait:
    """The state of a wait: what the watches have told, and the judgement of each service."""

    def __init__(self, services: Sequence[str], revision: int, applied_at: float, started: float) -> None:
        self.names = list(dict.fromkeys(services))
        self.started = started
        self.ended: dict[str, float] = {}
        self._revision = revision
        self._applied_at = applied_at
        self._mirrors = {"services": Mirror(), "instances": Mirror()}
        self._seen = {"services": 0, "instances": 0}

    def take(self, which: str, event: Any) -> None:
        """One event of the watch of services or instances."""
        self._mirrors[which].take(event)
        self._seen[which] = max(self._seen[which], event.revision or 0)

    def progress(self, now: float) -> list[Progress]:
        """Each service's judgement, in the order of the documents."""
        trusted = all(mirror.complete for mirror in self._mirrors.values()) and (
            min(self._seen.values()) >= self._revision or now - self.started >= SETTLE_S
        )
        by_service: dict[str, list[Any]] = {}
        for item in self._mirrors["instances"].snapshot():
            by_service.setdefault(item["service"], []).append(item)
        found = []
        services = self._mirrors["services"].objects
        for name in self.names:
            service = services.get(name)
            if service is None or not trusted:
                gone = trusted and service is None
                reason = "it was deleted meanwhile" if gone else ""
                found.append(Progress(name, "failed" if gone else "waiting", 0, 0, {}, (), reason))
            else:
                found.append(judge(service, by_service.get(name, ()), self._applied_at))
            if found[-1].outcome == "done":
                self.ended.setdefault(name, now)
            else:
                self.ended.pop(name, None)
        return found


def wait_for(session: Session, services: Sequence[str], revision: int, timeout_s: float) -> None:
    """Return when all services are as wanted. Raises CliError when one failed or the time is over."""
    params = {"service": services[0]} if len(set(services)) == 1 else {}
    client = session.client
    feed = Feed(services=client.watch("/v1/services"), instances=client.watch("/v1/instances", params=params))
    wait = Wait(services, revision, session.now() - 1.0, time.monotonic())
    console = make_console(error=True)
    try:
        follow = _on_terminal if console.is_terminal else _on_pipe
        result = follow(console, feed, wait, timeout_s)
    except Ended:
        raise CliError("the server ended the watch; the change stays applied") from None
    except KeyboardInterrupt:
        click.echo("not waiting any longer; the change stays applied ('newbon get instances' shows it)", err=True)
        raise
    finally:
        feed.close()
    _conclude(client, result, timeout_s)


def _step(feed: Feed, wait: Wait, deadline: float) -> tuple[list[Progress], bool]:
    for which, event in feed.drain(min(0.5, deadline - time.monotonic())):
        wait.take(which, event)
    now = time.monotonic()
    found = wait.progress(now)
    settled = all(item.outcome == "done" for item in found) or any(item.outcome == "failed" for item in found)
    return found, settled or now >= deadline


def _on_terminal(console: Any, feed: Feed, wait: Wait, timeout_s: float) -> list[Progress]:
    from rich.live import Live

    deadline = wait.started + timeout_s
    found, over = wait.progress(wait.started), False
    with Live(
        get_renderable=lambda: render(found, wait, time.monotonic(), console.width),
        console=console, refresh_per_second=8, redirect_stdout=False, redirect_stderr=False,
    ):  # fmt: skip
        while not over:
            found, over = _step(feed, wait, deadline)
    return found


def _on_pipe(console: Any, feed: Feed, wait: Wait, timeout_s: float) -> list[Progress]:  # noqa: ARG001 - same shape as _on_terminal
    deadline = wait.started + timeout_s
    said: dict[str, str] = {}
    over = False
    found: list[Progress] = []
    while not over:
        found, over = _step(feed, wait, deadline)
        for item in found:
            line = one_line(f"{item.service}: {'; '.join([item.summary, *item.details[:1]])}")
            if item.replicas + len(item.counts) + (item.outcome == "done") and said.get(item.service) != line:
                said[item.service] = line
                click.echo(line, err=True)
    return found


def render(found: Sequence[Progress], wait: Wait, now: float, width: int) -> RenderableType:
    """A bar for each service, and below it what does not run yet and why."""
    from rich.console import Group
    from rich.text import Text

    name_width = min(max((len(item.service) for item in found), default=0), 30)
    lines = []
    for item in found:
        style = {"done": "green", "failed": "red"}.get(item.outcome, "cyan")
        filled = BAR_WIDTH * item.ready // item.replicas if item.replicas else BAR_WIDTH * (item.outcome == "done")
        mark = {"done": "✓", "failed": "✗"}.get(item.outcome, "·")
        line = Text(f"{mark} ", style=style)
        line.append(one_line(item.service).ljust(name_width) + "  ", style="bold")
        line.append("━" * filled, style=style)
        line.append("─" * (BAR_WIDTH - filled), style="bright_black")
        elapsed = wait.ended.get(item.service, now) - wait.started
        line.append(f"  {item.summary}  ")
        line.append(duration(elapsed), style="dim")
        lines.append(line)
        lines += [Text(f"    {one_line(detail)}", style="dim") for detail in item.details[:3]]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Group(*lines)


def _conclude(client: Any, found: Sequence[Progress], timeout_s: float) -> None:
    open_ones = [item for item in found if item.outcome != "done"]
    if not open_ones:
        return
    failed = [item for item in open_ones if item.outcome == "failed"]
    details: list[str] = []
    for item in failed or open_ones:
        details.append(f"{item.service}: {item.reason or item.summary}")
        details += [f"  {sentence}" for sentence in item.details if sentence not in item.reason][:10]
        for name in item.culprits[:1]:
            details += _last_lines(client, name)
    names = ", ".join(item.service for item in failed or open_ones)
    message = f"{names} failed" if failed else f"{names} did not become ready within {duration(timeout_s)}"
    hint = f"the change stays applied; 'newbon explain {open_ones[0].service}' and 'newbon events' tell more"
    raise CliError(message, hint, details)


def _last_lines(client: Any, instance: str) -> list[str]:
    """The end of an instance's log, or why there is none."""
    from newbon_core.client import ClientError

    try:
        text = b"".join(client.logs(instance, tail=LOG_LINES)).decode("utf-8", "replace")
    except ClientError as error:
        return [f"  the log of {instance} cannot be read: {error}"]
    lines = [harmless(line) for line in text.splitlines()[-LOG_LINES:]]
    if not lines:
        return [f"  {instance} wrote nothing to its log"]
    return [f"  last lines of {instance}:", *(f"    {line}" for line in lines)]
