"""What an agent says of an instance: a pure function from what it knows."""

from __future__ import annotations

from typing import Literal

from newbon_core.agent.actions import EnsureImage, StartContainer, StopContainer
from newbon_core.agent.plan import Unit
from newbon_core.hooks import Container
from newbon_core.model import InstanceState, InstanceStatus

_MEBIBYTE = 1024 * 1024


Sight = Literal["blind", "unsure", "sure"]
"""What it means that no container of a unit is known: nothing, for the engine was never listed (``blind``); little, for
the engine does not answer or a start ended without an answer (``unsure``); or that there is none (``sure``)."""


def status_of(unit: Unit, node: str, sight: Sight) -> InstanceStatus | None:
    """The status to report; None where there is nothing to tell: ordered only now, or not ordered (yet, or any more).

    A finished status is given once and for ever (``unit.final``), and only when nothing of the unit runs.
    """
    if unit.order is None:
        return None
    if unit.final is not None:
        return unit.final
    container = unit.container
    if container is None:
        return _without_container(unit, node, "sure" if unit.gone else sight)
    if container.state == "exited":
        return _finished(unit, node, container)
    if unit.order.wanted == "stopped" or unit.failure is not None or isinstance(unit.busy, StopContainer):
        return _status(unit, node, InstanceState.STOPPING, unit.trouble or unit.failure or "")
    if container.state == "running":
        return _status(unit, node, InstanceState.RUNNING, "")
    return _status(unit, node, InstanceState.STARTING, unit.trouble or "")


def _without_container(unit: Unit, node: str, sight: Sight) -> InstanceStatus | None:
    assert unit.order is not None
    if sight == "blind":
        return None
    if unit.order.wanted == "stopped":
        if unit.busy is not None or sight == "unsure":
            return _status(unit, node, InstanceState.STOPPING, unit.trouble or "")
        message = "its container was removed from the engine" if unit.gone else "no container of it is on this node"
        return _status(unit, node, InstanceState.STOPPED, unit.failure or message)
    if unit.failure is not None:
        state = InstanceState.FAILED if sight == "sure" else InstanceState.STARTING
        return _status(unit, node, state, unit.failure)
    if unit.gone:
        return _status(unit, node, InstanceState.FAILED, "its container was removed from the engine, not by Newbon")
    if unit.tried or isinstance(unit.busy, StartContainer):
        return _status(unit, node, InstanceState.STARTING, unit.trouble or "")
    if unit.trouble is not None or unit.progress is not None:
        return _status(unit, node, InstanceState.PULLING, unit.trouble or unit.progress or "")
    return None


def _status(unit: Unit, node: str, state: InstanceState, message: str) -> InstanceStatus:
    container = unit.container
    if container is None:
        return InstanceStatus(name=unit.name, uid=unit.uid, node=node, state=state, message=message)
    return InstanceStatus(
        name=unit.name,
        uid=unit.uid,
        node=node,
        state=state,
        message=message,
        container_id=container.id,
        image_id=container.image_id,
        address=container.address,
        host_ports=container.host_ports,
        started_at=container.started_at,
        finished_at=container.finished_at,
        exit_code=container.exit_code if container.state == "exited" else None,
        oom_killed=container.oom_killed,
    )


def _finished(unit: Unit, node: str, container: Container) -> InstanceStatus:
    """Stopped when it was told to, or ended well by itself; else failed.

    Of what ended while its engine was away nobody knows how: a restarted dockerd gives exit code 0 to all that ended
    with it.
    """
    told = unit.order is not None and unit.order.wanted == "stopped"
    if unit.unseen and not told and unit.failure is None and container.exit_code in (0, None):
        return _status(unit, node, InstanceState.FAILED, "its engine ended it: the engine was away")
    state = InstanceState.STOPPED if told or container.exit_code == 0 else InstanceState.FAILED
    if unit.failure is not None and not told:
        return _status(unit, node, InstanceState.FAILED, unit.failure)
    return _status(unit, node, state, exit_sentence(unit, container))


def exit_sentence(unit: Unit, container: Container) -> str:
    """How a container ended: ``exit code 137: out of memory (limit 64 MiB)``."""
    code = container.exit_code
    if container.oom_killed:
        limit = memory_limit(unit)
        return f"exit code {code}: out of memory" + (f" (limit {_mebibytes(limit)})" if limit else "")
    if code is not None and code > 128 and code - 128 in _SIGNALS:
        return f"exit code {code}: ended by {_SIGNALS[code - 128]}"
    return f"exit code {code}" if code is not None else "it ended, the engine does not know how"


_SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
}


def memory_limit(unit: Unit) -> int:
    """The memory limit in bytes that its runtime enforces; 0 where there is none or it is not known."""
    if unit.order is None:
        return 0
    resources = unit.order.container.resources
    return resources.memory_limit_bytes or resources.memory_bytes


def _mebibytes(amount: int) -> str:
    return f"{amount // _MEBIBYTE} MiB" if amount % _MEBIBYTE == 0 else f"{amount / _MEBIBYTE:.1f} MiB"


def pulling(unit: Unit, action: EnsureImage) -> bool:
    """True where the unit waits for this image."""
    return (
        unit.order is not None
        and unit.order.wanted == "running"
        and unit.container is None
        and unit.busy is None
        and not unit.gone
        and unit.failure is None
        and (unit.runtime, unit.order.container.image) == (action.runtime, action.image)
    )
