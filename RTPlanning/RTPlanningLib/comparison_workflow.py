"""Doses on the same structures in; gamma, differences, DVHs and goals side by side out, in one folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DoseEngineLib.clinical_goals import Goal
from DoseEngineLib.errors import CaseError
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.case import Case
from RTPlanningLib.display.color_overlay import difference_overlay, gamma_overlay
from RTPlanningLib.display.figure_bytes import png_bytes
from RTPlanningLib.display.slice_view import draw_slices
from RTPlanningLib.evaluation.dose_comparison import (
    MAXIMUM_DOSES,
    ComparedDose,
    DoseComparison,
    PairComparison,
    compare_distributions,
)
from RTPlanningLib.evaluation.dvh_comparison_file import dvh_comparison_csv
from RTPlanningLib.evaluation.gamma import GammaCriterion
from RTPlanningLib.evaluation.goal_templates import GoalTemplate, load_goal_template
from RTPlanningLib.evaluation_inputs import DoseInput, StructureInput, read_dose_inputs, read_structures, with_fractions
from RTPlanningLib.headless import HeadlessSlicer
from RTPlanningLib.output_folder import OutputFolder
from RTPlanningLib.report.comparison_report import (
    comparison_json,
    comparison_regions_csv,
    render_comparison_report,
)

REPORT, DATA, GOALS, DVH, REGIONS = "comparison.html", "comparison.json", "goals.csv", "dvh.csv", "gamma.csv"
GAMMA, DIFFERENCE = "gamma_{}.nrrd", "difference_{}.nrrd"
OUTPUTS = (
    (REPORT, DATA, GOALS, DVH, REGIONS)
    + tuple(GAMMA.format(n) for n in range(2, MAXIMUM_DOSES + 1))
    + tuple(DIFFERENCE.format(n) for n in range(2, MAXIMUM_DOSES + 1))
)
DVH_STEP_GY = 0.01
_AIR_HU = -1000
_GAMMA_NOT_JUDGED, _DIFFERENCE_NOT_JUDGED = -1.0, -1e30


@dataclass(frozen=True, eq=False)
class ComparisonOutput:
    """What a comparison made.

    Attributes
    ----------
    folder : Path
    files : tuple of Path
    comparison : DoseComparison
    seconds : float
        Wall time.
    """

    folder: Path
    files: tuple[Path, ...]
    comparison: DoseComparison
    seconds: float

    def headlines(self) -> list[str]:
        """The main numbers in words."""
        lines = []
        for pair in self.comparison.pairs:
            gamma, difference = pair.everywhere.gamma, pair.everywhere.difference.statistics()
            lines.append(
                f"{pair.evaluated} against {pair.reference}: gamma {gamma.criterion}: {gamma.pass_rate_percent:.2f} % "
                f"of {gamma.judged} voxels; mean difference {difference['mean']:+.3f} Gy"
            )
        return lines


def compare_doses(
    doses: Sequence[str | Path],
    out: str | Path,
    *,
    structures: str | Path | Sequence[str | Path] | None = None,
    case: str | None = None,
    labels: Sequence[str] | None = None,
    templates: Sequence[str | Path | GoalTemplate] = (),
    goals: Sequence[Goal | str] = (),
    prescription_Gy: float | None = None,
    fractions: int | None = None,
    target: str | None = None,
    names: Mapping[str, str] | None = None,
    criterion: GammaCriterion | None = None,
    within: Sequence[str] | None = None,
    dose_unit: str = "Gy",
    contours_only: bool = False,
    end_caps: str = "half",
    skip: Sequence[str] = (),
    dvh_step_Gy: float = DVH_STEP_GY,
    force: bool = False,
    progress: Progress | None = None,
) -> ComparisonOutput:
    """Compare doses with the first of them and write everything into a folder: all of it, or on failure nothing.

    Parameters
    ----------
    doses : sequence of path
        Two to five: dose files, or folders with one dose, as of earlier runs, which also give what was prescribed.
    out : path
    structures, case, contours_only, end_caps, skip
        As in `read_structures`; by default the structures of the first dose's folder. All doses are judged on these.
    labels : sequence of str, optional
        One a dose; by default names of plans, folders or files.
    templates, goals, names
        As in `evaluate_distribution`.
    prescription_Gy, fractions, target
        Of all doses; by default of each as its run prescribed.
    criterion, within
        As in `compare_distributions`.
    dose_unit : {"Gy", "cGy"}
        Of volumes.
    dvh_step_Gy : float
        Distance of the rows of ``dvh.csv``.
    force, progress
        As in `evaluate_dose`.

    Raises
    ------
    PlanningError
        One of its subclasses, saying what is wrong and what to do.
    """
    start = time.perf_counter()
    chosen = [one if isinstance(one, GoalTemplate) else load_goal_template(one) for one in templates]
    with OutputFolder(out, force=force) as output:
        output.check(OUTPUTS)
        part(progress, 0.0, 0.1)(0.0, "Reading the doses")
        given = read_dose_inputs(doses, labels, dose_unit)
        found = read_structures(
            _place_of_structures(given) if structures is None and case is None else structures,
            case=case,
            frame_of_reference_uid=given[0].frame_of_reference_uid,
            contours_only=contours_only,
            end_caps=end_caps,
            skip=skip,
            progress=part(progress, 0.1, 0.2),
        )
        known = [structure.name for structure in found.structures]
        comparison = compare_distributions(
            [
                ComparedDose(
                    with_fractions(one.dose, one.fractions if fractions is None else fractions),
                    one.prescription_Gy if prescription_Gy is None else prescription_Gy,
                    one.fractions if fractions is None else fractions,
                    target or (one.target if one.target in known else None),
                )
                for one in given
            ],
            found.structures,
            templates=chosen,
            goals=goals if goals or chosen else found.goals,
            names=names,
            criterion=criterion,
            within=within,
            notes=[*dict.fromkeys(note for one in given for note in one.notes), *found.notes],
            progress=part(progress, 0.2, 0.85),
        )
        part(progress, 0.85, 1.0)(0.0, "Writing the report")
        _write(output.staging, comparison, found, dvh_step_Gy)
        files = output.commit()
    return ComparisonOutput(output.folder, tuple(files), comparison, time.perf_counter() - start)


def _place_of_structures(given: Sequence[DoseInput]) -> Path:
    if given[0].folder is None:
        raise CaseError("Say where the structures are: the first dose is a file, not a folder that could hold them.")
    return given[0].folder


def _write(folder: Path, comparison: DoseComparison, found: StructureInput, dvh_step_Gy: float) -> None:
    pictures = {pair.evaluated: _pictures(comparison, pair, found.case) for pair in comparison.pairs}
    texts = {
        REPORT: render_comparison_report(comparison, pictures),
        DATA: comparison_json(comparison),
        DVH: dvh_comparison_csv({name: one.dvhs for name, one in comparison.evaluations.items()}, dvh_step_Gy),
        REGIONS: comparison_regions_csv(comparison),
    }
    if comparison.goals is not None:
        texts[GOALS] = comparison.goals.to_csv()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    with HeadlessSlicer():
        from RTPlanningLib.mrml.write_values import writeMap

        for number, pair in enumerate(comparison.pairs, start=2):
            gamma, difference = pair.everywhere.gamma, pair.everywhere.difference
            writeMap(folder / GAMMA.format(number), gamma.gamma, gamma.grid, "", _GAMMA_NOT_JUDGED)
            writeMap(
                folder / DIFFERENCE.format(number),
                difference.difference,
                difference.grid,
                difference.unit,
                _DIFFERENCE_NOT_JUDGED,
            )


def _pictures(comparison: DoseComparison, pair: PairComparison, case: Case | None) -> list[tuple[str, bytes]]:
    """Difference and gamma through the target, or through the place of the largest difference."""
    first = comparison.evaluations[pair.reference]
    gamma, difference = pair.everywhere.gamma, pair.everywhere.difference
    if first.target is not None:
        target = next(one for one in first.structures if one.name == first.target)
        point, where = target.centroid_RAS_mm(), f"the middle of {first.target}"
    else:
        k, j, i = np.unravel_index(int(np.nanargmax(np.abs(difference.difference))), difference.grid.shape)
        point, where = difference.grid.index_to_ras(np.array([i, j, k])), "the largest difference"
    grid = difference.grid if case is None else case.grid
    if not bool(grid.contains(point)):
        return []
    hu = np.full(grid.shape, _AIR_HU, np.int16) if case is None else case.hu
    overlays = (
        (difference_overlay(difference.difference, difference.grid, "Gy"), "Dose difference"),
        (gamma_overlay(gamma.gamma, gamma.grid, f"Gamma {gamma.criterion}"), "Gamma"),
    )
    return [
        (
            f"{title}, {pair.evaluated} against {pair.reference}, through {where}",
            png_bytes(draw_slices(hu, grid, structures=first.structures, point_RAS_mm=point, overlay=overlay)),
        )
        for overlay, title in overlays
    ]
