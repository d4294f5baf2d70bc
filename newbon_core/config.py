"""The site's file, ``newbon.toml``: how this machine runs Newbon, and which plugins with which options.

Everything has a default, so that there need not be a file. What is wrong is told all at once, each with its path in the
file, the value, what was expected and the nearest right name.
"""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from newbon_core.config_reader import TableReader
from newbon_core.hooks.settings import PluginSettings, SiteError, SiteProblem
from newbon_core.model import Taint

__all__ = [
    "AgentSettings",
    "NodeSettings",
    "PluginSettings",
    "RegistryConfig",
    "Site",
    "SiteError",
    "SiteProblem",
    "StoreConfig",
    "load_site",
    "parse_site",
    "read_secret",
    "split_listen",
]

ENVIRONMENT = "NEWBON_CONFIG"
DEFAULT_NAME = "newbon.toml"
SYSTEM_FILE = Path("/etc/newbon/newbon.toml")
_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """Where the state is kept: ``sqlite`` (a file below ``data_dir``) or ``etcd`` at ``endpoints`` (``host:port``)."""

    kind: Literal["sqlite", "etcd"] = "sqlite"
    endpoints: tuple[str, ...] = ("127.0.0.1:2379",)
    ca_cert: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    username: str | None = None
    password_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """When a node counts as lost, and how its instances are replaced.

    When more than ``pace_above`` (a share) of the nodes of one zone (label ``zone_label``) are lost, replacement goes
    on at ``pace_per_s`` instances a second over that zone, for then the network is likelier at fault than the nodes.
    Zones of fewer than ``pace_min_nodes`` nodes are not paced: there a share says nothing.
    """

    heartbeat_s: float = 2.0
    lost_after_s: float = 10.0
    zone_label: str = "zone"
    pace_above: float = 0.5
    pace_per_s: float = 10.0
    pace_min_nodes: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """This machine as a node. ``reserved_…`` is kept back from instances; ``countable`` is such as ``{"gpu": 2}``."""

    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    countable: Mapping[str, int] = field(default_factory=dict)
    reserved_cpu_millis: int = 0
    reserved_memory_bytes: int = 0
    taints: tuple[Taint, ...] = ()
    parallel_starts: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """How to log in to one registry. The password is read when it is used, never kept."""

    username: str
    password_file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The whole file, every default filled in.

    ``[server]`` of the file holds ``listen``, ``data_dir``, ``tls_cert`` and ``tls_key``; the other fields are tables
    of their own name. ``path`` is None where no file was read; ``registries`` is by host.
    """

    listen: str = "127.0.0.1:7800"
    data_dir: Path
    store: StoreConfig = field(default_factory=StoreConfig)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    nodes: NodeSettings = field(default_factory=NodeSettings)
    agent: AgentSettings = field(default_factory=AgentSettings)
    plugins: PluginSettings = field(default_factory=PluginSettings)
    registries: Mapping[str, RegistryConfig] = field(default_factory=dict)
    path: Path | None = None


def load_site(path: Path | None = None) -> Site:
    """The site's file at ``path``, else at ``$NEWBON_CONFIG``, else ``/etc/newbon/newbon.toml`` where that exists, else
    the defaults. Raises SiteError with everything that is wrong, or that the file cannot be read."""
    if path is None and (named := os.environ.get(ENVIRONMENT)):
        path = Path(named)
    if path is None:
        path = SYSTEM_FILE if SYSTEM_FILE.is_file() else None
    if path is None:
        return parse_site({})
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SiteError([SiteProblem("", f"cannot be read: {error.strerror or error}")], str(path)) from error
    except UnicodeDecodeError as error:
        raise SiteError(
            [SiteProblem("", f"is not UTF-8 text: {error.reason} at byte {error.start}")], str(path)
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise SiteError([SiteProblem("", f"is not TOML: {error}")], str(path)) from None
    return parse_site(document, path)


def parse_site(document: Mapping[str, object], path: Path | None = None) -> Site:
    """A site from a parsed TOML document; ``path`` is where relative paths start. Raises SiteError."""
    problems: list[SiteProblem] = []
    base = Path.cwd() if path is None else path.parent.absolute()
    top = TableReader(document, "", problems)
    server = top.table("server")
    site = Site(
        listen=_listen(server),
        data_dir=server.path("data_dir", base) or default_data_dir(),
        store=_store(top.table("store"), base),
        tls_cert=server.path("tls_cert", base),
        tls_key=server.path("tls_key", base),
        nodes=_nodes(top.table("nodes")),
        agent=_agent(top.table("agent")),
        plugins=_plugins(top.table("plugins"), str(path or DEFAULT_NAME)),
        registries=_registries(top.table("registries"), base),
        path=path,
    )
    if (site.tls_cert is None) != (site.tls_key is None):
        missing = "tls_key" if site.tls_key is None else "tls_cert"
        server.problem(missing, "is missing; tls_cert and tls_key go together")
    server.finish()
    top.finish()
    if problems:
        raise SiteError(problems, str(path or DEFAULT_NAME))
    return site


def default_data_dir() -> Path:
    """Where state lives unless the file says so: ``/var/lib/newbon`` for root, else below the user's home."""
    return Path("/var/lib/newbon") if os.geteuid() == 0 else Path.home() / ".local/share/newbon"


