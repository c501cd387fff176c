"""Machines and bixels for tests of leaf sequencing."""

from __future__ import annotations

import json
from importlib import resources
from types import SimpleNamespace

import numpy as np

from DoseEngineLib.influence import BixelBeam
from DoseEngineLib.machine import load_machine
from DoseEngineLib.plan import Beam, Plan, Prescription


def machine_file(folder, *, limits=None, mlc=None, name="machine"):
    """Write a variant of the generic 6 MV machine and return its path as text."""
    data = json.loads(resources.files("DoseEngineLib").joinpath("machines", "generic_6mv.json").read_text())
    data["mlc"].update(mlc or {})
    data["mlc"]["limits"].update(limits or {})
    path = folder / f"{name}.json"
    path.write_text(json.dumps(data))
    return str(path)


def bixels_of(values, machine="generic_6mv", width_mm=5.0, first_row=0, first_column=0, name="A", everywhere=True):
    """Bixels that hold a map [y, x] of weights, with the weights."""
    values = np.asarray(values, dtype=float)
    rows, columns = np.nonzero(np.ones_like(values) if everywhere else values)
    beam = BixelBeam(
        name,
        30.0,
        5.0,
        0.0,
        (0.0, 0.0, 0.0),
        machine,
        width_mm,
        (columns + first_column + 0.5) * width_mm,
        (rows + first_row + 0.5) * width_mm,
    )
    return beam, values[rows, columns]


def plan_for(*beams):
    """A plan with open beams of the names of some bixel beams, and a stand-in of their influence."""
    plan = Plan(
        "Test",
        tuple(Beam.open_field(b.name, gantry_deg=b.gantry_deg, machine=b.machine) for b in beams),
        Prescription(50.0, 25, normalization="none"),
    )
    return SimpleNamespace(beams=beams), plan


def machine_of(beam):
    return load_machine(beam.machine)
