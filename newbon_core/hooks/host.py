"""The plugin host: which plugins there are, how each stands, and the one way to ask them.

It finds (``loader``), takes in (``guests``: adapt, configure, collect what they provide), asks (``executor``) and keeps
account of them (``account``). No plugin, whatever it does, takes the host down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from types import MappingProxyType
from typing import cast

from newbon_core.hooks import loader
from newbon_core.hooks.account import Account, FailureBudget
from newbon_core.hooks.executor import DEFAULT_TIMER, Ask, FailedFilter, Filter, FilterAnswer, Score, ScoreAnswer, Timer
from newbon_core.hooks.guests import Guest, PluginInfo, PluginStatus, Reception
from newbon_core.hooks.providers import (
    BalancerType,
    NetworkType,
    ProbeType,
    ProviderKind,
    ProvisionerType,
    PublisherType,
    RuntimeType,
    ServiceField,
)
from newbon_core.hooks.settings import PluginSettings, SiteError, SiteProblem, nearest, unknown
from newbon_core.hooks.specs import is_nameless
from newbon_core.hooks.types import NodeTable, PlacementRequest
from newbon_core.hooks.warnings import lacks_of, warnings_of

__all__ = ["PluginHost", "PluginInfo", "PluginStatus"]


class PluginHost:
    """The plugins of one process. Made once by a main (``discover``) or by a test (``of``)."""

    def __init__(
        self,
        found: Iterable[loader.Found],
        settings: PluginSettings,
        *,
        budget: FailureBudget | None = None,
        timer: Timer = DEFAULT_TIMER,
    ) -> None:
        """Take in what the loader found. Raises SiteError where ``settings`` name a plugin that is not there."""
        self._reception = Reception(settings, budget or FailureBudget())
        everything = sorted(found, key=lambda one: self._reception.position(one.name))
        _refuse_unknown_names(settings, {one.name for one in everything})
        self._guests = [self._reception.take_in(one) for one in everything]
        self._active = {guest.info.name: guest for guest in self._guests if guest.info.status == "active"}
        filters: list[tuple[str, Filter | FailedFilter]] = [
            (name, Filter(self._active[name].account, cast(Ask, call), timer))
            for name, call in self._reception.calls("newbon_filter_nodes")
        ]
        shut = [guest.info for guest in self._guests if guest.shut_filter]
        filters += [(info.name, FailedFilter(info.name, info.reason)) for info in shut]
        self._filters = [one for _, one in sorted(filters, key=lambda pair: self._reception.position(pair[0]))]
        self._scores = [
            Score(self._active[name].account, cast(Ask, call), self._active[name].info.weight or 0.0, timer)
            for name, call in self._reception.calls("newbon_score_nodes")
            if self._active[name].info.weight
        ]
        asked = [one.ask if isinstance(one, Filter | Score) else None for one in (*self._filters, *self._scores)]
        self.nameless = all(map(is_nameless, asked))
        """True when no filter and no score depends on the service's name itself (``specs.nameless``)."""

    @classmethod
    def discover(
        cls,
        settings: PluginSettings | None = None,
        *,
        dists: Iterable[metadata.Distribution] | None = None,
        budget: FailureBudget | None = None,
        timer: Timer = DEFAULT_TIMER,
    ) -> PluginHost:
        """The host of every installed plugin (entry-point group ``newbon.v1``). Raises SiteError as the constructor."""
        settings = settings or PluginSettings()
        return cls(loader.discover(settings, dists), settings, budget=budget, timer=timer)

    @classmethod
    def of(
        cls,
        settings: PluginSettings | None = None,
        *,
        budget: FailureBudget | None = None,
        timer: Timer = DEFAULT_TIMER,
        **plugins: object,
    ) -> PluginHost:
        """A host of exactly these plugins, by name: modules, classes or instances, as entry points would name them.

        Without ``settings`` all of them are enabled by name, so a score that is off by default is asked too.
        """
        return cls.of_objects(plugins, settings, budget=budget, timer=timer)

    @classmethod
    def of_objects(
        cls,
        plugins: Mapping[str, object],
        settings: PluginSettings | None = None,
        *,
        budget: FailureBudget | None = None,
        timer: Timer = DEFAULT_TIMER,
    ) -> PluginHost:
        """As ``of``, from a mapping."""
        settings = settings or PluginSettings(enabled=tuple(plugins))
        found = [loader.judge_object(name, plugin, settings) for name, plugin in sorted(plugins.items())]
        return cls(found, settings, budget=budget, timer=timer)

    # --- asking -----------------------------------------------------------------------------------------------------

    def filter_nodes(self, request: PlacementRequest, nodes: NodeTable) -> list[FilterAnswer]:
        """What every filter says that has something to say; an error has become a verdict that rejects all nodes.

        So has a filter that failed after its import: what it enforces is not known to be kept until it is put right.
        """
        answers = [one.answer(request, nodes) for one in self._filters]
        return [answer for answer in answers if answer is not None]

    def score_nodes(self, request: PlacementRequest, nodes: NodeTable) -> list[ScoreAnswer]:
        """What every score says that has something to say; those that failed are left out."""
        answers = [one.answer(request, nodes) for one in self._scores]
        return [answer for answer in answers if answer is not None]

    def left_out(self) -> list[str]:
        """A sentence for every score whose last answer could not be used, or which rests in quarantine."""
        return [f"the score {one.account.plugin} was left out: {one.left_out}" for one in self._scores if one.left_out]

    # --- what plugins provide ---------------------------------------------------------------------------------------

    @property
    def runtimes(self) -> Mapping[str, RuntimeType]:
        return cast(Mapping[str, RuntimeType], self._provided("runtime"))

    @property
    def probes(self) -> Mapping[str, ProbeType]:
        return cast(Mapping[str, ProbeType], self._provided("probe"))

    @property
    def networks(self) -> Mapping[str, NetworkType]:
        return cast(Mapping[str, NetworkType], self._provided("network"))

    @property
    def publishers(self) -> Mapping[str, PublisherType]:
        return cast(Mapping[str, PublisherType], self._provided("publisher"))

    @property
    def balancers(self) -> Mapping[str, BalancerType]:
        return cast(Mapping[str, BalancerType], self._provided("balancer"))

    @property
    def provisioners(self) -> Mapping[str, ProvisionerType]:
        return cast(Mapping[str, ProvisionerType], self._provided("provisioner"))

    @property
    def service_fields(self) -> Mapping[str, tuple[str, ServiceField]]:
        """By path: the plugin (or plugins) that enforce a field of a service, and its validation; that never raises."""
        return MappingProxyType(self._reception.registry.service_fields)

    def explain_missing(self, kind: ProviderKind, name: str) -> str:
        """A sentence on why no document can name this provider: unknown (with the nearest), or claimed twice."""
        return self._reception.registry.explain_missing(kind, name)

    # --- how they stand ---------------------------------------------------------------------------------------------

    @property
    def plugins(self) -> Sequence[PluginInfo]:
        """Every plugin found, whatever became of it, in the order in which they are asked."""
        return [self._picture(guest) for guest in self._guests]

    @property
    def accounts(self) -> Sequence[Account]:
        """What is kept of every plugin: calls, errors, quarantine."""
        return [guest.account for guest in self._guests]

    def plugin(self, name: str) -> PluginInfo:
        """One plugin by name. Raises KeyError with a sentence that names the nearest."""
        for guest in self._guests:
            if guest.info.name == name:
                return self._picture(guest)
        raise KeyError(unknown("plugin", name, {guest.info.name for guest in self._guests}))

    @property
    def warnings(self) -> list[str]:
        """What is missing or wrong and how to get it right, a sentence each; empty when all is well."""
        remarks = [f"the plugin {guest.info.name}: {one}" for guest in self._active.values() for one in guest.remarks]
        return warnings_of(self.plugins, [*self._reception.registry.conflicts.values(), *remarks])

    @property
    def lacks(self) -> list[str]:
        """Of the warnings, those that are about no plugin that is there: what the set as a whole lacks."""
        return lacks_of(self.plugins)

    def options_of(self, name: str) -> Mapping[str, object]:
        """The validated options of an active plugin: what its providers' ``create`` is given. Empty for others."""
        guest = self._active.get(name)
        return MappingProxyType(guest.options.values) if guest is not None else {}

    def _provided(self, kind: ProviderKind) -> Mapping[str, object]:
        return MappingProxyType(self._reception.registry.providers[kind])

    def _picture(self, guest: Guest) -> PluginInfo:
        account = guest.account
        status, reason = guest.info.status, guest.info.reason
        if status == "active":
            if account.quarantined:
                status, reason = "quarantined", account.quarantine_reason()
            else:
                reason = "; ".join([*self._reception.registry.conflicts_of(guest.info.name), *guest.remarks])
        return replace(
            guest.info,
            status=status,
            reason=reason,
            calls=account.calls,
            errors=account.errors,
            seconds=account.seconds,
            last_error=account.last_error,
            last_error_at=account.last_error_at,
        )


def _refuse_unknown_names(settings: PluginSettings, installed: set[str]) -> None:
    problems = [
        SiteProblem(path, _not_installed(name, installed)) for path, name in settings.named() if name not in installed
    ]
    if problems:
        raise SiteError(problems, settings.source)


def _not_installed(name: str, installed: set[str]) -> str:
    hint = f"did you mean {match!r}? " if (match := nearest(name, installed)) is not None else ""
    return f"no plugin {name!r} is installed; {hint}installed: {', '.join(sorted(installed)) or 'none at all'}"
