"""pytest fixtures for plugin authors; pytest finds them by itself once ``newbon-core`` is installed.

This module is imported by every pytest run of the environment, Newbon's or not, so it imports nothing but pytest and
defines nothing that acts by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from newbon_core.hooks.host import PluginHost
    from newbon_core.hooks.settings import PluginSettings
    from newbon_core.testing.bench import Bench


class MakeHost(Protocol):
    """The type of the ``plugin_host`` fixture."""

    def __call__(self, settings: PluginSettings | None = None, **plugins: object) -> PluginHost: ...


@pytest.fixture
def plugin_host() -> MakeHost:
    """``plugin_host(my_filter=my_module, …)``: a host of exactly these plugins; one that fails fails the test."""
    from newbon_core.testing.bench import host_of

    return host_of


@pytest.fixture
def bench() -> Bench:
    """An empty fleet to which a test adds nodes and instances; see ``newbon_core.testing.bench.Bench``."""
    from newbon_core.testing.bench import Bench

    return Bench()
