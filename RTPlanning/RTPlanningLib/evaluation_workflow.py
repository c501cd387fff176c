"""A dose file and structures in; goals, DVHs and a report out, in one folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from DoseEngineLib.clinical_goals import Goal
from DoseEngineLib.errors import CaseError
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.case import Case
from RTPlanningLib.display.figure_bytes import png_bytes
from RTPlanningLib.display.slice_view import draw_slices
from RTPlanningLib.evaluation.dose_evaluation import DoseEvaluation, evaluate_distribution
from RTPlanningLib.evaluation.goal_templates import GoalTemplate, load_goal_template
from RTPlanningLib.evaluation.goals import VERDICTS
from RTPlanningLib.evaluation.stored_dvh_comparison import compare_with_stored
from RTPlanningLib.evaluation_inputs import DoseInput, StructureInput, read_dose_input, read_structures, with_fractions
from RTPlanningLib.output_folder import OutputFolder
from RTPlanningLib.radiobiology.radiobiology_file import radiobiology_csv
from RTPlanningLib.report.dvh_csv import write_dvh_csv
from RTPlanningLib.report.evaluation_report import (
    evaluation_goals_csv,
    evaluation_json,
    render_evaluation_report,
    stored_dvh_csv,
)

REPORT, DATA, GOALS, DVH = "evaluation.html", "evaluation.json", "goals.csv", "dvh.csv"
# Only where probabilities were asked for.
RADIOBIOLOGY = "radiobiology.csv"
# Only where the file of the dose holds DVHs.
STORED = "stored_dvh.csv"
OUTPUTS = (REPORT, DATA, GOALS, DVH, RADIOBIOLOGY, STORED)
# Of dvh.csv: fine enough that no curve falls by more than about a per cent between two rows.
DVH_STEP_GY = 0.01
# Shown where there is no CT.
_AIR_HU = -1000


@dataclass(frozen=True, eq=False)
class EvaluationOutput:
    """What an evaluation made.

    Attributes
    ----------
    folder : Path
    files : tuple of Path
    evaluation : DoseEvaluation
    seconds : float
        Wall time.
    """

    folder: Path
    files: tuple[Path, ...]
    evaluation: DoseEvaluation
    seconds: float

    def headlines(self) -> list[str]:
        """The main numbers in words."""
        counts = self.evaluation.verdicts()
        listed = ", ".join(f"{counts[word]} {word}" for word in (*VERDICTS, "without structure") if word in counts)
        return [f"Goals: {listed}" if listed else "No goals were given."]


def evaluate_dose(
    dose: str | Path,
    out: str | Path,
    *,
    structures: str | Path | Sequence[str | Path] | None = None,
    case: str | None = None,
    templates: Sequence[str | Path | GoalTemplate] = (),
    goals: Sequence[Goal | str] = (),
    prescription_Gy: float | None = None,
    fractions: int | None = None,
    target: str | None = None,
    names: Mapping[str, str] | None = None,
    radiobiology: bool = False,
    tcp_set: str | None = None,
    ntcp_sets: Mapping[str, str] | None = None,
    overall_days: float | None = None,
    dose_unit: str = "Gy",
    contours_only: bool = False,
    end_caps: str = "half",
    skip: Sequence[str] = (),
    dvh_step_Gy: float = DVH_STEP_GY,
    force: bool = False,
    progress: Progress | None = None,
) -> EvaluationOutput:
    """Judge a dose file and write everything into a folder: all of it, or on failure and cancel nothing.

    Parameters
    ----------
    dose : path
        A DICOM RT Dose, a volume (NRRD, NIfTI, MHA) of the whole course's dose, or a folder with one dose. The folder
        of a run gives prescription, fractions, target and structures too, where they are not given, and its goals where
        no others are.
    out : path
        Folder for the results; files there that an earlier run did not write are never lost (see `OutputFolder`).
    structures : path or sequence of path, optional
        A DICOM folder with an RTSTRUCT, an RTSTRUCT file, a segmentation saved by Slicer (``.seg.nrrd``, ``.seg.vtm``),
        or closed surfaces. By default those in the folder of the dose.
    case : str, optional
        Name of a built-in case, in place of ``structures``.
    templates : sequence of str, path or GoalTemplate
        Names of templates that come with the package, JSON files, or templates.
    goals, prescription_Gy, fractions, target, names, radiobiology, tcp_set, ntcp_sets, overall_days
        As in `evaluate_distribution`.
    dose_unit : {"Gy", "cGy"}
        Of a volume; an RT Dose says its own.
    contours_only, end_caps, skip
        As in `read_structures`.
    dvh_step_Gy : float
        Distance of the rows of ``dvh.csv``.
    force : bool
        Overwrite files whoever wrote them.
    progress : callable, optional

    Raises
    ------
    PlanningError
        One of its subclasses, saying what is wrong and what to do.
    """
    start = time.perf_counter()
    if structures is not None and case is not None:
        raise CaseError("Give either structures or the name of a built-in case, not both.")
    chosen = [one if isinstance(one, GoalTemplate) else load_goal_template(one) for one in templates]
    with OutputFolder(out, force=force) as output:
        output.check(OUTPUTS)
        part(progress, 0.0, 0.05)(0.0, "Reading the dose")
        given = read_dose_input(dose, dose_unit)
        found = read_structures(
            given.folder if structures is None and case is None else structures,
            case=case,
            frame_of_reference_uid=given.frame_of_reference_uid,
            contours_only=contours_only,
            end_caps=end_caps,
            skip=skip,
            progress=part(progress, 0.05, 0.3),
        )
        course = given.fractions if fractions is None else fractions
        evaluation = evaluate_distribution(
            with_fractions(given.dose, course),
            found.structures,
            templates=chosen,
            goals=goals if goals or chosen else found.goals,
            prescription_Gy=given.prescription_Gy if prescription_Gy is None else prescription_Gy,
            fractions=course,
            target=_target(target, given, found),
            names=names,
            radiobiology=radiobiology,
            tcp_set=tcp_set,
            ntcp_sets=ntcp_sets,
            overall_days=overall_days,
            notes=[*given.notes, *found.notes],
            progress=part(progress, 0.3, 0.9),
        )
        evaluation = _with_stored(evaluation, given, found)
        part(progress, 0.9, 1.0)(0.0, "Writing the report")
        write_evaluation(output.staging, evaluation, found.case, dvh_step_Gy)
        files = output.commit()
    return EvaluationOutput(output.folder, tuple(files), evaluation, time.perf_counter() - start)


def _with_stored(evaluation: DoseEvaluation, given: DoseInput, found: StructureInput) -> DoseEvaluation:
    """Set the DVHs that the dose's own file holds beside ours."""
    if given.dicom_file is None or found.structure_set is None:
        return evaluation
    from RTPlanningLib.dicom.stored_dvh import read_stored_dvhs

    stored, notes = read_stored_dvhs(given.dicom_file, found.structure_set)
    compared = tuple(
        compare_with_stored(evaluation.dvhs[name], one, evaluation.dose.max_Gy)
        for name, one in stored.items()
        if name in evaluation.dvhs
    )
    return replace(evaluation, stored=compared, notes=(*evaluation.notes, *notes))


