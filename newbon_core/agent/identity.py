"""Who this agent is: its token, its mark on containers, and that no other of its name runs beside it."""

from __future__ import annotations

import fcntl
import os
import socket
import uuid
from pathlib import Path
from urllib.parse import urlsplit


class AgentError(Exception):
    """The agent cannot start; one sentence for a person."""


class Identity:
    """The files ``agent-<node>.*`` in the data directory, all of mode 0600. Hold it for as long as the agent runs."""

    def __init__(self, data_dir: Path, node: str) -> None:
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(data_dir / f"agent-{node}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AgentError(f"the agent cannot use its data directory {data_dir}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise AgentError(f"another agent of node {node} runs with data directory {data_dir}") from error
        self._token_file = data_dir / f"agent-{node}.token"
        owner_file = data_dir / f"agent-{node}.owner"
        if not owner_file.exists():
            _write(owner_file, uuid.uuid4().hex)
        self.owner = owner_file.read_text().strip()

    @property
    def token(self) -> str | None:
        """The token bound to this node, if there has been one."""
        return self._token_file.read_text().strip() or None if self._token_file.exists() else None

    def keep(self, token: str) -> None:
        """Remember it over restarts."""
        _write(self._token_file, token)

    def close(self) -> None:
        """Let another agent of this name begin."""
        os.close(self._lock)


def _write(path: Path, text: str) -> None:
    """Whole or not at all, and readable by nobody else from its first moment."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def boot_id() -> str:
    """Changes with every start of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def address_towards(url: str) -> str:
    """This machine's address as the server sees it; "" when there is no way to it now. Nothing is sent."""
    parts = urlsplit(url)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((parts.hostname or "127.0.0.1", parts.port or 80))
            return str(probe.getsockname()[0])
    except OSError:
        return ""
