"""Where instances go: the table of nodes, filters, scores, group placement, explanations."""

from newbon_core.scheduler.explain import Explanation, FilterExplanation, NodeExplanation, ScoreExplanation
from newbon_core.scheduler.group import GroupPlacement
from newbon_core.scheduler.scheduler import Scheduler
from newbon_core.scheduler.table import Table

__all__ = [
    "Explanation",
    "FilterExplanation",
    "GroupPlacement",
    "NodeExplanation",
    "Scheduler",
    "ScoreExplanation",
    "Table",
]
