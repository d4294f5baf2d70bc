"""What plugins provide: named descriptors of six kinds, and the fields of a service that they enforce."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

from marshmallow import Schema

from newbon_core.hooks.providers import (
    BalancerType,
    FieldProblem,
    NetworkType,
    ProbeType,
    ProviderKind,
    ProviderType,
    ProvisionerType,
    PublisherType,
    RuntimeType,
    ServiceField,
)
from newbon_core.hooks.settings import unknown

PROVIDER_HOOKS: Mapping[str, tuple[ProviderKind, type]] = {
    "newbon_runtimes": ("runtime", RuntimeType),
    "newbon_probes": ("probe", ProbeType),
    "newbon_networks": ("network", NetworkType),
    "newbon_dns_publishers": ("publisher", PublisherType),
    "newbon_balancers": ("balancer", BalancerType),
    "newbon_provisioners": ("provisioner", ProvisionerType),
}
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


class WrongProvider(Exception):
    """A provider hook yielded what the contract does not allow; the text says what."""


@dataclass(slots=True)
class Registry:
    """Everything that active plugins provide.

    Names are unique over all plugins: a name that two plugins give belongs to neither, and ``conflicts`` says so.
    """

    providers: dict[ProviderKind, dict[str, ProviderType]] = field(
        default_factory=lambda: {kind: {} for kind, _ in PROVIDER_HOOKS.values()}
    )
    owners: dict[tuple[ProviderKind, str], list[str]] = field(default_factory=dict)
    service_fields: dict[str, tuple[str, ServiceField]] = field(default_factory=dict)

    def add_providers(self, plugin: str, kind: ProviderKind, found: Sequence[ProviderType]) -> None:
        """Take what one plugin provides of one kind."""
        for provider in found:
            owners = self.owners.setdefault((kind, provider.name), [])
            owners.append(plugin)
            if len(owners) == 1:
                self.providers[kind][provider.name] = provider
            else:
                self.providers[kind].pop(provider.name, None)

    def add_fields(self, plugin: str, found: Sequence[ServiceField], guard: Callable[[str, Exception], None]) -> None:
        """Take the fields that one plugin enforces. A field that several enforce must satisfy each of them."""
        for one in found:
            guarded = replace(one, validate=partial(_validated, plugin, one.validate, guard))
            if one.path in self.service_fields:
                others, other = self.service_fields[one.path]
                both = replace(one, validate=partial(_both, other.validate, guarded.validate))
                self.service_fields[one.path] = (f"{others}, {plugin}", both)
            else:
                self.service_fields[one.path] = (plugin, guarded)

    @property
    def conflicts(self) -> dict[tuple[ProviderKind, str], str]:
        """A sentence for every name that more than one plugin provides."""
        return {
            (kind, name): f"the {kind} {name!r} is provided by the plugins {' and '.join(owners)}, so it cannot be "
            f"used: disable one of them under [plugins] disabled"
            for (kind, name), owners in self.owners.items()
            if len(owners) > 1
        }

    def conflicts_of(self, plugin: str) -> list[str]:
        """The conflicts that one plugin has a part in."""
        return [text for key, text in self.conflicts.items() if plugin in self.owners[key]]

    def explain_missing(self, kind: ProviderKind, name: str) -> str:
        """Why a document cannot name this provider."""
        conflict = self.conflicts.get((kind, name))
        return conflict if conflict is not None else unknown(kind, name, self.providers[kind])


def checked_providers(hook: str, found: object) -> list[ProviderType]:
    """What a provider hook gave, as a list. Raises WrongProvider."""
    kind, expected = PROVIDER_HOOKS[hook]
    names: set[str] = set()
    providers: list[ProviderType] = []
    for item in _items(hook, found):
        if not isinstance(item, expected):
            raise WrongProvider(f"{hook} gave {item!r}; it must give {expected.__name__} only")
        provider = cast(ProviderType, item)
        if not isinstance(provider.name, str) or not _NAME.fullmatch(provider.name):
            raise WrongProvider(f"{hook} gave the name {provider.name!r}; lower-case letters, digits, - and _ only")
        if provider.name in names:
            raise WrongProvider(f"{hook} gave the {kind} {provider.name!r} twice")
        call: object = provider.probe if isinstance(provider, ProbeType) else provider.create
        if not callable(call):
            raise WrongProvider(f"the {kind} {provider.name!r} has {call!r} where a function is needed")
        for attribute in ("schema", "container_schema"):
            schema = getattr(provider, attribute, None)
            if schema is not None and not (isinstance(schema, type) and issubclass(schema, Schema)):
                raise WrongProvider(f"the {attribute} of the {kind} {provider.name!r} is no marshmallow Schema class")
        names.add(provider.name)
        providers.append(provider)
    return providers


def checked_fields(found: object) -> list[ServiceField]:
    """What ``newbon_service_fields`` gave, as a list. Raises WrongProvider."""
    hook = "newbon_service_fields"
    given: list[ServiceField] = []
    for one in _items(hook, found):
        if not isinstance(one, ServiceField):
            raise WrongProvider(f"{hook} gave {one!r}; it must give ServiceField only")
        if not callable(one.validate):
            raise WrongProvider(f"ServiceField.validate of {one.path!r} is no function")
        given.append(one)
    return given


def _items(hook: str, found: object) -> Iterable[object]:
    if found is None:
        return ()
    if isinstance(found, (str, bytes, Mapping)) or not isinstance(found, Iterable):
        raise WrongProvider(f"{hook} gave {found!r}; it must give an iterable of descriptors")
    return found


def _validated(
    plugin: str,
    validate: Callable[[object], Sequence[FieldProblem]],
    guard: Callable[[str, Exception], None],
    value: object,
) -> Sequence[FieldProblem]:
    try:
        problems = list(validate(value))
        wrong = [problem for problem in problems if not isinstance(problem, FieldProblem)]
        if wrong:
            raise WrongProvider(f"the validation gave {wrong[0]!r}; it must give FieldProblem only")
    except Exception as error:  # noqa: BLE001  contained: the document is refused and the plugin named
        guard(plugin, error)
        text = str(error) if isinstance(error, WrongProvider) else f"{type(error).__name__}: {error}"
        return [FieldProblem("", f"plugin {plugin} failed while it looked at this: {text}")]
    return problems


def _both(
    first: Callable[[object], Sequence[FieldProblem]],
    second: Callable[[object], Sequence[FieldProblem]],
    value: object,
) -> Sequence[FieldProblem]:
    return [*first(value), *second(value)]
