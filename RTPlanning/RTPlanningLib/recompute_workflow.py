"""A DICOM folder with a plan in; its dose by one of our engines, beside what its planning system says, out."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from DoseEngineLib.engine import DoseResult, create_engine
from DoseEngineLib.errors import CaseError
from DoseEngineLib.machine import load_machine
from DoseEngineLib.plan import LeafModel, Plan
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.case import Case
from RTPlanningLib.dicom.case_reader import read_case
from RTPlanningLib.dicom.folder import scan_folder
from RTPlanningLib.dicom.rt_dose import RtDose
from RTPlanningLib.dicom.rt_plan_fluence import read_stored_fluences, stored_leaf_model
from RTPlanningLib.dicom.rt_plan_reader import RtPlan, read_rt_plan
from RTPlanningLib.dicom.rt_plan_set import (
    check_belongs,
    choose_plan,
    choose_structure_set,
    read_dose_of_plan,
    with_target,
)
from RTPlanningLib.display.color_overlay import difference_overlay, gamma_overlay
from RTPlanningLib.display.figure_bytes import png_bytes
from RTPlanningLib.display.slice_view import draw_slices
from RTPlanningLib.evaluation.dose_comparison import (
    ComparedDose,
    PairComparison,
    RegionComparison,
    compare_distributions,
)
from RTPlanningLib.evaluation.dose_difference import dose_difference
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution
from RTPlanningLib.evaluation.dvh import Dvh
from RTPlanningLib.evaluation.dvh_table import match_dvhs, read_dvh_table
from RTPlanningLib.evaluation.gamma import GammaCriterion, gamma_index
from RTPlanningLib.evaluation.recomputation import LeafModelRow, Recomputation
from RTPlanningLib.headless import HeadlessSlicer
from RTPlanningLib.output_folder import OutputFolder
from RTPlanningLib.report.recompute_report import recompute_csv, recompute_json, render_recompute_report
from RTPlanningLib.workflow import OUTPUTS as PLAN_OUTPUTS
from RTPlanningLib.workflow import PLAN_FILE, PlanningResult, plan_in_scene

PAGE, DATA, TABLE, GAMMA, DIFFERENCE = (
    "recompute.html",
    "recompute.json",
    "recompute.csv",
    "gamma.nrrd",
    "difference.nrrd",
)
OUTPUTS = (PAGE, DATA, TABLE, GAMMA, DIFFERENCE, *(name for name in PLAN_OUTPUTS if name != PLAN_FILE))
DEFAULT_ENGINE = "photon-collapsed-cone"
DEFAULT_SPACING_MM = 2.5
# On the arcs of a clinical plan this moves doses above half the maximum by 0.04 % of it (root mean square), in half the
# time.
DEFAULT_ARC_STEP_DEG = 4.0
LEAVES = ("plan", "machine")
_RECOMPUTED = "recomputed"
_NOT_JUDGED_GAMMA, _NOT_JUDGED_DIFFERENCE = -1.0, -1e30


@dataclass(frozen=True, eq=False)
class RecomputeOutput:
    """What recomputing a plan made.

    Attributes
    ----------
    planning : PlanningResult
        Folder, files, plan, DVHs, goals and checks of the recomputed dose.
    comparison : Recomputation
    """

    planning: PlanningResult
    comparison: Recomputation

    def headlines(self) -> list[str]:
        """The main numbers in words."""
        return self.comparison.headlines()


@dataclass(frozen=True, eq=False)
class _Found:
    """What the folder holds, ready to be calculated."""

    case: Case
    read: RtPlan
    plan: Plan
    dose: RtDose | None
    leaf_models: tuple[LeafModelRow, ...]
    plan_notes: tuple[str, ...]


def recompute_plan(
    folder: str | Path,
    out: str | Path,
    *,
    engine: str = DEFAULT_ENGINE,
    machine: str | Mapping[str, str] | None = None,
    leaves: str = "plan",
    allow: Collection[str] = (),
    spacing_mm: float = DEFAULT_SPACING_MM,
    arc_step_deg: float = DEFAULT_ARC_STEP_DEG,
    plan_uid: str | None = None,
    ct_series_uid: str | None = None,
    structure_set_uid: str | None = None,
    patient_position: str | None = None,
    fraction_group: int | None = None,
    fractions: int | None = None,
    prescription_Gy: float | None = None,
    target: str | None = None,
    dvh_table: str | Path | None = None,
    names: Mapping[str, str] | None = None,
    goals: Sequence[str] = (),
    criterion: GammaCriterion | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> RecomputeOutput:
    """Recompute the plan of a DICOM folder and write everything into another: all of it, or on failure nothing.

    Parameters
    ----------
    folder : path
        CT, RTSTRUCT, RTPLAN and, for gamma and dose differences, the plan's RTDOSE.
    out : path
        Folder for the results; files there that an earlier run did not write are never lost (see `OutputFolder`).
    engine : str
        Label of the dose engine.
    machine, allow, fraction_group, fractions, prescription_Gy
        As in `read_rt_plan`.
    leaves : {"plan", "machine"}
        Leaf transmission, leaf ends and tongue and groove: "plan" takes those that the planning system's stored
        fluences show, where the plan stores any; "machine" those of the machine, or published for leaves of these
        widths. The page states all.
    spacing_mm : float
        Of the dose grid.
    arc_step_deg : float
        Control points of an arc within this angle are calculated from one direction; 0: each segment from its own.
    plan_uid, ct_series_uid, structure_set_uid : str, optional
        Needed where the folder holds several.
    patient_position : {"HFS", "HFP", "FFS", "FFP"}, optional
        Needed where neither CT nor plan say it.
    target : str, optional
        Structure of the prescription, where the plan's own name is not among the structures.
    dvh_table : path, optional
        DVHs as planned (see `read_dvh_table`), to compare with where there is no dose.
    names : mapping of structure to name in the table, optional
    goals : sequence of str
        Clinical goals to judge.
    criterion : GammaCriterion, optional
        By default 3 %/2 mm global, threshold 10 %.
    force : bool
        Overwrite files whoever wrote them.
    progress : callable, optional

    Raises
    ------
    PlanningError
        One of its subclasses, saying what is wrong and what to do.
    """
    start = time.perf_counter()
    if leaves not in LEAVES:
        raise CaseError(f"leaves {leaves!r}: say one of {', '.join(LEAVES)}.")
    table, table_notes = ({}, ()) if dvh_table is None else read_dvh_table(dvh_table)
    with OutputFolder(out, force=force) as output:
        output.check(OUTPUTS)
        found = _read(
            Path(folder),
            leaves,
            _PlanWishes(machine, allow, patient_position, fraction_group, fractions, prescription_Gy),
            (plan_uid, ct_series_uid, structure_set_uid, target),
            part(progress, 0.0, 0.1),
        )
        turns = any(len({p.gantry_deg for p in beam.control_points}) > 1 for beam in found.plan.beams)
        plan = replace(
            found.plan,
            engine=engine,
            engine_options={"arc_step_deg": arc_step_deg} if turns and arc_step_deg else {},
            dose_grid_spacing_mm=spacing_mm,
        )
        case = replace(found.case, goals=tuple(goals))
        results: list[DoseResult] = []

        def calculate(logic, planNode, case, folder, progress):
            logic.calculateDose(planNode, progress)
            results.append(logic.lastResult)

        with HeadlessSlicer() as runtime:
            delivered, dvhs, judged, checks, notes = plan_in_scene(
                runtime.scene, case, plan, output.staging, calculate, None, 0.7, part(progress, 0.1, 0.8)
            )
        comparison = _compare(
            found, case, results[0], dvhs, table, table_notes, dvh_table, names, criterion, part(progress, 0.8, 0.95)
        )
        part(progress, 0.95, 1.0)(0.0, "Writing the report")
        _write(output.staging, comparison, found, case, results[0])
        files = output.commit()
    planning = PlanningResult(
        folder=output.folder,
        files=tuple(files),
        case=case,
        plan=delivered,
        dvhs=dvhs,
        goals=tuple(judged),
        checks=tuple(checks),
        notes=notes,
        seconds=time.perf_counter() - start,
    )
    return RecomputeOutput(planning, comparison)


# Reading


@dataclass(frozen=True)
class _PlanWishes:
    machine: str | Mapping[str, str] | None
    allow: Collection[str]
    patient_position: str | None
    fraction_group: int | None
    fractions: int | None
    prescription_Gy: float | None


def _read(
    folder: Path,
    leaves: str,
    wishes: _PlanWishes,
    chosen: tuple[str | None, str | None, str | None, str | None],
    progress: Progress,
) -> _Found:
    plan_uid, ct_series_uid, structure_set_uid, target = chosen
    scan = scan_folder(folder, part(progress, 0.0, 0.1))
    file = choose_plan(scan, plan_uid)
    read = read_rt_plan(
        file.path,
        allow=wishes.allow,
        machine=wishes.machine,
        patient_position=wishes.patient_position,
        fraction_group=wishes.fraction_group,
        fractions=wishes.fractions,
        prescription_Gy=wishes.prescription_Gy,
    )
    notes = list(read.notes)
    case = read_case(
        folder,
        ct_series_uid=ct_series_uid,
        structure_set_uid=choose_structure_set(scan, read.structure_set_uid, structure_set_uid),
        patient_position=wishes.patient_position,
        progress=part(progress, 0.1, 0.8),
    )
    check_belongs(read, case, notes)
    dose = read_dose_of_plan(scan, read.sop_instance_uid, notes)
    if dose is not None and dose.frame_of_reference_uid not in ("", case.frame_of_reference_uid):
        raise CaseError(
            f"The dose of the plan has frame of reference {dose.frame_of_reference_uid}, the CT "
            f"{case.frame_of_reference_uid}: their places cannot be compared. Give files of one plan."
        )
    plan = with_target(read.plan, case.structures, target, notes)
    plan, rows = _with_leaf_model(plan, read, file.path, leaves, notes)
    return _Found(case, read, plan, dose, rows, tuple(notes))


def _with_leaf_model(
    plan: Plan, read: RtPlan, path: Path, leaves: str, notes: list[str]
) -> tuple[Plan, tuple[LeafModelRow, ...]]:
    """Give beams the leaf model that the plan's stored fluences show, and list all there are."""
    with_leaves = [beam for beam in plan.beams if beam.control_points[0].aperture.leaf_positions_mm is not None]
    if not with_leaves:
        return plan, ()
    stored = read_stored_fluences(path)
    shown = stored_leaf_model(plan, [stored.get(number) for number in read.beam_numbers], notes)
    use_shown = shown is not None and leaves == "plan"
    rows = []
    for name in dict.fromkeys(beam.machine for beam in with_leaves):
        mlc = load_machine(name).mlc
        published = next((beam.leaf_model for beam in with_leaves if beam.machine == name), None)
        own = LeafModel(mlc.transmission, mlc.leaf_end_offset_mm, mlc.tongue_and_groove_mm)
        rows.append(LeafModelRow(f"Machine {name}", own, published is None and not use_shown))
        if published is not None:
            rows.append(LeafModelRow(f"Published for leaves of these widths, on {name}", published, not use_shown))
    if shown is None:
        return plan, tuple(rows)
    rows.append(
        LeafModelRow(
            f"Of the fluences that the plan stores ({', '.join(shown.beams)}), which it meets to "
            f"{100 * shown.rms:.3f} % of an open field",
            shown.model,
            use_shown,
        )
    )
    if not use_shown:
        notes.append(
            f"The fluences that the plan stores show another leaf model: {shown.describe()}. It was not used, as asked."
        )
        return plan, tuple(rows)
    notes.append(
        f"Leaf model from the fluences that the plan stores: {shown.describe()}. The dose is calculated with it, so it "
        "is no check of the planning system's own leaf model."
    )
    beams = tuple(replace(beam, leaf_model=shown.model) if beam in with_leaves else beam for beam in plan.beams)
    return replace(plan, beams=beams), tuple(rows)


