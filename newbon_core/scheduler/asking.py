"""What the scheduler needs of the plugin host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from newbon_core.hooks.types import NodeTable, PlacementRequest, Scores, Verdict


class FilterAnswer(Protocol):
    """What one filter said."""

    @property
    def plugin(self) -> str: ...
    @property
    def verdict(self) -> Verdict: ...


class ScoreAnswer(Protocol):
    """What one score said, with the site's weight for it."""

    @property
    def plugin(self) -> str: ...
    @property
    def weight(self) -> float: ...
    @property
    def scores(self) -> Scores: ...


class PlacementHost(Protocol):
    """Asks every filter and every score; answers are already held against the contract (``hooks.host.PluginHost``)."""

    @property
    def nameless(self) -> bool:
        """True when no answer depends on the service's name but through what the table tells of the service."""
        ...

    def filter_nodes(self, request: PlacementRequest, nodes: NodeTable) -> Sequence[FilterAnswer]:
        """The verdicts of all filters that have something to say."""
        ...

    def score_nodes(self, request: PlacementRequest, nodes: NodeTable) -> Sequence[ScoreAnswer]:
        """The scores of all scores that have something to say."""
        ...

    def left_out(self) -> Sequence[str]:
        """A sentence for every score whose last answer could not be used."""
        ...
