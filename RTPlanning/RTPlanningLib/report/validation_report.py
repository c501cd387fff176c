"""The page and the table of a validation: engines against Monte Carlo, the generic machine against measured beams."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any

from DoseEngineLib.engine import DoseEngine
from DoseEngineLib.machine import load_machine
from RTPlanningLib.display.figure_bytes import png_bytes
from RTPlanningLib.display.monte_carlo_plot import draw_depth_dose, draw_profiles
from RTPlanningLib.report.html_report import render_page
from RTPlanningLib.report.report_data import Picture, software_versions
from RTPlanningLib.validation.comparison import Comparison, Figure
from RTPlanningLib.validation.measured_beam import MeasuredComparison

_TEMPLATE = "validation.html.j2"
_DPI = 130
_VERDICTS = {True: ("yes", "passed"), False: ("no", "failed"), None: ("no bar", "open")}


def render_validation_report(
    comparisons: Sequence[Comparison],
    measured: Sequence[MeasuredComparison],
    engines: Sequence[DoseEngine],
    notes: Sequence[str] = (),
    software: Mapping[str, str] | None = None,
) -> str:
    """Return the page as HTML text: no scripts, no outside resources, no date; the same text for the same figures.

    Parameters
    ----------
    comparisons : sequence of Comparison
    measured : sequence of MeasuredComparison
    engines : sequence of DoseEngine
        Those compared; they state what they do not model.
    notes : sequence of str
    software : mapping of name to version, optional
        By default `software_versions`.
    """
    versions = software_versions() if software is None else software
    by_case: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        by_case.setdefault(comparison.reference.name, []).append(comparison)
    machines = {name: load_machine(name) for name in _machine_names(comparisons, measured)}
    content = {
        "headline": [
            ("Cases", str(len(by_case))),
            *(_reached(e, comparisons) for e in engines),
            _measured_card(measured),
        ],
        "notes": list(notes),
        "rows": [_row(c) for same in by_case.values() for c in same],
        "cases": [_case(same) for same in by_case.values()],
        "measured": [_measured_row(m) for m in measured],
        "engines": [
            {"title": f"{e.title} {e.version}", "label": e.label, "does_not_model": list(e.does_not_model)}
            for e in engines
        ],
        "provenance": [
            *((f"Engine {e.label}", f"{e.title} {e.version}") for e in engines),
            *((f"Machine {name}", machine.title) for name, machine in machines.items()),
            *((f"Measured: {m.name}", m.source) for m in measured),
            ("Software", ", ".join(f"{name} {version}" for name, version in versions.items())),
        ],
    }
    return render_page(_TEMPLATE, content)


def validation_csv(comparisons: Sequence[Comparison], measured: Sequence[MeasuredComparison]) -> str:
    """All figures as CSV text, a line a figure; ``reached`` is empty where there is no bar."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["against", "engine", "machine", "case", "figure", "value", "unit", "bar", "bar_is", "reached"])
    for c in comparisons:
        for figure in c.figures():
            writer.writerow(
                ["Monte Carlo", c.engine, c.reference.machine, c.reference.name, *_cells(figure)]
            )  # fmt: skip
        writer.writerow(
            [
                "Monte Carlo",
                c.engine,
                c.reference.machine,
                c.reference.name,
                "time",
                f"{c.seconds:.2f}",
                "s",
                "",
                "",
                "",
            ]
        )
    for m in measured:
        writer.writerow(["measured", "water phantom (pencil kernel)", m.machine, m.name, *_cells(m.figure())])
    return stream.getvalue()


def _cells(figure: Figure) -> list[str]:
    bar = "" if figure.bar is None else f"{figure.bar:g}"
    sense = "" if figure.bar is None else ("at least" if figure.at_least else "at most")
    reached = {True: "yes", False: "no", None: ""}[figure.reached]
    return [figure.name, f"{figure.value:.4f}", figure.unit, bar, sense, reached]


def _machine_names(comparisons: Sequence[Comparison], measured: Sequence[MeasuredComparison]) -> Iterable[str]:
    return dict.fromkeys([*(c.reference.machine for c in comparisons), *(m.machine for m in measured)])


