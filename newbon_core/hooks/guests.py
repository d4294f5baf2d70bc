"""Take plugins in: adapt and check what was found, hold the site's options against its schema, collect what it gives.

Whatever a plugin does meanwhile fails that plugin alone, with a sentence that names the step and the place.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import pluggy

from newbon_core.hooks import adapt, loader, specs
from newbon_core.hooks.account import Account, FailureBudget
from newbon_core.hooks.executor import CONTAINED
from newbon_core.hooks.options import OptionInfo, Options, describe_schema, load_options, load_weight, secrets_of
from newbon_core.hooks.registry import PROVIDER_HOOKS, Registry, WrongProvider, checked_fields, checked_providers
from newbon_core.hooks.settings import PluginSettings
from newbon_core.hooks.telling import StepFailed, describe_error, log, step_failed

PluginStatus = Literal["active", "disabled", "incompatible", "failed", "quarantined"]


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


class WrongOptions(Exception):
    """The site's options of a plugin are not what its schema allows, or nothing takes them; the text says what."""


@dataclass(slots=True)
class Guest:
    """One plugin in the making and after: what ``PluginInfo`` is a picture of.

    ``remarks`` tell of what would else be ignored without a word. ``shut_filter``: it is a filter that failed after its
    import, so that nothing may be placed until it is put right or disabled.
    """

    info: PluginInfo
    account: Account
    options: Options = field(default_factory=Options)
    remarks: Sequence[str] = ()
    shut_filter: bool = False


_OWN_WORDS = (adapt.NotAPlugin, WrongProvider, WrongOptions, StepFailed)
"""Errors whose text already is a sentence of ours; of others, the type is told too."""


