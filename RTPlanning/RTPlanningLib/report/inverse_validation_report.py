"""The page and the table of the inverse plans: goals, what institutions reached, what the deliverable plan reaches."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from DoseEngineLib.machine import load_machine
from RTPlanningLib.display.dvh_plot import draw_dvh
from RTPlanningLib.display.figure_bytes import png_bytes
from RTPlanningLib.report.html_report import render_page
from RTPlanningLib.report.report_data import Picture, software_versions

if TYPE_CHECKING:
    from RTPlanningLib.validation.inverse_plans import InversePlan

_TEMPLATE = "inverse_validation.html.j2"
_DPI = 110
_STYLES = {True: "passed", False: "failed", None: "open"}


def render_inverse_validation_report(
    plans: Sequence[InversePlan], source: str, software: Mapping[str, str] | None = None
) -> str:
    """Return the page as HTML text.

    Parameters
    ----------
    plans : sequence of InversePlan
    source : str
        Of the published goals and results.
    software : mapping of name to version, optional
        By default `software_versions`.
    """
    versions = software_versions() if software is None else software
    bars = [goal.met_on_average for made in plans for goal in made.case.goals]
    missed = sum(len(made.missed) for made in plans)
    machines = dict.fromkeys(beam.machine for made in plans for beam in made.plan.beams)
    content = {
        "headline": [("Cases", str(len(plans))), ("Bars reached", f"{sum(bars) - missed} of {sum(bars)}")],
        "cases": [_case(made) for made in plans],
        "source": source,
        "provenance": [
            *((f"Machine {name}", load_machine(name).title) for name in machines),
            ("Software", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ],
    }
    return render_page(_TEMPLATE, content)


def inverse_validation_csv(plans: Sequence[InversePlan]) -> str:
    """All goals as CSV text, a line a goal."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["case", "goal", "published_mean", "published_sd", "is_bar", "value", "unit", "passed"])
    for made in plans:
        for goal, result in zip(made.case.goals, made.results, strict=True):
            value = "" if result.value is None else f"{result.value:.3f}"
            writer.writerow([
                made.case.sample, goal.goal, goal.mean, goal.sd, "yes" if goal.met_on_average else "no", value,
                result.goal.unit, {True: "yes", False: "no", None: ""}[result.passed],
            ])  # fmt: skip
    return stream.getvalue()


def _case(made: InversePlan) -> dict[str, Any]:
    losses = made.found.losses
    prescription = made.plan.prescription
    facts = [
        ("Engine", made.plan.engine),
        ("Beams", str(len(made.plan.beams))),
        ("Bixels", str(made.found.influence.bixels)),
        ("MU a fraction", f"{sum(beam.meterset_MU for beam in made.plan.beams):.0f}"),
        ("Segments", str(sum(len(beam.control_points) // 2 for beam in made.plan.beams))),
        ("Objectives, ideal fluence", f"{made.found.solution.value:.4g}"),
    ]
    if losses is not None:
        facts.append(("Objectives, leaves sequenced", f"{losses.sequenced:.4g}"))
        facts.append(("Objectives, leaves refined", f"{losses.refined:.4g}"))
    if made.found.correction is not None:
        steps = made.found.correction.history
        facts.append(("Objectives by the engine's dose", " → ".join(f"{value:.4g}" for value in steps)))
    facts.append(("Time", f"{made.seconds:.0f} s"))
    figure = draw_dvh(made.dvhs, made.colors, prescription.dose_Gy if prescription else None)
    return {
        "title": made.case.title,
        "goals": [
            {
                "goal": goal.goal,
                "published": f"{goal.mean:.2f} ± {goal.sd:.2f}",
                "bar": "yes" if goal.met_on_average else "no",
                "value": "–" if result.value is None else f"{result.value:.2f}",
                "verdict": result.verdict,
                "style": _STYLES[result.passed],
                "note": result.note,
            }
            for goal, result in zip(made.case.goals, made.results, strict=True)
        ],
        "facts": facts,
        "dvh": Picture(png_bytes(figure, _DPI), "DVHs of the deliverable plan."),
    }
