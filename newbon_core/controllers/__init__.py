"""What the control plane decides: one file per concern, a pure ``plan_…`` in each; ``loop`` runs them all."""

from newbon_core.controllers.loop import ControlLoop
from newbon_core.controllers.settings import ControlSettings

__all__ = ["ControlLoop", "ControlSettings"]
