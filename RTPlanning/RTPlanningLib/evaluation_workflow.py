"""A dose file and structures in; goals, DVHs and a report out, in one folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DoseEngineLib.clinical_goals import Goal
from DoseEngineLib.errors import CaseError
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.case import Case
from RTPlanningLib.display.figure_bytes import png_bytes
from RTPlanningLib.display.slice_view import draw_slices
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution
from RTPlanningLib.evaluation.dose_evaluation import DoseEvaluation, evaluate_distribution
from RTPlanningLib.evaluation.goal_templates import GoalTemplate, load_goal_template
from RTPlanningLib.headless import HeadlessSlicer
from RTPlanningLib.output_folder import OutputFolder
from RTPlanningLib.report.dvh_csv import write_dvh_csv
from RTPlanningLib.report.evaluation_report import evaluation_goals_csv, evaluation_json, render_evaluation_report
from RTPlanningLib.samples import load_sample

REPORT, DATA, GOALS, DVH = "evaluation.html", "evaluation.json", "goals.csv", "dvh.csv"
OUTPUTS = (REPORT, DATA, GOALS, DVH)
DOSE_UNITS = {"Gy": 1.0, "cGy": 0.01}
# Doses of whole courses stay below this; a volume with more is in cGy, or no dose.
_LARGEST_GY = 500.0


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
        words = ("passed", "acceptable", "failed", "not evaluated", "without structure")
        listed = ", ".join(f"{counts[word]} {word}" for word in words if word in counts)
        return [f"Goals: {listed}" if listed else "No goals were given."]


def evaluate_dose(
    dose: str | Path,
    out: str | Path,
    *,
    structures: str | Path | None = None,
    case: str | None = None,
    templates: Sequence[str | Path | GoalTemplate] = (),
    goals: Sequence[Goal | str] = (),
    prescription_Gy: float | None = None,
    fractions: int | None = None,
    target: str | None = None,
    names: Mapping[str, str] | None = None,
    radiobiology: bool = False,
    tcp_set: str | None = None,
    dose_unit: str = "Gy",
    force: bool = False,
    progress: Progress | None = None,
) -> EvaluationOutput:
    """Judge a dose file and write everything into a folder: all of it, or on failure and cancel nothing.

    Parameters
    ----------
    dose : path
        A DICOM RT Dose, or a volume (NRRD, NIfTI, MHA) of the whole course's dose.
    out : path
        Folder for the results; files there that an earlier run did not write are never lost (see `OutputFolder`).
    structures : path, optional
        A DICOM folder with CT and RTSTRUCT, or a segmentation saved by Slicer (``.seg.nrrd``).
    case : str, optional
        Name of a built-in case, in place of ``structures``.
    templates : sequence of str, path or GoalTemplate
        Names of templates that come with the package, JSON files, or templates.
    goals, prescription_Gy, fractions, target, names, radiobiology, tcp_set
        As in `evaluate_distribution`.
    dose_unit : {"Gy", "cGy"}
        Of a volume; an RT Dose says its own.
    force : bool
        Overwrite files whoever wrote them.
    progress : callable, optional

    Raises
    ------
    PlanningError
        One of its subclasses, saying what is wrong and what to do.
    """
    start = time.perf_counter()
    if (structures is None) == (case is None):
        raise CaseError("Give either structures (a DICOM folder or a .seg.nrrd) or the name of a built-in case.")
    chosen = [one if isinstance(one, GoalTemplate) else load_goal_template(one) for one in templates]
    with OutputFolder(out, force=force) as output:
        output.check(OUTPUTS)
        part(progress, 0.0, 0.05)(0.0, "Reading the dose")
        distribution, frame, notes = read_dose(dose, dose_unit)
        organs, image, more = _read_structures(structures, case, frame, part(progress, 0.05, 0.3))
        evaluation = evaluate_distribution(
            distribution,
            organs,
            templates=chosen,
            goals=goals,
            prescription_Gy=prescription_Gy,
            fractions=fractions,
            target=target,
            names=names,
            radiobiology=radiobiology,
            tcp_set=tcp_set,
            notes=[*notes, *more],
            progress=part(progress, 0.3, 0.9),
        )
        part(progress, 0.9, 1.0)(0.0, "Writing the report")
        _write(output.staging, evaluation, image)
        files = output.commit()
    return EvaluationOutput(output.folder, tuple(files), evaluation, time.perf_counter() - start)


def read_dose(path: str | Path, dose_unit: str = "Gy") -> tuple[DoseDistribution, str, tuple[str, ...]]:
    """Read a dose file.

    Parameters
    ----------
    path : path
        A DICOM RT Dose, or a volume that Slicer reads.
    dose_unit : {"Gy", "cGy"}
        Of a volume.

    Returns
    -------
    dose : DoseDistribution
    frame_of_reference_uid : str
        Empty for a volume.
    notes : tuple of str

    Raises
    ------
    CaseError
        A missing or unreadable file, or one that is no dose.
    EvaluationError
        NaN or negative doses.
    """
    path = Path(path)
    if dose_unit not in DOSE_UNITS:
        raise CaseError(f"The dose unit {dose_unit!r} is unknown; use {' or '.join(DOSE_UNITS)}.")
    if not path.is_file():
        raise CaseError(f"There is no dose file {path}; give a DICOM RT Dose, or a volume (NRRD, NIfTI, MHA).")
    if path.suffix.lower() in (".nrrd", ".nhdr", ".nii", ".gz", ".mha", ".mhd"):
        with HeadlessSlicer():
            from RTPlanningLib.mrml.read_evaluation_files import readDoseVolume

            values, grid = readDoseVolume(path)
        values = values.astype(np.float32) * np.float32(DOSE_UNITS[dose_unit])
        if float(values.max()) > _LARGEST_GY:
            raise CaseError(
                f"{path.name} goes up to {float(values.max()):.4g} Gy when read as {dose_unit}; is it in cGy, or no "
                "dose? Say its unit, or give another file."
            )
        notes = (f"{path.name} does not say its unit; it was read as {dose_unit}.",)
        dose = DoseDistribution(_stem(path), values, grid, dose_to="unknown", provenance={"file": path.name})
        return dose, "", notes
    from RTPlanningLib.dicom.rt_dose import read_rt_dose

    found = read_rt_dose(path)
    if dose_unit != "Gy":
        raise CaseError(f"{path.name} says itself that it is in Gy; leave the dose unit out.")
    return found.dose, found.frame_of_reference_uid, found.notes


def _read_structures(
    structures: str | Path | None, sample: str | None, frame: str, progress: Progress
) -> tuple[tuple[Structure, ...], Case | None, tuple[str, ...]]:
    """Return structures, the case with their CT where there is one, and notes."""
    if sample is not None:
        found = load_sample(sample)
        return found.structures, found, found.notes
    path = Path(structures)
    if path.is_dir():
        from RTPlanningLib.dicom import read_case

        found = read_case(path, progress=progress)
        if frame and found.frame_of_reference_uid and frame != found.frame_of_reference_uid:
            raise CaseError(
                "The dose and the structures have different frames of reference, so their places cannot be compared "
                f"({frame}, {found.frame_of_reference_uid}). Give files of one plan."
            )
        return found.structures, found, found.notes
    if not path.name.lower().endswith(".seg.nrrd"):
        raise CaseError(
            f"Structures are read from a DICOM folder with CT and RTSTRUCT, or from a .seg.nrrd; {path.name} is "
            "neither."
        )
    with HeadlessSlicer():
        from RTPlanningLib.mrml.read_evaluation_files import readSegmentation

        return readSegmentation(path), None, ()


def _write(folder: Path, evaluation: DoseEvaluation, case: Case | None) -> None:
    (folder / REPORT).write_text(
        render_evaluation_report(evaluation, _slices(evaluation, case)), encoding="utf-8", newline="\n"
    )
    (folder / DATA).write_text(evaluation_json(evaluation), encoding="utf-8", newline="\n")
    (folder / GOALS).write_text(evaluation_goals_csv(evaluation), encoding="utf-8", newline="\n")
    write_dvh_csv(folder / DVH, evaluation.dvhs)


def _slices(evaluation: DoseEvaluation, case: Case | None) -> list[tuple[str, bytes]]:
    """CT, dose and structures through the target, or through the largest dose where no target is named."""
    if case is None:
        return []
    dose = evaluation.dose
    if evaluation.target is not None:
        point = case.structure(evaluation.target).centroid_RAS_mm()
        where = f"the middle of {evaluation.target}"
    else:
        k, j, i = np.unravel_index(int(np.argmax(dose.dose_Gy)), dose.grid.shape)
        point, where = dose.grid.index_to_ras(np.array([i, j, k])), "the largest dose"
    if not bool(case.grid.contains(point)):
        return []
    figure = draw_slices(
        case.hu,
        case.grid,
        dose.dose_Gy,
        dose.grid,
        case.structures,
        point,
        prescription_Gy=evaluation.prescription_Gy,
    )
    return [(f"CT, dose and structures through {where}", png_bytes(figure))]


def _stem(path: Path) -> str:
    name = path.name
    return name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else path.stem
