"""The engine's errors as sentences for a person, and whether trying again may help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import requests
import urllib3
from docker.errors import APIError, DockerException

from newbon_core.hooks import RuntimeFailure

_AWAY = (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)
_PASSING = (
    "port is already allocated",
    "address already in use",
    "context canceled",
    "context deadline exceeded",
    "client connection is closing",
    "connection refused",
    "device or resource busy",
    "transport is closing",
    "is not running: unknown",
    "i/o timeout",
    "tls handshake timeout",
    "no such host",
    "temporary failure",
    "server misbehaving",
    "network is unreachable",
    "no route to host",
    "connection reset",
    "unexpected eof",
    "toomanyrequests",
    "request canceled",
)
_PORT = re.compile(r"(?:Bind for|listen tcp\d?|listen udp\d?) \S*?:(\d+)")


def explanation_of(error: APIError) -> str:
    """What the engine said, on one line and without its prefixes."""
    text = error.explanation if isinstance(error.explanation, str) else str(error)
    text = " ".join(text.split())
    return text.removeprefix("Error response from daemon: ").rstrip(".")


def may_pass(text: str) -> bool:
    """True where the same call may succeed later without a change."""
    lowered = text.lower()
    return any(sign in lowered for sign in _PASSING)


def sentence_of(text: str) -> str:
    """The engine's longer explanations, shortened to what a person needs."""
    if "port is already allocated" in text or "address already in use" in text:
        port = _PORT.search(text)
        return f"host port {port.group(1)} is taken on this node" if port else f"a host port is taken: {text}"
    if "executable file not found" in text or "no such file or directory: unknown" in text:
        program = re.search(r'exec: \\?"(.*?)\\?"', text)
        if program:
            return f"the image has no program {program.group(1)!r}"
    return text


@contextmanager
def engine_call(what: str, url: str) -> Iterator[None]:
    """Turn everything that the SDK raises into a RuntimeFailure. ``what`` begins the sentence: ``start of web-0``."""
    try:
        yield
    except APIError as error:
        text = explanation_of(error)
        raise RuntimeFailure(f"{what}: {sentence_of(text)}", retry=may_pass(text)) from error
    except _AWAY as error:
        raise away(url, error) from error
    except DockerException as error:
        raise away(url, error) from error


def away(url: str, error: Exception) -> RuntimeFailure:
    """The engine itself does not answer."""
    return RuntimeFailure(f"the Docker engine at {url} does not answer: {_root_of(error)}", retry=True)


def _root_of(error: BaseException) -> str:
    """The innermost reason: ``No such file or directory`` instead of four wrapped exceptions."""
    seen: BaseException = error
    while (inner := seen.__cause__ or seen.__context__) is not None:
        seen = inner
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    return str(seen).strip() or type(seen).__name__
