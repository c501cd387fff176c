"""The page of a commissioning: one HTML file with measured against computed curves, parameters and notes."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from io import StringIO
from typing import Any

import numpy as np

from DoseEngineLib.commissioning.fit import STAGES, CommissioningResult, CurveComparison, FittedParameter
from RTPlanningLib.display.curve_comparison_plot import draw_curve_comparison, draw_machine_change
from RTPlanningLib.display.figure_bytes import png_bytes
from RTPlanningLib.report.html_report import render_page
from RTPlanningLib.report.report_data import Picture, software_versions

_TEMPLATE = "commissioning.html.j2"
_DPI = 130


def render_commissioning_report(result: CommissioningResult, software: Mapping[str, str] | None = None) -> str:
    """Return the page as HTML text: no scripts, no outside resources, no date; the same text for the same result.

    Parameters
    ----------
    result : CommissioningResult
    software : mapping of name to version, optional
        By default `software_versions`.
    """
    versions = software_versions() if software is None else software
    provenance = [
        ("Measurements", ", ".join(result.files)),
        ("Base machine", f"{result.base.name}, {result.base.title}"),
        *((f"Machine: {name}", text) for name, text in result.machine.provenance.items()),
        ("Software", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]
    judged = [c.passed_percent((2.0, 2.0)) for c in result.curves]
    content = {
        "machine_name": result.machine.name,
        "machine_title": result.machine.title,
        "base_name": result.base.name,
        "headline": (
            ("Curves", str(len(result.curves))),
            ("RMS difference, base to fitted", f"{_rms(result, True):.2f} → {_rms(result, False):.2f} %"),
            ("Least γ pass rate, 2 %/2 mm", f"{min(judged):.1f} %"),
            ("Reduced χ²", f"{result.chi2_reduced:.2f}"),
        ),
        "notes": result.notes,
        "parameters": [_parameter_row(p) for p in result.parameters],
        "change": Picture(
            png_bytes(draw_machine_change(result.base, result.machine), _DPI),
            "Spectrum on the axis, and fluence in air across the field, of the base and the fitted machine.",
        ),
        "curves": [_curve_row(c) for c in result.curves],
        "stages": ", ".join(stage.replace("_", " ") for stage in STAGES) + ", then all parameters together",
        "weights": result.weights,
        "provenance": provenance,
    }
    return render_page(_TEMPLATE, content)


def curves_csv(result: CommissioningResult) -> str:
    """All curves as CSV text: one line a point, measured, base and fitted, per cent of the normalization dose."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["curve", "normalization", "position_mm", "measured_percent", "base_percent", "fitted_percent"]
        + ["gamma_1percent_1mm", "gamma_2percent_2mm"]
    )
    for c in result.curves:
        nothing = np.full(len(c.measured_percent), np.nan)
        gammas = [c.gamma.get(criteria, nothing) for criteria in ((1.0, 1.0), (2.0, 2.0))]
        columns = (c.curve.position_mm, c.measured_percent, c.before_percent, c.computed_percent, *gammas)
        for values in zip(*columns):
            cells = ["" if np.isnan(value) else f"{value:.4f}" for value in values]
            writer.writerow([c.curve.title, c.normalization, *cells])
    return stream.getvalue()


def _rms(result: CommissioningResult, before: bool) -> float:
    parts = [
        ((c.before_percent if before else c.computed_percent) - c.measured_percent)[~c.left_out] for c in result.curves
    ]
    return float(np.sqrt(np.mean(np.concatenate(parts) ** 2)))


def _parameter_row(parameter: FittedParameter) -> dict[str, Any]:
    # no more digits than the uncertainty warrants
    digits = 4 if not parameter.uncertainty else int(np.clip(1 - np.floor(np.log10(parameter.uncertainty)), 0, 6))
    return {
        "label": parameter.label,
        "unit": parameter.unit,
        "base": f"{parameter.base:.{digits}f}" if parameter.determined else f"{parameter.base:.4g}",
        "value": f"{parameter.value:.{digits}f}",
        "uncertainty": f"{parameter.uncertainty:.{digits}f}" if parameter.uncertainty is not None else "–",
        "determined": parameter.determined,
        "note": parameter.note,
    }


def _curve_row(comparison: CurveComparison) -> dict[str, Any]:
    curve = comparison.curve
    worst = int(np.argmax(np.abs(comparison.difference_percent)))
    gammas = [f"{comparison.passed_percent(criteria):.1f} %" for criteria in ((1.0, 1.0), (2.0, 2.0))]
    caption = (
        f"{comparison.normalization.capitalize()}. Greatest difference "
        f"{comparison.difference_percent[worst]:+.1f} % at {curve.position_mm[worst]:g} mm."
    )
    return {
        "title": curve.title,
        "where": curve.where,
        "detector": curve.detector,
        "points": len(curve.position_mm),
        "before": f"{comparison.rms_before_percent:.2f}",
        "after": f"{comparison.rms_percent:.2f}",
        "gamma_1": gammas[0],
        "gamma_2": gammas[1],
        "picture": Picture(png_bytes(draw_curve_comparison(comparison), _DPI), caption),
    }
