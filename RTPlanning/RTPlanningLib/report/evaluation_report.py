"""The page and the tables of a dose's evaluation."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from io import StringIO
from typing import Any

from DoseEngineLib.dvh import Dvh
from RTPlanningLib.display.dvh_plot import draw_dvh, volume_text
from RTPlanningLib.display.figure_bytes import svg_bytes
from RTPlanningLib.evaluation.dose_distribution import grid_summary
from RTPlanningLib.evaluation.dose_evaluation import OWN_GOALS, DoseEvaluation, JudgedGoal
from RTPlanningLib.evaluation.goal_templates import GoalTemplate, absence_of
from RTPlanningLib.evaluation.goals import JUDGED
from RTPlanningLib.evaluation.metrics import parse_metric
from RTPlanningLib.evaluation.stored_dvh_comparison import StoredComparison
from RTPlanningLib.report.html_report import render_page
from RTPlanningLib.report.report_data import Picture, software_versions
from RTPlanningLib.report.verdict_marks import verdict_style, verdict_text

EVALUATION_SCHEMA_VERSION = 1
_TEMPLATE = "evaluation.html.j2"
_METRICS = ("Mean", "Min", "Max", "D98%", "D95%", "D50%", "D2%")


def render_evaluation_report(
    evaluation: DoseEvaluation,
    slices: Sequence[tuple[str, bytes]] = (),
    software: Mapping[str, str] | None = None,
) -> str:
    """Return the page as HTML text: no scripts, no outside resources, no date; the same text for the same dose.

    Parameters
    ----------
    evaluation : DoseEvaluation
    slices : sequence of (caption, bytes)
        PNG or SVG.
    software : mapping of name to version, optional
        By default `software_versions`.
    """
    colors = {structure.name: structure.color for structure in evaluation.structures}
    figure = svg_bytes(draw_dvh(evaluation.dvhs, colors, evaluation.prescription_Gy))
    found = [row for row in evaluation.radiobiology if row.probability is not None]
    without = [f"{row.structure} ({row.note})" for row in evaluation.radiobiology if row.probability is None]
    metrics = [*_METRICS, *(("V95%[%]",) if evaluation.prescription_Gy else ())]
    return render_page(
        _TEMPLATE,
        {
            "title": f"Evaluation of {evaluation.dose.name}",
            "lead": _lead(evaluation),
            "headline": _headline(evaluation),
            "notes": evaluation.notes,
            "groups": _groups(evaluation),
            "dvh_figure": Picture(figure, "Cumulative dose-volume histograms"),
            "metrics": [(name.split("[")[0], "%" if "[" in name else "Gy") for name in metrics],
            "structures": [
                _structure_row(dvh, colors.get(name), metrics, evaluation.prescription_Gy)
                for name, dvh in evaluation.dvhs.items()
            ],
            "stored": [_stored_row(one) for one in evaluation.stored],
            "slices": [Picture(data, caption) for caption, data in slices],
            "radiobiology": [_probability_row(row) for row in found],
            "without_radiobiology": " ".join(without) if found else "",
            "sources": list(dict.fromkeys(source for one in evaluation.templates for source in one.sources)),
            "checked": [_checked(one) for one in evaluation.templates],
            "left_out": [f"{one.title}: {line}" for one in evaluation.templates for line in one.left_out],
            "provenance": _provenance(evaluation),
            "software": list((software_versions() if software is None else software).items()),
        },
    )


def evaluation_json(evaluation: DoseEvaluation) -> str:
    """Return everything but the curves as JSON text."""
    data = {
        "schema_version": EVALUATION_SCHEMA_VERSION,
        "dose": evaluation.dose.summary(),
        "prescription_Gy": evaluation.prescription_Gy,
        "fractions": evaluation.fractions,
        "target": evaluation.target,
        "templates": [template.name for template in evaluation.templates],
        "verdicts": evaluation.verdicts(),
        "goals": [_goal_dict(goal) for goal in evaluation.goals],
        "goals_without_structure": [
            {
                "group": one.group,
                "goal": str(one.unmatched.published.goal),
                "ambiguous": one.unmatched.is_ambiguous,
                "reason": one.unmatched.reason,
            }
            for one in evaluation.open_goals
        ],
        "structures": [_structure_dict(dvh) for dvh in evaluation.dvhs.values()],
        "radiobiology": [row.as_dict() for row in evaluation.radiobiology],
        "stored_dvhs": [one.as_dict() for one in evaluation.stored],
        "notes": list(evaluation.notes),
    }
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def evaluation_goals_csv(evaluation: DoseEvaluation) -> str:
    """Return the goals as CSV text; those without a structure too."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("Group", "Goal", "Structure", "Metric", "Limit", "Achieved", "Unit", "Result", "Note", "Source"))
    for judged in evaluation.goals:
        goal, result = judged.result.goal, judged.result
        achieved = "" if result.value is None else f"{result.value:.4f}"
        note = " ".join(text for text in (result.note, judged.note) if text)
        writer.writerow(
            (judged.group, goal, goal.structure, goal.metric, goal.limit_text, achieved, goal.unit, result.verdict)
            + (note, judged.published.source if judged.published else "")
        )
    for one in evaluation.open_goals:
        goal = one.unmatched.published.goal
        writer.writerow(
            (one.group, goal, goal.structure, goal.metric, goal.limit_text, "", goal.unit, "without structure")
            + (one.unmatched.reason, one.unmatched.published.source)
        )
    return stream.getvalue()


