"""pytest fixtures for plugin authors; pytest finds them by itself once ``newbon-core`` is installed.

This module is imported by every pytest run of the environment, Newbon's or not, so it imports nothing but pytest and
defines nothing that acts by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from newbon_core.hooks.host import PluginHost
    from newbon_core.hooks.settings import PluginSettings
    from newbon_core.testing.bench import Bench


class MakeHost(Protocol):
    """The type of the ``plugin_host`` fixture."""

    def __call__(
        self,
        settings: PluginSettings | None = None,
        *,
        options: Mapping[str, Mapping[str, object]] | None = None,
        strict: bool = True,
        **plugins: object,
    ) -> PluginHost: ...


@pytest.fixture
def plugin_host() -> Iterator[MakeHost]:
    """``plugin_host(my_filter=MyFilter, …)``: a host of exactly these plugins.

    ``options={"my_filter": {…}}`` are those of the site's file. A plugin that fails, now or when it is asked, fails the
    test, unless ``strict=False``.
    """
    from newbon_core.testing.bench import StrictHost, host_of

    made: list[StrictHost] = []

    def make(settings: PluginSettings | None = None, **others: Any) -> PluginHost:
        host = host_of(settings, **others)
        if isinstance(host, StrictHost):
            made.append(host)
        return host

    yield make
    for host in made:
        host.assert_sound()


@pytest.fixture
def bench() -> Bench:
    """An empty fleet to which a test adds nodes and instances; see ``newbon_core.testing.bench.Bench``."""
    from newbon_core.testing.bench import Bench

    return Bench()
