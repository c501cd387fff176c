"""What a report says of an optimization: objectives from wish to delivery, fluence, convergence, beams."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from DoseEngineLib.plan import Beam, Plan
from OptimizerLib.fluence_planning import FluencePlan
from OptimizerLib.optimized_fluence import OptimizedFluence
from OptimizerLib.sequencing.aperture_refinement import DeliveryLosses
from RTPlanningLib.display.convergence_plot import draw_convergence
from RTPlanningLib.display.figure_bytes import png_bytes, svg_bytes
from RTPlanningLib.display.fluence_plot import draw_fluence_maps
from RTPlanningLib.evaluation.dvh import Dvh
from RTPlanningLib.report.report_data import Picture

_DELIVERY = {"step_and_shoot": "step and shoot", "sliding_window": "sliding window"}


@dataclass(frozen=True)
class ObjectiveLine:
    """A row of the objectives, and its value at each stage, as text."""

    text: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class ModulatedBeamLine:
    """A beam as delivered, as text."""

    name: str
    bixels: str
    openings: str
    meterset: str


@dataclass(frozen=True, eq=False)
class OptimizationSection:
    """The optimization's part of a report; make one with `of`.

    Attributes
    ----------
    facts : tuple of (label, text)
    stages : tuple of str
        Columns of the objectives: ideal, sequenced, refined, and refined against the engine's dose.
    objectives : tuple of ObjectiveLine
    total : ObjectiveLine
    limits : tuple of str
        Rows that are constraints.
    openings : str
        What is counted for each beam: segments or control points.
    beams : tuple of ModulatedBeamLine
        Those of the plan as delivered, after normalization.
    total_meterset : str
    fluence : Picture
    convergence : Picture or None
    planned_dvhs : dict of structure name to Dvh
        Of the ideal fluence.
    """

    facts: tuple[tuple[str, str], ...]
    stages: tuple[str, ...]
    objectives: tuple[ObjectiveLine, ...]
    total: ObjectiveLine
    limits: tuple[str, ...]
    openings: str
    beams: tuple[ModulatedBeamLine, ...]
    total_meterset: str
    fluence: Picture
    convergence: Picture | None
    planned_dvhs: Mapping[str, Dvh]

    @classmethod
    def of(cls, found: FluencePlan, delivered: Plan, planned_dvhs: Mapping[str, Dvh]) -> OptimizationSection:
        """Draw the section together.

        Parameters
        ----------
        found : FluencePlan
            Of a delivery by leaves.
        delivered : Plan
            With the MU of the calculated dose.
        planned_dvhs : mapping of structure name to Dvh
            Of the ideal fluence.
        """
        fluence = OptimizedFluence.of(found)
        refinement = found.refinement.history if found.refinement else ()
        stages, rows = stage_values(found)
        history = found.history
        drawn = draw_convergence(history, found.term_names, refinement) if history or refinement else None
        kept = [str(row) for row in found.goals.rows if row.constraint]
        moving = found.settings.delivery == "sliding_window"
        return cls(
            facts=tuple(_facts(found, delivered)),
            stages=stages,
            objectives=tuple(
                ObjectiveLine(name, tuple(_number(terms[n]) for _, terms in rows))
                for n, name in enumerate(found.term_names)
            ),
            total=ObjectiveLine("Sum", tuple(_number(total) for total, _ in rows)),
            limits=tuple(kept),
            openings="Control points" if moving else "Segments",
            beams=tuple(
                ModulatedBeamLine(beam.name, str(bixels.size), str(openings(beam, moving)), f"{beam.meterset_MU:.1f}")
                for beam, bixels in zip(delivered.beams, found.influence.beams, strict=True)
            ),
            total_meterset=f"{sum(beam.meterset_MU for beam in delivered.beams):.1f}",
            fluence=Picture(
                png_bytes(draw_fluence_maps(fluence.maps(), fluence.maps(fluence.delivered_MU))),
                "Fluence of every beam in beam's eye view: above as wished, below as its leaves deliver it",
            ),
            convergence=None
            if drawn is None
            else Picture(svg_bytes(drawn), "Objectives over the iterations; dashed the ideal fluence's"),
            planned_dvhs=planned_dvhs,
        )


def stage_values(found: FluencePlan) -> tuple[tuple[str, ...], list[tuple[float, tuple[float, ...]]]]:
    """Stages from wish to delivery, and at each the objectives' sum and terms."""
    if len(found.goals.levels) > 1:
        # level by level other sums were minimized; the rows themselves are compared here
        values = [found.problem.values(weights) for weights in (found.solution.weights, found.delivered_weights)]
        return ("Ideal", "Delivered"), [(float(sum(terms)), tuple(terms)) for terms in values]
    losses: DeliveryLosses = found.losses
    stages = [
        ("Ideal", losses.ideal, losses.ideal_terms),
        ("Sequenced", losses.sequenced, losses.sequenced_terms),
        ("Refined", losses.refined, losses.refined_terms),
    ][: 3 if found.refinement else 2]
    if found.correction is not None:
        # limits that are kept may follow the terms of the rows
        stages.append(("By the engine", found.correction.value, found.correction.terms[: len(found.term_names)]))
    return tuple(name for name, _, _ in stages), [(total, terms) for _, total, terms in stages]


