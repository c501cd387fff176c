"""The page and the table of a plan recomputed."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from DoseEngineLib.plan import Beam
from RTPlanningLib.display.dvh_plot import draw_dvh, volume_text
from RTPlanningLib.display.figure_bytes import svg_bytes
from RTPlanningLib.evaluation.dose_comparison import RegionComparison
from RTPlanningLib.evaluation.recomputation import METRICS, MetricDifference, Recomputation
from RTPlanningLib.report.html_report import render_page
from RTPlanningLib.report.report_data import Picture, software_versions

_TEMPLATE = "recompute.html.j2"
_EVERYWHERE = "above the threshold"
# Differences beyond this share of the prescription are marked, the tolerance of many commissioning protocols for doses
# of a whole plan.
MARKED_PERCENT = 3.0


def render_recompute_report(
    found: Recomputation,
    colors: Mapping[str, Sequence[float]],
    pictures: Sequence[tuple[str, bytes]] = (),
    provenance: Sequence[tuple[str, str]] = (),
    software: Mapping[str, str] | None = None,
) -> str:
    """Return the page as HTML text: no scripts, no outside resources, no date; the same text for the same plan.

    Parameters
    ----------
    found : Recomputation
    colors : mapping of structure name to RGB in 0..1
    pictures : sequence of (caption, bytes)
        PNG or SVG.
    provenance : sequence of (label, text)
    software : mapping of name to version, optional
        By default `software_versions`.
    """
    shown = {name: found.recomputed[name] for name in found.planned} or dict(found.recomputed)
    figure = None
    if shown:
        drawn = draw_dvh(shown, colors, found.prescription_Gy, dashed=found.planned, dashed_label="as planned")
        caption = "Cumulative dose-volume histograms" + (
            ": lines recomputed, dashed as planned" if found.planned else ""
        )
        figure = Picture(svg_bytes(drawn), caption)
    return render_page(
        _TEMPLATE,
        {
            "title": f"Plan {found.plan.name} recomputed",
            "lead": _lead(found),
            "headline": _cards(found),
            "plan_notes": found.plan_notes,
            "notes": found.notes,
            "metrics": list(METRICS),
            "structures": _structures(found, colors),
            "marked_percent": f"{MARKED_PERCENT:g}" if found.prescription_Gy else "",
            "source": found.planned_source,
            "dvh_figure": figure,
            "regions": [] if found.pair is None else [_region(region) for region in found.pair.regions],
            "criterion": _criterion(found),
            "pictures": [Picture(data, caption) for caption, data in pictures],
            "leaf_models": [
                {
                    "source": row.source,
                    "used": row.used,
                    "cells": (
                        f"{100 * row.model.transmission:.2f}",
                        f"{row.model.leaf_end_offset_mm:.3f}",
                        f"{row.model.tongue_and_groove_mm:.3f}",
                    ),
                }
                for row in found.leaf_models
            ],
            "beams": [_beam(beam) for beam in found.plan.beams],
            "provenance": list(provenance),
            "software": list((software_versions() if software is None else software).items()),
        },
    )


def recompute_json(found: Recomputation) -> str:
    """Return numbers and notes as JSON text."""
    return json.dumps(found.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def recompute_csv(found: Recomputation) -> str:
    """Return the metrics as CSV text."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("Structure", "Metric", "Recomputed (Gy)", "Planned (Gy)", "Difference (Gy)", "Difference (%)"))
    for row in found.differences():
        percent = "" if row.percent is None else f"{row.percent:.3f}"
        numbers = (f"{value:.4f}" for value in (row.recomputed_Gy, row.planned_Gy, row.difference_Gy))
        writer.writerow((row.structure, row.metric, *numbers, percent))
    return stream.getvalue()


def _lead(found: Recomputation) -> str:
    prescription = found.plan.prescription
    course = ""
    if prescription is not None:
        fractions = prescription.fractions
        course = f", {prescription.dose_Gy:g} Gy in {fractions} fraction{'s' if fractions > 1 else ''}"
        course += f" to {prescription.target}" if prescription.target else ""
    against = f", against {found.planned_source}" if found.planned_source else ""
    return f"{len(found.plan.beams)} beams as delivered{course}: {found.plan.engine}{against}"


