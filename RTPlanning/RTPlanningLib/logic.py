"""The logic of the whole workflow on nodes: case, plan, dose, DVH, goals, isodoses, beams, scene files.

It runs unchanged in desktop Slicer (``RTPlanningLogic(slicer.mrmlScene)``) and headless
(``RTPlanningLogic(headless.start())``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DoseEngineLib.background import Background
from DoseEngineLib.calibration import CalibrationCurve
from DoseEngineLib.engine import DoseResult
from DoseEngineLib.errors import EvaluationError, PlanError
from DoseEngineLib.logic import DoseEngineLogic
from DoseEngineLib.mrml.plan_node import (
    SEGMENTATION,
    createPlanNode,
    deliveredPlan,
    planFromNode,
    planNodes,
    referencedNode,
    setGoals,
    setPlan,
)
from DoseEngineLib.mrml.volumes import arrayFromVolume
from DoseEngineLib.plan import Plan, Structure
from DoseEngineLib.progress import Progress, part
from OptimizerLib.fluence_planning import FluencePlan, FluenceSettings
from OptimizerLib.logic import OptimizerLogic
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.solvers import IterationState
from RTPlanningLib.case import Case
from RTPlanningLib.case_status import StatusLine
from RTPlanningLib.display.isodose_levels import default_levels, levels_in_Gy, levels_in_percent
from RTPlanningLib.display.isodose_settings import IsodoseSetting, default_settings, visible_levels
from RTPlanningLib.evaluation.dose_figures import DoseFigure
from RTPlanningLib.evaluation.dvh import Dvh
from RTPlanningLib.evaluation.goals import GoalResult, parse_goal
from RTPlanningLib.evaluation.metrics import parse_metric
from RTPlanningLib.mrml.beam_model_nodes import createBeamModelNodes
from RTPlanningLib.mrml.case_nodes import caseFromNodes, createCaseNodes
from RTPlanningLib.mrml.case_status_nodes import readCaseStatus
from RTPlanningLib.mrml.dose_figures_node import createDoseFiguresTable, doseFiguresOf
from RTPlanningLib.mrml.dvh_metric_columns import addMetricColumns
from RTPlanningLib.mrml.dvh_nodes import CHART, METRICS_TABLE, createDvhNodes, dvhNotes
from RTPlanningLib.mrml.evaluated_state import DVH_PARTS, GOALS, evaluatedState
from RTPlanningLib.mrml.goals_node import GOALS_TABLE, createGoalsTable
from RTPlanningLib.mrml.isodose_node import createIsodoseModel, isodoseSettings, setIsodoseSettings
from RTPlanningLib.mrml.plan_evaluation import (
    PlanDvhs,
    currentDose,
    planDoseFigures,
    planDvhs,
    planGoals,
    planStructures,
)
from RTPlanningLib.mrml.scene_file import loadScene, saveScene

if TYPE_CHECKING:
    from RTPlanningLib.dicom.export import DicomExport, DicomOptions
    from RTPlanningLib.exercises.exercise import Exercise, StepResult
    from RTPlanningLib.mrml.dicom_import import ImportedNodes


@dataclass(frozen=True)
class PlanEvaluation:
    """What a plan's dose comes to.

    Attributes
    ----------
    dvhs : dict of structure name to Dvh
    goals : list of GoalResult
    figures : tuple of DoseFigure
    isodoseNode : vtkMRMLModelNode
    """

    dvhs: dict[str, Dvh]
    goals: list[GoalResult]
    figures: tuple[DoseFigure, ...]
    isodoseNode: Any


class RTPlanningLogic:
    """Everything a planning session does, on nodes of one scene.

    Parameters
    ----------
    scene : vtkMRMLScene
    """

    def __init__(self, scene) -> None:
        self.scene = scene
        self.doseEngineLogic = DoseEngineLogic(scene)
        self.optimizerLogic = OptimizerLogic(scene, self.doseEngineLogic)

    @property
    def background(self) -> Background:
        """Runs the pure work of this logic and of those it drives; a panel sets it so that its events turn."""
        return self.doseEngineLogic.background

    @background.setter
    def background(self, background: Background) -> None:
        self.doseEngineLogic.background = background

    @property
    def lastResult(self) -> DoseResult | None:
        """Result of the last dose calculation of this logic."""
        return self.doseEngineLogic.lastResult

    # Case

    def loadCase(self, case: Case):
        """Add a case's CT and structures to the scene; returns ``(volumeNode, segmentationNode)``."""
        return createCaseNodes(self.scene, case)

    def caseFromNodes(self, volumeNode, segmentationNode=None) -> Case:
        """Return the case a CT volume and a segmentation describe."""
        return caseFromNodes(volumeNode, segmentationNode)

    def caseStatus(self, volumeNode, segmentationNode=None, progress: Progress | None = None) -> tuple[StatusLine, ...]:
        """Look a case over before planning; see `RTPlanningLib.case_status.case_status`.

        What cannot be read is a line of its own, with what to do; it raises nothing but `Cancelled`.
        """
        return self.background(
            readCaseStatus(volumeNode, segmentationNode, part(progress, 0.0, 0.5)), part(progress, 0.5, 1.0)
        )

    # Plan

    def createPlan(self, plan: Plan, volumeNode, segmentationNode=None, goals: Sequence[str] = ()):
        """Add a plan node for a CT and its structures, with clinical goals when given.

        Raises
        ------
        EvaluationError
            A goal that cannot be read; then nothing was added.
        """
        for goal in goals:
            parse_goal(goal)
        planNode = createPlanNode(self.scene, plan, volumeNode, segmentationNode)
        setGoals(planNode, goals)
        return planNode

    def importDicomPlan(
        self, file: str | Path, volumeNode, segmentationNode=None, *, target: str | None = None, **wishes
    ) -> tuple[object, tuple[str, ...]]:
        """Read a photon RT Plan into a plan node for a CT and its structures; returns ``(planNode, notes)``.

        Parameters
        ----------
        file : path
        volumeNode : vtkMRMLScalarVolumeNode
            The CT it was planned on.
        segmentationNode : vtkMRMLSegmentationNode, optional
        target : str, optional
            Structure of the prescription, where the plan calls it otherwise.
        **wishes
            As in `RTPlanningLib.dicom.rt_plan_reader.read_rt_plan`: ``machine``, ``allow`` and so on.

        Raises
        ------
        PlanningError
            A plan that cannot be read or is for another CT; then nothing was added.
        """
        # pydicom is not needed before something is imported
        from RTPlanningLib.dicom.rt_plan_reader import read_rt_plan
        from RTPlanningLib.dicom.rt_plan_set import check_belongs, with_target

        read = read_rt_plan(file, **wishes)
        case = caseFromNodes(volumeNode, segmentationNode)
        notes = list(read.notes)
        if case.frame_of_reference_uid:
            check_belongs(read, case, notes)
        else:
            notes.append("The CT volume names no frame of reference; the plan was taken to be in its coordinates.")
        plan = with_target(read.plan, case.structures, target, notes)
        return self.createPlan(plan, volumeNode, segmentationNode), tuple(notes)

    def planNodes(self) -> list:
        """Return every plan node of the scene."""
        return planNodes(self.scene)

    def planFromNode(self, planNode) -> Plan:
        """Return the plan a node holds, as the user made it."""
        return planFromNode(planNode)

    def deliveredPlan(self, planNode) -> Plan:
        """Return the plan as delivered: every beam with the MU of its calculated dose."""
        return deliveredPlan(planNode)

    def updatePlan(self, planNode, plan: Plan) -> None:
        """Store a changed plan; a dose calculated before stays, but is no longer the plan's until calculated anew."""
        setPlan(planNode, plan)

    def setGoals(self, planNode, goals: Sequence[str]) -> None:
        """Store clinical goals with a plan; a goal that cannot be read raises `EvaluationError`, nothing is stored."""
        for goal in goals:
            parse_goal(goal)
        setGoals(planNode, goals)

    # Dose

    def calculateDose(self, planNode, progress: Progress | None = None, *, calibration: CalibrationCurve | None = None):
        """Calculate a plan's dose; see `DoseEngineLib.logic.DoseEngineLogic.calculateDose`."""
        return self.doseEngineLogic.calculateDose(planNode, progress, calibration=calibration)

    def doseVolume(self, planNode):
        """Return the plan's dose volume node; raises `PlanError` when there is none or the plan was changed since."""
        return currentDose(planNode)

    def optimizeFluence(
        self,
        planNode,
        goals: PlanningGoals,
        settings: FluenceSettings | None = None,
        progress: Progress | None = None,
        callback: Callable[[IterationState], None] | None = None,
        **options,
    ) -> FluencePlan:
        """Optimize fluence, leaves and dose of a plan; see `OptimizerLib.logic.OptimizerLogic.optimizeFluence`."""
        return self.optimizerLogic.optimizeFluence(planNode, goals, settings, progress, callback, **options)

    # Evaluation

    def calculateDvh(
        self,
        planNode,
        structureNames: Sequence[str] | None = None,
        progress: Progress | None = None,
        *,
        structures: Sequence[Structure] | None = None,
    ) -> dict[str, Dvh]:
        """Calculate the DVHs of a plan's structures and put tables, metrics and chart into the scene.

        Structures that are empty or lie outside the dose grid altogether are left out unless named. One that reaches
        out of it is evaluated where it is covered, and its `Dvh.covered_fraction` says so. `dvhNotes` tells both, and
        so does the table ``<plan>_DvhNotes``.

        Parameters
        ----------
        planNode : vtkMRMLScriptedModuleNode
        structureNames : sequence of str, optional
            By default every structure.
        progress : callable, optional
        structures : sequence of Structure, optional
            The plan's, where they were read already.

        Returns
        -------
        dict of structure name to Dvh

        Raises
        ------
        PlanError
            No dose, no segmentation, or a plan changed after its dose was calculated.
        EvaluationError
            A named structure that does not exist or cannot be evaluated, or no structure to evaluate at all.
        """
        ofPlan = planDvhs(planNode, structureNames, progress, self.background, structures)
        segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation")
        createDvhNodes(
            planNode, currentDose(planNode), segmentationNode, ofPlan.dvhs, notes=ofPlan.notes, state=ofPlan.state
        )
        return dict(ofPlan.dvhs)

    def evaluateGoals(
        self,
        planNode,
        goals: Sequence[str] | None = None,
        dvhs: dict[str, Dvh] | None = None,
        progress: Progress | None = None,
    ) -> list[GoalResult]:
        """Judge clinical goals and put the table ``<plan>_Goals`` into the scene.

        Parameters
        ----------
        planNode : vtkMRMLScriptedModuleNode
        goals : sequence of str, optional
            By default those stored with the plan.
        dvhs : dict of structure name to Dvh, optional
            What `calculateDvh` returned for the present dose; else they are calculated.
        progress : callable, optional

        Raises
        ------
        PlanError, EvaluationError
            As `calculateDvh`, and for a goal that cannot be read.
        """
        ofPlan, state = None, evaluatedState(planNode, (*DVH_PARTS, GOALS))
        if dvhs is not None:
            ofPlan = PlanDvhs(dvhs, {name: note for name, note in dvhNotes(planNode).items() if name not in dvhs})
        results = planGoals(planNode, goals, ofPlan, progress, self.background)
        # judged on goals of the caller's, the table does not stand for the plan's own
        createGoalsTable(planNode, currentDose(planNode), results, state if goals is None else None)
        return results

    def calculateDoseFigures(
        self,
        planNode,
        dvhs: dict[str, Dvh] | None = None,
        progress: Progress | None = None,
        *,
        structures: Sequence[Structure] | None = None,
    ) -> tuple[DoseFigure, ...]:
        """Sum up a plan's dose in a few figures and put the table ``<plan>_DoseFigures`` into the scene.

        Parameters
        ----------
        planNode : vtkMRMLScriptedModuleNode
        dvhs : dict of structure name to Dvh, optional
            What `calculateDvh` returned for the present dose; else they are calculated.
        progress : callable, optional
        structures : sequence of Structure, optional
            The plan's, where they were read already.

        Raises
        ------
        PlanError, EvaluationError
            As `calculateDvh`, and for a dose that is zero everywhere.
        """
        if dvhs is None:
            dvhs = dict(planDvhs(planNode, None, part(progress, 0.0, 0.9), self.background, structures).dvhs)
        figures = planDoseFigures(planNode, dvhs, part(progress, 0.9, 1.0), self.background, structures)
        createDoseFiguresTable(planNode, currentDose(planNode), figures)
        return figures

    def doseFigures(self, planNode) -> tuple[DoseFigure, ...]:
        """Return the figures that were calculated of the plan's present dose; none where there are none."""
        return doseFiguresOf(planNode)

    def evaluatePlan(self, planNode, progress: Progress | None = None) -> PlanEvaluation:
        """Evaluate a plan's dose in one go: DVHs, goals, figures and isodoses, all of them nodes of the scene.

        A plan without structures has no DVHs and no goals.

        Raises
        ------
        PlanError, EvaluationError
            As `calculateDvh` and `calculateDoseFigures`.
        """
        currentDose(planNode)
        dvhs, goals, structures = {}, [], ()
        if referencedNode(planNode, SEGMENTATION, "segmentation", optional=True) is not None:
            structures = planStructures(planNode, part(progress, 0.0, 0.2))
            dvhs = self.calculateDvh(planNode, progress=part(progress, 0.2, 0.6), structures=structures)
            goals = self.evaluateGoals(planNode, dvhs=dvhs, progress=part(progress, 0.6, 0.75))
        figures = self.calculateDoseFigures(planNode, dvhs, part(progress, 0.75, 0.85), structures=structures)
        isodoses = self.createIsodoses(
            currentDose(planNode), reference_Gy=_prescribed_Gy(planNode), progress=part(progress, 0.85, 1.0)
        )
        return PlanEvaluation(dvhs, goals, figures, isodoses)

    def dvhChart(self, planNode):
        """Return the plan's DVH chart node, or None."""
        return planNode.GetNodeReference(CHART)

    def dvhNotes(self, planNode) -> dict[str, str]:
        """Return what a reader of the plan's DVHs has to know, by structure: left out, or only partly in the dose."""
        return dvhNotes(planNode)

    def goalsTable(self, planNode):
        """Return the plan's table of judged goals, or None."""
        return planNode.GetNodeReference(GOALS_TABLE)

    def dvhMetricsTable(self, planNode):
        """Return the plan's DVH metrics table node, or None."""
        return planNode.GetNodeReference(METRICS_TABLE)

    def addDvhMetrics(self, planNode, metrics: Sequence[str], progress: Progress | None = None) -> list[str]:
        """Add columns with further metrics to the plan's DVH metrics table; returns the names of the columns.

        Parameters
        ----------
        planNode : vtkMRMLScriptedModuleNode
            With current DVHs.
        metrics : sequence of str
            In the grammar of `DoseEngineLib.dose_metrics`, e.g. ``D2cc``, ``V20Gy[%]``.
        progress : callable, optional

        Raises
        ------
        EvaluationError
            A metric that cannot be read, or that needs a prescription where there is none. Then nothing was added.
        """
        read = [parse_metric(text) for text in metrics]
        ofPlan = planDvhs(planNode, None, progress, self.background)
        return addMetricColumns(planNode, read, ofPlan, _prescribed_Gy(planNode))

    # Display

    def createIsodoses(
        self,
        doseNode,
        levels_Gy: Sequence[float] | None = None,
        *,
        levels_percent: Sequence[float] | None = None,
        reference_Gy: float | None = None,
        progress: Progress | None = None,
    ):
        """Show isodoses of a dose volume as a model; returns the model node.

        Parameters
        ----------
        doseNode : vtkMRMLScalarVolumeNode
        levels_Gy : sequence of float, optional
        levels_percent : sequence of float, optional
            Of ``reference_Gy``. Without any levels: those that were set for the dose (`setIsodoseSettings`), or the
            clinical default ones.
        reference_Gy : float, optional
            Normally the prescribed dose.
        progress : callable, optional
            When it raises, the former isodoses stay.
        """
        if doseNode is None:
            raise PlanError("There is no dose to draw isodoses of; calculate the dose first.")
        if levels_Gy is not None and levels_percent is not None:
            raise EvaluationError("Give isodose levels either in Gy or in percent, not both.")
        if levels_percent is not None:
            if reference_Gy is None:
                raise EvaluationError("Isodose levels in percent need the reference dose they are percent of.")
            levels = levels_in_percent(reference_Gy, levels_percent)
        elif levels_Gy is not None:
            levels = levels_in_Gy(levels_Gy)
        else:
            settings = isodoseSettings(doseNode)
            if settings is None:
                levels = default_levels(reference_Gy, float(arrayFromVolume(doseNode).max()))
            else:
                levels = visible_levels(settings, reference_Gy)
        return createIsodoseModel(doseNode, levels, progress)

    def isodoseSettings(self, planNode) -> tuple[IsodoseSetting, ...]:
        """Return the isodose levels of a plan's dose: those that were set, or the clinical default ones.

        Raises
        ------
        PlanError
            No dose, or a plan that was changed since.
        SchemaError
            Stored levels that are damaged.
        """
        doseNode = currentDose(planNode)
        settings = isodoseSettings(doseNode)
        if settings is not None:
            return settings
        return default_settings(_prescribed_Gy(planNode), float(arrayFromVolume(doseNode).max()))

    def setIsodoseSettings(self, planNode, settings: Sequence[IsodoseSetting] | None, progress: Progress | None = None):
        """Set the isodose levels of a plan's dose and draw them; returns the model node.

        They are kept with the dose: a saved scene has them, and a dose calculated anew is drawn with them.

        Parameters
        ----------
        planNode : vtkMRMLScriptedModuleNode
        settings : sequence of IsodoseSetting or None
            None: the clinical default ones.
        progress : callable, optional
            When it raises, the former levels stay.

        Raises
        ------
        PlanError, EvaluationError
            No current dose; a level in % without a prescription, or two at the same dose. Then nothing was changed.
        """
        doseNode, prescribed_Gy = currentDose(planNode), _prescribed_Gy(planNode)
        wanted = settings
        if wanted is None:
            wanted = default_settings(prescribed_Gy, float(arrayFromVolume(doseNode).max()))
        model = createIsodoseModel(doseNode, visible_levels(wanted, prescribed_Gy), progress)
        setIsodoseSettings(doseNode, settings)
        return model

    def createBeamModels(self, planNode) -> list:
        """Show the plan's beams as models under their transforms; returns the model nodes in the order of the beams."""
        return createBeamModelNodes(planNode)

    # DICOM

    def importDicom(
        self, folder: str | Path, *, throughSlicerRT: bool = True, progress: Progress | None = None, **choices
    ) -> ImportedNodes:
        """Read a DICOM folder into nodes: CT, structures, plans and doses; all but the CT may be missing.

        Doses with structures are read without a CT, too, then without plans: ``volumeNode`` is None, a note says why.

        On failure and cancel the scene stays as it was. Where SlicerRT is there, structures and doses are loaded
        through its DICOM plug-in.

        Parameters
        ----------
        folder : path
        throughSlicerRT : bool
        progress : callable, optional
        **choices
            As in `RTPlanningLib.dicom.planning_folder.read_planning_folder`: which plans, doses, CT and structure set,
            and how the plans are read (``plan_uids``, ``machine``, ``allow`` and so on).

        Returns
        -------
        ImportedNodes
            ``volumeNode``, ``segmentationNode``, ``planNodes``, ``doseNodes`` and ``notes`` for the user.

        Raises
        ------
        PlanningError
            A folder without a CT that lacks doses or structures, several CTs where none was chosen, damaged files;
            the text says what to do.
        """
        # pydicom is not needed before something is imported
        from RTPlanningLib.dicom.planning_folder import read_planning_folder
        from RTPlanningLib.mrml.dicom_import import createImportedNodes

        read = self.background(
            lambda report: read_planning_folder(folder, progress=report, **choices), part(progress, 0.0, 0.9)
        )
        return createImportedNodes(self.scene, read, throughSlicerRT=throughSlicerRT, progress=part(progress, 0.9, 1.0))

    def exportDicom(
        self,
        node,
        folder: str | Path,
        segmentationNode=None,
        options: DicomOptions | None = None,
        *,
        force: bool = False,
        progress: Progress | None = None,
    ) -> DicomExport:
        """Write a plan with its CT, structures and doses, or a CT with its structures, as DICOM objects into a folder.

        All of it is written, or on failure and cancel nothing. A CT that was read from DICOM is referred to, not
        written again, unless the options ask for it.

        Parameters
        ----------
        node : vtkMRMLScriptedModuleNode or vtkMRMLScalarVolumeNode
            A plan with its dose, or a CT volume.
        folder : path
            Files there that an earlier export did not write are never lost.
        segmentationNode : vtkMRMLSegmentationNode, optional
            Of a CT volume; a plan has its own.
        options : DicomOptions, optional
            Doses of the beams, EQD2, CT, anonymisation.
        force : bool
            Overwrite files whoever wrote them.
        progress : callable, optional

        Raises
        ------
        PlanningError
            A plan without a dose or changed since, what DICOM cannot hold, a folder that cannot be written to.
        """
        # the packages for it are not needed, and in the desktop not there, before something is exported
        from RTPlanningLib.dicom.export import export_dicom
        from RTPlanningLib.mrml.dicom_export import nodesToExport

        found = nodesToExport(node, segmentationNode, options, part(progress, 0.0, 0.2), self.background)

        def write(told: Progress) -> DicomExport:
            return export_dicom(
                found.case, folder, plan=found.plan, doses=found.doses, options=options, force=force, progress=told
            )

        return self.background(write, part(progress, 0.2, 1.0))

    # Exercises

    def checkExercise(
        self,
        exercise: Exercise,
        stepNumber: int,
        planNode=None,
        volumeNode=None,
        segmentationNode=None,
        progress: Progress | None = None,
    ) -> StepResult:
        """Check what a learner has made against a step of an exercise; nothing is added to the scene.

        Parameters
        ----------
        exercise : Exercise
            As `RTPlanningLib.exercises.exercise.load_exercise` returns it.
        stepNumber : int
            From 0.
        planNode : vtkMRMLScriptedModuleNode, optional
            The plan to be checked; further plans of the scene for its CT are those it is compared with.
        volumeNode, segmentationNode : optional
            CT and structures, where there is no plan yet.
        progress : callable, optional

        Raises
        ------
        SchemaError
            A step that the exercise does not have, or a damaged plan node.
        """
        from RTPlanningLib.exercises.exercise import judge_step
        from RTPlanningLib.mrml.learner_work import learnerWork

        work = learnerWork(self.scene, planNode, volumeNode, segmentationNode, progress, self.background)
        return judge_step(exercise, stepNumber, work)

    # SlicerRT

    def toSlicerRT(self, planNode) -> tuple[object, tuple[str, ...]]:
        """Add a plan node of SlicerRT, with beams and MLC tables, for a plan; returns ``(rtPlanNode, notes)``.

        Each call makes new nodes. What SlicerRT's nodes cannot hold (further control points, MU, machine, leaf model,
        fractions, goals) is kept with its plan node and comes back by `fromSlicerRT`; the notes say what SlicerRT does
        not show. The dose is not handed over: SlicerRT writes over the output volume of its plans.

        Raises
        ------
        PlanError
            SlicerRT is not installed, or the plan has several isocentres. Then nothing was added.
        MachineError
            A machine that is not here.
        """
        # these are needed only where SlicerRT is
        from RTPlanningLib.mrml.slicerrt_conversion import toSlicerRtPlan

        return toSlicerRtPlan(planNode)

    def fromSlicerRT(self, rtPlanNode, *, machine: str | None = None) -> tuple[object, tuple[str, ...]]:
        """Add a plan node for a plan of SlicerRT; returns ``(planNode, notes)``.

        One that `toSlicerRT` made gives the very plan again, with what was edited in SlicerRT in place of the plan's
        own and a note on each such change. Any other is taken as its nodes describe it.

        Parameters
        ----------
        rtPlanNode : vtkMRMLRTPlanNode
        machine : str, optional
            Machine of the beams of a plan that SlicerRT made; ``generic_6mv`` unless given.

        Raises
        ------
        PlanError
            No such node, an ion plan, a plan without CT or isocentre, or values that make no plan; nothing was added.
        """
        from RTPlanningLib.mrml.slicerrt_conversion import fromSlicerRtPlan

        return fromSlicerRtPlan(self.scene, rtPlanNode, machine)

    def dvhToSlicerRT(self, planNode, structureNames: Sequence[str] | None = None, progress: Progress | None = None):
        """Calculate a plan's DVHs and add the node by which SlicerRT's DVH module shows them; returns that node.

        *Compute* in that module writes its own values over these tables.

        Raises
        ------
        PlanningError
            SlicerRT is not installed, and as `calculateDvh`.
        """
        from RTPlanningLib.mrml.slicerrt_nodes import DVH_NODE, createSlicerRtDvhNode, slicerRtClass

        slicerRtClass(DVH_NODE)
        self.calculateDvh(planNode, structureNames, progress)
        return createSlicerRtDvhNode(
            currentDose(planNode),
            referencedNode(planNode, SEGMENTATION, "segmentation"),
            self.dvhMetricsTable(planNode),
            self.dvhChart(planNode),
        )

    # Scene

    def saveScene(self, path: str | Path, progress: Progress | None = None) -> Path:
        """Write the whole scene to an ``.mrb`` file."""
        return saveScene(self.scene, path, progress, self.background)

    def loadScene(self, path: str | Path) -> None:
        """Replace the scene's content by that of an ``.mrb`` file."""
        loadScene(self.scene, path)


def _prescribed_Gy(planNode) -> float | None:
    prescription = planFromNode(planNode).prescription
    return prescription.dose_Gy if prescription else None