def openings(beam: Beam, moving: bool) -> int:
    """Control points of a beam with moving leaves; of one with leaves at rest, its openings that get MU."""
    points = beam.control_points
    if moving:
        return len(points)
    rises = [b.cumulative_meterset_weight - a.cumulative_meterset_weight for a, b in zip(points, points[1:])]
    return sum(rise > 1e-9 for rise in rises)


def loss_text(found: FluencePlan) -> str:
    """In words how the objectives rose from the ideal fluence to the deliverable plan."""
    stages, rows = stage_values(found)
    ideal = rows[0][0]
    texts = [f"{_number(ideal)} {stages[0].lower()}"]
    texts += [f"{_rise(total, ideal)} {stage[0].lower()}{stage[1:]}" for stage, (total, _) in zip(stages[1:], rows[1:])]
    return ", ".join(texts)


def write_objectives_csv(path: str | Path, found: FluencePlan) -> None:
    """Write the history of the objectives: a row an iteration, then what sequencing and refining left."""
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("Stage", "Iteration", "Sum", *found.term_names))
        several = len(found.goals.levels) > 1
        for entry in found.history:
            # with levels the sum is that of the level whose turn it is, the terms are those of all
            stage = f"Fluence, level {entry.level}" if several else "Fluence"
            writer.writerow((stage, entry.iteration, f"{entry.value:.8g}", *(f"{v:.8g}" for v in entry.terms)))
        for stage, (total, terms) in zip(*stage_values(found), strict=True):
            writer.writerow((stage, "", f"{total:.8g}", *(f"{v:.8g}" for v in terms)))


def _facts(found: FluencePlan, delivered: Plan) -> Iterable[tuple[str, str]]:
    influence, settings, solution = found.influence, found.settings, found.solution
    rows, bixels = influence.matrix.shape
    yield (
        "Dose influence",
        f"{bixels} bixels of {settings.bixel_mm:g} mm, {rows} voxels, {influence.matrix.nnz:,} entries, "
        f"{influence.provenance.get('engine', '')}",
    )
    yield "Search", f"{settings.solver}: {solution.message} Projected gradient {solution.optimality:.1e}"
    how = _DELIVERY[settings.delivery]
    if settings.delivery == "step_and_shoot":
        how += f", {settings.levels} levels" + (", apertures refined" if found.refinement else "")
        if found.correction is not None:
            how += f", then {settings.corrections} times against the dose of {found.plan.engine}"
    yield "Delivery", how
    for note in found.notes:
        yield "Note", note
    yield "Objectives", loss_text(found)
    if found.losses.recovered is not None and found.refinement is not None and len(found.goals.levels) == 1:
        yield "Won back by refinement", f"{100.0 * found.losses.recovered:.0f} % of what sequencing had lost"
    if found.problem.constraints:
        worst = [found.problem.violation_Gy(weights) for weights in (solution.weights, found.delivered_weights)]
        yield "Limits", f"exceeded by {worst[0]:.2f} Gy at most in the ideal fluence, {worst[1]:.2f} Gy delivered"
    before = sum(beam.meterset_MU for beam in found.plan.beams)
    after = sum(beam.meterset_MU for beam in delivered.beams)
    if abs(after / before - 1.0) > 1e-4:
        yield "Scaled to the prescription", f"all MU by {after / before:.4f}"


def _rise(value: float, ideal: float) -> str:
    share = "" if not ideal > 0 else f" ({100.0 * (value / ideal - 1.0):+.0f} %)"
    return _number(value) + share


def _number(value: float) -> str:
    return f"{value:.4g}"
