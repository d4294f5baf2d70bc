"""What is missing from a set of plugins, and how to get it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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


def warnings_of(plugins: Sequence[Standing], conflicts: Iterable[str]) -> list[str]:
    """A sentence for everything that keeps this set of plugins from being a whole engine."""
    if not plugins:
        return [f"no plugin is installed at all: pip install {DEFAULT_SET}"]
    hooks = {hook for plugin in plugins if plugin.status in ("active", "quarantined") for hook in plugin.hooks}
    sentences = [
        f"the plugin {plugin.name}{_from(plugin)} is {_STATUS[plugin.status]}: {plugin.reason}{_consequence(plugin)}"
        for plugin in plugins
        if plugin.status in _STATUS
    ]
    sentences += conflicts
    missing = (
        ("newbon_runtimes", "runtime", "so no container can be started", "newbon-runtime-docker"),
        (
            "newbon_filter_nodes",
            "filter",
            "so resources and constraints are not enforced",
            "newbon-filter-resources newbon-filter-constraints",
        ),
        ("newbon_score_nodes", "score", "so any node that will do is as good as another", "newbon-score-spread"),
    )
    for hook, what, consequence, remedy in missing:
        if hook in hooks:
            continue
        idle = [plugin.name for plugin in plugins if hook in plugin.hooks]
        if idle:
            sentences.append(f"no {what} plugin is active, {consequence}; installed but not used: {', '.join(idle)}")
        else:
            sentences.append(f"no {what} plugin is installed, {consequence}: pip install {remedy}")
    return sentences


_STATUS = {"failed": "not used, for it failed", "incompatible": "incompatible", "quarantined": "quarantined"}


def _consequence(plugin: Standing) -> str:
    if plugin.status == "failed" and "newbon_filter_nodes" in plugin.hooks:
        return "; it is a filter, and what it enforces is not enforced now"
    return ""


def _from(plugin: Standing) -> str:
    return f" ({plugin.distribution} {plugin.version})" if plugin.distribution else ""
