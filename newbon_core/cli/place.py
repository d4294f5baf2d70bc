"""Where this machine's server is: three values of the site's file, read without numpy and marshmallow.

``newbon_core.config`` is the reader of that file and judges it; a test holds the two against each other.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

DEFAULT_LISTEN = "127.0.0.1:7800"
SYSTEM_FILE = Path("/etc/newbon/newbon.toml")


@dataclass(frozen=True, slots=True)
class Place:
    """``listen`` is ``host:port``; ``tls`` says that the server speaks https."""

    listen: str
    data_dir: Path
    tls: bool


def find_place(config: str | None) -> Place:
    """The place by the named file, $NEWBON_CONFIG, the system's file, or the defaults. Raises SiteError."""
    named = config or os.environ.get("NEWBON_CONFIG")
    path = Path(named) if named else SYSTEM_FILE if SYSTEM_FILE.is_file() else None
    if path is None:
        return Place(DEFAULT_LISTEN, default_data_dir(), tls=False)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return _judged(path)
    table = document.get("server", {})
    if not isinstance(table, dict):
        return _judged(path)
    listen, data_dir = table.get("listen", DEFAULT_LISTEN), table.get("data_dir")
    if not isinstance(listen, str) or not listen.rpartition(":")[2].isdigit():
        return _judged(path)
    if data_dir is not None and not isinstance(data_dir, str):
        return _judged(path)
    base = path.parent.absolute()
    folder = default_data_dir() if data_dir is None else base / Path(data_dir).expanduser()
    return Place(listen, folder, tls=table.get("tls_cert") is not None)


def default_data_dir() -> Path:
    """``/var/lib/newbon`` for root, else below the user's home."""
    return Path("/var/lib/newbon") if os.geteuid() == 0 else Path.home() / ".local/share/newbon"


def _judged(path: Path) -> Place:
    from newbon_core.config import load_site

    site = load_site(path)
    return Place(site.listen, site.data_dir, tls=site.tls_cert is not None)
