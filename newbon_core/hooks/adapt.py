"""Make of what an entry point names an object with hooks, and tell exactly what is wrong with one that has none.

A module, an instance, a class without arguments, or a ``PerNodeFilter`` / ``PerNodeScore`` (class or instance), which
is adapted to the vector hooks here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pluggy

from newbon_core.hooks.settings import unknown
from newbon_core.hooks.specs import PROJECT, hookimpl
from newbon_core.hooks.types import (
    FloatArray,
    NodeTable,
    PerNodeFilter,
    PerNodeScore,
    PlacementRequest,
    Verdict,
)


class NotAPlugin(Exception):
    """What the entry point names is no plugin; the text says why and what would be one."""


class NodeFailure(Exception):
    """A per-node score failed; the text names the node."""


@dataclass(frozen=True, slots=True)
class NodeVerdict(Verdict):
    """The verdict of an adapted filter; ``failures`` tells of nodes where ``check`` itself failed."""

    failures: Sequence[str] = ()


def hooks_of(plugin: object, manager: pluggy.PluginManager) -> list[str]:
    """The names of the hooks that an object implements, misspelt ones included."""
    named = ((name, manager.parse_hookimpl_opts(plugin, name)) for name in dir(plugin))
    return [opts.get("specname") or name for name, opts in named if opts is not None]


class Hooks:
    """An object with just these members. pluggy refuses two plugins that are equal (one module under two names, two
    dataclasses of the same values), and this is equal to nothing but itself."""

    def __init__(self, members: Mapping[str, object]) -> None:
        vars(self).update(members)


def only_hooks(plugin: object, manager: pluggy.PluginManager) -> Hooks:
    """The marked hooks of a plugin, to be registered."""
    names = [name for name in dir(plugin) if manager.parse_hookimpl_opts(plugin, name) is not None]
    return Hooks({name: getattr(plugin, name) for name in names})


def adapt(found: object) -> object:
    """The object to register for what an entry point named. Raises NotAPlugin, and whatever a constructor raises."""
    if inspect.isclass(found):
        try:
            inspect.signature(found).bind()
        except TypeError:
            raise NotAPlugin(f"the class {found.__name__} needs arguments to be made; name an instance of it") from None
        found = found()
    if inspect.isroutine(found) or found is None:
        raise NotAPlugin(f"the entry point names {found!r}; it must name a module, an instance or a class with hooks")
    members: dict[str, object] = {}
    if isinstance(found, PerNodeFilter):
        members["newbon_filter_nodes"] = _FilterAdapter(found).newbon_filter_nodes
    if isinstance(found, PerNodeScore):
        members["newbon_score_nodes"] = _ScoreAdapter(found).newbon_score_nodes
    if not members:
        return found
    for name in dir(found):
        if name.startswith(PROJECT) or name in ("OptionsSchema", "DEFAULT_WEIGHT"):
            members.setdefault(name, getattr(found, name))
    return Hooks(members)


def faults(plugin: object, manager: pluggy.PluginManager) -> list[str]:
    """What is wrong with the hooks of an object, one sentence each: misspelt, not marked, wrapping, or none at all."""
    specs = {name: hook for name, hook in vars(manager.hook).items() if hook.has_spec()}
    sentences = []
    marked = 0
    for name in dir(plugin):
        opts = manager.parse_hookimpl_opts(plugin, name)
        if opts is None:
            if name in specs and callable(getattr(plugin, name, None)):
                sentences.append(f"{name} is not marked: put @hookimpl above it")
            continue
        marked += 1
        hook = opts.get("specname") or name
        if hook not in specs:
            sentences.append(unknown("hook", hook, specs))
        elif opts["wrapper"] or opts["hookwrapper"]:
            sentences.append(f"{name} is a wrapper; hooks of Newbon are asked one by one and cannot be wrapped")
        else:
            sentences += _signature_faults(name, getattr(plugin, name), specs[hook].spec.argnames)
    if not marked and not sentences:
        sentences.append(_no_hook(plugin))
    return sentences


def _signature_faults(name: str, function: Callable[..., object], known: Sequence[str]) -> list[str]:
    given = inspect.signature(function).parameters.values()
    wanted = f"{name}({', '.join(known)})"
    sentences = []
    for parameter in given:
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            sentences.append(f"the argument {parameter.name!r} of {name} must be a plain positional one: {wanted}")
        elif parameter.name not in known and parameter.default is parameter.empty:
            sentences.append(f"{unknown('argument', parameter.name, known)} The hook is {wanted}")
    return sentences


def _no_hook(plugin: object) -> str:
    if isinstance(plugin, ModuleType):
        bases = (PerNodeFilter, PerNodeScore)
        for name, member in vars(plugin).items():
            if isinstance(member, bases) or (
                inspect.isclass(member) and issubclass(member, bases) and member not in bases
            ):
                return f"the module has no hook; let the entry point name {plugin.__name__}:{name}"
    return "it implements no hook of newbon_core.hooks.specs"


class _FilterAdapter:
    """``check`` over every node, as one answer. An error on one node rejects that node alone."""

    def __init__(self, inner: PerNodeFilter) -> None:
        self._check = inner.check

    @hookimpl
    def newbon_filter_nodes(self, request: PlacementRequest, nodes: NodeTable) -> Verdict:
        check = self._check
        passed = np.ones(len(nodes), dtype=np.bool_)
        reasons: dict[int, str] = {}
        failures: list[str] = []
        for index in range(len(nodes)):
            try:
                answer = check(request, nodes[index])
                if answer is None:
                    continue
                if not isinstance(answer, str) or not answer:
                    raise TypeError(f"check() gave {answer!r}; it must give None or a reason")
            except Exception as error:  # noqa: BLE001  contained, and told with the node's name
                answer = f"failed on node {nodes.names[index]}: {type(error).__name__}: {error}"
                failures.append(answer)
            passed[index] = False
            reasons[index] = answer
        return NodeVerdict(passed, reasons.__getitem__, failures=failures)


class _ScoreAdapter:
    """``score`` over every node, as one array; an error on one node names the node."""

    def __init__(self, inner: PerNodeScore) -> None:
        self._score = inner.score

    @hookimpl
    def newbon_score_nodes(self, request: PlacementRequest, nodes: NodeTable) -> FloatArray:
        score = self._score
        values = np.empty(len(nodes), dtype=np.float64)
        for index in range(len(nodes)):
            try:
                values[index] = score(request, nodes[index])
            except Exception as error:
                raise NodeFailure(f"on node {nodes.names[index]}: {type(error).__name__}: {error}") from error
        return values
