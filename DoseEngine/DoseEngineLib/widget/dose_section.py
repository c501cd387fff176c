"""The plan's dose: statistics by structure and by beam, and where the dose comes from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from DoseEngineLib.dose_statistics import DoseMaximum, DoseStatistics, dose_maximum, dose_statistics
from DoseEngineLib.errors import PlanningError
from DoseEngineLib.mrml.dose_volume import provenanceOf
from DoseEngineLib.mrml.plan_node import (
    BEAM_DOSE,
    BEAM_NAME,
    DOSE,
    REFERENCE_VOLUME,
    SEGMENTATION,
    deliveredPlan,
    isDoseCurrent,
    referencedNodes,
)
from DoseEngineLib.mrml.structures_in_turn import structuresInTurn
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from DoseEngineLib.provenance_rows import provenance_rows
from DoseEngineLib.widget.connectors import fillCombo
from DoseEngineLib.widget.dose_session import DoseSession
from DoseEngineLib.widget.section import Section
from DoseEngineLib.widget.text_table import fillTable

# Of the actions' progress, what reading the structures takes.
_READING = 0.4


class DoseSection(Section):
    """Shows the widgets of ``DoseSection.ui``.

    Parameters
    ----------
    ui : object
    session : DoseSession
    frame : ctkCollapsibleButton
    """

    def __init__(self, ui: Any, session: DoseSession, frame: Any) -> None:
        super().__init__(ui, session)
        self._frame = frame
        self._key: tuple = ()
        self._found: dict[str, DoseStatistics] = {}
        self._maxima: dict[str, DoseMaximum] = {}
        self._provenance: str | None = None
        ui.statisticsButton.clicked.connect(self.onStatistics)
        ui.jumpButton.clicked.connect(self.onJump)

    def coupled(self) -> Mapping[str, Any]:
        """Return the widget of each setting."""
        return {"statisticsOf": self.ui.statisticsCombo, "resultCollapsed": self._frame}

    def handlers(self) -> Sequence[tuple[Any, Callable[..., None]]]:
        """Return what follows a choice."""
        return [(self.ui.statisticsCombo.currentIndexChanged, self.onStatisticsOfChanged)]

    def update(self) -> None:
        """Show the dose of the plan, and statistics that still hold."""
        planNode = self.session.planNode
        doseNode = None if planNode is None else planNode.GetNodeReference(DOSE)
        self._showName(planNode, doseNode)
        beams = [] if doseNode is None else [n.GetAttribute(BEAM_NAME) for n in referencedNodes(planNode, BEAM_DOSE)]
        if self.parameters.statisticsOf not in ("", *beams):
            self.parameters.statisticsOf = ""
        entries = [(_("Whole plan"), ""), *((_("Beam {name}").format(name=name), name) for name in beams)]
        fillCombo(self.ui.statisticsCombo, entries, self.parameters.statisticsOf)
        for widget in (self.ui.statisticsCombo, self.ui.statisticsButton):
            widget.setEnabled(doseNode is not None)
        if self._key != self._state(planNode, doseNode):
            self._key, self._found, self._maxima = (), {}, {}
        self._showStatistics(planNode)
        self._showProvenance(doseNode)

    def onComputed(self, said: str) -> None:
        """Describe a dose that was just computed; the status line goes on saying that it was."""
        self.onStatistics(done=said)

    def onStatisticsOfChanged(self, *_unused: object) -> None:
        """Describe the beam that was chosen, once the dose is described at all."""
        # not from within an import, whose settings come with the scene
        qt.QTimer.singleShot(0, self._describe)

    def _describe(self) -> None:
        if not self.session.isFree or self.session.planNode is None:
            return
        if self._found and self.parameters.statisticsOf not in self._found:
            self.onStatistics()
        else:
            self._showStatistics(self.session.planNode)

    def onStatistics(self, *_unused: object, done: str = "") -> None:
        """Calculate the statistics of the chosen dose."""
        planNode, chosen = self.session.planNode, self.parameters.statisticsOf
        doseNode = planNode.GetNodeReference(DOSE)
        key = self._state(planNode, doseNode)

        def work(progress: Progress) -> tuple[dict[str, DoseMaximum], DoseStatistics]:
            grid = gridFromVolume(doseNode)
            doses = {"": arrayFromVolume(doseNode)}
            for node in referencedNodes(planNode, BEAM_DOSE):
                doses[node.GetAttribute(BEAM_NAME)] = arrayFromVolume(node)
            structures = _structures(planNode, part(progress, 0.0, _READING))

            def calculate(report: Progress) -> tuple[dict[str, DoseMaximum], DoseStatistics]:
                maxima = {name: dose_maximum(dose, grid, structures) for name, dose in doses.items()}
                return maxima, dose_statistics(doses[chosen], grid, structures, report)

            return self.session.background(calculate, part(progress, _READING, 1.0))

        def keep(result: tuple[dict[str, DoseMaximum], DoseStatistics]) -> str:
            if self._key != key:
                self._key, self._found = key, {}
            self._maxima = result[0]
            self._found[chosen] = result[1]
            return done or _("Dose statistics are ready.")

        self.session.run(work, keep)

    def onJump(self, *_unused: object) -> None:
        """Move the slice views to the maximum of the chosen dose."""
        maximum = self._maxima.get(self.parameters.statisticsOf)
        if maximum is not None:
            slicer.vtkMRMLSliceNode.JumpAllSlices(self.session.scene, *maximum.position_RAS_mm)

    def _showName(self, planNode: Any, doseNode: Any) -> None:
        if doseNode is None:
            self.ui.doseLabel.setText(_("none"))
            return
        name = doseNode.GetName()
        try:
            current = isDoseCurrent(planNode)
        except PlanningError:
            current = False
        self.ui.doseLabel.setText(
            name if current else _("{name} (of a plan or patient that has changed since)").format(name=name)
        )

    def _showStatistics(self, planNode: Any) -> None:
        chosen = self.parameters.statisticsOf
        found, maximum = self._found.get(chosen), self._maxima.get(chosen)
        self.ui.jumpButton.setEnabled(maximum is not None)
        self.ui.maximumLabel.setText("" if maximum is None else _maximumText(maximum))
        self.ui.maximumLabel.setVisible(maximum is not None)
        headers = [_("Structure"), _("Volume (cc)"), _("Mean"), "D2%", "D50%", "D98%", _("Max")]
        rows = []
        structures = found.structures if found is not None else ()
        noted = any(row.note for row in structures)
        for row in structures:
            doses = (row.mean_Gy, row.d2_Gy, row.d50_Gy, row.d98_Gy, row.max_Gy)
            texts = ("" if dose is None else f"{dose:.3f}" for dose in doses)
            rows.append([row.name, f"{row.volume_cm3:.1f}", *texts, *([row.note] if noted else [])])
        headers += [_("Note")] if noted else []
        fillTable(self.ui.structureTable, headers, rows)
        fillTable(self.ui.beamTable, [_("Beam"), "MU", _("Max (Gy)"), _("at R, A, S (mm)")], self._beamRows(planNode))

    def _beamRows(self, planNode: Any) -> list[list[str]]:
        if planNode is None or not self._maxima:
            return []
        metersets = {beam.name: beam.meterset_MU for beam in deliveredPlan(planNode).beams}
        return [
            [name, f"{metersets[name]:.1f}" if name in metersets else "", f"{found.dose_Gy:.3f}", _place(found)]
            for name, found in self._maxima.items()
            if name
        ]

    def _showProvenance(self, doseNode: Any) -> None:
        provenance = {} if doseNode is None else provenanceOf(doseNode)
        text = json.dumps(provenance, indent=2, sort_keys=True) if provenance else ""
        if text == self._provenance:
            return
        self._provenance = text
        self.ui.provenanceText.setPlainText(text)
        self.ui.provenanceTitle.setVisible(bool(text))
        self.ui.storedGroup.setVisible(bool(text))
        fillTable(self.ui.provenanceTable, [_("What"), _("Value")], [list(row) for row in provenance_rows(provenance)])

    def _state(self, planNode: Any, doseNode: Any) -> tuple:
        """What the statistics depend on."""
        if doseNode is None:
            return ()
        segmentationNode = planNode.GetNodeReference(SEGMENTATION)
        structures = () if segmentationNode is None else _segmentationState(segmentationNode)
        image = doseNode.GetImageData()
        return (doseNode.GetID(), 0 if image is None else image.GetMTime(), structures)


def _segmentationState(segmentationNode: Any) -> tuple:
    """What changes when a segment comes, goes, or is edited."""
    segmentation = segmentationNode.GetSegmentation()
    source = segmentation.GetSourceRepresentationName()
    found = []
    for n in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(n)
        shape = segment.GetRepresentation(source)
        found.append((segmentation.GetNthSegmentID(n), segment.GetMTime(), 0 if shape is None else shape.GetMTime()))
    return (segmentationNode.GetID(), *found)


def _structures(planNode: Any, progress: Progress) -> tuple[Structure, ...]:
    segmentationNode = planNode.GetNodeReference(SEGMENTATION)
    volumeNode = planNode.GetNodeReference(REFERENCE_VOLUME)
    if segmentationNode is None or volumeNode is None:
        return ()
    return structuresInTurn(segmentationNode, gridFromVolume(volumeNode), progress)


def _place(maximum: DoseMaximum) -> str:
    return ", ".join(f"{value:.1f}" for value in maximum.position_RAS_mm)


def _maximumText(maximum: DoseMaximum) -> str:
    text = _("Maximum {dose:.3f} Gy at R, A, S {place} mm").format(dose=maximum.dose_Gy, place=_place(maximum))
    where = f" ({', '.join(maximum.structures)})" if maximum.structures else ""
    return _("{maximum}. Doses are in Gy, of the whole course.").format(maximum=text + where)
