"""The store that a site's file names."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from newbon_core.store.base import Store, StoreUnavailable
from newbon_core.store.sqlite import SqliteStore


class StoreSettings(Protocol):
    """The part of the site's file that this room reads."""

    @property
    def kind(self) -> Literal["sqlite", "etcd"]: ...
    @property
    def endpoints(self) -> tuple[str, ...]: ...
    @property
    def ca_cert(self) -> Path | None: ...
    @property
    def cert(self) -> Path | None: ...
    @property
    def key(self) -> Path | None: ...
    @property
    def username(self) -> str | None: ...
    @property
    def password_file(self) -> Path | None: ...


def open_store(settings: StoreSettings, data_dir: Path) -> Store:
    """Open it. Raises StoreError (mostly StoreUnavailable, StoreInUse) with a sentence about what is missing."""
    if settings.kind == "sqlite":
        return SqliteStore(data_dir / "newbon.db")
    # Imported only here, because a site without etcd needs none of its packages.
    try:
        from newbon_core.store.etcd import EtcdStore
    except ImportError as error:
        raise StoreUnavailable(
            f"the etcd store needs more packages: pip install 'newbon-core[etcd]' ({error})"
        ) from error
    return EtcdStore(
        settings.endpoints,
        ca_cert=settings.ca_cert,
        cert=settings.cert,
        key=settings.key,
        username=settings.username,
        password=_password(settings.password_file),
    )


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreUnavailable(f"the password file of the store cannot be read: {path}: {error}") from error