def _cards(found: Recomputation) -> list[tuple[str, str]]:
    cards = []
    for row in found.differences():
        if row.structure == found.target and row.metric in ("Mean", "D95%"):
            cards.append((f"{row.structure} {row.metric}", f"{row.recomputed_Gy:.2f} Gy ({_percent(row)})"))
    if found.pair is not None and found.pair.everywhere.gamma is not None:
        gamma = found.pair.everywhere.gamma
        criterion = gamma.criterion
        cards.append(
            (
                f"Gamma {criterion.dose_percent:g} %/{criterion.distance_mm:g} mm",
                f"{gamma.pass_rate_percent:.1f} %",
            )
        )
    total = sum(beam.meterset_MU or 0.0 for beam in found.plan.beams)
    points = sum(len(beam.control_points) for beam in found.plan.beams)
    cards.append(("Delivery, a fraction", f"{len(found.plan.beams)} beams, {total:.1f} MU"))
    cards.append(("Control points", f"{points}"))
    return cards


def _percent(row: MetricDifference) -> str:
    return f"{_signed(row.difference_Gy, 2)} Gy" if row.percent is None else f"{_signed(row.percent, 1)} %"


def _signed(value: float, digits: int) -> str:
    # adding zero turns a rounded -0.0 into 0.0
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "−")


def _structures(found: Recomputation, colors: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    rows = found.differences()
    result = []
    for name, planned in found.planned.items():
        red, green, blue = (round(255 * channel) for channel in colors.get(name, (0.5, 0.5, 0.5)))
        cells = []
        for row in (one for one in rows if one.structure == name):
            marked = row.percent is not None and abs(row.percent) > MARKED_PERCENT
            cells.append(
                {
                    "recomputed": f"{row.recomputed_Gy:.2f}",
                    "planned": f"{row.planned_Gy:.2f}",
                    "difference": _signed(row.difference_Gy, 2),
                    "percent": "" if row.percent is None else f"{_signed(row.percent, 1)} %",
                    "marked": marked,
                }
            )
        result.append(
            {
                "name": name,
                "color": f"rgb({red}, {green}, {blue})",
                "volume": volume_text(found.recomputed[name].volume_cm3),
                "planned_volume": volume_text(planned.volume_cm3),
                "cells": cells,
            }
        )
    return result


def _criterion(found: Recomputation) -> str:
    if found.pair is None or found.pair.everywhere.gamma is None:
        return ""
    return str(found.pair.everywhere.gamma.criterion)


def _region(region: RegionComparison) -> dict[str, Any]:
    gamma, difference = region.gamma, region.difference
    statistics = None if difference is None else difference.statistics()
    return {
        "name": region.structure or _EVERYWHERE,
        "note": region.note,
        "gamma": ("–", "–") if gamma is None else (f"{gamma.pass_rate_percent:.2f}", f"{gamma.judged}"),
        "difference": ("–", "–")
        if statistics is None
        else (_signed(statistics["mean"], 3), f"{statistics['standard_deviation']:.3f}"),
    }


def _beam(beam: Beam) -> dict[str, str]:
    points = beam.control_points
    gantry = [point.gantry_deg for point in points]
    turns = gantry[0] != gantry[-1] or len(set(gantry)) > 1
    leaves = {point.aperture.leaf_positions_mm for point in points}
    jaws = {(point.aperture.jaw_x_mm, point.aperture.jaw_y_mm) for point in points}
    first = points[0].aperture
    moving = "moving" if len(jaws) > 1 else ""
    return {
        "name": beam.name,
        "machine": beam.machine,
        "gantry": f"{gantry[0]:g} → {gantry[-1]:g}" if turns else f"{gantry[0]:g}",
        "collimator": f"{points[0].collimator_deg:g}",
        "couch": f"{points[0].couch_deg:g}",
        "jaws": moving or "{:.0f}/{:.0f}, {:.0f}/{:.0f}".format(*first.jaw_x_mm, *first.jaw_y_mm).replace("-", "−"),
        "leaves": "none" if leaves == {None} else "moving" if len(leaves) > 1 else "set",
        "points": str(len(points)),
        "meterset": f"{beam.meterset_MU:.1f}",
    }
