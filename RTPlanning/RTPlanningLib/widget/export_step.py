"""Report and export: HTML report, tables, plan, DICOM RT, scene, SlicerRT."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import qt
import slicer
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from DoseEngineLib.errors import PlanError
from DoseEngineLib.mrml.plan_node import DOSE, isDoseCurrent
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.packages import (
    ANONYMISE_PACKAGES,
    DICOM_PACKAGES,
    DOSE_PACKAGES,
    REPORT_PACKAGES,
    ensurePackages,
)
from RTPlanningLib.mrml.biological_dose_node import alphaBetaByName
from RTPlanningLib.mrml.plan_evaluation import planStructures
from RTPlanningLib.mrml.slicerrt_nodes import DVH_NODE, slicerRtClass
from RTPlanningLib.report_logic import ReportLogic
from RTPlanningLib.widget.dose_changes import changesText
from RTPlanningLib.widget.step import Step

_NOT_IN_FILE_NAMES = re.compile(r"[^\w.-]+")


@parameterNodeWrapper
class ExportParameters:
    """What a person sets in this step.

    Attributes
    ----------
    folder : str
    openReport, picture3d : bool
        Of the HTML report.
    withCt, beamDoses, eqd2, anonymise : bool
        Of the DICOM objects.
    eqd2AlphaBeta_Gy : float
        Outside structures whose tissue is known.
    """

    folder: str = ""
    openReport: bool = True
    picture3d: bool = False
    withCt: bool = False
    beamDoses: bool = False
    eqd2: bool = False
    eqd2AlphaBeta_Gy: Annotated[float, WithinRange(0.5, 20.0)] = 3.0
    anonymise: bool = False


class ExportStep(Step):
    """Writes a plan with its current dose, and the scene."""

    uiName = "ExportStep"
    Parameters = ExportParameters

    def __init__(self, ui: Any, session: Any) -> None:
        super().__init__(ui, session)
        self._reportLogic = ReportLogic(session.scene)
        ui.reportButton.clicked.connect(self.onReport)
        ui.dvhCsvButton.clicked.connect(self.onDvhCsv)
        ui.goalsCsvButton.clicked.connect(self.onGoalsCsv)
        ui.planFileButton.clicked.connect(self.onPlanFile)
        ui.dicomButton.clicked.connect(self.onDicom)
        ui.sceneButton.clicked.connect(self.onScene)
        ui.slicerRtPlanButton.clicked.connect(self.onSlicerRtPlan)
        ui.slicerRtDvhButton.clicked.connect(self.onSlicerRtDvh)

    def connectParameters(self) -> None:
        """Couple the widgets with the settings."""
        ui = self.ui
        self.bind(
            {
                "folder": ui.folderEdit,
                "openReport": ui.openReportCheck,
                "picture3d": ui.picture3dCheck,
                "withCt": ui.withCtCheck,
                "beamDoses": ui.beamDosesCheck,
                "eqd2": ui.eqd2Check,
                "eqd2AlphaBeta_Gy": ui.eqd2AlphaBetaSpin,
                "anonymise": ui.anonymiseCheck,
            }
        )

    def update(self) -> None:
        """Say what can be written."""
        ui, planNode = self.ui, self.session.planNode
        reason = _reason(planNode)
        ui.exportStateLabel.setText(reason)
        ui.exportStateLabel.setVisible(bool(reason))
        for button in (ui.reportButton, ui.dvhCsvButton, ui.goalsCsvButton, ui.planFileButton, ui.dicomButton):
            button.setEnabled(not reason)
        missing = _slicerRtMissing()
        ui.slicerRtPlanButton.setEnabled(not missing and planNode is not None)
        ui.slicerRtDvhButton.setEnabled(not missing and not reason)
        ui.slicerRtLabel.setText(missing)
        ui.slicerRtLabel.setVisible(bool(missing))

    # Files

    def onReport(self, *_unused: object) -> None:
        """Write the HTML report, and open it when asked to."""
        picture3d = bool(self.parameters.picture3d)

        def write(path: Path, progress: Progress) -> Path:
            ensurePackages((*DOSE_PACKAGES, *REPORT_PACKAGES), _("RT Planning"))
            return self._reports().writeReport(self.session.planNode, path, picture3d=picture3d, progress=progress)

        path = self._write("report.html", write)
        if path is not None and self.parameters.openReport:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))

    def onDvhCsv(self, *_unused: object) -> None:
        """Write the DVHs."""
        self._write("dvh.csv", lambda path, progress: self._reports().writeDvhs(self.session.planNode, path, progress))

    def onGoalsCsv(self, *_unused: object) -> None:
        """Write the judged goals."""
        self._write(
            "goals.csv", lambda path, progress: self._reports().writeGoals(self.session.planNode, path, progress)
        )

    def onPlanFile(self, *_unused: object) -> None:
        """Write the plan as delivered."""
        self._write("plan.json", lambda path, progress: self._reports().writePlan(self.session.planNode, path))

    def onScene(self, *_unused: object) -> None:
        """Write the whole scene."""

        self._write("scene.mrb", self.session.logic.saveScene)

    def onDicom(self, *_unused: object) -> None:
        """Write the plan as DICOM objects."""
        folder = self._folder(mayBeMade=True)
        if folder is None:
            return
        planNode, parameters = self.session.planNode, self.parameters
        anonymise = bool(parameters.anonymise)
        # without its tick the CT is still written where nothing could be referred to
        wishes = {
            "with_ct": True if parameters.withCt else None,
            "beams": bool(parameters.beamDoses),
            "anonymise": anonymise,
        }
        if parameters.eqd2:
            wishes["eqd2_elsewhere_Gy"] = float(parameters.eqd2AlphaBeta_Gy)

        def work(progress: Progress) -> Any:
            ensurePackages((*DICOM_PACKAGES, *(ANONYMISE_PACKAGES if anonymise else ())), _("RT Planning"))
            from RTPlanningLib.dicom.export import DicomOptions

            if "eqd2_elsewhere_Gy" in wishes:
                wishes["eqd2_Gy"] = alphaBetaByName(
                    {structure.name: structure for structure in planStructures(planNode)}
                )
            return self.session.logic.exportDicom(planNode, folder, options=DicomOptions(**wishes), progress=progress)

        def done(export: Any) -> str:
            text = _("Wrote {count} DICOM files to {folder}.").format(count=len(export.files), folder=export.folder)
            return "\n".join((text, *export.notes))

        self.session.run(work, done)

    # SlicerRT

    def onSlicerRtPlan(self, *_unused: object) -> None:
        """Add the plan as one of SlicerRT."""
        planNode = self.session.planNode

        def done(made: Any) -> str:
            node, notes = made
            return "\n".join((_("{name} is in External Beam Planning.").format(name=node.GetName()), *notes))

        self.session.run(lambda progress: self.session.logic.toSlicerRT(planNode), done)

    def onSlicerRtDvh(self, *_unused: object) -> None:
        """Add the DVHs as SlicerRT shows them."""
        planNode = self.session.planNode
        self.session.run(
            lambda progress: self.session.logic.dvhToSlicerRT(planNode, None, progress),
            _("The DVHs are in SlicerRT's Dose Volume Histogram module."),
        )

    def _reports(self) -> ReportLogic:
        # the session gives its logic a thread to work in; this one takes the same
        self._reportLogic.background = self.session.logic.background
        return self._reportLogic

    def _folder(self, *, mayBeMade: bool = False) -> Path | None:
        text = str(self.parameters.folder or "").strip()
        if not text:
            self.session.say(_("Choose the folder that the files shall go to."))
            return None
        folder = Path(text)
        if not mayBeMade and not folder.is_dir():
            self.session.say(_("There is no folder {folder}; make it, or choose another.").format(folder=folder))
            return None
        return folder

    def _write(self, ending: str, write: Callable[[Path, Progress], Path]) -> Path | None:
        """Write one file named after the plan; asks before one that exists is replaced."""
        folder = self._folder()
        if folder is None:
            return None
        planNode = self.session.planNode
        name = _NOT_IN_FILE_NAMES.sub("_", planNode.GetName()) if planNode is not None else "RTPlanning"
        path = folder / f"{name}_{ending}"
        if path.exists() and not slicer.util.confirmYesNoDisplay(
            _("{file} exists. Replace it?").format(file=path), _("RT Planning")
        ):
            self.session.say(_("Nothing was written."))
            return None
        return self.session.run(
            lambda progress: write(path, progress), lambda written: _("Wrote {file}.").format(file=written)
        )


def _reason(planNode: Any) -> str:
    """Why nothing can be written of a plan; empty where it can."""
    if planNode is None:
        return _("Choose a plan, or make one.")
    if planNode.GetNodeReference(DOSE) is None:
        return _("The plan has no dose yet; calculate it first.")
    if not isDoseCurrent(planNode):
        return _("{changes}; calculate the dose again before it is written.").format(changes=changesText(planNode))
    return ""


def _slicerRtMissing() -> str:
    """Why the plan cannot be handed to SlicerRT; empty where it can."""
    try:
        slicerRtClass(DVH_NODE)
    except PlanError as error:
        return str(error)
    return ""
