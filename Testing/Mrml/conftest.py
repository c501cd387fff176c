"""A fresh MRML scene for each test, and a small plan with a deterministic engine of the tests' own."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from oblique_grid import box, directions
from sphere_engine import LABEL

from DoseEngineLib.engine import register_engine, unregister_engine
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Beam, Plan, Prescription, Structure
from RTPlanningLib.case import Case
from RTPlanningLib.headless import HeadlessSlicer


@pytest.fixture
def headless():
    """A running headless Slicer with a fresh scene."""
    with HeadlessSlicer() as running:
        yield running
    gc.collect()


@pytest.fixture
def scene(headless):
    """A fresh MRML scene, the current one of ``slicer``."""
    return headless.scene


@pytest.fixture
def sphere_engine():
    """The label of a tiny engine whose dose falls off linearly from the isocentre."""
    register_engine(LABEL, "Sphere (test)", "sphere_engine", "SphereEngine")
    yield LABEL
    unregister_engine(LABEL)


@pytest.fixture
def oblique_grid() -> Grid:
    """An oblique grid with three different spacings."""
    return Grid.from_spacing((20, 24, 28), (3.1, 2.9, 4.3), (-37.123456, 11.5, 203.7), directions())


@pytest.fixture
def case(oblique_grid) -> Case:
    """A case with overlapping, empty and non-ASCII structures."""
    grid = oblique_grid
    hu = np.full(grid.shape, -1000, dtype=np.int16)
    body = box(grid, slice(1, 19), slice(2, 22), slice(2, 26))
    hu[body] = 0
    hu[8:12, 10:14, 10:18] = 37
    structures = (
        Structure("External", body, grid, "EXTERNAL", (0.2, 0.8, 0.4)),
        Structure("PTV", box(grid, slice(7, 13), slice(9, 15), slice(9, 19)), grid, "PTV", (1.0, 0.0, 0.0)),
        Structure("Não contornado", np.zeros(grid.shape, bool), grid, "ORGAN", (0.0, 0.0, 1.0)),
        Structure("Rectum <1>", box(grid, slice(5, 9), slice(8, 12), slice(9, 14)), grid, "ORGAN", (0.5, 0.25, 0.0)),
        Structure("Couch", box(grid, slice(1, 19), slice(0, 1), slice(2, 26)), grid, "SUPPORT", (0.5, 0.5, 0.5)),
    )
    return Case(
        name="Oblique",
        hu=hu,
        grid=grid,
        structures=structures,
        patient_position="FFP",
        patient_name="Phantom^É",
        patient_id="ID-1",
        study_instance_uid="1.2.3.4",
        series_instance_uid="1.2.3.5",
        frame_of_reference_uid="1.2.3.6",
        goals=("PTV D95% >= 10 Gy", "Rectum <1> Dmean <= 70 Gy"),
        density_overrides_g_cm3={"PTV": 1.05},
        description="A turned box; \"quotes\", <tags> & 'more'",
        notes=("A note: with | and ; in it",),
    )


@pytest.fixture
def plan(case, sphere_engine) -> Plan:
    """Two weighted beams at oblique angles with the test engine."""
    isocenter = tuple(case.structure("PTV").centroid_RAS_mm())
    beams = tuple(
        Beam.open_field(
            name,
            gantry_deg=gantry,
            collimator_deg=17.0,
            couch_deg=350.0,
            jaw_x_mm=(-20.0, 30.0),
            isocenter_RAS_mm=isocenter,
            meterset_MU=None,
            weight=weight,
        )
        for name, gantry, weight in (("Front", 12.3456789012345, 1.0), ("Side", 271.0, 3.0))
    )
    return Plan("Box é", beams, Prescription(60.0, 30, "PTV", "mean"), "FFP", sphere_engine, {}, 3.0)
