"""The whole road in one call: a case and a plan in; dose, DVHs, goals, isodoses and a report out, in one folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from DoseEngineLib.errors import CaseError, PlanFileError
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.case import Case
from RTPlanningLib.evaluation.dvh import Dvh
from RTPlanningLib.evaluation.goals import VERDICTS, GoalResult
from RTPlanningLib.evaluation.plan_checks import CheckResult, check_plan, summary_of_checks
from RTPlanningLib.headless import HeadlessSlicer
from RTPlanningLib.output_folder import OutputFolder
from RTPlanningLib.plan_file import DEFAULT_SPACING_MM, PlanRequest, parse_plan_file
from RTPlanningLib.plan_templates import conformal_request
from RTPlanningLib.report.checks_csv import checks_csv
from RTPlanningLib.report.dvh_csv import write_dvh_csv
from RTPlanningLib.report.goals_csv import goals_csv
from RTPlanningLib.report.html_report import write_report
from RTPlanningLib.report.optimization_section import OptimizationSection
from RTPlanningLib.report.plan_json import plan_json
from RTPlanningLib.report.plan_report import draw_plan_slices, plan_report
from RTPlanningLib.report.text_file import write_text_file
from RTPlanningLib.samples import load_sample, sample_plan

if TYPE_CHECKING:
    from RTPlanningLib.dicom.export import DicomExport, DicomOptions
    from RTPlanningLib.logic import RTPlanningLogic

REPORT, DOSE, DVH, GOALS, SCENE = "report.html", "dose.nrrd", "dvh.csv", "goals.csv", "scene.mrb"
PLAN_FILE, PLAN_DELIVERED = "plan.toml", "plan.json"
DICOM_FOLDER = "dicom"
SLICES, VIEW_3D, CHECKS = "slices.png", "view3d.png", "checks.csv"
_DICOM_FILES = ("CT_0001.dcm", "RTSTRUCT.dcm", "RTPLAN.dcm", "RTDOSE.dcm")
OUTPUTS = (REPORT, SLICES, VIEW_3D, DOSE, DVH, GOALS, CHECKS, SCENE, PLAN_FILE, PLAN_DELIVERED)


@dataclass(frozen=True, eq=False)
class PlanningResult:
    """What a run made.

    Attributes
    ----------
    folder : Path
    files : tuple of Path
    case : Case
        With the goals and density overrides that were used.
    plan : Plan
        As delivered: every beam with its MU a fraction.
    dvhs : dict of structure name to Dvh
    goals : tuple of GoalResult
    checks : tuple of CheckResult
        What was checked before sign-off.
    notes : tuple of str
        What the user should know: decisions of the case reader, parts that could not be made.
    seconds : float
        Wall time.
    """

    folder: Path
    files: tuple[Path, ...]
    case: Case
    plan: Plan
    dvhs: dict[str, Dvh]
    goals: tuple[GoalResult, ...]
    checks: tuple[CheckResult, ...]
    notes: tuple[str, ...]
    seconds: float

    def headlines(self) -> list[str]:
        """The main numbers in words: dose of the target, goals and checks passed and failed."""
        lines = []
        prescription = self.plan.prescription
        target = self.dvhs.get(prescription.target) if prescription and prescription.target else None
        if target is not None:
            d95 = target.dose_at_volume_percent(95.0)
            lines.append(
                f"{target.structure_name}: D95% {d95:.2f} Gy ({100.0 * d95 / prescription.dose_Gy:.1f} % of the "
                f"prescribed {prescription.dose_Gy:g} Gy), mean {target.mean_Gy:.2f} Gy, max {target.max_Gy:.2f} Gy"
            )
        if self.goals:
            verdicts = [goal.verdict for goal in self.goals]
            counts = [f"{verdicts.count(word)} {word}" for word in VERDICTS if word in verdicts]
            lines.append(f"Goals: {', '.join(counts)}")
        lines.append(f"Checks before sign-off: {summary_of_checks(self.checks)}")
        return lines


def read_case_from(
    *,
    ct: Path | None = None,
    segmentation: Path | None = None,
    sample: str | None = None,
    request: PlanRequest | None = None,
    ct_series_uid: str | None = None,
    structure_set_uid: str | None = None,
    progress: Progress | None = None,
) -> Case:
    """Read a case from a DICOM folder, a volume file (with a segmentation), or the built-in samples.

    Parameters
    ----------
    ct : path, optional
        A folder of DICOM files, or a volume file.
    segmentation : path, optional
        Segmentation of a volume file.
    sample : str, optional
        Name of a sample, in place of ``ct``.
    request : PlanRequest, optional
        Says which series, patient position and structures are meant.
    ct_series_uid, structure_set_uid : str, optional
        Which series and structure set of a DICOM folder are meant, without a request.

    Raises
    ------
    CaseError
        Nothing there, or nothing that can be read safely.
    """
    if (ct is None) == (sample is None):
        raise CaseError("Give either a CT (folder or file) or the name of a built-in case.")
    if sample is not None:
        return load_sample(sample)
    if not ct.exists():
        raise CaseError(f"There is no CT at {ct}; give a DICOM folder or a volume file.")
    position = request.patient_position if request else None
    if ct.is_dir():
        if segmentation is not None:
            raise CaseError("A segmentation file goes with a volume file; a DICOM folder holds its own structure set.")
        from RTPlanningLib.dicom import read_case

        return read_case(
            ct,
            ct_series_uid=request.ct_series_uid if request else ct_series_uid,
            structure_set_uid=request.structure_set_uid if request else structure_set_uid,
            patient_position=position,
            skip_rois=request.skip_rois if request else (),
            progress=progress,
        )
    with HeadlessSlicer():
        from RTPlanningLib.mrml.read_volume_case import readVolumeCase

        return readVolumeCase(ct, segmentation, patient_position=position or "HFS")


def plan_sample(
    name: str,
    out: str | Path,
    *,
    spacing_mm: float | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> PlanningResult:
    """Plan a built-in case with fields fitted to its target; see `plan_case`.

    Parameters
    ----------
    name : str
        A name that `RTPlanningLib.samples.available_samples` lists.
    spacing_mm : float, optional
        Dose grid spacing.
    """
    case = load_sample(name)
    sample = sample_plan(name)
    request = conformal_request(
        sample.target,
        sample.dose_Gy,
        sample.fractions,
        sample.gantry_deg,
        normalization=sample.normalization,
        spacing_mm=DEFAULT_SPACING_MM if spacing_mm is None else spacing_mm,
        patient_position=case.patient_position,
        goals=case.goals,
    )
    return plan_case(case, parse_plan_file(request.to_toml(), f"plan of {name}"), out, force=force, progress=progress)


def plan_case(
    case: Case,
    request: PlanRequest,
    out: str | Path,
    *,
    plan_file: str | Path | None = None,
    dicom: DicomOptions | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> PlanningResult:
    """Plan a case and write everything into a folder: all of it, or on failure and cancel nothing.

    Parameters
    ----------
    case : Case
    request : PlanRequest
    out : path
        Folder for the results; files there that an earlier run did not write are never lost (see `OutputFolder`).
    plan_file : path, optional
        File the request was read from; it is copied. Without it the request is written as one.
    dicom : DicomOptions, optional
        Write the plan, its structures and doses as DICOM objects too, into the folder ``dicom``.
    force : bool
        Overwrite files whoever wrote them.
    progress : callable, optional
        ``progress(fraction, text)``; it may raise `Cancelled`.

    Raises
    ------
    PlanningError
        One of its subclasses, saying what is wrong and what to do.
    """
    if request.optimization is not None:
        raise PlanFileError(
            f"{request.source} has a table [optimization]; run it with: rtplanning optimize. Or leave the table out "
            "and give the beams apertures."
        )

    def calculate(
        logic: RTPlanningLogic, planNode: object, case: Case, folder: Path, progress: Progress
    ) -> OptimizationSection | None:
        logic.calculateDose(planNode, progress)
        return None

    return plan_into_folder(
        case,
        request,
        out,
        calculate,
        OUTPUTS,
        plan_file=plan_file,
        dicom=dicom,
        force=force,
        dose_share=0.65,
        progress=progress,
    )


Calculate = Callable[["RTPlanningLogic", object, Case, Path, Progress], "OptimizationSection | None"]


def plan_into_folder(
    case: Case,
    request: PlanRequest,
    out: str | Path,
    calculate: Calculate,
    outputs: Sequence[str],
    *,
    plan_file: str | Path | None = None,
    dicom: DicomOptions | None = None,
    force: bool = False,
    dose_share: float = 0.65,
    progress: Progress | None = None,
) -> PlanningResult:
    """Walk the road that all plans share, around the step that gives the plan node its dose.

    Parameters
    ----------
    case, request, out, plan_file, dicom, force, progress
        As `plan_case`.
    calculate : callable
        ``calculate(logic, planNode, case, folder, progress)`` leaves the plan node with a dose, may write files of its
        own into the folder, and returns what the report says of an optimization, or None.
    outputs : sequence of str
        Names of all files that may be written.
    dose_share : float
        Part of the time that ``calculate`` takes.
    """
    start = time.perf_counter()
    with OutputFolder(out, force=force, keep=[plan_file] if plan_file else ()) as output:
        output.check([*outputs, *(f"{DICOM_FOLDER}/{name}" for name in (_DICOM_FILES if dicom else ()))])
        staging = output.staging
        case = request.apply_to(case)
        plan = request.build(case)
        if dicom is not None:
            from RTPlanningLib.dicom.export import check_exportable

            check_exportable(case, dicom)
        text = Path(plan_file).read_bytes() if plan_file else request.to_toml().encode()
        (staging / PLAN_FILE).write_bytes(text)
        with HeadlessSlicer() as runtime:
            plan, dvhs, goals, checks, notes = plan_in_scene(
                runtime.scene, case, plan, staging, calculate, dicom, dose_share, part(progress, 0.0, 0.98)
            )
        part(progress, 0.98, 1.0)(1.0, "Writing the results")
        files = output.commit()
    return PlanningResult(
        folder=output.folder,
        files=tuple(files),
        case=case,
        plan=plan,
        dvhs=dvhs,
        goals=tuple(goals),
        checks=tuple(checks),
        notes=notes,
        seconds=time.perf_counter() - start,
    )


def plan_in_scene(
    scene: object,
    case: Case,
    plan: Plan,
    folder: Path,
    calculate: Calculate,
    dicom: DicomOptions | None,
    dose_share: float,
    progress: Progress,
) -> tuple[Plan, dict[str, Dvh], list[GoalResult], list[CheckResult], tuple[str, ...]]:
    """Walk the road on nodes, write the files, and return the delivered plan, its evaluation and notes."""
    from DoseEngineLib.mrml.patient_nodes import patientFromNodes
    from RTPlanningLib.display.view3d import RenderingError, renderPlan, writePng
    from RTPlanningLib.logic import RTPlanningLogic
    from RTPlanningLib.mrml.write_volume import writeVolume

    logic = RTPlanningLogic(scene)
    progress(0.0, "Loading the case")
    volumeNode, segmentationNode = logic.loadCase(case)
    planNode = logic.createPlan(plan, volumeNode, segmentationNode, case.goals)
    optimization = calculate(logic, planNode, case, folder, part(progress, 0.03, dose_share))
    doseNode = logic.doseVolume(planNode)
    delivered = logic.deliveredPlan(planNode)
    progress = part(progress, dose_share, 1.0)
    notes = list(case.notes)
    dvhs: dict[str, Dvh] = {}
    if any(not structure.is_empty for structure in case.structures):
        dvhs = logic.calculateDvh(planNode, progress=part(progress, 0.0, 0.3))
        write_dvh_csv(folder / DVH, dvhs)
        notes += [f"{name}: {note}" for name, note in logic.dvhNotes(planNode).items()]
    else:
        notes.append("The case has no structures: there are no DVHs, and goals are not judged.")
    goals = logic.evaluateGoals(planNode, dvhs=dvhs)
    if goals:
        write_text_file(folder / GOALS, goals_csv(goals))
    patient = patientFromNodes(volumeNode, segmentationNode)
    checks = check_plan(patient, delivered, logic.lastResult, goals=[result.goal for result in goals])
    write_text_file(folder / CHECKS, checks_csv(checks))
    progress(0.3, "Drawing")
    prescription_Gy = delivered.prescription.dose_Gy if delivered.prescription else None
    logic.createIsodoses(doseNode, reference_Gy=prescription_Gy)
    logic.createBeamModels(planNode)
    slices, view_3d = draw_plan_slices(case, logic.lastResult), None
    (folder / SLICES).write_bytes(slices)
    try:
        view_3d = writePng(renderPlan(planNode), folder / VIEW_3D).read_bytes()
    except RenderingError as error:
        # pictures need OpenGL, which a bare machine may lack; dose and report do not
        notes.append(f"There is no 3D picture: {error}")
    data = plan_report(
        case,
        logic.lastResult,
        dvhs,
        goals,
        checks,
        slices=slices,
        view_3d=view_3d,
        notes=notes[len(case.notes) :],
        optimization=optimization,
        progress=part(progress, 0.3, 0.6),
    )
    write_report(folder / REPORT, data)
    progress(0.6, "Saving the scene")
    write_text_file(folder / PLAN_DELIVERED, plan_json(delivered))
    writeVolume(doseNode, folder / DOSE)
    if dicom is not None:
        notes += _write_dicom(planNode, dicom, folder / DICOM_FOLDER, part(progress, 0.6, 0.9))
        progress(0.9, "Saving the scene")
    logic.saveScene(folder / SCENE)
    return delivered, dvhs, goals, checks, tuple(notes)


def _write_dicom(planNode: object, options: DicomOptions, folder: Path, progress: Progress) -> tuple[str, ...]:
    from RTPlanningLib.dicom.export import stage_dicom
    from RTPlanningLib.mrml.dicom_export import nodesToExport

    folder.mkdir()
    found = nodesToExport(planNode, options=options, progress=part(progress, 0.0, 0.2))
    return stage_dicom(
        found.case, folder, plan=found.plan, doses=found.doses, options=options, progress=part(progress, 0.2, 1.0)
    )


def export_scene(
    scene_file: str | Path,
    out: str | Path,
    *,
    plan_name: str | None = None,
    options: DicomOptions | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> DicomExport:
    """Write a plan of a saved scene as DICOM objects into a folder: all of it, or on failure and cancel nothing.

    Parameters
    ----------
    scene_file : path
        A scene, or the folder of an earlier result that holds one.
    out : path
    plan_name : str, optional
        Name of the plan, where the scene holds several.
    options : DicomOptions, optional
    force : bool
        Overwrite files whoever wrote them.
    progress : callable, optional

    Raises
    ------
    PlanningError
        No scene, no such plan, what DICOM cannot hold.
    """
    path = Path(scene_file)
    if path.is_dir():
        if not (path / SCENE).is_file():
            raise CaseError(f"There is no {SCENE} in {path}; name the folder of an earlier run, or a scene file.")
        path = path / SCENE
    report = part(progress, 0.0, 1.0)
    report(0.0, f"Reading {path.name}")
    with HeadlessSlicer() as runtime:
        from RTPlanningLib.logic import RTPlanningLogic

        logic = RTPlanningLogic(runtime.scene)
        logic.loadScene(path)
        planNodes = {node.GetName(): node for node in logic.planNodes()}
        if not planNodes:
            raise CaseError(f"{path} holds no RTPlanning plan; open it in 3D Slicer to see what it holds.")
        if plan_name is None and len(planNodes) > 1:
            raise CaseError(f"{path} holds several plans; choose one of: {', '.join(planNodes)}.")
        if plan_name is not None and plan_name not in planNodes:
            raise CaseError(f"{path} holds no plan {plan_name!r}; it holds: {', '.join(planNodes)}.")
        planNode = planNodes[plan_name] if plan_name is not None else next(iter(planNodes.values()))
        return logic.exportDicom(planNode, out, options=options, force=force, progress=part(progress, 0.2, 1.0))