class Reception:
    """Takes in one plugin after another, and keeps the hooks of those that became active."""

    def __init__(self, settings: PluginSettings, budget: FailureBudget) -> None:
        self.registry = Registry()
        self._settings = settings
        self._budget = budget
        self._manager = pluggy.PluginManager(specs.PROJECT)
        self._manager.add_hookspecs(specs)

    def take_in(self, found: loader.Found) -> Guest:
        """Make a guest of what the loader found. Never raises for what the plugin does."""
        info = PluginInfo(
            name=found.name,
            distribution=found.distribution,
            version=found.version,
            status="failed" if found.finding == "loaded" else found.finding,
            reason=found.reason,
        )
        guest = Guest(info, Account(found.name, self._budget))
        if found.finding != "loaded":
            return guest
        try:
            # What a plugin prints must not get into the output of a command, which a program may read.
            with contextlib.redirect_stdout(sys.stderr):
                self._admit(guest, found.plugin)
        except CONTAINED as error:
            if self._manager.has_plugin(found.name):
                self._manager.unregister(name=found.name)
            if not isinstance(error, _OWN_WORDS):
                log.debug("taking in the plugin %s failed", found.name, exc_info=error)
            reason = "; ".join([str(error) if isinstance(error, _OWN_WORDS) else describe_error(error), *guest.remarks])
            guest.info = replace(guest.info, status="failed", reason=reason, weight=None)
            guest.shut_filter = "newbon_filter_nodes" in guest.info.hooks
        return guest

    def position(self, name: str) -> tuple[int, str]:
        """Where a plugin stands in the site's order."""
        order = self._settings.order
        return (order.index(name) if name in order else len(order), name)

    def calls(self, hook: str) -> list[tuple[str, Callable[..., object]]]:
        """Every implementation of a hook, in the site's order, as functions of the spec's arguments by position."""
        caller = getattr(self._manager.hook, hook)
        implementations = sorted(caller.get_hookimpls(), key=lambda impl: self.position(impl.plugin_name))
        return [(impl.plugin_name, _positional(impl, caller.spec.argnames)) for impl in implementations]

    def _admit(self, guest: Guest, found: object) -> None:
        name, package = guest.info.name, adapt.package_of(found)
        guest.info = replace(guest.info, hooks=adapt.meant_hooks(found, self._manager))
        plugin = adapt.adapt(found)
        hooks = tuple(sorted(adapt.hooks_of(plugin, self._manager)))
        guest.info = replace(guest.info, hooks=hooks)
        guest.remarks = adapt.remarks(found)
        if faults := adapt.faults(plugin, self._manager):
            raise adapt.NotAPlugin("; ".join(faults))
        table = self._settings.tables.get(name, {})
        weight, wrong = load_weight(name, table, "newbon_score_nodes" in hooks)
        weight = self._weight(name, plugin, hooks, weight)
        off = weight == 0 and "newbon_filter_nodes" not in hooks and not set(hooks) & PROVIDER_HOOKS.keys()
        # A score that nobody turned on need not have the options that it requires.
        schema = getattr(plugin, adapt.SCHEMA, None)
        guest.info = replace(guest.info, weight=weight, option_schema=_described(schema, package))
        if table or not off:
            self._load_options(guest, found, schema, wrong)
        if off:
            reason = f"its weight is 0; [plugins.{name}] weight = 1 turns it on"
            guest.info = replace(guest.info, status="disabled", reason=reason)
            return
        self._manager.register(adapt.only_hooks(plugin, self._manager), name)
        secrets = secrets_of(schema, table)
        self._call(name, package, "newbon_configure", secrets, options=dict(guest.options.values))
        self._collect(guest, package, hooks)

    def _load_options(self, guest: Guest, found: object, schema: object, wrong: Sequence[object]) -> None:
        name = guest.info.name
        kind = found if isinstance(found, type) else type(found)
        without = "" if hasattr(found, "__spec__") else f"{kind.__name__} has no OptionsSchema; it must be in the class"
        guest.options, problems = load_options(
            name, schema, self._settings.tables.get(name, {}), without=without, package=adapt.package_of(found)
        )
        if problems or wrong:
            raise WrongOptions("; ".join(str(problem) for problem in (*problems, *wrong)))
        if guest.info.option_schema and "newbon_configure" not in guest.info.hooks:
            raise WrongOptions(
                "it has OptionsSchema but nothing that takes the options: add @hookimpl def newbon_configure(options) "
                "(in a class: (self, options))"
            )
        guest.info = replace(guest.info, options=guest.options.shown)

    def _weight(self, name: str, plugin: object, hooks: Sequence[str], site: float | None) -> float | None:
        """A score's weight: the site's, else the plugin's ``DEFAULT_WEIGHT``, else 1. One that the site enables by name
        but whose default is 0 weighs 1, for it was asked for."""
        if "newbon_score_nodes" not in hooks:
            return None
        if site is not None:
            return site
        default = getattr(plugin, adapt.DEFAULT_WEIGHT, 1.0)
        if isinstance(default, bool) or not isinstance(default, (int, float)) or not 0 <= default <= 1e9:
            raise adapt.NotAPlugin(f"DEFAULT_WEIGHT is {default!r}; it must be a number from 0 to 1e9")
        return 1.0 if default == 0 and name in (self._settings.enabled or ()) else float(default)

    def _collect(self, guest: Guest, package: str, hooks: Sequence[str]) -> None:
        name = guest.info.name
        fields = checked_fields(self._call(name, package, "newbon_service_fields"))
        provided = {
            hook: checked_providers(hook, self._call(name, package, hook)) for hook in PROVIDER_HOOKS if hook in hooks
        }
        for hook, providers in provided.items():
            self.registry.add_providers(name, PROVIDER_HOOKS[hook][0], providers)
        self.registry.add_fields(name, fields, lambda _, error: guest.account.note(str(error), None))
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

    def _call(self, name: str, package: str, hook: str, secrets: Sequence[str] = (), **arguments: object) -> object:
        """Ask one plugin one hook; None where it does not implement it. Raises StepFailed."""
        for implementor, call in self.calls(hook):
            if implementor == name:
                try:
                    found = call(*arguments.values())
                    # Hooks may be generators, whose body runs when they are read.
                    return list(found) if inspect.isgenerator(found) else found
                except CONTAINED as error:
                    raise step_failed(hook, error, package, secrets) from error
        return None


def _described(schema: object, package: str) -> tuple[OptionInfo, ...]:
    try:
        return describe_schema(schema)
    except Exception as error:
        raise step_failed("OptionsSchema", error, package) from error


def _positional(impl: pluggy.HookImpl, arguments: Sequence[str]) -> Callable[..., object]:
    """An implementation as a function of all the spec's arguments; it may itself take fewer, in another order."""
    function = impl.function
    if tuple(impl.argnames) == tuple(arguments) and not impl.kwargnames:
        return function
    places = [arguments.index(name) for name in impl.argnames]
    keywords = [(name, arguments.index(name)) for name in impl.kwargnames if name in arguments]
    return lambda *given: function(*[given[at] for at in places], **{name: given[at] for name, at in keywords})
