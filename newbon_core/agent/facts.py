"""What this host is and has, as the server needs to know it."""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import psutil

import newbon_core
from newbon_core.agent.identity import address_towards, boot_id
from newbon_core.hooks import Runtime, RuntimeFailure
from newbon_core.model import NodeStatus, Taint

_log = logging.getLogger(__name__)


class HostSettings(Protocol):
    """The part of the site's agent settings that this module reads."""

    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def countable(self) -> Mapping[str, int]: ...
    @property
    def taints(self) -> Sequence[Taint]: ...
    @property
    def reserved_cpu_millis(self) -> int: ...
    @property
    def reserved_memory_bytes(self) -> int: ...


class Facts:
    """Thread-safe. ``on_change`` is called when an engine has got another version."""

    def __init__(self, node: str, server_url: str, runtimes: Mapping[str, Runtime], settings: HostSettings) -> None:
        self._node = node
        self._server_url = server_url
        self._runtimes = runtimes
        self._settings = settings
        self._versions: dict[str, str] = {}
        self._lock = threading.Lock()
        self.on_change: Callable[[], None] = lambda: None

    def ask_version(self, name: str) -> None:
        """Ask one engine anew; one that does not answer keeps its last version."""
        try:
            version = self._runtimes[name].version()
        except RuntimeFailure as failure:
            _log.warning("runtime %s: %s", name, failure)
            return
        with self._lock:
            changed = self._versions.get(name) != version
            self._versions[name] = version
        if changed:
            self.on_change()

    def read(self) -> NodeStatus:
        """Everything, less what the site keeps back. Asks engines whose version is not known yet."""
        for name in self._runtimes:
            if name not in self._versions:
                self.ask_version(name)
        memory = psutil.virtual_memory().total
        with self._lock:
            versions = dict(sorted(self._versions.items()))
        return NodeStatus(
            name=self._node,
            cpu_millis=max(0, len(os.sched_getaffinity(0)) * 1000 - self._settings.reserved_cpu_millis),
            memory_bytes=max(0, memory - self._settings.reserved_memory_bytes),
            countable=dict(self._settings.countable),
            labels=dict(self._settings.labels),
            taints=tuple(self._settings.taints),
            address=address_towards(self._server_url),
            os=platform.system().lower(),
            arch=platform.machine(),
            kernel=platform.release(),
            runtimes=versions,
            agent_version=newbon_core.__version__,
            boot_id=boot_id(),
        )
