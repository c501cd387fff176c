"""A dose engine for tests of nodes: exact, instant, and able to fail on demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from DoseEngineLib.engine import DoseEngine, DoseResult
from DoseEngineLib.engine_option import EngineOption
from DoseEngineLib.progress import silent

LABEL = "test-sphere"
PEAK_GY, SLOPE_GY_PER_MM = 60.0, 1.0


@dataclass
class SphereEngine(DoseEngine):
    """Dose ``PEAK - SLOPE x distance`` from the isocentre (not below zero), shared by the beams by weight."""

    fault: str = ""
    label = LABEL
    title = "Sphere (test)"
    version = "1"
    models = ("nothing physical",)
    does_not_model = ("everything else",)
    options: ClassVar[tuple[EngineOption, ...]] = (
        EngineOption(
            "fault", "Fault", "choice", "", choices=tuple((f, f) for f in ("", "nan", "negative", "missing beam"))
        ),
    )

    def calculate_dose(self, patient, plan, grid=None, progress=None):
        report = progress or silent
        report(0.0, "Sphere")
        grid = grid or patient.body_grid.with_spacing(plan.dose_grid_spacing_mm)
        distance = np.linalg.norm(grid.centres_RAS_mm() - np.array(plan.beams[0].isocenter_RAS_mm), axis=-1)
        dose = np.maximum(PEAK_GY - SLOPE_GY_PER_MM * distance, 0.0).astype(np.float32)
        if self.fault == "nan":
            dose[0, 0, 0] = np.nan
        if self.fault == "negative":
            dose[0, 0, 0] = -1.0
        total = sum(beam.weight for beam in plan.beams)
        report(0.5, "Sphere")
        doses = {beam.name: dose * np.float32(beam.weight / total) for beam in plan.beams}
        if self.fault == "missing beam":
            doses.popitem()
        report(1.0, "Sphere")
        delivered = plan.with_metersets([100.0 * beam.weight for beam in plan.beams])
        return DoseResult(dose, grid, doses, delivered, provenance={"engine": LABEL, "engine_version": "1"})