def stored_dvh_csv(stored: Sequence[StoredComparison]) -> str:
    """Return figures of the DVHs stored with a dose beside ours as CSV text, a line a structure."""
    stream = StringIO()
    writer = csv.DictWriter(stream, [field.name for field in fields(StoredComparison)], lineterminator="\n")
    writer.writeheader()
    for one in stored:
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in one.as_dict().items()})
    return stream.getvalue()


def _stored_row(one: StoredComparison) -> dict[str, Any]:
    pairs = [(one.volume_cm3, one.stored_volume_cm3), (one.mean_Gy, one.stored_mean_Gy)]
    pairs += [(one.D98_Gy, one.stored_D98_Gy), (one.D50_Gy, one.stored_D50_Gy), (one.D2_Gy, one.stored_D2_Gy)]
    cells = []
    for number, (ours, theirs) in enumerate(pairs):
        text = volume_text if number == 0 else "{:.2f}".format
        cells.append((text(ours), "–" if theirs is None else text(theirs)))
    return {"name": one.structure, "cells": cells, "agreement": f"{one.agreement_percent:.1f}"}


def _checked(template: GoalTemplate) -> str:
    """Say with what a template's figures were compared."""
    return f"{template.title}: {'; '.join(dict.fromkeys(goal.checked for goal in template.goals))}."


def _lead(evaluation: DoseEvaluation) -> str:
    if evaluation.prescription_Gy is None:
        return "No prescription was given: goals in per cent of it are not judged."
    text = f"{evaluation.prescription_Gy:g} Gy"
    if evaluation.fractions is not None:
        text += f" in {evaluation.fractions} fraction{'s' if evaluation.fractions > 1 else ''}"
    return f"Prescribed: {text}" + (f" to {evaluation.target}" if evaluation.target else "")


def _headline(evaluation: DoseEvaluation) -> list[tuple[str, str]]:
    counts = evaluation.verdicts()
    judged = sum(counts.get(word, 0) for word in JUDGED)
    lines = [
        ("Goals met", f"{counts.get('passed', 0)} of {judged}" if judged else "none judged"),
        ("Acceptable, failed", f"{counts.get('acceptable', 0)}, {counts.get('failed', 0)}"),
        ("Not judged", str(counts.get("not evaluated", 0) + counts.get("without structure", 0))),
        ("Dose maximum", f"{evaluation.dose.max_Gy:.2f} Gy"),
    ]
    return lines


def _groups(evaluation: DoseEvaluation) -> list[dict[str, Any]]:
    groups = [
        (one.title, one.description, one.fractionation_note(evaluation.fractions, evaluation.prescription_Gy))
        for one in evaluation.templates
    ]
    if any(goal.group == OWN_GOALS for goal in evaluation.goals):
        groups.append((OWN_GOALS, "", ""))
    result = []
    for title, description, fit in groups:
        open_goals = [one.unmatched for one in evaluation.open_goals if one.group == title]
        result.append(
            {
                "title": title,
                "description": description,
                "fit": fit,
                "rows": [_goal_row(goal) for goal in evaluation.goals if goal.group == title],
                "ambiguous": list(dict.fromkeys(one.reason for one in open_goals if one.is_ambiguous)),
                "missing": _missing(open_goals),
            }
        )
    return result


