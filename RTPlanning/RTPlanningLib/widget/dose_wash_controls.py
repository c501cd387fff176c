"""The dose as a colour wash in the slice views: on and off, how strong, from which dose to which."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.errors import EvaluationError, PlanningError
from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, isDoseCurrent
from DoseEngineLib.widget.connected_signals import connected
from DoseEngineLib.widget.connectors import fillCombo
from RTPlanningLib.mrml.dose_wash import DoseWash, hideDoseWash, showDoseWash, showLegend
from RTPlanningLib.widget.evaluation_part import EvaluationPart

_PERCENT, _GY = "%", "Gy"


class DoseWashControls(EvaluationPart):
    """Applies the step's settings of the colour wash to a plan's current dose."""

    def __init__(self, step: Any) -> None:
        super().__init__(step)
        ui = self.ui
        self._applied: tuple | None = None
        self._converting = False
        fillCombo(ui.washUnitCombo, [(_("% of the prescribed dose"), _PERCENT), (_("Gy"), _GY)], _PERCENT)

    def follow(self) -> Callable[[], None]:
        """Apply settings when they are changed; returns what ends that."""
        ui = self.ui
        signals = (
            ui.washShownCheck.toggled,
            ui.legendShownCheck.toggled,
            ui.washOpacitySlider.valueChanged,
            ui.washFromSpin.valueChanged,
            ui.washToSpin.valueChanged,
            ui.washThresholdSpin.valueChanged,
        )
        # "activated" is sent when a person chooses, not when a scene is read: then the doses are in the unit already
        releases = (connected(self.onChanged, signals), connected(self.onUnitChosen, (ui.washUnitCombo.activated,)))

        def release() -> None:
            for one in releases:
                one()

        return release

    def show(self, planNode: Any) -> None:
        """Follow a plan's current dose: one that was not seen before is coloured as is set. None: no dose."""
        ui = self.ui
        for widget in (ui.washShownCheck, ui.washOpacitySlider, ui.washUnitCombo, ui.legendShownCheck):
            widget.setEnabled(planNode is not None)
        for widget in (ui.washFromSpin, ui.washToSpin, ui.washThresholdSpin):
            widget.setEnabled(planNode is not None)
        self._showUnit(self.parameters.washUnit)
        if planNode is None:
            self._applied = None
            return
        doseNode = self.session.logic.doseVolume(planNode)
        if self._applied is None or self._applied[0] != _seen(doseNode):
            self.apply(planNode)

    def apply(self, planNode: Any) -> None:
        """Colour a plan's current dose as is set."""
        parameters = self.parameters
        doseNode = self.session.logic.doseVolume(planNode)
        try:
            wash = self._wash()
        except PlanningError as error:
            self.ui.doseDisplayLabel.setText(str(error))
            return
        self.ui.doseDisplayLabel.setText("")
        if self._applied is None or self._applied != (_seen(doseNode), wash, parameters.washShown):
            if parameters.washShown:
                showDoseWash(doseNode, planNode.GetNodeReference(REFERENCE_VOLUME), wash)
            else:
                hideDoseWash(doseNode)
            self._applied = (_seen(doseNode), wash, parameters.washShown)
        showLegend(doseNode, bool(parameters.washShown and parameters.legendShown), _("Dose (Gy)"))

    def onChanged(self, *_unused: object) -> None:
        """A setting was changed."""
        planNode = self.session.planNode
        if not self._converting and not self.session.isRunning and planNode is not None and isDoseCurrent(planNode):
            self.apply(planNode)

    def onUnitChosen(self, *_unused: object) -> None:
        """The doses are to be in another unit: they stay the same doses."""
        ui, parameters = self.ui, self.parameters
        unit = ui.washUnitCombo.itemData(ui.washUnitCombo.property("currentIndex"))
        former = str(ui.washFromSpin.property("suffix")).strip()
        prescribed_Gy = self._prescribed_Gy()
        if unit != former and prescribed_Gy is not None:
            factor = prescribed_Gy / 100.0 if unit == _GY else 100.0 / prescribed_Gy
            self._converting = True
            for name in ("washFrom", "washTo", "washThreshold"):
                setattr(parameters, name, getattr(parameters, name) * factor)
            self._converting = False
        self._showUnit(unit)
        self.onChanged()

    def _showUnit(self, unit: str) -> None:
        for widget in (self.ui.washFromSpin, self.ui.washToSpin, self.ui.washThresholdSpin):
            widget.setSuffix(f" {unit}")

    def _prescribed_Gy(self) -> float | None:
        plan = self.session.plan
        return plan.prescription.dose_Gy if plan is not None and plan.prescription is not None else None

    def _wash(self) -> DoseWash:
        parameters, factor = self.parameters, 1.0
        if parameters.washUnit == _PERCENT:
            prescribed_Gy = self._prescribed_Gy()
            if prescribed_Gy is None:
                raise EvaluationError(_("Colours in % need a prescribed dose; prescribe one, or choose Gy."))
            factor = prescribed_Gy / 100.0
        return DoseWash(
            parameters.washFrom * factor,
            parameters.washTo * factor,
            parameters.washThreshold * factor,
            parameters.washOpacity,
        )


def _seen(doseNode: Any) -> tuple[str, int]:
    """Tells a dose from another, and from the same calculated anew."""
    return doseNode.GetID(), doseNode.GetImageData().GetMTime()
