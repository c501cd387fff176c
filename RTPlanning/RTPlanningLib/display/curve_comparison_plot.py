"""Figures of a commissioning: measured against computed curves, and the machine before and after."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from DoseEngineLib.commissioning.fit import CurveComparison
from DoseEngineLib.machine import Machine
from DoseEngineLib.photon.fluence import off_axis_ratio
from RTPlanningLib.display.axis_style import FRAME, INK, style_axes
from RTPlanningLib.display.figure_bytes import new_figure

_MEASURED, _COMPUTED, _BEFORE, _FAILED = "#6b7681", "#1f6fb4", "#9aa4af", "#c62838"
_POSITION = {"pdd": "Depth (mm)", "profile": "Off-axis position (mm)", "output_factor": "Equivalent square (mm)"}
# Differences are drawn to at least this, and to no more than that: a penumbra's would hide all others.
_DIFFERENCE_RANGE_PERCENT = (2.0, 6.0)


def draw_curve_comparison(comparison: CurveComparison, *, width_inch: float = 4.6, height_inch: float = 3.5) -> Figure:
    """Draw measured points, the fitted machine's curve and the base's, and below them the differences.

    Differences are per cent of the normalization dose, those beyond the picture are triangles at its rim; points that
    fail gamma 2 %/2 mm are red.
    """
    figure = new_figure(width_inch, height_inch)
    upper = figure.add_axes((0.125, 0.42, 0.86, 0.56))
    lower = figure.add_axes((0.125, 0.135, 0.86, 0.235), sharex=upper)
    at, curve = comparison.curve.position_mm, comparison.curve
    marker = {"markersize": 5 if curve.kind == "output_factor" else 2.2, "linestyle": "none"}
    upper.plot(at, comparison.measured_percent, "o", color=_MEASURED, label="measured", **marker)
    upper.plot(at, comparison.before_percent, color=_BEFORE, linewidth=1.0, dashes=(4, 2), label="base machine")
    upper.plot(at, comparison.computed_percent, color=_COMPUTED, linewidth=1.0, label="fitted machine")
    if curve.kind != "output_factor":
        upper.set_ylim(0.0, 1.06 * comparison.measured_percent.max())
    upper.set_ylabel(f"Dose (%), {comparison.normalization}".replace("100 % ", ""), fontsize=7.5, color=INK)
    upper.legend(fontsize=7, frameon=False, labelcolor=INK, loc="best")
    difference = comparison.difference_percent
    before = comparison.before_percent - comparison.measured_percent
    reach = float(np.clip(1.15 * np.abs(difference).max(), *_DIFFERENCE_RANGE_PERCENT))
    lower.axhspan(-1.0, 1.0, color="#e8f1f8", zorder=0)
    lower.axhline(0.0, color=FRAME, linewidth=0.7)
    lower.plot(at, np.clip(before, -reach, reach), color=_BEFORE, linewidth=0.8, dashes=(4, 2))
    failed = _failed(comparison)
    # what lies beyond the picture stands at its rim as a triangle
    for symbol, chosen in (("o", np.abs(difference) <= reach), ("^", difference > reach), ("v", difference < -reach)):
        for color, those in ((_COMPUTED, chosen & ~failed), (_FAILED, chosen & failed)):
            if those.any():
                lower.plot(at[those], np.clip(difference[those], -reach, reach), symbol, color=color, **marker)
    lower.set_ylim(-reach * 1.05, reach * 1.05)
    lower.set_ylabel("Difference (%)", fontsize=7.5, color=INK)
    lower.set_xlabel(_POSITION[curve.kind], fontsize=7.5, color=INK)
    for axes in (upper, lower):
        style_axes(axes, 7)
    upper.tick_params(labelbottom=False)
    return figure


def draw_machine_change(base: Machine, fitted: Machine, *, width_inch: float = 7.4, height_inch: float = 2.6) -> Figure:
    """Draw spectrum and fluence in air across the field, before and after."""
    figure = new_figure(width_inch, height_inch)
    left = figure.add_axes((0.075, 0.17, 0.41, 0.79))
    right = figure.add_axes((0.575, 0.17, 0.41, 0.79))
    radius = np.linspace(0.0, base.field_radius_mm, 200)
    for machine, color, dashes, label in (
        (base, _BEFORE, (4, 2), "base machine"),
        (fitted, _COMPUTED, (None, None), "fitted machine"),
    ):
        energy, share = np.array(machine.energy_MeV), np.array(machine.fluence)
        style = {"color": color, "dashes": dashes, "linewidth": 1.4, "label": label}
        left.plot(energy, share / share.max(), **style)
        right.plot(radius, off_axis_ratio(machine, radius), **style)
    left.set_xlabel("Photon energy (MeV)", fontsize=8, color=INK)
    left.set_ylabel("Photons a bin over the greatest", fontsize=8, color=INK)
    left.set_ylim(0.0, 1.08)
    right.set_xlabel("Radius at the isocentre plane (mm)", fontsize=8, color=INK)
    right.set_ylabel("Fluence in air over the axis", fontsize=8, color=INK)
    for axes in (left, right):
        axes.legend(fontsize=7.5, frameon=False, labelcolor=INK)
        style_axes(axes, 7)
    return figure


def _failed(comparison: CurveComparison) -> np.ndarray:
    if comparison.curve.kind == "output_factor":
        return np.abs(comparison.difference_percent) > 0.02 * comparison.measured_percent
    # NaN where it was not judged: not failed
    return comparison.gamma[2.0, 2.0] > 1.0
