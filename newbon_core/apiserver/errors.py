"""Every error as application/problem+json (RFC 9457); a client never sees a traceback."""

from __future__ import annotations

import http
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from newbon_core.apiserver.streams import TooManyStreams
from newbon_core.store.base import StoreUnavailable, TransactionTooLarge

log = logging.getLogger(__name__)
CONTENT_TYPE = "application/problem+json"
MAX_TEXT = 2000
DRAINED_BYTES = 32 * 1024 * 1024


class Problem(HTTPException):
    """Ends a request with this status; ``detail`` is a sentence, ``problems`` single faults (path, message, …)."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        problems: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(description=detail)
        self.code = status
        self.problems = problems
        self.headers = dict(headers or {})


def problem_response(
    status: int,
    detail: str,
    *,
    problems: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Response:
    """The response that tells of a problem."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail[:MAX_TEXT],
        "instance": request.path[:MAX_TEXT],
        **(extra or {}),
    }
    if problems:
        body["problems"] = list(problems)
    response = Response(encode(body), status=status, content_type=CONTENT_TYPE)
    response.headers.extend(dict(headers or {}))
    return response


def encode(body: object) -> bytes:
    """JSON; text that is no Unicode (lone surrogates from a client) is replaced, never an error."""
    try:
        return msgspec.json.encode(body, enc_hook=_plain)
    except UnicodeEncodeError:
        return msgspec.json.encode(_clean(msgspec.to_builtins(body, enc_hook=_plain)))


def _plain(value: object) -> str:
    """Texts of a class of their own are texts all the same; anything else is named, never an error."""
    return str(value)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_clean(key): _clean(one) for key, one in value.items()}
    return [_clean(one) for one in value] if isinstance(value, list | tuple) else value


def install(app: Flask) -> None:
    """Handle every exception of the app."""
    app.register_error_handler(HTTPException, on_http)
    app.register_error_handler(StoreUnavailable, _on_store)
    app.register_error_handler(TooManyStreams, _on_streams)
    app.register_error_handler(TransactionTooLarge, _on_too_large)
    app.register_error_handler(Exception, _on_any)


def on_http(error: HTTPException) -> Response:
    """A problem for what werkzeug, Flask or a view refuses."""
    status = error.code or 500
    if status < 400:
        # Redirects of the router (RequestRedirect) are exceptions too.
        return error.get_response()  # type: ignore[return-value]  # werkzeug's Response, which Flask accepts
    if isinstance(error, Problem):
        return problem_response(status, error.description or "", problems=error.problems, headers=error.headers)
    headers = {key: value for key, value in error.get_headers() if key in ("Allow", "Retry-After")}
    return problem_response(status, _detail(error, status), headers=headers)


def _detail(error: HTTPException, status: int) -> str:
    if status == 404:
        return f"there is nothing at {request.path[:200]}"
    if status == 405:
        return f"{request.method} is not possible here"
    if status == 413:
        _drain()
        return f"the body is larger than the {_amount(request.max_content_length or 0)} that are allowed here"
    return error.description or ""


def _drain() -> None:
    """Read what the client is still sending, within reason: one that cannot finish sending never reads the answer."""
    left = min(request.content_length or 0, DRAINED_BYTES)
    body = request.environ["wsgi.input"]
    while left > 0:
        try:
            read = len(body.read(min(left, 65536)))
        except OSError as error:
            log.debug("the client of a body that is too large has gone: %s", error)
            return
        left = left - read if read else 0


def _amount(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size} bytes"


def _on_store(error: StoreUnavailable) -> Response:
    log.warning("%s %s: the store did not answer: %s", request.method, request.path, error)
    detail = f"{error}; a change may or may not have been made, and is safe to ask for again"
    return problem_response(503, detail, headers={"Retry-After": "1"})


def _on_too_large(error: TransactionTooLarge) -> Response:
    return problem_response(413, f"one object is too large to be stored: {error}")


def _on_streams(error: TooManyStreams) -> Response:
    return problem_response(429, str(error), headers={"Retry-After": "5"})


def _on_any(error: Exception) -> Response:
    number = secrets.token_hex(6)
    who = getattr(g, "identity", None)
    log.error(
        "error %s in %s %s (%s)",
        number,
        request.method,
        request.path,
        who.who if who is not None else "nobody",
        exc_info=error,
    )
    detail = f"an error of the server, not of the request; its log tells more under {number}"
    return problem_response(500, detail, extra={"id": number})
