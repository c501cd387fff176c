"""The page and the tables of doses compared."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from DoseEngineLib.dose_metrics import parse_metric
from RTPlanningLib.display.dvh_overlay_plot import draw_dvh_overlay
from RTPlanningLib.display.dvh_plot import volume_text
from RTPlanningLib.display.figure_bytes import svg_bytes
from RTPlanningLib.evaluation.dose_comparison import DoseComparison, PairComparison, RegionComparison
from RTPlanningLib.evaluation.dose_distribution import grid_summary
from RTPlanningLib.evaluation.goal_comparison import GoalRow
from RTPlanningLib.evaluation.goals import JUDGED
from RTPlanningLib.report.html_report import render_page
from RTPlanningLib.report.report_data import Picture, software_versions
from RTPlanningLib.report.verdict_marks import verdict_style, verdict_text

_TEMPLATE = "comparison.html.j2"
_METRICS = ("Mean", "D98%", "D95%", "D50%", "D2%", "Max")
EVERYWHERE = "above the threshold"


def render_comparison_report(
    comparison: DoseComparison,
    pictures: Mapping[str, Sequence[tuple[str, bytes]]] | None = None,
    software: Mapping[str, str] | None = None,
) -> str:
    """Return the page as HTML text: no scripts, no outside resources, no date; the same text for the same doses.

    Parameters
    ----------
    comparison : DoseComparison
    pictures : mapping of evaluated dose's name to sequence of (caption, bytes), optional
        PNG or SVG.
    software : mapping of name to version, optional
        By default `software_versions`.
    """
    evaluations = comparison.evaluations
    names = list(evaluations)
    colors = {s.name: s.color for one in evaluations.values() for s in one.structures}
    prescribed = {one.prescription_Gy for one in evaluations.values()}
    figure = draw_dvh_overlay(
        {name: one.dvhs for name, one in evaluations.items()},
        colors,
        next(iter(prescribed)) if len(prescribed) == 1 else None,
    )
    return render_page(
        _TEMPLATE,
        {
            "title": f"Comparison of {' and '.join(names) if len(names) == 2 else f'{len(names)} doses'}",
            "lead": f"{', '.join(names[1:])} against {names[0]}, on the same structures",
            "headline": _headline(comparison),
            "notes": comparison.notes,
            "names": names,
            "goals": [] if comparison.goals is None else [_goal_row(row, names) for row in comparison.goals.rows],
            "counts": [] if comparison.goals is None else _counts(comparison, names),
            "dvh_figure": Picture(
                svg_bytes(figure), "Cumulative dose-volume histograms: a colour is a structure, a line style a dose"
            ),
            "metrics": list(_METRICS),
            "structures": _structure_rows(comparison, colors),
            "criterion": str(comparison.criterion),
            "pairs": [_pair(pair, (pictures or {}).get(pair.evaluated, ())) for pair in comparison.pairs],
            "doses": [_dose_row(name, one) for name, one in evaluations.items()],
            "software": list((software_versions() if software is None else software).items()),
        },
    )


def comparison_json(comparison: DoseComparison) -> str:
    """Return everything but curves and maps as JSON text."""
    return json.dumps(comparison.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def comparison_regions_csv(comparison: DoseComparison) -> str:
    """Return gamma and difference, a line a pair and structure, as CSV text; doses in Gy."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ("Reference", "Evaluated", "Structure", "Gamma criterion", "Normalization (Gy)", "Gamma voxels")
        + ("Gamma pass rate (%)", "Gamma mean", "Gamma maximum", "Difference voxels", "Difference mean (Gy)")
        + ("Difference standard deviation (Gy)", "Difference minimum (Gy)", "Difference maximum (Gy)", "Note")
    )
    for pair in comparison.pairs:
        for region in pair.regions:
            gamma, difference = region.gamma, region.difference
            cells: list[Any] = [pair.reference, pair.evaluated, region.structure or EVERYWHERE, comparison.criterion]
            cells += [f"{pair.everywhere.gamma.normalization_Gy:.6g}"]
            if gamma is None:
                cells += ["", "", "", ""]
            else:
                cells += [gamma.judged, f"{gamma.pass_rate_percent:.4f}", f"{gamma.mean:.4f}", f"{gamma.maximum:.4f}"]
            if difference is None:
                cells += ["", "", "", "", ""]
            else:
                values = difference.statistics()
                cells += [values["judged_voxels"]]
                cells += [f"{values[k]:.5f}" for k in ("mean", "standard_deviation", "minimum", "maximum")]
            writer.writerow([*cells, region.note])
    return stream.getvalue()


