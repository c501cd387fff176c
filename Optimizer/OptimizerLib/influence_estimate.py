"""How large a dose influence would be, before it is computed.

Bixels and voxels are counted as the optimization would have them. How many bixels a voxel's row holds depends on depth,
distance and the cut-off: it is counted, with the engine itself, in a sample of the voxels spread evenly over all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from DoseEngineLib.influence_voxels import influence_voxels
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress, part
from OptimizerLib.fluence_planning import FluenceSettings, influence_engine, influence_region
from OptimizerLib.planning_goals import PlanningGoals

# Voxels of the sample: a per cent or two of error.
_SAMPLE = 600
# float32 value and int32 index of an entry of the matrix; of the copy that the search reads, with 16-bit indices.
_BYTES_AN_ENTRY, _BYTES_IN_SEARCH = 8, 6


@dataclass(frozen=True)
class InfluenceEstimate:
    """The size of a dose influence.

    Attributes
    ----------
    voxels, bixels : int
        Rows and columns, as they will be.
    entries : int
        About.
    matrix_bytes : int
        Of the matrix: values, indices and column ends.
    total_bytes : int
        The matrix, and the copy that the search reads.
    """

    voxels: int
    bixels: int
    entries: int
    matrix_bytes: int
    total_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.bixels:,} bixels, {self.voxels:,} voxels: about {memory_text(self.matrix_bytes)}, "
            f"{memory_text(self.total_bytes)} while it is searched with"
        )


def memory_text(size_bytes: float) -> str:
    """A size in MB or GB, with two digits that mean something."""
    in_MB = size_bytes / 1e6
    if in_MB >= 995.0:
        return f"{in_MB / 1e3:.2g} GB" if in_MB < 9950.0 else f"{in_MB / 1e3:.0f} GB"
    return f"{in_MB:.2g} MB" if in_MB < 9.95 else f"{in_MB:.0f} MB"


def estimate_influence(
    patient: Patient,
    plan: Plan,
    goals: PlanningGoals,
    settings: FluenceSettings | None = None,
    targets: Sequence[str] = (),
    progress: Progress | None = None,
) -> InfluenceEstimate:
    """Estimate the size of what `OptimizerLib.fluence_planning.fluence_influence` would compute.

    Parameters
    ----------
    patient, plan, goals, settings, targets, progress
        As of `OptimizerLib.fluence_planning.plan_fluence`.

    Raises
    ------
    OptimizationError, EngineError, PlanError
        What computing it would raise for the same reason.
    """
    region = influence_region(patient, plan, goals, settings or FluenceSettings(), targets)
    part(progress, 0.0, 1.0)(0.1, "Counting bixels and voxels")
    voxels, _ = influence_voxels(patient, region.grid, None, region.mask, region.normal_tissue_every)
    bixels = sum(beam.size for beam in region.bixels)
    sample = np.zeros(region.grid.size, bool)
    # the middles of even stretches: of the voxels in their order, so of all slices
    count = min(_SAMPLE, voxels.size)
    sample[voxels[((np.arange(count) + 0.5) * (voxels.size / count)).astype(int)]] = True
    found = influence_engine(plan).calculate_influence(
        patient,
        plan,
        bixels=region.bixels,
        mask=sample.reshape(region.grid.shape),
        grid=region.grid,
        progress=part(progress, 0.1, 1.0),
    )
    entries = round(found.matrix.nnz * (voxels.size / count))
    matrix = entries * _BYTES_AN_ENTRY + (bixels + 1) * 4
    search = entries * _BYTES_IN_SEARCH + (voxels.size + 1) * 8
    return InfluenceEstimate(int(voxels.size), bixels, entries, matrix, matrix + search)