# Comparing


def _compare(
    found: _Found,
    case: Case,
    result: DoseResult,
    dvhs: Mapping[str, Dvh],
    table: Mapping[str, Dvh],
    table_notes: Sequence[str],
    table_path: str | Path | None,
    names: Mapping[str, str] | None,
    criterion: GammaCriterion | None,
    progress: Progress,
) -> Recomputation:
    notes = list(table_notes)
    planned: dict[str, Dvh] = {}
    pair: PairComparison | None = None
    source = ""
    prescription = result.plan.prescription
    if found.dose is not None:
        notes += found.dose.notes
        fractions = result.plan.fractions
        reference = replace(found.dose.dose, name="planned", fractions=fractions)
        ours = DoseDistribution.from_result(result, _RECOMPUTED)
        if any(not structure.is_empty for structure in case.structures):
            given = (
                (prescription.dose_Gy, prescription.fractions, prescription.target)
                if prescription
                else (None, None, None)
            )
            comparison = compare_distributions(
                [ComparedDose(reference, *given), ComparedDose(ours, *given)],
                case.structures,
                criterion=criterion,
                progress=progress,
            )
            pair = comparison.pairs[0]
            notes += comparison.notes
            planned = {name: dvh for name, dvh in comparison.evaluations[reference.name].dvhs.items() if name in dvhs}
        else:
            pair = _everywhere(reference, ours, criterion or GammaCriterion(), progress)
        source = f"the dose {found.dose.dose.provenance.get('file', '')}"
    if table:
        matched, more = match_dvhs(table, dvhs, names)
        notes += more
        if planned:
            notes.append("The plan has a dose, so the DVH table was left aside.")
        elif matched:
            planned, source = matched, f"the DVH table {Path(table_path).name}"
    if not planned and pair is None:
        notes.append("There is neither a dose nor a DVH table of the plan to compare with.")
    partly = [name for name, dvh in dvhs.items() if dvh.covered_fraction < 1.0]
    if partly:
        notes.append(f"Partly outside the dose grid, so their DVHs are of a part: {', '.join(partly)}.")
    return Recomputation(
        plan=result.plan,
        label=found.read.label,
        recomputed=dict(dvhs),
        planned=planned,
        planned_source=source,
        pair=pair,
        leaf_models=found.leaf_models,
        plan_notes=found.plan_notes,
        notes=tuple(dict.fromkeys((*case.notes, *notes))),
    )


