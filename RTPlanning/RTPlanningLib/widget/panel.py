"""The RT Planning panel: a case, a four-field box, its dose, and how it meets the goals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import qt
import slicer
from slicer.i18n import tr as _

from DoseEngineLib.machine import available_machines
from DoseEngineLib.mrml.plan_node import DOSE, REFERENCE_VOLUME, SEGMENTATION, isDoseCurrent, isPlanNode
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress, part
from DoseEngineLib.widget.packages import ANONYMISE_PACKAGES, DICOM_PACKAGES, DOSE_PACKAGES, ensurePackages
from DoseEngineLib.widget.plan_panel import PlanPanel
from DoseEngineLib.widget.structure_list import fillStructures
from RTPlanningLib.case import Case
from RTPlanningLib.evaluation.goals import GoalResult
from RTPlanningLib.plan_file import DEFAULT_MACHINE
from RTPlanningLib.plan_templates import four_field_box
from RTPlanningLib.samples import available_samples, load_sample, sample_plan

_VERDICT_COLORS = {"passed": "#1b7f3b", "acceptable": "#9a6700", "failed": "#b3261e", "not evaluated": "#7a5c00"}
_DOSE_OPACITY = 0.4


class PlanningLogic(Protocol):
    """What the panel asks of its logic."""

    def loadCase(self, case: Case) -> tuple[Any, Any]:
        """Add a case; return CT and segmentation nodes."""

    def caseFromNodes(self, volumeNode: Any, segmentationNode: Any = None) -> Case:
        """Return the case that nodes describe."""

    def createPlan(self, plan: Plan, volumeNode: Any, segmentationNode: Any = None, goals: Sequence[str] = ()) -> Any:
        """Add a plan and return its node."""

    def planFromNode(self, planNode: Any) -> Plan:
        """Return the plan of a node."""

    def calculateDose(self, planNode: Any, progress: Progress | None = None) -> Any:
        """Calculate a plan's dose and return its dose volume node."""

    def calculateDvh(self, planNode: Any) -> dict:
        """Calculate a plan's DVHs."""

    def evaluateGoals(self, planNode: Any, goals: Sequence[str] | None = None, dvhs: Any = None) -> list[GoalResult]:
        """Judge a plan's clinical goals."""

    def createIsodoses(self, doseNode: Any, *, reference_Gy: float | None = None) -> Any:
        """Show a dose volume's isodoses."""

    def createBeamModels(self, planNode: Any) -> list:
        """Show a plan's beams."""

    def importDicom(self, folder: str, *, progress: Progress | None = None) -> Any:
        """Read a DICOM folder into nodes."""

    def exportDicom(self, node: Any, folder: str, *, options: Any = None, progress: Progress | None = None) -> Any:
        """Write a plan as DICOM objects into a folder."""


