"""The editor of isodose levels: what is drawn, at which dose, in which colour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from DoseEngineLib.errors import PlanningError, SchemaError
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.connected_signals import connected
from DoseEngineLib.widget.connectors import quiet
from DoseEngineLib.widget.wheel_guard import WheelGuard
from RTPlanningLib.display.isodose_settings import UNITS, IsodoseSetting, next_setting
from RTPlanningLib.mrml.isodose_node import isodoseModel
from RTPlanningLib.widget.evaluation_part import EvaluationPart

_SHOWN, _LEVEL, _UNIT, _COLOR, _DOSE = range(5)


class IsodoseEditor(EvaluationPart):
    """Edits the levels that are kept with a plan's dose; each change is drawn at once."""

    def __init__(self, step: Any) -> None:
        super().__init__(step)
        ui = self.ui
        self._shown: tuple[IsodoseSetting, ...] | None = None
        self._shownReference_Gy: float | None = None
        self._wheel = WheelGuard()
        ui.isodoseTable.itemChanged.connect(self.onItemChanged)
        ui.addLevelButton.clicked.connect(self.onAdd)
        ui.removeLevelButton.clicked.connect(self.onRemove)
        ui.resetLevelsButton.clicked.connect(self.onReset)

    def follow(self) -> Callable[[], None]:
        """Apply settings when they are changed; returns what ends that."""
        return connected(self.onShownChanged, (self.ui.isodosesShownCheck.toggled,))

    def show(self, planNode: Any) -> None:
        """Show the levels of a plan's current dose; None: none."""
        ui = self.ui
        for widget in (ui.isodoseTable, ui.addLevelButton, ui.removeLevelButton, ui.resetLevelsButton):
            widget.setEnabled(planNode is not None)
        if planNode is None:
            self._fill((), None)
            return
        prescription = self.session.plan.prescription
        try:
            settings = self.session.logic.isodoseSettings(planNode)
        except SchemaError as error:
            ui.doseDisplayLabel.setText(str(error))
            settings = ()
        self._fill(settings, prescription.dose_Gy if prescription else None)

    def followVisibility(self, doseNode: Any) -> None:
        """Show or hide the isodoses of a dose as is set."""
        model = isodoseModel(doseNode)
        if model is not None and model.GetDisplayNode() is not None:
            shown = bool(self.parameters.isodosesShown)
            if bool(model.GetDisplayNode().GetVisibility()) != shown:
                model.GetDisplayNode().SetVisibility(shown)

    def settings(self) -> list[IsodoseSetting]:
        """The levels shown."""
        return list(self._shown or ())

    def onShownChanged(self, *_unused: object) -> None:
        """Isodoses were switched on or off."""
        planNode = self.session.planNode
        if planNode is not None and not self.session.isRunning and self._shown:
            self.followVisibility(self.session.logic.doseVolume(planNode))

    def onItemChanged(self, item: Any) -> None:
        """A tick or a level was changed."""
        settings = self.settings()
        row = item.row()
        try:
            if item.column() == _SHOWN:
                settings[row] = replace(settings[row], visible=item.checkState() == qt.Qt.Checked)
            elif item.column() == _LEVEL:
                settings[row] = replace(settings[row], value=_number(item.text()))
            else:
                return
        except PlanningError as error:
            self._refuse(error)
            return
        self._apply(settings)

    def onUnitChanged(self, row: int, *_unused: object) -> None:
        """A level is to be in the other unit: it keeps its dose."""
        settings = self.settings()
        unit = self.ui.isodoseTable.cellWidget(row, _UNIT).property("currentText")
        former = settings[row]
        if unit == former.unit:
            return
        reference_Gy = self._shownReference_Gy
        if reference_Gy is None:
            self._refuse(_("Levels in % need a prescribed dose; prescribe one, or keep levels in Gy."))
            return
        factor = 100.0 / reference_Gy if unit == "%" else reference_Gy / 100.0
        settings[row] = replace(former, unit=unit, value=float(f"{former.value * factor:.10g}"))
        self._apply(settings)

    def onColorChanged(self, row: int, *_unused: object) -> None:
        """A level got another colour."""
        settings = self.settings()
        color = self.ui.isodoseTable.cellWidget(row, _COLOR).property("color")
        settings[row] = replace(settings[row], color=(color.redF(), color.greenF(), color.blueF()))
        self._apply(settings)

    def onAdd(self, *_unused: object) -> None:
        """Add a level below the lowest."""
        self._apply([*self.settings(), next_setting(self.settings())])

    def onRemove(self, *_unused: object) -> None:
        """Remove the levels that are selected."""
        rows = {index.row() for index in self.ui.isodoseTable.selectionModel().selectedRows()}
        if not rows:
            self.session.say(_("Select the levels to remove: click on their rows."))
            return
        self._apply([setting for row, setting in enumerate(self.settings()) if row not in rows])

    def onReset(self, *_unused: object) -> None:
        """Go back to the clinical default levels."""
        self._apply(None)

    def _apply(self, settings: Sequence[IsodoseSetting] | None) -> None:
        planNode = self.session.planNode

        def work(progress: Progress) -> Any:
            return self.session.logic.setIsodoseSettings(planNode, settings, progress)

        if self.session.run(work, _("Isodoses drawn.")) is None:
            # refused: the table shows what is drawn
            self._redraw()

    def _refuse(self, why: object) -> None:
        self.session.say(str(why))
        self._redraw()

    def _redraw(self) -> None:
        settings, reference = self._shown or (), self._shownReference_Gy
        self._shown = None
        self._fill(settings, reference)

    def _fill(self, settings: Sequence[IsodoseSetting], reference_Gy: float | None) -> None:
        settings = tuple(settings)
        if (settings, reference_Gy) == (self._shown, self._shownReference_Gy):
            return
        self._shown, self._shownReference_Gy = settings, reference_Gy
        table = self.ui.isodoseTable
        with quiet(table):
            table.setRowCount(len(settings))
            for row, setting in enumerate(settings):
                self._fillRow(row, setting, reference_Gy)
            table.resizeColumnsToContents()

    def _fillRow(self, row: int, setting: IsodoseSetting, reference_Gy: float | None) -> None:
        table = self.ui.isodoseTable
        shown = qt.QTableWidgetItem("")
        shown.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
        shown.setCheckState(qt.Qt.Checked if setting.visible else qt.Qt.Unchecked)
        shown.setToolTip(_("Draw this level"))
        table.setItem(row, _SHOWN, shown)
        level = qt.QTableWidgetItem(f"{setting.value:.6g}")
        level.setToolTip(_("Double-click to type another level"))
        table.setItem(row, _LEVEL, level)
        unit = qt.QComboBox()
        unit.addItems(list(UNITS))
        unit.setCurrentIndex(UNITS.index(setting.unit))
        unit.setToolTip(_("% of the prescribed dose, or Gy"))
        unit.currentIndexChanged.connect(partial(self.onUnitChanged, row))
        self._wheel.guard(unit)
        table.setCellWidget(row, _UNIT, unit)
        color = ctk.ctkColorPickerButton()
        color.setDisplayColorName(False)
        color.setColor(qt.QColor(*(round(255 * channel) for channel in setting.color)))
        color.setToolTip(_("Choose the colour of this level"))
        color.colorChanged.connect(partial(self.onColorChanged, row))
        table.setCellWidget(row, _COLOR, color)
        known = setting.unit == "Gy" or reference_Gy is not None
        dose = qt.QTableWidgetItem(f"{setting.dose_Gy(reference_Gy):.4g} Gy" if known else "-")
        dose.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
        table.setItem(row, _DOSE, dose)


def _number(text: str) -> float:
    try:
        return float(text.strip().replace(",", ".").removesuffix("%").removesuffix("Gy"))
    except ValueError:
        raise PlanningError(_("{text} is no level; type a number, for example 95.").format(text=repr(text))) from None
