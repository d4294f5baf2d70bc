"""What a plugin did wrong, as a sentence: what was raised, in which step, and where in the plugin's own source."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable
from pathlib import Path

from newbon_core.hooks.settings import nearest
from newbon_core.hooks.types import NodeTable, NodeView

LONGEST = 300
"""Characters of a plugin's own words that one message holds."""

_BETWEEN = ("newbon_core.hooks", "marshmallow", "importlib")

log = logging.getLogger(__name__)


class StepFailed(Exception):
    """A step of taking a plugin in failed; the text says which, with what, and where."""


def describe_error(error: BaseException) -> str:
    """An exception as part of a sentence; a syntax error with its place."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    text = shortened(_by_the_contract(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def step_failed(step: str, error: BaseException, package: str, secrets: Iterable[str] = ()) -> StepFailed:
    """``newbon_configure raised KeyError: 'a' (brk.py line 9)``, to be raised; the traceback goes to the debug log.

    ``package`` is the plugin's own: the innermost line of it is the one that is named. No secret is told.
    """
    hidden = tuple(secrets)
    # The text of the exception is part of the traceback, and may hold a secret.
    log.debug("%s of %s failed", step, package, exc_info=None if hidden else error)
    text = f"{step} raised {describe_error(error)}{place_of(error, package)}"
    for secret in hidden:
        text = text.replace(secret, "(secret)")
    return StepFailed(text)


def place_of(error: BaseException, package: str) -> str:
    """`` (brk.py line 9)``: the innermost line of the package that the exception came through, else of anything but the
    core's own and the libraries that call plugins for it; "" where there is none."""
    own = other = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        place = f" ({Path(frame.f_code.co_filename).name} line {line})"
        if module.partition(".")[0] == package.partition(".")[0]:
            own = place
        elif not module.startswith(_BETWEEN):
            other = place
    return own or other


def shortened(text: str) -> str:
    """At most ``LONGEST`` characters of it."""
    text = text.strip()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _by_the_contract(error: BaseException) -> str:
    """The text of an error; a missing attribute of a node or of the table is told by the names of the contract."""
    text = str(error)
    if not isinstance(error, AttributeError) or error.name is None:
        return text
    for contract in (NodeTable, NodeView):
        members = [name for name in (*vars(contract), *contract.__annotations__) if not name.startswith("_")]
        if all(hasattr(type(error.obj), name) for name in members if name not in contract.__annotations__):
            near = nearest(error.name, members)
            hint = f"; did you mean {near!r}?" if near is not None else ""
            return f"{contract.__name__!r} object has no attribute {error.name!r}{hint}"
    return text
