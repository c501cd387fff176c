"""What a machine is, in rows for a table: geometry, head, calibration, and where each part comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DoseEngineLib.machine import Machine, Mlc


@dataclass(frozen=True)
class Fact:
    """A line of the table."""

    group: str
    label: str
    value: str


def machine_facts(machine: Machine) -> list[Fact]:
    """Describe a machine, parts that it leaves out included."""
    energy, share = np.array(machine.energy_MeV), np.array(machine.fluence)
    dose_rate = machine.maximum_dose_rate_MU_min
    rows = [
        ("Beam", "Name", machine.name),
        ("Beam", "Title", machine.title),
        ("Beam", "Energy", machine.energy_label),
        ("Beam", "Mean photon energy on the axis", f"{float(energy @ share):.2f} MeV"),
        ("Beam", "Spectrum", f"{energy.size} bins, {energy[0]:g} to {energy[-1]:g} MeV"),
        ("Beam", "Highest dose rate", "not stated" if dose_rate is None else f"{dose_rate:g} MU/min"),
        ("Calibration", "Dose for 1 MU", machine.describe_calibration()),
        ("Geometry", "Source-axis distance", f"{machine.sad_mm:g} mm"),
        *(("Geometry", f"Jaws {axis}", _jaw(jaw)) for axis, jaw in (("X", machine.jaw_x), ("Y", machine.jaw_y))),
        ("Geometry", "Radius of the widest field", f"{machine.field_radius_mm:g} mm at the isocentre plane"),
        *_mlc(machine.mlc),
        *_head(machine),
        ("Not modelled", "Parts left out", ", ".join(machine.does_not_model) or "none"),
        *(("Sources", key.replace("_", " "), text) for key, text in machine.provenance.items()),
    ]
    return [Fact(*row) for row in rows]


def _jaw(jaw) -> str:
    return (
        f"{jaw.minimum_mm:g} to {jaw.maximum_mm:g} mm, transmission {100 * jaw.transmission:.3g} %, "
        f"{jaw.distance_mm:g} mm from the source"
    )


def _mlc(mlc: Mlc | None) -> list[tuple[str, str, str]]:
    if mlc is None:
        return [("MLC", "MLC", "none")]
    widths, counts = np.unique(np.round(np.diff(mlc.boundaries_mm), 3), return_counts=True)
    rows = [
        ("MLC", "Model", mlc.model),
        ("MLC", "Leaves", f"{mlc.pairs} pairs: {', '.join(f'{n} of {w:g} mm' for w, n in zip(widths, counts))}"),
        ("MLC", "Travel of a tip", f"{mlc.minimum_mm:g} to {mlc.maximum_mm:g} mm"),
        ("MLC", "Transmission", f"{100 * mlc.transmission:.3g} %"),
        ("MLC", "Leaf ends", f"radiation edge {mlc.leaf_end_offset_mm:g} mm behind the tip"),
        ("MLC", "Tongue and groove", f"{mlc.tongue_and_groove_mm:g} mm"),
        ("MLC", "Distance from the source", f"{mlc.distance_mm:g} mm"),
    ]
    limits = mlc.limits
    if limits is None:
        return [*rows, ("MLC", "Limits of its drives", "not stated; modulated fields cannot be sequenced")]
    return [
        *rows,
        ("MLC", "Least gap", f"{limits.minimum_gap_mm:g} mm at rest, {limits.minimum_moving_gap_mm:g} mm moving"),
        ("MLC", "Fastest leaf", f"{limits.maximum_speed_mm_s:g} mm/s"),
        ("MLC", "Greatest spread of a bank", f"{limits.maximum_spread_mm:g} mm"),
        ("MLC", "Interdigitation", "allowed" if limits.interdigitation else "not allowed"),
    ]


def _head(machine: Machine) -> list[tuple[str, str, str]]:
    off_axis = {
        "point_source": "as of an isotropic point source",
        "flat": "flat at the isocentre plane",
        "radial": f"table of {len(machine.off_axis_radius_mm)} radii",
    }
    rows = [
        ("Head", "Focal spot", f"{machine.source_sigma_mm:g} mm, one standard deviation"),
        ("Head", "Fluence off the axis", off_axis[machine.off_axis_kind]),
        ("Head", "Off-axis softening", "modelled" if machine.softening else "not modelled"),
    ]
    extra, electrons, back = machine.extra_focal, machine.electron_contamination, machine.monitor_backscatter
    texts = {
        "Head scatter": extra
        and f"{100 * extra.weight:.3g} % of the fluence, from {extra.distance_mm:g} mm below the spot, sigma "
        f"{extra.sigma_mm:g} mm",
        "Electron contamination": electrons
        and f"{100 * electrons.surface_ratio:.3g} % of the maximum at the surface, 1/e in {electrons.decay_mm:g} mm",
        "Backscatter into the monitor": back
        and f"{100 * back.jaw_x:.3g} % from closed X jaws, {100 * back.jaw_y:.3g} % from Y",
    }
    return [*rows, *(("Head", label, text or "not modelled") for label, text in texts.items())]
