"""The plugin host: which plugins there are, how each stands, and the one way to ask them.

It finds (``loader``), adapts and checks (``adapt``), configures (``options``), collects what they provide
(``registry``), asks them (``executor``) and keeps account of them (``account``). No plugin, whatever it does, takes the
host down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from types import MappingProxyType
from typing import Literal, TypeVar, cast

import pluggy

from newbon_core.hooks import adapt, loader, specs
from newbon_core.hooks.account import Account, FailureBudget
from newbon_core.hooks.executor import CONTAINED, DEFAULT_TIMER, Ask, Filter, FilterAnswer, Score, ScoreAnswer, Timer
from newbon_core.hooks.options import OptionInfo, Options, describe_schema, load_options, load_weight
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
from newbon_core.hooks.registry import PROVIDER_HOOKS, Registry, WrongProvider, checked_fields, checked_providers
from newbon_core.hooks.settings import PluginSettings, SiteError, SiteProblem, nearest, unknown
from newbon_core.hooks.types import NodeTable, PlacementRequest
from newbon_core.hooks.warnings import warnings_of

PluginStatus = Literal["active", "disabled", "incompatible", "failed", "quarantined"]
P = TypeVar("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginInfo:
    """How a plugin stands, for people and for ``GET /v1/plugins``.

    ``providers`` maps kinds to names; ``fields`` are the fields of a service that it enforces; ``options`` have secrets
    hidden; ``seconds`` is time spent in its hooks; ``last_error_at`` is seconds since the epoch.
    """

    name: str
    distribution: str
    version: str
    status: PluginStatus
    reason: str
    hooks: tuple[str, ...] = ()
    providers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    option_schema: tuple[OptionInfo, ...] = ()
    weight: float | None = None
    calls: int = 0
    errors: int = 0
    seconds: float = 0.0
    last_error: str = ""
    last_error_at: float | None = None

    def document(self) -> dict[str, object]:
        """The same as plain JSON values."""
        return asdict(self)


class _WrongOptions(Exception):
    """The site's options of a plugin are not what its schema allows."""


