"""The first admin token: made at the first start, in a file that only its owner reads."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from pathlib import Path

from newbon_core.state import Cache, Changes, commit_atomic
from newbon_core.state.auth import BadToken, expired, new_token, verify
from newbon_core.store.base import Store

log = logging.getLogger(__name__)
ADMIN_TOKEN_FILE = "admin.token"


def ensure_admin_token(data_dir: Path, store: Store, cache: Cache, now: float) -> str:
    """The token in ``<data_dir>/admin.token`` (mode 0600), made where there is none.

    A file whose token was deleted is left alone as long as another admin token exists: somebody meant it.
    """
    path = data_dir / ADMIN_TOKEN_FILE
    admins = [one.value for one in list(cache.tokens.values()) if one.value.role == "admin"]
    try:
        text = path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        text = ""
    if text:
        by_name = {token.name: token for token in admins}
        try:
            verify(text, by_name.get, now)
        except BadToken as error:
            if any(not expired(token, now) for token in admins):
                log.warning("the token in %s is not valid: %s; other admin tokens exist", path, error)
                return text
        else:
            return text
    made = new_token("admin", now, description=f"first admin of {socket.gethostname()}")
    _write_private(path, made.text + "\n")
    changes = Changes()
    changes.create(made.token)
    result = commit_atomic(store, changes)
    cache.wait_for(result.revision, 5.0)
    log.info("made the first admin token: %s", path)
    return made.text


def _write_private(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