def _target(target: str | None, given: DoseInput, found: StructureInput) -> str | None:
    """The target named, or that of the run's prescription where the structures have it."""
    if target is not None or given.target is None:
        return target
    return given.target if given.target in [structure.name for structure in found.structures] else None


def write_evaluation(folder: Path, evaluation: DoseEvaluation, case: Case | None, dvh_step_Gy: float) -> None:
    """Write page, data, goals and DVHs of an evaluation into a folder."""
    (folder / REPORT).write_text(
        render_evaluation_report(evaluation, _slices(evaluation, case)), encoding="utf-8", newline="\n"
    )
    (folder / DATA).write_text(evaluation_json(evaluation), encoding="utf-8", newline="\n")
    (folder / GOALS).write_text(evaluation_goals_csv(evaluation), encoding="utf-8", newline="\n")
    if evaluation.radiobiology:
        (folder / RADIOBIOLOGY).write_text(radiobiology_csv(evaluation.radiobiology), encoding="utf-8", newline="\n")
    if evaluation.stored:
        (folder / STORED).write_text(stored_dvh_csv(evaluation.stored), encoding="utf-8", newline="\n")
    write_dvh_csv(folder / DVH, evaluation.dvhs, dvh_step_Gy)


def _slices(evaluation: DoseEvaluation, case: Case | None) -> list[tuple[str, bytes]]:
    """CT, dose and structures through the target, or through the largest dose where no target is named."""
    dose = evaluation.dose
    if evaluation.target is not None:
        target = next(one for one in evaluation.structures if one.name == evaluation.target)
        point, where = target.centroid_RAS_mm(), f"the middle of {evaluation.target}"
    else:
        k, j, i = np.unravel_index(int(np.argmax(dose.dose_Gy)), dose.grid.shape)
        point, where = dose.grid.index_to_ras(np.array([i, j, k])), "the largest dose"
    grid = dose.grid if case is None else case.grid
    if not bool(grid.contains(point)):
        return []
    figure = draw_slices(
        np.full(grid.shape, _AIR_HU, np.int16) if case is None else case.hu,
        grid,
        dose.dose_Gy,
        dose.grid,
        evaluation.structures,
        point,
        prescription_Gy=evaluation.prescription_Gy,
    )
    what = "Dose and structures, without a CT," if case is None else "CT, dose and structures"
    return [(f"{what} through {where}", png_bytes(figure))]