@dataclass(slots=True)
class _Guest:
    """One plugin in the making and after: what ``PluginInfo`` is a picture of."""

    info: PluginInfo
    account: Account
    options: Options = field(default_factory=Options)


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
        self._settings = settings
        self._timer = timer
        self._budget = budget or FailureBudget()
        self._manager = pluggy.PluginManager(specs.PROJECT)
        self._manager.add_hookspecs(specs)
        self._registry = Registry()
        everything = sorted(found, key=lambda one: self._position(one.name))
        _refuse_unknown_names(settings, {one.name for one in everything})
        self._guests = [self._take_in(one) for one in everything]
        self._active = {guest.info.name: guest for guest in self._guests if guest.info.status == "active"}
        self._filters = [
            Filter(self._active[name].account, cast(Ask, call), timer)
            for name, call in self._calls("newbon_filter_nodes")
        ]
        self._scores = [
            Score(self._active[name].account, cast(Ask, call), self._active[name].info.weight or 0.0, timer)
            for name, call in self._calls("newbon_score_nodes")
            if self._active[name].info.weight
        ]

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
        """What every filter says that has something to say; an error has become a verdict that rejects all nodes."""
        answers = [one.answer(request, nodes) for one in self._filters]
        return [answer for answer in answers if answer is not None]

    def score_nodes(self, request: PlacementRequest, nodes: NodeTable) -> list[ScoreAnswer]:
        """What every score says that has something to say; those that failed are left out."""
        answers = [one.answer(request, nodes) for one in self._scores]
        return [answer for answer in answers if answer is not None]

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
        return MappingProxyType(self._registry.service_fields)

    def explain_missing(self, kind: ProviderKind, name: str) -> str:
        """A sentence on why no document can name this provider: unknown (with the nearest), or claimed twice."""
        return self._registry.explain_missing(kind, name)

    # --- how they stand ---------------------------------------------------------------------------------------------

    @property
    def plugins(self) -> Sequence[PluginInfo]:
        """Every plugin found, whatever became of it, in the order in which they are asked."""
        return [self._picture(guest) for guest in self._guests]

    def plugin(self, name: str) -> PluginInfo:
        """One plugin by name. Raises KeyError with a sentence that names the nearest."""
        for guest in self._guests:
            if guest.info.name == name:
                return self._picture(guest)
        raise KeyError(unknown("plugin", name, {guest.info.name for guest in self._guests}))

    @property
    def warnings(self) -> list[str]:
        """What is missing or wrong and how to get it right, a sentence each; empty when all is well."""
        return warnings_of(self.plugins, self._registry.conflicts.values())

    def options_of(self, name: str) -> Mapping[str, object]:
        """The validated options of an active plugin: what its providers' ``create`` is given. Empty for others."""
        guest = self._active.get(name)
        return MappingProxyType(guest.options.values) if guest is not None else {}

    # --- taking in --------------------------------------------------------------------------------------------------

    def _take_in(self, found: loader.Found) -> _Guest:
        info = PluginInfo(
            name=found.name,
            distribution=found.distribution,
            version=found.version,
            status="failed" if found.finding == "loaded" else found.finding,
            reason=found.reason,
        )
        guest = _Guest(info, Account(found.name, self._budget))
        if found.finding != "loaded":
            return guest
        try:
            self._admit(guest, found.plugin)
        except CONTAINED as error:
            if self._manager.has_plugin(found.name):
                self._manager.unregister(name=found.name)
            reason = str(error) if isinstance(error, _OWN_WORDS) else loader.describe_error(error)
            guest.info = replace(guest.info, status="failed", reason=reason, weight=None)
        return guest

    def _admit(self, guest: _Guest, found: object) -> None:
        name = guest.info.name
        plugin = adapt.adapt(found)
        hooks = tuple(sorted(adapt.hooks_of(plugin, self._manager)))
        schema = getattr(plugin, "OptionsSchema", None)
        guest.info = replace(guest.info, hooks=hooks, option_schema=describe_schema(schema))
        if faults := adapt.faults(plugin, self._manager):
            raise adapt.NotAPlugin("; ".join(faults))
        table = self._settings.tables.get(name, {})
        guest.options, problems = load_options(name, schema, table)
        weight, wrong = load_weight(name, table, "newbon_score_nodes" in hooks)
        if problems or wrong:
            raise _WrongOptions("; ".join(str(problem) for problem in (*problems, *wrong)))
        weight = self._weight(name, plugin, hooks, weight)
        guest.info = replace(guest.info, options=guest.options.shown, weight=weight)
        if weight == 0 and "newbon_filter_nodes" not in hooks and not set(hooks) & PROVIDER_HOOKS.keys():
            reason = f"its weight is 0; [plugins.{name}] weight = 1 turns it on"
            guest.info = replace(guest.info, status="disabled", reason=reason)
            return
        self._manager.register(adapt.only_hooks(plugin, self._manager), name)
        self._call(name, "newbon_configure", options=dict(guest.options.values))
        self._collect(guest, hooks)

    def _weight(self, name: str, plugin: object, hooks: Sequence[str], site: float | None) -> float | None:
        """A score's weight: the site's, else the plugin's ``DEFAULT_WEIGHT``, else 1. One that the site enables by name
        but whose default is 0 weighs 1, for it was asked for."""
        if "newbon_score_nodes" not in hooks:
            return None
        if site is not None:
            return site
        default = getattr(plugin, "DEFAULT_WEIGHT", 1.0)
        if isinstance(default, bool) or not isinstance(default, (int, float)) or not 0 <= default <= 1e9:
            raise adapt.NotAPlugin(f"DEFAULT_WEIGHT is {default!r}; it must be a number from 0 to 1e9")
        return 1.0 if default == 0 and name in (self._settings.enabled or ()) else float(default)

    def _collect(self, guest: _Guest, hooks: Sequence[str]) -> None:
        name = guest.info.name
        fields = checked_fields(self._call(name, "newbon_service_fields"))
        provided = {hook: checked_providers(hook, self._call(name, hook)) for hook in PROVIDER_HOOKS if hook in hooks}
        for hook, providers in provided.items():
            self._registry.add_providers(name, PROVIDER_HOOKS[hook][0], providers)
        self._registry.add_fields(name, fields, lambda _, error: guest.account.note(str(error), None))
        guest.info = replace(
            guest.info,
            status="active",
            reason="",
            fields=tuple(one.path for one in fields),
            providers={
                PROVIDER_HOOKS[hook][0]: tuple(one.name for one in providers)
                for hook, providers in provided.items()
                if providers
            },
        )

    def _call(self, name: str, hook: str, **arguments: object) -> object:
        """Ask one plugin one hook; None where it does not implement it. Raises what the plugin raises."""
        for implementor, call in self._calls(hook):
            if implementor == name:
                return call(*arguments.values())
        return None

    def _calls(self, hook: str) -> list[tuple[str, Callable[..., object]]]:
        """Every implementation of a hook, in the site's order, as functions of the spec's arguments by position."""
        caller = getattr(self._manager.hook, hook)
        implementations = sorted(caller.get_hookimpls(), key=lambda impl: self._position(impl.plugin_name))
        return [(impl.plugin_name, _positional(impl, caller.spec.argnames)) for impl in implementations]

    def _position(self, name: str) -> tuple[int, str]:
        order = self._settings.order
        return (order.index(name) if name in order else len(order), name)

    def _provided(self, kind: ProviderKind) -> Mapping[str, object]:
        return MappingProxyType(self._registry.providers[kind])

    def _picture(self, guest: _Guest) -> PluginInfo:
        account = guest.account
        status, reason = guest.info.status, guest.info.reason
        if status == "active":
            if account.quarantined:
                status, reason = "quarantined", account.quarantine_reason()
            else:
                reason = "; ".join(self._registry.conflicts_of(guest.info.name))
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


_OWN_WORDS = (adapt.NotAPlugin, WrongProvider, _WrongOptions)
"""Errors whose text already is a sentence of ours; of others, the type is told too."""


def _positional(impl: pluggy.HookImpl, arguments: Sequence[str]) -> Callable[..., object]:
    """An implementation as a function of all the spec's arguments; it may itself take fewer, in another order."""
    function = impl.function
    if tuple(impl.argnames) == tuple(arguments) and not impl.kwargnames:
        return function
    places = [arguments.index(name) for name in impl.argnames]
    keywords = [(name, arguments.index(name)) for name in impl.kwargnames if name in arguments]
    return lambda *given: function(*[given[at] for at in places], **{name: given[at] for name, at in keywords})


def _refuse_unknown_names(settings: PluginSettings, installed: set[str]) -> None:
    problems = [
        SiteProblem(path, _not_installed(name, installed)) for path, name in settings.named() if name not in installed
    ]
    if problems:
        raise SiteError(problems, settings.source)


def _not_installed(name: str, installed: set[str]) -> str:
    hint = f"did you mean {match!r}? " if (match := nearest(name, installed)) is not None else ""
    return f"no plugin {name!r} is installed; {hint}installed: {', '.join(sorted(installed)) or 'none at all'}"
