"""What is missing from a set of plugins, and how to get it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

DEFAULT_SET = "newbon-runtime-docker newbon-filter-resources newbon-filter-constraints newbon-score-spread"


class Standing(Protocol):
    """The part of PluginInfo that warnings are made from."""

    @property
    def name(self) -> str: ...
    @property
    def distribution(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def hooks(self) -> tuple[str, ...]: ...


def warnings_of(plugins: Sequence[Standing], others: Iterable[str]) -> list[str]:
    """A sentence for everything that keeps this set of plugins from being a whole engine."""
    sentences = [
        f"the plugin {plugin.name}{_from(plugin)} is {_STATUS[plugin.status]}: {plugin.reason}{_consequence(plugin)}"
        for plugin in plugins
        if plugin.status in _STATUS
    ]
    return [*sentences, *others, *lacks_of(plugins)]


def lacks_of(plugins: Sequence[Standing]) -> list[str]:
    """A sentence for every kind of plugin of which none is active."""
    if not plugins:
        return [f"no plugin is installed at all: pip install {DEFAULT_SET}"]
    hooks = {hook for plugin in plugins if plugin.status in ("active", "quarantined") for hook in plugin.hooks}
    return [_lack(one, plugins) for one in _NEEDED if one.hook not in hooks]


@dataclass(frozen=True, slots=True)
class _Needed:
    """A kind of plugin that an engine needs: what it means to have none, and where to get one."""

    hook: str
    what: str
    consequence: str
    remedy: str


_NEEDED = (
    _Needed("newbon_runtimes", "runtime", "so no container can be started", "newbon-runtime-docker"),
    _Needed(
        "newbon_filter_nodes",
        "filter",
        "so resources and constraints are not enforced",
        "newbon-filter-resources newbon-filter-constraints",
    ),
    _Needed("newbon_score_nodes", "score", "so any node that will do is as good as another", "newbon-score-spread"),
)


def _lack(needed: _Needed, plugins: Sequence[Standing]) -> str:
    idle = [plugin for plugin in plugins if _would_be(needed, plugin)]
    if not idle:
        return f"no {needed.what} plugin is installed, {needed.consequence}: pip install {needed.remedy}"
    consequence = needed.consequence
    if needed.hook == "newbon_filter_nodes" and any(_is_shut(plugin) for plugin in idle):
        consequence = "and nothing is placed while one has failed"
    named = "; ".join(f"{plugin.name} ({plugin.status}: {_short(plugin.reason)})" for plugin in idle)
    return f"no {needed.what} plugin is active, {consequence}; installed but not used: {named}"


def _would_be(needed: _Needed, plugin: Standing) -> bool:
    """True of a plugin of this kind, which of one that was never imported only its name and its distribution tell."""
    if plugin.hooks:
        return needed.hook in plugin.hooks
    distribution = plugin.distribution.lower().replace("_", "-")
    return distribution in needed.remedy.split() or plugin.name.startswith(f"{needed.what}_")


def _short(reason: str) -> str:
    return reason if len(reason) <= 100 else reason[:99] + "…"


def _is_shut(plugin: Standing) -> bool:
    return plugin.status == "failed" and "newbon_filter_nodes" in plugin.hooks


_STATUS = {"failed": "not used, for it failed", "incompatible": "incompatible", "quarantined": "quarantined"}


def _consequence(plugin: Standing) -> str:
    if _is_shut(plugin):
        return "; it is a filter, so every node is rejected until it is put right or disabled: [plugins] disabled"
    return ""


def _from(plugin: Standing) -> str:
    return f" ({plugin.distribution} {plugin.version})" if plugin.distribution else ""
