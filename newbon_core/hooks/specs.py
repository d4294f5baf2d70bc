"""The hook specifications: the whole contract between the core and plugins.

Every docstring ends with the same four lines: *Called from*, *May block*, *On exception*, *Since*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pluggy

from newbon_core.hooks.providers import (
    BalancerType,
    NetworkType,
    ProbeType,
    ProvisionerType,
    PublisherType,
    RuntimeType,
    ServiceField,
)
from newbon_core.hooks.types import BoolArray, FloatArray, NodeTable, PlacementRequest, Scores, Verdict

PROJECT = "newbon"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
F = TypeVar("F", bound=Callable[..., Any])
_NAMELESS = "newbon_nameless"


def nameless(hook: F) -> F:
    """Mark a filter or score whose answer depends on the service's name only through what ``nodes`` tells of it.

    That is ``count_of(request.service)`` and ``failures_of(request.service)``. Where all filters and scores are marked,
    many services of one replica each are placed as one group.
    """
    setattr(hook, _NAMELESS, True)
    return hook


def is_nameless(hook: object) -> bool:
    """True for what was marked with ``nameless``."""
    return getattr(hook, _NAMELESS, False) is True


@hookspec
def newbon_configure(options: dict[str, object]) -> None:
    """Take the options of this plugin from the site's file, already validated by the plugin's ``OptionsSchema``.

    The marshmallow schema stands beside this hook under the name ``OptionsSchema``: in the module where the entry point
    names a module, inside the class where it names a class. A plugin without one takes no options; one that has it must
    implement this hook. No field may be called ``weight`` or ``enabled``, which are the core's words.

    *Called from*: the main of a server, an agent or the CLI, once, before any other hook.
    *May block*: no.
    *On exception*: the plugin is listed as failed with the exception; a filter then rejects every node, others rest.
    *Since*: 1.0
    """


@hookspec
def newbon_filter_nodes(request: PlacementRequest, nodes: NodeTable) -> Verdict | BoolArray | None:
    """Say which nodes may take a replica of the request: a mask over ``nodes``, or a Verdict that also gives reasons.

    None means that the filter has nothing to say about this request. Never change an array of ``nodes``, nor an answer
    once it is given: the scheduler keeps several answers side by side.

    Mark it with ``@nameless`` as well where the service's name makes no difference but through ``nodes.count_of`` and
    ``nodes.failures_of``: services that are alike in all else can then be placed as one group, which is quicker.

    Nothing is cached: every attempt to place asks again. A replica that found no node waits, and is tried again only
    when something changed that could help it (a node joined or changed, an instance went away), not on a timer: a
    filter whose answer depends on the time alone is not asked again when its time has come. Instances that run are
    never held against filters again.

    *Called from*: the scheduler, once per group of replicas and number of them already assumed (``nodes.added``).
    *May block*: no; it is on the scheduler's path.
    *On exception*: every node is rejected with the error as the reason (fails closed).
    *Since*: 1.0
    """


@hookspec
def newbon_score_nodes(request: PlacementRequest, nodes: NodeTable) -> Scores | FloatArray | None:
    """Give every node a finite number, higher is better; the core normalises and weighs with the site's weights.

    None means that the score has nothing to say about this request. An answer must not change once it is given.

    The weight is that of the site's file, else the plugin's ``DEFAULT_WEIGHT`` (beside the hook: in the module, or in
    the class), else 1; with ``DEFAULT_WEIGHT = 0`` the score is off until a site enables it by name or gives it a
    weight.

    *Called from*: the scheduler, as ``newbon_filter_nodes``.
    *May block*: no.
    *On exception*: the score is left out (fails open), and ``newbon explain`` says so in a note.
    *Since*: 1.0
    """


@hookspec
def newbon_service_fields() -> Iterable[ServiceField]:  # type: ignore[empty-body]
    """Yield the fields of a service document that this plugin enforces, with their validation.

    The core knows the shape of ``resources``, ``schedule.constraints``, ``schedule.tolerations``,
    ``schedule.affinity``, ``schedule.max_per_node``, ``schedule.spread`` and host ports (``ports.host_port``), but
    enforces none of them itself.

    *Called from*: the main, once, after configuration; the validations whenever a document is applied.
    *May block*: no.
    *On exception*: the plugin is listed as failed; a validation that raises refuses the document and names the plugin.
    *Since*: 1.0
    """


@hookspec
def newbon_runtimes() -> Iterable[RuntimeType]:  # type: ignore[empty-body]
    """Yield the container runtimes of this plugin; a service names one by ``runtime:``.

    *Called from*: the main, once, after configuration.
    *May block*: no; connect in ``create`` or later.
    *On exception*: the plugin is listed as failed and its providers are unknown.
    *Since*: 1.0
    """


@hookspec
def newbon_probes() -> Iterable[ProbeType]:  # type: ignore[empty-body]
    """Yield the health probes of this plugin; a service names one by ``health: {type: …}``.

    *Called from*: the main, once, after configuration.
    *May block*: no.
    *On exception*: the plugin is listed as failed and its providers are unknown.
    *Since*: 1.0
    """


@hookspec
def newbon_networks() -> Iterable[NetworkType]:  # type: ignore[empty-body]
    """Yield the container networks of this plugin; a service names one by ``network:``.

    *Called from*: the main, once, after configuration.
    *May block*: no.
    *On exception*: the plugin is listed as failed and its providers are unknown.
    *Since*: 1.0
    """


@hookspec
def newbon_dns_publishers() -> Iterable[PublisherType]:  # type: ignore[empty-body]
    """Yield the DNS publishers of this plugin; the site's file names them under ``dns``.

    *Called from*: the main, once, after configuration.
    *May block*: no.
    *On exception*: the plugin is listed as failed and its providers are unknown.
    *Since*: 1.0
    """


@hookspec
def newbon_balancers() -> Iterable[BalancerType]:  # type: ignore[empty-body]
    """Yield the load balancers of this plugin; a Balancer document names one by ``class:``.

    *Called from*: the main, once, after configuration.
    *May block*: no.
    *On exception*: the plugin is listed as failed and its providers are unknown.
    *Since*: 1.0
    """


@hookspec
def newbon_provisioners() -> Iterable[ProvisionerType]:  # type: ignore[empty-body]
    """Yield the provisioners of this plugin: where new hosts come from.

    *Called from*: the main, once, after configuration.
    *May block*: no.
    *On exception*: the plugin is listed as failed and its providers are unknown.
    *Since*: 1.0
    """