def _reached(engine: DoseEngine, comparisons: Sequence[Comparison]) -> tuple[str, str]:
    held = [f.reached for c in comparisons if c.engine == engine.label for f in c.figures() if f.reached is not None]
    return f"{engine.title}, bars reached", f"{sum(held)} of {len(held)}"


def _measured_card(measured: Sequence[MeasuredComparison]) -> tuple[str, str]:
    return "Measured data, bars reached", f"{sum(bool(m.figure().reached) for m in measured)} of {len(measured)}"


def _row(c: Comparison) -> dict[str, Any]:
    bars = c.bars
    figures = c.figures()
    axis = next(f for f in figures if f.name.endswith("beyond 2 sigma"))
    edge = max((f for f in figures if f.name.startswith("field edge")), key=lambda f: f.value)
    width = max((f for f in figures if f.name.startswith("80-20")), key=lambda f: f.value)
    gamma = next((f for f in figures if f.name.startswith("gamma")), None)
    asked = [f.reached for f in figures if f.reached is not None]
    return {
        "case": c.reference.name,
        "title": c.reference.title,
        "engine": c.engine,
        "raw": f"{c.largest_percent:.2f}",
        "axis": _judged(axis, 2, "≤"),
        "rms": f"{c.rms_percent:.2f}",
        "edge": _judged(edge, 2, "≤"),
        "width": _judged(width, 2, "≤"),
        "gamma": None if gamma is None else _judged(gamma, 2, "≥"),
        "criterion": f"{bars.gamma_percent:g} %/{bars.gamma_mm:g} mm",
        "reached": _verdict(all(asked) if asked else None),
    }


def _judged(figure: Figure, digits: int, sign: str) -> dict[str, str]:
    bar = "" if figure.bar is None else f"{sign} {figure.bar:g}"
    return {"value": f"{figure.value:.{digits}f}", "bar": bar, "style": _VERDICTS[figure.reached][1] if bar else ""}


def _verdict(reached: bool | None) -> dict[str, str]:
    word, style = _VERDICTS[reached]
    return {"word": word, "style": style}


def _case(same: Sequence[Comparison]) -> dict[str, Any]:
    reference = same[0].reference
    where = "The grey band is two standard deviations of the reference"
    if same[0].bars.axis_percent is not None:
        where += f", the dotted lines the bar of {same[0].bars.axis_percent:g}\N{NO-BREAK SPACE}%"
    if reference.phantom != "w":
        where += ", the shaded depths the slab"
    return {
        "title": f"{reference.name}: {reference.title}",
        "machine": reference.machine,
        "penumbrae": [
            {
                "engine": c.engine,
                "cells": [
                    {
                        "depth": f"{p.depth_mm:g}",
                        "edge": f"{p.edge_mm:.2f}",
                        "edge_difference": _signed(p.edge_difference_mm),
                        "width": f"{p.width_mm:.2f}",
                        "width_difference": _signed(p.width_difference_mm),
                    }
                    for p in c.penumbrae
                ],
            }
            for c in same
        ],
        "pictures": [
            Picture(png_bytes(draw_depth_dose(same), _DPI), f"Dose on the axis, and the deviation. {where}."),
            Picture(
                png_bytes(draw_profiles(same), _DPI),
                "Profiles 15, 50, 100 and 200 mm deep, and the differences in per cent of the largest reference dose.",
            ),
        ],
    }


def _measured_row(m: MeasuredComparison) -> dict[str, Any]:
    figure = m.figure()
    digits = 3 if m.unit == "%" else 2 if m.unit == "mm" else 1
    return {
        "name": m.name,
        "machine": m.machine,
        "source": m.source,
        "at_label": m.at_label,
        "unit": m.unit,
        "bar": f"{m.bar:g}",
        "largest": f"{figure.value:.2f}",
        "reached": _verdict(figure.reached),
        "points": [
            (at, f"{theirs:.{digits}f}", f"{ours:.{digits}f}", _signed(difference))
            for at, theirs, ours, difference in zip(m.at, m.measured, m.calculated, m.difference, strict=True)
        ],
    }


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