def read_secret(path: Path) -> str:
    """A password from its file, without the line's end. Raises SiteError when it cannot be read or is empty."""
    try:
        secret = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SiteError([SiteProblem("", f"the password cannot be read: {error}")], str(path)) from error
    if not secret:
        raise SiteError([SiteProblem("", "the file is empty; it must hold a password")], str(path))
    return secret


def split_listen(listen: str) -> tuple[str, int]:
    """``host:port`` or ``[v6]:port`` as its parts. Raises ValueError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{listen!r} is not of the form host:port, with a port from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        return host[1:-1], int(port)
    if ":" in host:
        raise ValueError(f"{listen!r} is ambiguous; an IPv6 address stands in brackets: [{host}]:{port}")
    return host, int(port)


def _listen(server: TableReader) -> str:
    listen = server.text("listen", "127.0.0.1:7800")
    try:
        split_listen(listen)
    except ValueError as error:
        server.problem("listen", str(error))
    return listen


def _store(table: TableReader, base: Path) -> StoreConfig:
    config = StoreConfig(
        kind=cast(Literal["sqlite", "etcd"], table.choice("kind", "sqlite", ("sqlite", "etcd"))),
        endpoints=table.texts("endpoints", StoreConfig().endpoints),
        ca_cert=table.path("ca_cert", base),
        cert=table.path("cert", base),
        key=table.path("key", base),
        username=table.maybe_text("username"),
        password_file=table.path("password_file", base),
    )
    if not config.endpoints:
        table.problem("endpoints", "[] is not a list of host:port; name at least one")
    for endpoint in config.endpoints:
        try:
            split_listen(endpoint)
        except ValueError as error:
            table.problem("endpoints", str(error))
    if (config.cert is None) != (config.key is None):
        table.problem("key" if config.key is None else "cert", "is missing; cert and key go together")
    if (config.username is None) != (config.password_file is None):
        missing = "password_file" if config.password_file is None else "username"
        table.problem(missing, "is missing; username and password_file go together")
    table.finish()
    return config


def _nodes(table: TableReader) -> NodeSettings:
    usual = NodeSettings()
    settings = NodeSettings(
        heartbeat_s=table.number("heartbeat_s", usual.heartbeat_s, 0.1, 300),
        lost_after_s=table.number("lost_after_s", usual.lost_after_s, 0.3, 3600),
        zone_label=table.text("zone_label", usual.zone_label),
        pace_above=table.number("pace_above", usual.pace_above, 0, 1),
        pace_per_s=table.number("pace_per_s", usual.pace_per_s, 0.01, 10_000),
        pace_min_nodes=table.whole("pace_min_nodes", usual.pace_min_nodes, 1, 1_000_000),
    )
    if settings.lost_after_s < 2 * settings.heartbeat_s:
        table.problem(
            "lost_after_s",
            f"{settings.lost_after_s:g} is less than two heartbeats of {settings.heartbeat_s:g} s, "
            "so that one late heartbeat would lose a node",
        )
    table.finish()
    return settings


def _agent(table: TableReader) -> AgentSettings:
    usual = AgentSettings()
    settings = AgentSettings(
        name=table.text("name", socket.gethostname().split(".")[0].lower()),
        labels=table.text_map("labels"),
        countable=table.whole_map("countable"),
        reserved_cpu_millis=table.whole("reserved_cpu_millis", usual.reserved_cpu_millis, 0, 10_000_000),
        reserved_memory_bytes=table.whole("reserved_memory_bytes", usual.reserved_memory_bytes, 0, 2**20 * _GIB),
        taints=tuple(_taint(text) for text in table.texts("taints")),
        parallel_starts=table.whole("parallel_starts", usual.parallel_starts, 1, 64),
    )
    table.finish()
    return settings


def _taint(text: str) -> Taint:
    key, _, value = text.partition("=")
    return Taint(key=key, value=value)


def _plugins(table: TableReader, source: str) -> PluginSettings:
    settings = PluginSettings(
        enabled=table.maybe_texts("enabled"),
        disabled=table.texts("disabled"),
        order=table.texts("order"),
        tables={name: one.contents() for name, one in table.rest().items()},
        source=source,
    )
    for name in settings.disabled:
        if name in (settings.enabled or ()):
            table.problem("disabled", f"{name!r} is both enabled and disabled")
    return settings


def _registries(table: TableReader, base: Path) -> dict[str, RegistryConfig]:
    registries = {}
    for host, entry in table.rest().items():
        username, password_file = entry.maybe_text("username"), entry.path("password_file", base)
        entry.finish()
        if username is None or password_file is None:
            entry.problem("username" if username is None else "password_file", "is missing; a login needs both")
        else:
            registries[host] = RegistryConfig(username=username, password_file=password_file)
    return registries
