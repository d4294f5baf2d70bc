"""What the site's file says of plugins, and the errors of that file.

The host needs both; ``newbon_core.config``, which reads the file, stands on a floor above it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSettings:
    """The ``[plugins]`` table of ``newbon.toml``.

    ``enabled`` None enables whatever is installed; a tuple enables those and nothing else. ``order`` names the plugins
    that are asked first, in that order; the others follow by name. ``tables`` holds ``[plugins.NAME]``: the key
    ``weight`` is the core's, everything else are the plugin's own options. ``source`` is the file, for messages.
    """

    enabled: tuple[str, ...] | None = None
    disabled: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    tables: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    source: str = "newbon.toml"

    def named(self) -> Iterable[tuple[str, str]]:
        """Every place that names a plugin, as (path in the file, plugin name)."""
        for key, names in (("enabled", self.enabled or ()), ("disabled", self.disabled), ("order", self.order)):
            yield from ((f"[plugins] {key}", name) for name in names)
        yield from ((f"[plugins.{name}]", name) for name in self.tables)


@dataclass(frozen=True, slots=True)
class SiteProblem:
    """One thing wrong in the site's file. ``path`` is such as ``[plugins.score_spread] weight``."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class SiteError(Exception):
    """The site's file cannot be used. ``problems`` are all that was found, in the order of the file's sections."""

    def __init__(self, problems: Sequence[SiteProblem], source: str = "newbon.toml") -> None:
        self.problems = tuple(problems)
        self.source = source
        super().__init__("\n".join(f"{source}: {problem}" for problem in self.problems))


def nearest(name: object, known: Iterable[str]) -> str | None:
    """The known name that is most like ``name``, or None when none is."""
    matches = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown(what: str, name: object, known: Iterable[str]) -> str:
    """A sentence about an unknown name: the nearest known one, or else all there are."""
    names = sorted(known)
    if (match := nearest(name, names)) is not None:
        return f"there is no {what} {name!r}; did you mean {match!r}?"
    return f"there is no {what} {name!r}; " + (f"there is: {', '.join(names)}" if names else "there is none at all")
