"""Writes ``docs/hooks.md`` from the hook specifications: ``python -m newbon_core.hooks.docs docs/hooks.md``.

A test fails when the file and the specifications differ.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path

from newbon_core.hooks import specs
from newbon_core.hooks.registry import PROVIDER_HOOKS
from newbon_core.hooks.types import (
    DomainTerm,
    LabelColumn,
    NodeTable,
    NodeView,
    PerNodeFilter,
    PerNodeScore,
    PlacementRequest,
    Rejection,
    Scores,
    Verdict,
)

TYPES = (
    PlacementRequest,
    NodeTable,
    LabelColumn,
    NodeView,
    Verdict,
    Rejection,
    Scores,
    DomainTerm,
    PerNodeFilter,
    PerNodeScore,
)
TAIL = ("Called from", "May block", "On exception", "Since")
_INTRODUCTION = """\
# The hooks

This page is made from `newbon_core/hooks/specs.py` by `python -m newbon_core.hooks.docs docs/hooks.md`; do not edit it.
How to write a plugin is in [plugins.md](plugins.md).

A plugin is what an entry point of the group `newbon.v1` names: a module, an instance, or a class that is made without
arguments. The entry point's name is the plugin's: lower-case letters, digits and `_`, beginning with a letter, and none
of `newbon`, `enabled`, `disabled`, `order`; no two plugins may have the same. It marks its hooks
with `@hookimpl` and imports nothing of Newbon but `newbon_core.hooks` and `newbon_core.model`. A hook may take fewer
arguments than its specification, never others. Hooks of one kind are asked in the order of `[plugins] order` in the
site's file, the others after them by name; `tryfirst`, `trylast` and wrappers of pluggy have no place here.

A plugin that keeps failing (10 failed calls within 60 s) is put in quarantine: a filter then rejects every node, a
score is left out, and one call tries it again every 60 s. `newbon plugins list` (which asks the server, where there is
one; `--local` asks this machine's installation) and `GET /v1/plugins` show it.

A filter that fails when it is taken in (its constructor, its options, `newbon_configure`) rejects every node until it
is put right or disabled, for what it enforces must not be passed over. One that cannot even be imported cannot be known
for a filter, and takes no part.
"""


def hook_specs() -> dict[str, Callable[..., object]]:
    """Every hook specification by name, in the order of the source."""
    return {name: one for name, one in vars(specs).items() if name.startswith("newbon_") and inspect.isfunction(one)}


def signature(name: str) -> str:
    """A hook as a plugin writes it: ``newbon_filter_nodes(request, nodes)``."""
    return f"{name}({', '.join(inspect.signature(hook_specs()[name]).parameters)})"


def page() -> str:
    """The whole of ``docs/hooks.md``."""
    sections = [_INTRODUCTION, *(_section(name) for name in hook_specs()), "# What hooks take and give"]
    sections += [_type_section(one) for one in TYPES]
    return "\n".join(section.rstrip() + "\n" for section in sections)


def _section(name: str) -> str:
    spec = hook_specs()[name]
    text, tail = _split(inspect.getdoc(spec) or "")
    lines = [f"## {name}", "", f"`{signature(name)}`", "", text, ""]
    lines += [f"- *{title}*: {_markdown(tail[title])}" for title in TAIL]
    if name in PROVIDER_HOOKS:
        lines += ["", *_descriptor(PROVIDER_HOOKS[name][1])]
    lines += ["", "```python", *_annotated(name, spec), "```"]
    return "\n".join(lines)


def _split(text: str) -> tuple[str, dict[str, str]]:
    """The description, as Markdown, and the four lines of the tail. Raises ValueError where one of them is missing."""
    tail = {title: " ".join(rest.split()) for title, rest in re.findall(r"^\*([^*]+)\*: (.+?)$", text, re.MULTILINE)}
    if list(tail) != list(TAIL):
        raise ValueError(
            f"a docstring ends with {', '.join(TAIL)}, one line each; this has {', '.join(tail) or 'none'}"
        )
    return _markdown(text.partition("\n*Called from*")[0].strip()), tail


def _descriptor(kind: type) -> list[str]:
    """The fields of the descriptor that a provider hook yields."""
    lines = [f"Each `{kind.__name__}` has", ""]
    for one in fields(kind):
        optional = "" if one.default is MISSING and one.default_factory is MISSING else " (optional)"
        lines.append(f"- `{one.name}`: `{one.type}`{optional}")
    return lines


def _type_section(kind: type) -> str:
    """One of the types of ``newbon_core.hooks.types``, with its public members and the first line on each."""
    lines = [f"## {kind.__name__}", "", _markdown(inspect.getdoc(kind) or ""), ""]
    lines += [f"- `{name}: {annotation}`" for name, annotation in vars(kind).get("__annotations__", {}).items()]
    for name, member in vars(kind).items():
        if name.startswith("_") or not (isinstance(member, property) or inspect.isfunction(member)):
            continue
        first = (member.__doc__ or "").strip().partition("\n")[0]
        lines.append(f"- `{name}{_shape(member)}`" + (f": {_markdown(first)}" if first else ""))
    return "\n".join(lines)


def _shape(member: property | Callable[..., object]) -> str:
    """What follows a member's name: ``: IntArray`` of a property, ``(name: str) -> IntArray`` of a method."""
    if isinstance(member, property):
        return f": {inspect.signature(member.fget).return_annotation}" if member.fget is not None else ""
    return str(inspect.signature(member)).replace("(self, ", "(").replace("(self)", "()").replace("'", "")


def _markdown(text: str) -> str:
    return text.replace("``", "`")


def _annotated(name: str, spec: Callable[..., object]) -> list[str]:
    shape = inspect.signature(spec)
    arguments = ", ".join(f"{one.name}: {one.annotation}" for one in shape.parameters.values())
    return ["@hookimpl", f"def {name}({arguments}) -> {shape.return_annotation}: ..."]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
