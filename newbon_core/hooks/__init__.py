"""The one face that plugins see of the core."""

from newbon_core.hooks.providers import *  # noqa: F403  re-exported contract; the list is in providers
from newbon_core.hooks.specs import hookimpl
from newbon_core.hooks.types import (
    BoolArray,
    DomainTerm,
    FloatArray,
    IntArray,
    LabelColumn,
    NodeTable,
    NodeView,
    PerNodeFilter,
    PerNodeScore,
    PlacementRequest,
    Rejection,
    Scores,
    Verdict,
)