def _everywhere(
    reference: DoseDistribution, evaluated: DoseDistribution, criterion: GammaCriterion, progress: Progress
) -> PairComparison:
    """Gamma and difference of two doses on which no structure is drawn."""
    gamma = gamma_index(reference, evaluated, criterion, progress=progress)
    threshold_Gy = criterion.threshold_percent / 100.0 * gamma.normalization_Gy
    difference = dose_difference(reference, evaluated, threshold_Gy=threshold_Gy)
    return PairComparison(reference.name, evaluated.name, (RegionComparison(None, gamma, difference),))


# Writing


def _write(folder: Path, comparison: Recomputation, found: _Found, case: Case, result: DoseResult) -> None:
    colors = {structure.name: structure.color for structure in case.structures}
    page = render_recompute_report(
        comparison, colors, _pictures(comparison, case, result), _provenance(found, case, result)
    )
    for name, text in ((PAGE, page), (DATA, recompute_json(comparison)), (TABLE, recompute_csv(comparison))):
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    if comparison.pair is None:
        return
    with HeadlessSlicer():
        from RTPlanningLib.mrml.write_values import writeMap

        gamma, difference = comparison.pair.everywhere.gamma, comparison.pair.everywhere.difference
        writeMap(folder / GAMMA, gamma.gamma, gamma.grid, "", _NOT_JUDGED_GAMMA)
        writeMap(folder / DIFFERENCE, difference.difference, difference.grid, difference.unit, _NOT_JUDGED_DIFFERENCE)


