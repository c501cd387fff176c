"""The logic of a plan's documents: its report, its tables and itself as files."""

from __future__ import annotations

from pathlib import Path

from DoseEngineLib.background import Background, at_once
from DoseEngineLib.mrml.patient_nodes import readPatient
from DoseEngineLib.mrml.plan_node import (
    REFERENCE_VOLUME,
    SEGMENTATION,
    deliveredPlan,
    goalsOf,
    referencedNode,
)
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.evaluation.plan_checks import check_plan
from RTPlanningLib.mrml.case_nodes import caseFromNodes
from RTPlanningLib.mrml.plan_dose_result import planDoseResult
from RTPlanningLib.mrml.plan_evaluation import PlanDvhs, currentDose, planDvhs, planGoals
from RTPlanningLib.report.dvh_csv import dvh_csv
from RTPlanningLib.report.goals_csv import goals_csv
from RTPlanningLib.report.plan_json import plan_json
from RTPlanningLib.report.text_file import write_text_file


class ReportLogic:
    """Writes what a plan with its dose comes to; the scene is not changed.

    Files are there whole or not at all; one that exists is replaced.

    Parameters
    ----------
    scene : vtkMRMLScene

    Attributes
    ----------
    background : Background
        Runs the pure work; a panel sets it so that its events turn meanwhile.
    """

    def __init__(self, scene) -> None:
        self.scene = scene
        self.background: Background = at_once

    def writeReport(
        self, planNode, path: str | Path, *, picture3d: bool = False, progress: Progress | None = None
    ) -> Path:
        """Write the HTML report of a plan, as ``rtplanning run`` does; it needs matplotlib and jinja2.

        Parameters
        ----------
        planNode : vtkMRMLScriptedModuleNode
        path : path
        picture3d : bool
            With a picture of structures, beams and isodoses; drawn from the scene in the calling thread.
        progress : callable, optional

        Returns
        -------
        Path

        Raises
        ------
        PlanError
            No dose, or a plan that was changed since.
        OutputError
            A folder that cannot be written to.
        """
        report = part(progress, 0.0, 1.0)
        report(0.0, "Report: reading plan, CT and dose")
        result = planDoseResult(planNode, withBeams=True)
        volumeNode = referencedNode(planNode, REFERENCE_VOLUME, "CT volume")
        segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation", optional=True)
        case = caseFromNodes(volumeNode, segmentationNode)
        makePatient = readPatient(volumeNode, segmentationNode)
        goalTexts = goalsOf(planNode)
        view_3d = _picture(planNode) if picture3d else None
        notes = []
        if any(not structure.is_empty for structure in case.structures):
            ofPlan = planDvhs(planNode, None, part(report, 0.05, 0.3), self.background)
            notes += [f"{name}: {note}" for name, note in ofPlan.left_out.items()]
        else:
            ofPlan = PlanDvhs({}, {})
            notes.append("The case has no structures: there are no DVHs, and goals are not judged.")
        goals = planGoals(planNode, None, ofPlan, part(report, 0.3, 0.4), self.background)

        def draw(told: Progress) -> Path:
            # matplotlib and jinja2 are not needed, and in the desktop not there, before a report is written
            from RTPlanningLib.report.html_report import write_report
            from RTPlanningLib.report.plan_report import plan_report

            told(0.0, "Report: checking the plan")
            checks = check_plan(makePatient(), result.plan, result, goals=goalTexts)
            data = plan_report(
                case, result, ofPlan.dvhs, goals, checks, view_3d=view_3d, notes=notes, progress=part(told, 0.2, 0.95)
            )
            write_report(path, data)
            told(1.0, "Report written")
            return Path(path)

        return self.background(draw, part(report, 0.4, 1.0))

    def writeDvhs(self, planNode, path: str | Path, progress: Progress | None = None) -> Path:
        """Write a plan's DVHs as CSV, in the columns that SlicerRT writes; errors as `writeReport`."""
        report = part(progress, 0.0, 1.0)
        ofPlan = planDvhs(planNode, None, part(report, 0.0, 0.8), self.background)
        return self.background(lambda told: write_text_file(path, dvh_csv(ofPlan.dvhs)), part(report, 0.8, 1.0))

    def writeGoals(self, planNode, path: str | Path, progress: Progress | None = None) -> Path:
        """Write a plan's goals and what it achieves as CSV; errors as `writeReport`."""
        results = planGoals(planNode, None, None, progress, self.background)
        return write_text_file(path, goals_csv(results))

    def writePlan(self, planNode, path: str | Path) -> Path:
        """Write a plan as delivered, every beam with its MU, as JSON; errors as `writeReport`."""
        currentDose(planNode)
        return write_text_file(path, plan_json(deliveredPlan(planNode)))


def _picture(planNode) -> bytes:
    import tempfile

    from RTPlanningLib.display.view3d import renderPlan, writePng

    with tempfile.TemporaryDirectory() as folder:
        return writePng(renderPlan(planNode), Path(folder) / "view3d.png").read_bytes()
