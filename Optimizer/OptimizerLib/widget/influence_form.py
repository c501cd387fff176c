"""Bixels and voxels of the dose influence, and how much memory it will take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.section import Section
from OptimizerLib.influence_estimate import InfluenceEstimate, memory_text
from OptimizerLib.widget.objectives_form import ObjectivesForm
from OptimizerLib.widget.optimizer_parameters import fluenceSettings
from OptimizerLib.widget.optimizer_session import OptimizerSession


class InfluenceForm(Section):
    """The section of the dose influence.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    session : OptimizerSession
    objectives : ObjectivesForm
    """

    session: OptimizerSession

    def __init__(self, ui: Any, session: OptimizerSession, objectives: ObjectivesForm) -> None:
        super().__init__(ui, session)
        self._objectives = objectives
        self._shownPlan: Any = None
        self._lengths = (ui.bixelSpinBox, ui.marginSpinBox, ui.spacingSpinBox)
        for length in self._lengths:
            length.setMRMLScene(session.scene)
        ui.estimateButton.clicked.connect(self.onEstimate)
        self.forget()

    def coupled(self) -> Mapping[str, Any]:
        """Return the widget of each setting."""
        ui = self.ui
        return {
            "bixel_mm": ui.bixelSpinBox,
            "targetMargin_mm": ui.marginSpinBox,
            "ownSpacing": ui.spacingCheckBox,
            "spacing_mm": ui.spacingSpinBox,
            "normalTissueEvery": ui.tissueSpinBox,
            "influenceFolded": ui.influenceSection,
        }

    def handlers(self) -> Sequence[tuple[Any, Callable[..., None]]]:
        """Return what follows a change: what the estimate was made for is no longer so."""
        ui = self.ui
        signals = [length.valueChanged for length in (*self._lengths, ui.tissueSpinBox)]
        return [*((signal, self.forget) for signal in signals), (ui.spacingCheckBox.toggled, self._onOwnSpacing)]

    def update(self) -> None:
        """Show whether there is something to estimate."""
        if self.session.planNode is not self._shownPlan:
            self._shownPlan = self.session.planNode
            self.forget()
        self._showSpacing()
        self.showReadiness()

    def showReadiness(self) -> None:
        """Show whether there is something to estimate."""
        if not self.session.isRunning:
            self.ui.estimateButton.setEnabled(self._objectives.canRun)

    def forget(self, *_unused: object) -> None:
        """Show no estimate: what it was made for has changed."""
        self.ui.estimateLabel.setText(_("not estimated for these settings"))

    def onEstimate(self, *_unused: object) -> None:
        """Estimate the memory of the dose influence."""
        session = self.session

        def work(progress: Progress) -> InfluenceEstimate:
            goals, settings = self._objectives.goals(), fluenceSettings(self.parameters)
            return session.logic.estimateInfluence(session.planNode, goals, settings, progress)

        estimate = session.run(work, _("Estimated; nothing was computed yet."))
        if estimate is not None:
            self.ui.estimateLabel.setText(
                _("about {matrix}, {total} while it is searched with: {bixels} bixels, {voxels} voxels").format(
                    matrix=memory_text(estimate.matrix_bytes),
                    total=memory_text(estimate.total_bytes),
                    bixels=f"{estimate.bixels:,}",
                    voxels=f"{estimate.voxels:,}",
                )
            )

    def cleanup(self) -> None:
        """See `PanelPart`."""
        super().cleanup()
        for length in self._lengths:
            length.setMRMLScene(None)

    def _onOwnSpacing(self, *_unused: object) -> None:
        self.forget()
        self._showSpacing()

    def _showSpacing(self) -> None:
        if not self.session.isRunning:
            self.ui.spacingSpinBox.setEnabled(bool(self.ui.spacingCheckBox.property("checked")))