def _pictures(comparison: Recomputation, case: Case, result: DoseResult) -> list[tuple[str, bytes]]:
    """The recomputed dose through the target or isocentre; difference and gamma where there is a planned dose."""
    target = next((one for one in case.structures if one.name == comparison.target), None)
    if target is not None:
        point, where = target.centroid_RAS_mm(), f"the middle of {target.name}"
    else:
        point, where = np.array(result.plan.beams[0].isocenter_RAS_mm), "the isocentre"
    if not bool(case.grid.contains(point)):
        return []
    dose = draw_slices(
        case.hu,
        case.grid,
        result.dose_Gy,
        result.grid,
        case.structures,
        point,
        prescription_Gy=comparison.prescription_Gy,
        isocenter_RAS_mm=result.plan.beams[0].isocenter_RAS_mm,
    )
    pictures = [(f"Recomputed dose through {where}", png_bytes(dose))]
    if comparison.pair is None:
        return pictures
    gamma, difference = comparison.pair.everywhere.gamma, comparison.pair.everywhere.difference
    overlays = (
        (difference_overlay(difference.difference, difference.grid, "Gy"), "Recomputed less planned dose"),
        (gamma_overlay(gamma.gamma, gamma.grid, f"Gamma {gamma.criterion}"), "Gamma"),
    )
    for overlay, title in overlays:
        figure = draw_slices(case.hu, case.grid, structures=case.structures, point_RAS_mm=point, overlay=overlay)
        pictures.append((f"{title} through {where}", png_bytes(figure)))
    return pictures


def _provenance(found: _Found, case: Case, result: DoseResult) -> list[tuple[str, str]]:
    engine = create_engine(result.plan.engine, **result.plan.engine_options)
    patient = result.provenance.get("patient") or {}
    rows = [
        ("Plan", f"{found.read.label or found.read.plan.name}, SOP Instance UID {found.read.sop_instance_uid}"),
        ("CT", f"{case.description} Series {case.series_instance_uid}"),
        ("Engine", f"{engine.title} {engine.version}, dose to {result.dose_to}"),
        ("Dose grid", f"{' × '.join(f'{float(s):.4g}' for s in result.grid.spacing_mm)} mm"),
        (
            "Arcs",
            f"in steps of up to {step:g} degrees" if (step := result.plan.engine_options.get("arc_step_deg")) else "",
        ),
        ("Body", str(patient.get("body", ""))),
        ("Calibration of CT numbers", str(patient.get("calibration", ""))),
        ("Not modelled by the engine", "; ".join(engine.does_not_model)),
    ]
    for name in dict.fromkeys(beam.machine for beam in result.plan.beams):
        machine = load_machine(name)
        rows.append((f"Machine {machine.name}", f"{machine.title}; {machine.describe_calibration()}"))
    if found.dose is not None:
        rows.append(("Planned dose", f"SOP Instance UID {found.dose.dose.provenance.get('sop_instance_uid', '')}"))
    return [(label, text) for label, text in rows if text]