def _headline(comparison: DoseComparison) -> list[tuple[str, str]]:
    lines = [
        (f"Gamma, {pair.evaluated}", f"{pair.everywhere.gamma.pass_rate_percent:.2f} %") for pair in comparison.pairs
    ]
    if comparison.goals is not None:
        for name, counts in comparison.goals.counts().items():
            judged = sum(counts.get(word, 0) for word in JUDGED)
            lines.append((f"Goals met, {name}", f"{counts.get('passed', 0)} of {judged}"))
    return lines


def _counts(comparison: DoseComparison, names: Sequence[str]) -> list[str]:
    texts = []
    counts = comparison.goals.counts()
    for name in names:
        listed = ", ".join(f"{count} {verdict}" for verdict, count in counts[name].items())
        texts.append(f"{name}: {listed}")
    return texts


def _goal_row(row: GoalRow, names: Sequence[str]) -> dict[str, Any]:
    best = row.best() if len(row.best()) < len(names) else ()
    cells = []
    for place, (result, verdict, difference) in enumerate(
        zip(row.results, row.verdicts(), row.differences(), strict=True)
    ):
        value = "–" if result is None or result.value is None else f"{result.value:.2f} {row.goal.unit}".rstrip()
        cells.append(
            {
                "value": value,
                "difference": "" if place == 0 or difference is None else f"{difference:+.2f}",
                "verdict": verdict_text(verdict),
                "style": verdict_style(verdict),
                "note": result.note if result is not None and result.value is None else "",
                "best": place in best,
            }
        )
    return {
        "structure": row.goal.structure,
        "metric": str(row.goal.metric),
        "limit": row.goal.limit_text,
        "cells": cells,
    }


def _structure_rows(comparison: DoseComparison, colors: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    rows = []
    structures = list(dict.fromkeys(name for one in comparison.evaluations.values() for name in one.dvhs))
    for structure in structures:
        red, green, blue = (round(255 * value) for value in colors.get(structure, (0.5, 0.5, 0.5)))
        lines = []
        first: list[float] | None = None
        for name, one in comparison.evaluations.items():
            dvh = one.dvhs.get(structure)
            if dvh is None:
                lines.append({"name": name, "volume": "–", "cells": [("–", "") for _ in _METRICS]})
                continue
            values = [parse_metric(metric).evaluate(dvh)[0] for metric in _METRICS]
            differences = ["" if first is None else f"{v - f:+.2f}" for v, f in zip(values, first or values)]
            first = values if first is None and not lines else first
            volume = volume_text(dvh.covered_volume_cm3) + ("" if dvh.covered_fraction == 1.0 else " (part)")
            lines.append(
                {"name": name, "volume": volume, "cells": [(f"{v:.2f}", d) for v, d in zip(values, differences)]}
            )
        rows.append({"structure": structure, "color": f"rgb({red}, {green}, {blue})", "lines": lines})
    return rows


def _pair(pair: PairComparison, pictures: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
    whole = pair.everywhere
    return {
        "title": f"{pair.evaluated} against {pair.reference}",
        "denominator": whole.gamma.denominator,
        "rows": [_region_row(region) for region in pair.regions],
        "pictures": [Picture(data, caption) for caption, data in pictures],
    }


def _region_row(region: RegionComparison) -> dict[str, Any]:
    gamma, difference = region.gamma, region.difference
    row = {"name": region.structure or EVERYWHERE, "note": region.note, "gamma": ["–"] * 4, "difference": ["–"] * 4}
    if gamma is not None:
        row["gamma"] = [
            f"{gamma.pass_rate_percent:.2f}",
            f"{gamma.mean:.3f}",
            f"{gamma.percentile(99.0):.2f}",
            f"{gamma.judged}",
        ]
    if difference is not None:
        values = difference.statistics()
        row["difference"] = [f"{values[key]:+.3f}" for key in ("mean", "minimum", "maximum")]
        row["difference"].insert(1, f"{values['standard_deviation']:.3f}")
    return row


def _dose_row(name: str, evaluation: Any) -> tuple[str, str]:
    grid = grid_summary(evaluation.dose.grid)
    shape = " × ".join(str(n) for n in grid["shape_kji"][::-1])
    spacing = " × ".join(f"{n:g}" for n in grid["spacing_ijk_mm"])
    texts = [f"{shape} voxels of {spacing} mm", f"maximum {evaluation.dose.max_Gy:.2f} Gy"]
    if evaluation.prescription_Gy is not None:
        course = f"prescribed {evaluation.prescription_Gy:g} Gy"
        texts.append(course + (f" in {evaluation.fractions}" if evaluation.fractions else ""))
    file = evaluation.dose.provenance.get("file")
    if file:
        texts.append(str(file))
    return name, "; ".join(texts)