def _missing(open_goals: Sequence[Any]) -> str:
    """The structures without a goal, each once, with what there is to say beyond that they are not there."""
    texts: dict[str, str] = {}
    for one in open_goals:
        if not one.is_ambiguous:
            name = one.published.goal.structure
            texts[name] = name if one.reason == absence_of(name) else f"{name} ({one.reason.rstrip('.')})"
    return ", ".join(texts.values())


def _goal_row(judged: JudgedGoal) -> dict[str, str]:
    goal, result = judged.result.goal, judged.result
    value = "–" if result.value is None else f"{result.value:.2f} {goal.unit}".rstrip()
    return {
        "structure": goal.structure,
        "metric": str(goal.metric),
        "limit": goal.limit_text,
        "endpoint": judged.published.note if judged.published else "",
        "achieved": value,
        "verdict": verdict_text(result.verdict),
        "style": verdict_style(result.verdict),
        "note": "" if result.verdict == "acceptable" else result.note,
        "remark": judged.note,
    }


def _goal_dict(judged: JudgedGoal) -> dict[str, Any]:
    result, published = judged.result, judged.published
    return {
        "group": judged.group,
        **result.goal.to_dict(),
        "value": result.value,
        "verdict": result.verdict,
        "note": " ".join(text for text in (result.note, judged.note) if text),
        "published_goal": None if published is None else str(published.goal),
        "endpoint": None if published is None else published.note,
        "source": None if published is None else published.source,
        "where": None if published is None else published.where,
        "checked": None if published is None else published.checked,
    }


def _structure_row(
    dvh: Dvh, color: Sequence[float] | None, metrics: Sequence[str], prescription_Gy: float | None
) -> dict[str, Any]:
    values = [f"{parse_metric(name).evaluate(dvh, prescription_Gy)[0]:.2f}" for name in metrics]
    note = "" if dvh.covered_fraction == 1.0 else f"{dvh.covered_percent_text} % inside the dose grid"
    red, green, blue = (round(255 * value) for value in (color or (0.5, 0.5, 0.5)))
    return {
        "name": dvh.structure_name,
        "color": f"rgb({red}, {green}, {blue})",
        "volume": volume_text(dvh.volume_cm3),
        "figures": values,
        "note": note,
    }


def _structure_dict(dvh: Dvh) -> dict[str, Any]:
    metrics = {name: parse_metric(name).evaluate(dvh, None)[0] for name in _METRICS}
    return {
        "name": dvh.structure_name,
        "volume_cm3": dvh.volume_cm3,
        "covered_fraction": dvh.covered_fraction,
        "sampled_from": dvh.sampled_from,
        **{f"{name.replace('%', '_percent')}_Gy": value for name, value in metrics.items()},
    }


def _probability_row(row: Any) -> dict[str, str]:
    band = "–" if row.low is None else f"{100.0 * row.low:.1f} – {100.0 * row.high:.1f}"
    return {
        "structure": row.structure,
        "quantity": row.quantity,
        "endpoint": row.endpoint,
        "source": row.source,
        "note": row.note,
        "probability": f"{100.0 * row.probability:.1f}",
        "band": band,
        "terms": row.dose_terms,
    }


def _provenance(evaluation: DoseEvaluation) -> list[tuple[str, str]]:
    grid = grid_summary(evaluation.dose.grid)
    shape = " × ".join(str(n) for n in grid["shape_kji"][::-1])
    spacing = " × ".join(f"{n:g}" for n in grid["spacing_ijk_mm"])
    rows = [("Dose grid", f"{shape} voxels of {spacing} mm"), ("Dose to", evaluation.dose.dose_to)]
    rows += [
        (key.replace("_", " ").capitalize(), str(value))
        for key, value in evaluation.dose.provenance.items()
        if key != "fractions_known"
    ]
    return rows
