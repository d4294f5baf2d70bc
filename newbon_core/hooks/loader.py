"""Find the installed plugins: scan entry points, check compatibility from metadata, import each by itself.

pluggy's own loader stops at the first broken plugin, silently drops the second of two distributions that claim one
name, and registers in the order of directories; hence this one.
"""

from __future__ import annotations

import contextlib
import platform
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import newbon_core
from newbon_core.hooks.settings import PluginSettings
from newbon_core.hooks.telling import describe_error, log, place_of

GROUP = "newbon.v1"
CORE = "newbon-core"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = frozenset({"enabled", "disabled", "order", "newbon"})

Finding = Literal["loaded", "disabled", "incompatible", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An entry point of the group, with the distribution that declares it."""

    name: str
    distribution: str
    version: str
    dist: metadata.Distribution
    entry: metadata.EntryPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What became of a claim: ``loaded`` with the imported object, or the reason why not."""

    name: str
    distribution: str = ""
    version: str = ""
    finding: Finding
    reason: str = ""
    plugin: object = None


def discover(settings: PluginSettings, dists: Iterable[metadata.Distribution] | None = None) -> list[Found]:
    """Every plugin there is, sorted by name. Nothing that is disabled or incompatible is imported; nothing raises."""
    claims, damaged = scan(metadata.distributions() if dists is None else dists)
    by_name: dict[str, list[Claim]] = {}
    for claim in claims:
        by_name.setdefault(claim.name, []).append(claim)
    found = damaged + [_judge(claim, by_name[claim.name], settings) for claim in claims]
    return sorted(found, key=lambda one: (one.name, one.distribution))


def judge_object(name: str, plugin: object, settings: PluginSettings) -> Found:
    """As ``discover``, for an object in hand."""
    reason = _disabled(name, settings)
    if reason is not None:
        return Found(name=name, finding="disabled", reason=reason)
    if (reason := misnamed(name)) is not None:
        return Found(name=name, finding="failed", reason=reason)
    return Found(name=name, finding="loaded", plugin=plugin)


def scan(dists: Iterable[metadata.Distribution]) -> tuple[list[Claim], list[Found]]:
    """The entry points of all distributions, and those distributions of ours whose metadata cannot be read.

    Of a distribution that is found twice on the path the first counts, as it does for imports.
    """
    claims: list[Claim] = []
    damaged: list[Found] = []
    seen: set[str] = set()
    for dist in dists:
        # Reading the raw text first keeps hundreds of unrelated distributions, damaged or not, out of the parser.
        if not _concerns_us(dist):
            continue
        try:
            name = dist.metadata["Name"]
            if canonicalize_name(name) in seen:
                continue
            seen.add(canonicalize_name(name))
            claims += [
                Claim(name=entry.name, distribution=name, version=dist.version, dist=dist, entry=entry)
                for entry in dist.entry_points
                if entry.group == GROUP
            ]
        except Exception as error:  # noqa: BLE001  importlib.metadata raises whatever its parsers raise
            label = str(getattr(dist, "_path", dist))
            reason = f"the metadata of this distribution cannot be read: {describe_error(error)}"
            damaged.append(Found(name=label, finding="failed", reason=reason))
    return sorted(claims, key=lambda claim: (claim.name, claim.distribution)), damaged


def _concerns_us(dist: metadata.Distribution) -> bool:
    try:
        return GROUP in (dist.read_text("entry_points.txt") or "")
    except (OSError, ValueError):
        return False


def incompatibility(dist: metadata.Distribution) -> str | None:
    """Why this distribution cannot work with this core and this Python, from its metadata alone; None when it can."""
    core = core_version()
    try:
        wanted = dist.metadata["Requires-Python"]
        if wanted and not SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
            return f"it needs Python {wanted}, this is {platform.python_version()}"
        for text in dist.requires or ():
            requirement = Requirement(text)
            if canonicalize_name(requirement.name) != CORE:
                continue
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            if not requirement.specifier.contains(core, prereleases=True):
                return f"it needs {CORE} {requirement.specifier}, this is {core}"
    except ValueError as error:
        return f"its metadata cannot be understood: {error}"
    return None


def core_version() -> str:
    """The version of the core that plugins are held against."""
    return newbon_core.__version__


def _judge(claim: Claim, rivals: Sequence[Claim], settings: PluginSettings) -> Found:
    finding: Finding = "failed"
    plugin: object = None
    if (reason := _disabled(claim.name, settings)) is not None:
        finding = "disabled"
    elif len(rivals) > 1:
        reason = _claimed_twice(claim.name, rivals)
    elif (reason := misnamed(claim.name)) is not None:
        pass
    elif (reason := incompatibility(claim.dist)) is not None:
        finding = "incompatible"
    else:
        plugin, reason = _import(claim)
        finding = "loaded" if reason is None else "failed"
    return Found(
        name=claim.name,
        distribution=claim.distribution,
        version=claim.version,
        finding=finding,
        reason=reason or "",
        plugin=plugin,
    )


def _claimed_twice(name: str, rivals: Sequence[Claim]) -> str:
    labels = list(dict.fromkeys(_label(rival) for rival in rivals))
    if len(labels) == 1:
        targets = " and ".join(repr(rival.entry.value) for rival in rivals)
        return f"{labels[0]} itself names {name!r} more than once, as {targets}; let its entry points name it once"
    return f"the name {name!r} is claimed by {' and '.join(labels)}; uninstall one of them"


def misnamed(name: str) -> str | None:
    """Why this cannot be a plugin's name; None where it can."""
    if _NAME.fullmatch(name) and name not in _RESERVED:
        return None
    words = ", ".join(sorted(_RESERVED))
    return f"{name!r} cannot be a plugin's name: lower-case letters, digits and _, none of {words}"


def _disabled(name: str, settings: PluginSettings) -> str | None:
    if name in settings.disabled:
        return "disabled by the site's file: [plugins] disabled"
    if settings.enabled is not None and name not in settings.enabled:
        return "not among those that the site's file enables: [plugins] enabled"
    return None


def _import(claim: Claim) -> tuple[object, str | None]:
    try:
        # What a plugin prints must not get into the output of a command, which a program may read.
        with contextlib.redirect_stdout(sys.stderr):
            return claim.entry.load(), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  a plugin's import may do anything, sys.exit() included
        log.debug("the import of the plugin %s failed", claim.name, exc_info=error)
        place = "" if isinstance(error, SyntaxError) else place_of(error, claim.entry.module)
        return None, f"{claim.entry.value!r} cannot be imported: {describe_error(error)}{place}"


def _label(claim: Claim) -> str:
    return f"{claim.distribution} {claim.version}"
