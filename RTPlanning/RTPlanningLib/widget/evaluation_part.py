"""A part of the step Evaluate: some of its widgets, and what they do."""

from __future__ import annotations

from typing import Any


class EvaluationPart:
    """Has the widgets, the session, the settings and the logic of its step.

    Parameters
    ----------
    step : EvaluateStep
    """

    def __init__(self, step: Any) -> None:
        self._step = step
        self.ui = step.ui
        self.session = step.session

    @property
    def parameters(self) -> Any:
        """The step's settings in the scene as it is now."""
        return self._step.parameters

    @property
    def evaluation(self) -> Any:
        """The evaluation logic."""
        return self._step.evaluation