class RTPlanningPanel(PlanPanel):
    """Connects the widgets of ``Resources/UI/RTPlanning.ui`` with a logic.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    logic : PlanningLogic
    scene : vtkMRMLScene
    """

    def __init__(self, ui: Any, logic: PlanningLogic, scene: Any) -> None:
        controls = [
            *(ui.caseCombo, ui.loadCaseButton, ui.targetCombo, ui.machineCombo, ui.marginSpin, ui.doseSpin),
            *(ui.fractionsSpin, ui.createPlanButton, ui.calculateButton, ui.importFolderEdit, ui.importDicomButton),
            *(
                ui.exportFolderEdit,
                ui.exportCtCheck,
                ui.exportBeamsCheck,
                ui.exportAnonymiseCheck,
                ui.exportDicomButton,
            ),
        ]
        super().__init__(ui, scene, controls, [ui.ctSelector, ui.segmentationSelector])
        self.logic = logic
        self._descriptions = {}
        for name, title, description in available_samples():
            ui.caseCombo.addItem(title, name)
            self._descriptions[name] = description
        ui.machineCombo.addItems(available_machines())
        ui.machineCombo.setCurrentIndex(ui.machineCombo.findText(DEFAULT_MACHINE))
        ui.caseCombo.currentIndexChanged.connect(self.onCaseChanged)
        ui.loadCaseButton.clicked.connect(self.onLoadCase)
        ui.importDicomButton.clicked.connect(self.onImportDicom)
        ui.exportDicomButton.clicked.connect(self.onExportDicom)
        ui.ctSelector.currentNodeChanged.connect(self.onCtChanged)
        ui.segmentationSelector.currentNodeChanged.connect(self.onSegmentationChanged)
        ui.createPlanButton.clicked.connect(self.onCreatePlan)
        ui.calculateButton.clicked.connect(self.onCalculate)
        self.onCaseChanged()
        self.update()
        self.action.say(_("Load a sample case, or choose a CT and its structures."))

    def update(self) -> None:
        """Bring the panel up to date with the scene."""
        self.onSegmentationChanged()
        super().update()

    def onCaseChanged(self, *_unused: object) -> None:
        """Say what the chosen sample is."""
        self.ui.caseText.setPlainText(self._descriptions[self._caseName()])

    def onLoadCase(self, *_unused: object) -> None:
        """Load the chosen sample, and propose what would be prescribed to it."""
        name = self._caseName()

        def work(progress: Progress) -> tuple[Any, Any]:
            progress(0.1, _("Making the case"))
            case = load_sample(name)
            progress(0.8, _("Adding it to the scene"))
            return self.logic.loadCase(case)

        nodes = self.action.run(work, lambda pair: _("Loaded {name}.").format(name=pair[0].GetName()))
        if nodes is None:
            return
        volumeNode, segmentationNode = nodes
        proposal = sample_plan(name)
        self.ui.ctSelector.setCurrentNode(volumeNode)
        self.ui.segmentationSelector.setCurrentNode(segmentationNode)
        self.ui.targetCombo.setCurrentIndex(self.ui.targetCombo.findText(proposal.target))
        self.ui.doseSpin.setValue(proposal.dose_Gy)
        self.ui.fractionsSpin.setValue(proposal.fractions)
        slicer.util.setSliceViewerLayers(background=volumeNode, foreground=None, fit=True)
        self._updateButtons()

    def onImportDicom(self, *_unused: object) -> None:
        """Load a DICOM folder, and choose what it brought."""
        folder = _folder(self.ui.importFolderEdit)
        if not folder:
            self.action.say(_("Choose the folder that holds the DICOM files of CT, structures, plan and dose."))
            return

        def work(progress: Progress) -> Any:
            ensurePackages(DICOM_PACKAGES, _("RT Planning"))
            return self.logic.importDicom(folder, progress=progress)

        imported = self.action.run(work, _told)
        if imported is None:
            return
        ui = self.ui
        said = ui.statusLabel.property("text")
        ui.ctSelector.setCurrentNode(imported.volumeNode)
        ui.segmentationSelector.setCurrentNode(imported.segmentationNode)
        if imported.planNodes:
            ui.planSelector.setCurrentNode(imported.planNodes[0])
        slicer.util.setSliceViewerLayers(
            background=imported.volumeNode or imported.doseNodes[0],
            foreground=imported.doseNodes[0] if imported.volumeNode and imported.doseNodes else None,
            foregroundOpacity=_DOSE_OPACITY,
            fit=True,
        )
        self._updateButtons()
        self.action.say(said)

    def onExportDicom(self, *_unused: object) -> None:
        """Write the plan as DICOM files."""
        ui = self.ui
        folder = _folder(ui.exportFolderEdit)
        if not folder:
            self.action.say(_("Choose the folder that the DICOM files shall go to."))
            return
        planNode = ui.planSelector.currentNode()
        anonymise = bool(ui.exportAnonymiseCheck.property("checked"))
        # without its tick the CT is still written where nothing could be referred to
        wishes = {
            "with_ct": True if ui.exportCtCheck.property("checked") else None,
            "beams": bool(ui.exportBeamsCheck.property("checked")),
            "anonymise": anonymise,
        }

        def work(progress: Progress) -> Any:
            ensurePackages((*DICOM_PACKAGES, *(ANONYMISE_PACKAGES if anonymise else ())), _("RT Planning"))
            from RTPlanningLib.dicom.export import DicomOptions

            return self.logic.exportDicom(planNode, folder, options=DicomOptions(**wishes), progress=progress)

        def done(export: Any) -> str:
            text = _("Wrote {count} DICOM files to {folder}.").format(count=len(export.files), folder=export.folder)
            return "\n".join((text, *export.notes))

        self.action.run(work, done)
        self._updateButtons()

    def onCtChanged(self, *_unused: object) -> None:
        """A plan can be made as soon as there are CT and target."""
        self._updateButtons()

    def onSegmentationChanged(self, *_unused: object) -> None:
        """List the structures a plan can aim at."""
        # The selector's signal is overloaded, node or bool: its argument is not to be trusted.
        fillStructures(self.ui.targetCombo, self.ui.segmentationSelector.currentNode())
        self._updateButtons()

    def onCreatePlan(self, *_unused: object) -> None:
        """Make a four-field box on the chosen target."""
        ui = self.ui
        volumeNode, segmentationNode = ui.ctSelector.currentNode(), ui.segmentationSelector.currentNode()
        target = ui.targetCombo.property("currentText")
        dose_Gy, fractions = float(ui.doseSpin.property("value")), int(ui.fractionsSpin.property("value"))
        options = {
            "margin_mm": float(ui.marginSpin.property("value")),
            "machine": ui.machineCombo.property("currentText"),
        }

        def work(progress: Progress) -> Any:
            progress(0.1, _("Fitting the fields to {target}").format(target=target))
            case = self.logic.caseFromNodes(volumeNode, segmentationNode)
            plan = four_field_box(case, target, dose_Gy, fractions, **options)
            planNode = self.logic.createPlan(plan, volumeNode, segmentationNode, case.goals)
            self.logic.createBeamModels(planNode)
            return planNode

        planNode = self.action.run(work, lambda node: _("Made plan {name}.").format(name=node.GetName()))
        if planNode is not None:
            ui.planSelector.setCurrentNode(planNode)
        self._updateButtons()

    def onPlanChanged(self, *_unused: object) -> None:
        """Show another plan's goals when its dose is there."""
        if self.action.isRunning:
            return
        planNode = self.ui.planSelector.currentNode()
        self._showGoals([])
        if isPlanNode(planNode):
            self.ui.ctSelector.setCurrentNode(planNode.GetNodeReference(REFERENCE_VOLUME))
            self.ui.segmentationSelector.setCurrentNode(planNode.GetNodeReference(SEGMENTATION))
            if isDoseCurrent(planNode):
                results = self.action.run(lambda progress: self.logic.evaluateGoals(planNode), self._verdict)
                self._showGoals(results or [])
        self._updateButtons()

    def onCalculate(self, *_unused: object) -> None:
        """Calculate dose, DVHs and isodoses of the plan and judge its goals."""
        planNode = self.ui.planSelector.currentNode()

        def work(progress: Progress) -> list[GoalResult]:
            ensurePackages(DOSE_PACKAGES, _("RT Planning"))
            doseNode = self.logic.calculateDose(planNode, part(progress, 0.0, 0.9))
            # The dose is in the scene now: what follows takes a moment and cannot be cancelled.
            prescription = self.logic.planFromNode(planNode).prescription
            dvhs = self.logic.calculateDvh(planNode)
            results = self.logic.evaluateGoals(planNode, dvhs=dvhs)
            self.logic.createIsodoses(doseNode, reference_Gy=prescription.dose_Gy if prescription else None)
            return results

        results = self.action.run(work, self._verdict)
        if results is not None:
            self._showGoals(results)
            slicer.util.setSliceViewerLayers(
                background=planNode.GetNodeReference(REFERENCE_VOLUME),
                foreground=planNode.GetNodeReference(DOSE),
                foregroundOpacity=_DOSE_OPACITY,
            )
        self._updateButtons()

    def _verdict(self, results: Sequence[GoalResult]) -> str:
        if not results:
            return _("Dose calculated; the plan has no goals to judge.")
        met = sum(1 for result in results if result.passed)
        return _("Dose calculated; {met} of {all} goals are met.").format(met=met, all=len(results))

    def _showGoals(self, results: Sequence[GoalResult]) -> None:
        table = self.ui.goalsTable
        table.setRowCount(len(results))
        for row, result in enumerate(results):
            unit = f" {result.goal.unit}" if result.goal.unit else ""
            achieved = "-" if result.value is None else f"{result.value:.2f}{unit}"
            for column, text in enumerate((str(result.goal), achieved, _(result.verdict))):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(result.note)
                if column == 2:
                    item.setForeground(qt.QBrush(qt.QColor(_VERDICT_COLORS[result.verdict])))
                table.setItem(row, column, item)
        table.resizeColumnsToContents()

    def _caseName(self) -> str:
        combo = self.ui.caseCombo
        return combo.itemData(combo.property("currentIndex"))

    def _updateButtons(self) -> None:
        if self.action.isRunning:
            return
        ui = self.ui
        hasTarget = bool(ui.targetCombo.property("count"))
        ui.createPlanButton.setEnabled(ui.ctSelector.currentNode() is not None and hasTarget)
        isPlan = isPlanNode(ui.planSelector.currentNode())
        ui.calculateButton.setEnabled(isPlan)
        ui.exportDicomButton.setEnabled(isPlan)


def _folder(pathEdit: Any) -> str:
    return str(pathEdit.property("currentPath") or "").strip()


def _told(imported: Any) -> str:
    """What an import brought, and what the user should know."""
    counts = _("structures {structures}, plans {plans}, doses {doses}").format(
        structures=imported.segmentationNode.GetSegmentation().GetNumberOfSegments(),
        plans=len(imported.planNodes),
        doses=len(imported.doseNodes),
    )
    # without a CT the dose is what was loaded
    volumeNode = imported.volumeNode or imported.doseNodes[0]
    text = _("Loaded {name}: {counts}.").format(name=volumeNode.GetName(), counts=counts)
    return "\n".join((text, *imported.notes))
