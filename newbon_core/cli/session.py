"""What the global options decide: which server, with which token, and how to write to the terminal."""

from __future__ import annotations

import ipaddress
import os
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from newbon_core.cli.errors import CliError
from newbon_core.cli.place import Place, find_place

if TYPE_CHECKING:
    from rich.console import Console

    from newbon_core.client import Client
    from newbon_core.config import Site


def colour_wanted(descriptor: int) -> bool:
    """Colours go to a terminal only, and never where NO_COLOR is set or the terminal is dumb."""
    stream = sys.stdout if descriptor == 1 else sys.stderr
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def default_client(url: str, token: str, ca: Path | None, timeout_s: float) -> Client:
    """The real client of the API."""
    from newbon_core.client import Client

    return Client(url, token, ca=ca, timeout_s=timeout_s)


@dataclass(slots=True)
class Session:
    """One run of the program. ``make_client`` and ``now`` are replaced by tests."""

    server: str | None = None
    token: str | None = None
    token_file: str | None = None
    ca: str | None = None
    config: str | None = None
    make_client: Callable[[str, str, Path | None, float], Any] = default_client
    now: Callable[[], float] = time.time
    timeout_s: float = 30.0
    _client: Any = None
    _place: Place | None = None
    _site: Any = field(default=None, repr=False)

    @property
    def site(self) -> Site:
        """The site's file, or the defaults where there is none. Raises CliError."""
        if self._site is None:
            from newbon_core.config import load_site

            self._site = load_site(Path(self.config) if self.config else None)
        return self._site  # type: ignore[no-any-return]  # kept as Any so that the import above stays lazy

    @property
    def place(self) -> Place:
        """Where this machine's server is. Raises SiteError."""
        if self._place is None:
            self._place = find_place(self.config)
        return self._place

    @property
    def url(self) -> str:
        """The server's URL: the option, NEWBON_SERVER, or where this machine's server listens."""
        if self.server:
            return normal_url(self.server)
        return local_url(self.place)

    @property
    def client(self) -> Client:
        """The client of that server. Raises CliError when there is no token."""
        if self._client is None:
            if self.ca and not Path(self.ca).is_file():
                raise CliError(f"{self.ca}: there is no such file", "--ca (NEWBON_CA) names a file of PEM certificates")
            self._client = self.make_client(
                self.url, self.find_token(), Path(self.ca) if self.ca else None, self.timeout_s
            )
        return self._client  # type: ignore[no-any-return]  # tests put a double here

    def find_token(self) -> str:
        """The token: an option, the environment, or the admin token of this machine's own server. Raises CliError."""
        if self.token:
            return self.token.strip()
        if self.token_file:
            return read_token(Path(self.token_file))
        if not self._is_local():
            raise CliError(
                f"there is no token for {self.url}",
                "give one by --token-file, --token or NEWBON_TOKEN; an admin makes one with 'newbon token create'",
            )
        path = self.admin_token_path
        try:
            return read_token(path)
        except CliError as error:
            if os.path.lexists(path):
                raise
            raise CliError(
                f"there is no token: {path} does not exist",
                "start a server on this machine with 'newbon up' (it writes this file at its first start), "
                "or give a token by --token-file, --token or NEWBON_TOKEN",
            ) from error

    @property
    def admin_token_path(self) -> Path:
        """Where this machine's server puts its first admin token."""
        return self.place.data_dir / "admin.token"

    def _is_local(self) -> bool:
        # The admin token is found by itself, so it must never be sent to another machine by a slip in --server.
        if not self.server:
            return True
        host = urlsplit(normal_url(self.server)).hostname or ""
        listen_host = self.place.listen.rpartition(":")[0].strip("[]")
        return is_loopback(host) or (host == listen_host and host not in {"0.0.0.0", "::"})

    def console(self) -> Console:
        """A rich console on standard output that never wraps nor cuts what is piped."""
        return make_console(error=False)


def make_console(*, error: bool) -> Console:
    """A rich console that leaves numbers and brackets in texts alone."""
    from rich.console import Console

    descriptor = 2 if error else 1
    stream = sys.stderr if error else sys.stdout
    colour = colour_wanted(descriptor)
    return Console(
        file=stream,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not stream.isatty(),
        no_color=not colour,
        color_system="auto" if colour else None,
    )


def normal_url(text: str) -> str:
    """``host:port`` and full URLs as a URL without a slash at its end. Raises CliError."""
    url = text if "://" in text else f"http://{text}"
    parts = urlsplit(url)
    try:
        valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise CliError(f"{text!r} is not a server", "write http://host:7800 or https://host:7800")
    return url.rstrip("/")


def local_url(place: Place) -> str:
    """How a client on this machine reaches the server of this site."""
    host, _, port = place.listen.rpartition(":")
    address = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]", "::": "[::1]"}.get(host, host)
    return f"{'https' if place.tls else 'http'}://{address}:{port}"


def is_loopback(host: str) -> bool:
    """True for localhost and loopback addresses."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_token(path: Path) -> str:
    """The token in a file. Raises CliError."""
    try:
        text = path.read_text(encoding="utf-8").strip()
        open_to_all = bool(stat.S_IMODE(path.stat().st_mode) & 0o004)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise CliError(
            f"cannot read the token in {path}: {reason}",
            "run as the user that runs the server, or give a token by --token-file, --token or NEWBON_TOKEN",
        ) from error
    if not text:
        raise CliError(f"{path} holds no token", "write the token into it, one line")
    if open_to_all:
        click.echo(f"warning: {path} can be read by everybody on this machine; chmod 600 it", err=True)
    return text


pass_session = click.make_pass_decorator(Session, ensure=True)
