"""Make of what an entry point names an object with hooks, and tell exactly what is wrong with one that has none.

A module, an instance, a class without arguments, or a ``PerNodeFilter`` / ``PerNodeScore`` (class or instance), which
is adapted to the vector hooks here.
"""

from __future__ import annotations

import difflib
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType

import numpy as np
import pluggy

from newbon_core.hooks.settings import unknown
from newbon_core.hooks.specs import PROJECT, hookimpl
from newbon_core.hooks.telling import describe_error, step_failed
from newbon_core.hooks.types import (
    BoolArray,
    FloatArray,
    NodeTable,
    PerNodeFilter,
    PerNodeScore,
    PlacementRequest,
    Rejection,
    Verdict,
)

SCHEMA = "OptionsSchema"
DEFAULT_WEIGHT = "DEFAULT_WEIGHT"


class NotAPlugin(Exception):
    """What the entry point names is no plugin; the text says why and what would be one."""


class NodeFailure(Exception):
    """A per-node score failed; the text names the node."""


@dataclass(frozen=True, slots=True)
class NodeVerdict(Verdict):
    """The verdict of an adapted filter; ``failures`` tells by node where ``check`` itself failed.

    ``reason`` and ``failures`` name no plugin, for the adapter does not know under which name it is asked.
    """

    names: Sequence[str] = ()
    failures: Mapping[int, str] = field(default_factory=dict)

    def rejections(self, plugin: str, mask: BoolArray) -> list[Rejection]:
        """The reasons for the nodes of a mask by category; failures of the plugin are one category."""
        found: dict[str, Rejection] = {}
        for index in np.flatnonzero(mask).tolist():
            failure = self.failures.get(index)
            if failure is not None:
                category, sentence = f"plugin {plugin} failed", f"on node {self.names[index]}: {failure}"
            else:
                category, _, sentence = (part.strip() for part in self.reason(index).partition(":"))
            known = found.get(category)
            if known is not None:
                found[category] = replace(known, nodes=known.nodes + 1)
            elif failure is not None:
                found[category] = Rejection(category=category, nodes=1, sentence=sentence, advice=repair(plugin))
            else:
                found[category] = Rejection(category=category, nodes=1, sentence=sentence, nearest=index, gap=1.0)
        return list(found.values())


def repair(plugin: str) -> str:
    """What to do about a filter that fails."""
    return f"put the plugin {plugin} right, or disable it: [plugins] disabled"


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


def package_of(found: object) -> str:
    """The module that what an entry point names comes from."""
    if isinstance(found, ModuleType):
        return found.__name__
    return str((found if inspect.isclass(found) else type(found)).__module__)


def meant_hooks(found: object, manager: pluggy.PluginManager) -> tuple[str, ...]:
    """The hooks that something would implement if it were in order: known also of a class that cannot be made."""
    kind = found if inspect.isclass(found) else type(found)
    hooks = set(hooks_of(found, manager))
    if issubclass(kind, PerNodeFilter):
        hooks.add("newbon_filter_nodes")
    if issubclass(kind, PerNodeScore):
        hooks.add("newbon_score_nodes")
    return tuple(sorted(hooks))


def adapt(found: object) -> object:
    """The object to register for what an entry point named. Raises NotAPlugin, and StepFailed for a constructor."""
    if inspect.isclass(found):
        try:
            inspect.signature(found).bind()
        except TypeError:
            raise NotAPlugin(f"the class {found.__name__} needs arguments to be made; name an instance of it") from None
        kind: type = found
        try:
            found = kind()
        except Exception as error:
            raise step_failed(f"{kind.__name__}()", error, package_of(kind)) from error
    if inspect.isroutine(found) or found is None:
        raise NotAPlugin(f"the entry point names {found!r}; it must name a module, an instance or a class with hooks")
    members: dict[str, object] = {}
    if isinstance(found, PerNodeFilter):
        _refuse_method(found, "check", PerNodeFilter)
        members["newbon_filter_nodes"] = _FilterAdapter(found).newbon_filter_nodes
    if isinstance(found, PerNodeScore):
        _refuse_method(found, "score", PerNodeScore)
        members["newbon_score_nodes"] = _ScoreAdapter(found).newbon_score_nodes
    if not members:
        return found
    for name in dir(found):
        if name.startswith(PROJECT) or name in (SCHEMA, DEFAULT_WEIGHT):
            members.setdefault(name, getattr(found, name))
    return Hooks(members)


