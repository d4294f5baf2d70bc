"""A name that may be a service or an instance."""

from __future__ import annotations

import difflib
from typing import Any, Literal

import click

from newbon_core.cli.errors import CliError
from newbon_core.cli.get import noun_of


def find_target(client: Any, words: tuple[str, ...]) -> tuple[Literal["service", "instance"], Any]:
    """The object of ``web``, ``web-1``, ``service web`` or ``instance/web-1``. Raises CliError, UsageError."""
    from newbon_core.client import ApiProblem

    kinds, name = _split(words)
    for kind in kinds:
        try:
            if kind == "service":
                return "service", client.service(name)
            return "instance", client.instance(name)
        except ApiProblem as problem:
            if problem.status != 404:
                raise
    known = [item["name"] for items in (client.services(), client.instances()) for item in items]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "list them with 'newbon get services' and 'newbon get instances'"
    raise CliError(f"there is no {' or '.join(kinds)} {name!r}", hint)


def _split(words: tuple[str, ...]) -> tuple[tuple[Literal["service", "instance"], ...], str]:
    if len(words) == 1 and "/" in words[0]:
        words = tuple(words[0].split("/", 1))
    if len(words) == 1:
        return ("service", "instance"), words[0]
    if len(words) != 2:
        raise click.UsageError("expected one name: NAME, KIND NAME or KIND/NAME")
    noun = noun_of(words[0], ("services", "instances"))
    return ("service",) if noun == "services" else ("instance",), words[1]
