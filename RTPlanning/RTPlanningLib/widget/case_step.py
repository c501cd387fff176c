"""The case: a sample, a DICOM folder or nodes of the scene, and whether it is ready to be planned on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import parameterNodeWrapper

from DoseEngineLib.calibration import default_calibration, load_calibration
from DoseEngineLib.errors import PlanningError
from DoseEngineLib.mrml.ct_calibration import ctCalibration, setCtCalibration
from DoseEngineLib.progress import Progress, part
from DoseEngineLib.verdict_colors import verdict_color
from DoseEngineLib.widget.connectors import quiet
from DoseEngineLib.widget.packages import DICOM_PACKAGES, ensurePackages
from DoseEngineLib.widget.text_table import isDark, prepareTable, setColor, writeRows
from RTPlanningLib.case_status import MARKS, StatusLine, case_status, status_summary
from RTPlanningLib.mrml.case_status_nodes import caseStamp
from RTPlanningLib.mrml.segment_names import likelyTarget, possibleTargets, segmentNames
from RTPlanningLib.samples import available_samples, load_sample, sample_plan
from RTPlanningLib.widget.step import Step

_FIRST_SAMPLE = "tg119-prostate"
# as it is shown, and the verdict whose colour it has
_MARKS = {"ok": ("✓", "passed"), "look": ("!", "warning"), "missing": ("✗", "failed")}
_MARKS_IN_WORDS = {"ok": "in order", "look": "take a look", "missing": "must be mended"}
_DOSE_OPACITY = 0.4


@parameterNodeWrapper
class CaseParameters:
    """What is chosen in the step.

    Attributes
    ----------
    sample : str
    importFolder : str
        DICOM folder.
    """

    sample: str = _FIRST_SAMPLE
    importFolder: str = ""


class CaseStep(Step):
    """Loads or chooses CT and structures, and looks them over."""

    uiName = "CaseStep"
    Parameters = CaseParameters

    def __init__(self, ui: Any, session: Any) -> None:
        super().__init__(ui, session)
        self._descriptions = {}
        for name, title, description in available_samples():
            ui.sampleCombo.addItem(title, name)
            self._descriptions[name] = description
        self._lines: tuple[StatusLine, ...] = ()
        self._stamp: tuple = ()
        self._shown: tuple | None = None
        # path and reason of a calibration that was not taken
        self._refused = ("", "")
        prepareTable(ui.statusTable, ["", _("Looked at"), _("Found, and what to do")])
        ui.statusTable.setVisible(False)
        for selector in (ui.ctSelector, ui.segmentationSelector):
            selector.setMRMLScene(session.scene)
            selector.currentNodeChanged.connect(self.onNodesChosen)
        ui.sampleCombo.currentIndexChanged.connect(self._showSample)
        ui.loadSampleButton.clicked.connect(self.onLoadSample)
        ui.importDicomButton.clicked.connect(self.onImportDicom)
        ui.calibrationEdit.currentPathChanged.connect(self.onCalibrationFile)
        ui.defaultCalibrationButton.clicked.connect(self.onDefaultCalibration)
        ui.checkCaseButton.clicked.connect(self.onCheck)

    def connectParameters(self) -> None:
        """Bind the sample and the DICOM folder."""
        self.bind({"sample": self.ui.sampleCombo, "importFolder": self.ui.importFolderEdit})
        self._showSample()

    def cleanup(self) -> None:
        """Let go of the scene."""
        super().cleanup()
        for selector in (self.ui.ctSelector, self.ui.segmentationSelector):
            with quiet(selector):
                selector.setMRMLScene(None)

    def update(self) -> None:
        """Show the chosen nodes, the calibration and the status."""
        ui, session = self.ui, self.session
        for selector, node in (
            (ui.ctSelector, session.volumeNode),
            (ui.segmentationSelector, session.segmentationNode),
        ):
            if selector.currentNode() is not node:
                with quiet(selector):
                    selector.setCurrentNode(node)
        hasCt = session.volumeNode is not None
        ui.checkCaseButton.setEnabled(hasCt)
        ui.calibrationEdit.setEnabled(hasCt)
        self._showCalibration()
        self._showStatus()

    # Loading

    def onLoadSample(self, *_unused: object) -> None:
        """Load the chosen sample, and propose its prescription and goals."""
        name = self.parameters.sample
        logic = self.session.logic

        def work(progress: Progress) -> tuple:
            progress(0.05, _("Drawing the case"))
            case = logic.background(lambda report: load_sample(name), part(progress, 0.05, 0.5))
            nodes = logic.loadCase(case)
            self._keep(*nodes, logic.background(lambda report: case_status(case, None, report), part(progress, 0.6, 1)))
            return (*nodes, case)

        loaded = self.session.run(work, lambda three: _("Loaded {name}.").format(name=three[0].GetName()))
        if loaded is None:
            return
        volumeNode, segmentationNode, case = loaded
        proposal, settings = sample_plan(name), self.session.settings
        settings.target = proposal.target
        settings.prescribedDose_Gy = float(proposal.dose_Gy)
        settings.fractions = proposal.fractions
        settings.normalization = proposal.normalization
        settings.goals = list(case.goals)
        self.session.chooseCase(volumeNode, segmentationNode)
        slicer.util.setSliceViewerLayers(background=volumeNode, foreground=None, fit=True)

    def onImportDicom(self, *_unused: object) -> None:
        """Load a DICOM folder, and choose what it brought."""
        folder = str(self.ui.importFolderEdit.property("currentPath") or "").strip()
        if not folder:
            self.session.say(_("Choose the folder that holds the DICOM files of CT, structures, plan and dose."))
            return

        def work(progress: Progress) -> Any:
            ensurePackages(DICOM_PACKAGES, _("RT Planning"))
            brought = self.session.logic.importDicom(folder, progress=part(progress, 0.0, 0.9))
            if brought.volumeNode is not None:
                # the nodes are in the scene: what is left can be done again by a button, and is not cancelled
                lines = self.session.logic.caseStatus(brought.volumeNode, brought.segmentationNode)
                self._keep(brought.volumeNode, brought.segmentationNode, lines)
            return brought

        imported = self.session.run(work, _told)
        if imported is None:
            return
        self.session.chooseCase(imported.volumeNode, imported.segmentationNode)
        self._proposeTarget()
        if imported.planNodes:
            self.session.choosePlan(imported.planNodes[0])
        slicer.util.setSliceViewerLayers(
            background=imported.volumeNode or imported.doseNodes[0],
            foreground=imported.doseNodes[0] if imported.volumeNode and imported.doseNodes else None,
            foregroundOpacity=_DOSE_OPACITY,
            fit=True,
        )
        self.session.say(_told(imported))

    def onNodesChosen(self, *_unused: object) -> None:
        """Work on the nodes that the selectors show, and look them over."""
        # The selectors' signals are overloaded, node or bool: their arguments are not to be trusted.
        volumeNode, segmentationNode = self.ui.ctSelector.currentNode(), self.ui.segmentationSelector.currentNode()
        if (volumeNode, segmentationNode) == (self.session.volumeNode, self.session.segmentationNode):
            return
        if volumeNode is not self.session.volumeNode:
            segmentationNode = _drawnOn(self.session.scene, volumeNode) or segmentationNode
        self.session.chooseCase(volumeNode, segmentationNode)
        self._proposeTarget()
        if volumeNode is not None:
            self.onCheck()

    # Calibration

    def onCalibrationFile(self, *_unused: object) -> None:
        """Keep the curve of the chosen file with the CT."""
        path, volumeNode = str(self.ui.calibrationEdit.property("currentPath") or "").strip(), self.session.volumeNode
        if volumeNode is None or not path:
            self._showCalibration()
            return
        self._refused = ("", "")
        if not Path(path).is_file():
            text = _("There is no file {path}; choose a file with a calibration curve.")
            self._refuseCalibration(path, text.format(path=path))
            return
        try:
            curve = load_calibration(path)
        except PlanningError as error:
            self._refuseCalibration(path, str(error))
            return
        setCtCalibration(volumeNode, curve)
        self._calibrationChanged(_("The CT keeps the calibration {name}.").format(name=curve.describe()))

    def onDefaultCalibration(self, *_unused: object) -> None:
        """Take the default curve again."""
        with quiet(self.ui.calibrationEdit):
            self.ui.calibrationEdit.setCurrentPath("")
        if self.session.volumeNode is not None:
            setCtCalibration(self.session.volumeNode, None)
            self._calibrationChanged(_("The CT is taken with the default calibration."))
        self._showCalibration()

    def _calibrationChanged(self, text: str) -> None:
        self.onCheck()
        self.session.say(_("{text} Doses calculated before are those of the former curve.").format(text=text))

    def _refuseCalibration(self, path: str, text: str) -> None:
        self._refused = (path, text)
        self._sayCalibration(text, isBad=True)

    def _showCalibration(self) -> None:
        path, text = self._refused
        if text and path == str(self.ui.calibrationEdit.property("currentPath") or "").strip():
            # it stands there, and is not what counts
            self._sayCalibration(text, isBad=True)
            return
        try:
            curve = ctCalibration(self.session.volumeNode) or default_calibration()
        except PlanningError as error:
            self._sayCalibration(str(error), isBad=True)
            return
        self._sayCalibration(_("In use: {curve}").format(curve=curve.describe()))
        self.ui.calibrationText.setToolTip(curve.source or _("The curve that doses on this CT are calculated with"))

    def _sayCalibration(self, text: str, isBad: bool = False) -> None:
        self.ui.calibrationText.setText(f"✗ {text}" if isBad else text)

    # Status

    def onCheck(self, *_unused: object) -> None:
        """Look the case over."""
        volumeNode, segmentationNode = self.session.volumeNode, self.session.segmentationNode

        def work(progress: Progress) -> tuple[StatusLine, ...]:
            lines = self.session.logic.caseStatus(volumeNode, segmentationNode, progress)
            self._keep(volumeNode, segmentationNode, lines)
            return lines

        self.session.run(work, status_summary)

    def _keep(self, volumeNode: Any, segmentationNode: Any, lines: tuple[StatusLine, ...]) -> None:
        self._lines, self._stamp = lines, caseStamp(volumeNode, segmentationNode)

    def _showStatus(self) -> None:
        ui, session = self.ui, self.session
        stamp = caseStamp(session.volumeNode, session.segmentationNode)
        isOfThisCase = bool(self._lines) and self._stamp[:1] == stamp[:1]
        lines = self._lines if isOfThisCase else ()
        if session.volumeNode is None:
            summary = _("Load a sample or a DICOM folder, or choose a CT and its structures.")
        elif not lines:
            summary = _("Not looked over yet: press Check case.")
        elif stamp != self._stamp:
            summary = _("Changed since it was looked over: press Check case.")
        else:
            summary = status_summary(lines)
        ui.summaryText.setText(summary)
        if self._shown == lines:
            return
        self._shown = lines
        table = ui.statusTable
        # what asks for something comes first
        lines = sorted(lines, key=lambda line: -MARKS.index(line.mark))
        rows = [(_MARKS[line.mark][0], _(line.name), line.text) for line in lines]
        writeRows(table, rows, [f"{_(_MARKS_IN_WORDS[line.mark])}: {line.text}" for line in lines])
        for row, line in enumerate(lines):
            setColor(table.item(row, 0), verdict_color(_MARKS[line.mark][1], dark=isDark(table)))
        table.resizeColumnToContents(0)
        table.resizeColumnToContents(1)
        table.setVisible(bool(lines))

    def _showSample(self, *_unused: object) -> None:
        combo = self.ui.sampleCombo
        self.ui.sampleText.setPlainText(self._descriptions.get(combo.itemData(combo.property("currentIndex")), ""))

    def _proposeTarget(self) -> None:
        """Where the structures lack the target that was chosen before, choose the likely one."""
        names = segmentNames(self.session.segmentationNode)
        if self.session.settings.target not in possibleTargets(names):
            self.session.settings.target = likelyTarget(names)
            self.session.update()


def _drawnOn(scene: Any, volumeNode: Any) -> Any:
    """Return the only segmentation of the scene that was drawn on a CT; None where there is none, or several."""
    if volumeNode is None:
        return None
    count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    nodes = [scene.GetNthNodeByClass(number, "vtkMRMLSegmentationNode") for number in range(count)]
    found = [n for n in nodes if n.GetNodeReference(n.GetReferenceImageGeometryReferenceRole()) is volumeNode]
    return found[0] if len(found) == 1 else None


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