def _refuse_method(found: object, name: str, base: type) -> None:
    """Raises NotAPlugin where the one method of a per-node plugin is missing, or cannot be called as it will be."""
    kind, wanted = type(found).__name__, f"def {name}(self, request, node)"
    method = getattr(found, name)
    if getattr(method, "__func__", None) is getattr(base, name):
        raise NotAPlugin(f"{kind} is a {base.__name__} without {name}(); it must have {wanted}")
    if not callable(method):
        raise NotAPlugin(f"{name} of {kind} is {method!r}; it must be a method: {wanted}")
    try:
        inspect.signature(method).bind(None, None)
    except TypeError:
        raise NotAPlugin(f"{name} of {kind} is {name}{inspect.signature(method)}; it must be {wanted}") from None


def remarks(found: object) -> list[str]:
    """What is named beside the plugin, or nearly right, and so would be ignored without a word: a sentence each."""
    known = (SCHEMA, DEFAULT_WEIGHT)
    sentences = [
        f"it has {name}, which nothing asks for; did you mean {match[0]}?"
        for name in vars(found if isinstance(found, ModuleType) or inspect.isclass(found) else type(found))
        if name not in known and (match := difflib.get_close_matches(name, known, n=1, cutoff=0.85))
    ]
    kind = found if inspect.isclass(found) else type(found)
    module = sys.modules.get(str(kind.__module__))
    if isinstance(found, ModuleType) or module is None:
        return sentences
    sentences += [
        f"{name} of the module {module.__name__} is ignored, for the entry point names the class {kind.__name__}: "
        f"put it inside the class"
        for name in (*known, "newbon_configure")
        if hasattr(module, name) and not hasattr(found, name)
    ]
    return sentences


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
    for name, base in (("check", PerNodeFilter), ("score", PerNodeScore)):
        if callable(getattr(plugin, name, None)):
            return f"it implements no hook, but has {name}(); did you forget to subclass {base.__name__}?"
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
        failures: dict[int, str] = {}
        for index in range(len(nodes)):
            try:
                answer = check(request, nodes[index])
                if answer is None:
                    continue
                if not isinstance(answer, str) or not answer:
                    raise NodeFailure(f"check() gave {answer!r}; it must give None or a reason")
                reasons[index] = answer
            except Exception as error:  # noqa: BLE001  contained, and told with the node's name
                failures[index] = str(error) if isinstance(error, NodeFailure) else describe_error(error)
            passed[index] = False
        return NodeVerdict(passed, reasons.__getitem__, names=nodes.names, failures=failures)


class _ScoreAdapter:
    """``score`` over every node, as one array; an error on one node names the node."""

    def __init__(self, inner: PerNodeScore) -> None:
        self._score = inner.score

    @hookimpl
    def newbon_score_nodes(self, request: PlacementRequest, nodes: NodeTable) -> FloatArray:
        score = self._score
        values = np.empty(len(nodes), dtype=np.float64)
        for index in range(len(nodes)):
            name = nodes.names[index]
            try:
                answer = score(request, nodes[index])
            except Exception as error:
                raise NodeFailure(f"on node {name}: {describe_error(error)}") from error
            if not isinstance(answer, (int, float, np.number)):
                raise NodeFailure(f"score() gave {answer!r} on node {name}; it must give a number")
            if not math.isfinite(answer):
                raise NodeFailure(f"score() gave {answer!r} on node {name}; it must give a finite number")
            values[index] = answer
        return values
