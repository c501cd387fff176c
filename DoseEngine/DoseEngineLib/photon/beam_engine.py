"""What all photon engines share: checks, beams in turn, scaling to the prescription, provenance."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from DoseEngineLib.dose_grid import dose_memory_GB
from DoseEngineLib.engine import DoseEngine, DoseResult
from DoseEngineLib.engine_option import checked_options
from DoseEngineLib.errors import EngineError, PlanError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.machine import Machine, load_beam_machine
from DoseEngineLib.normalization import normalization_factor
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon.photon_options import BEAM_OPTIONS
from DoseEngineLib.plan import Beam, Plan
from DoseEngineLib.progress import Progress, part

_NO_HETEROGENEITY = "heterogeneities: the correction is off, every voxel of the body is water of 1 g/cm3"


class PhotonBeamEngine(DoseEngine):
    """An engine that computes photon beams one by one.

    Parameters
    ----------
    max_memory_GB : float
        Refuse requests whose arrays would need more.
    allow_isocenter_outside : bool
        Compute beams whose isocentre is outside the image (extended distances).
    arc_step_deg : float
        Control points of an arc within this angle are calculated from one direction, their fluences added up; 0: every
        segment between two control points from its own.
    heterogeneity : bool
        False: every voxel of the body is water of 1 g/cm3, whatever the CT and the density overrides say.
    """

    dose_to: str = "water"

    def __init__(
        self,
        max_memory_GB: float = 8.0,
        allow_isocenter_outside: bool = False,
        arc_step_deg: float = 0.0,
        heterogeneity: bool = True,
    ) -> None:
        checked = checked_options(
            BEAM_OPTIONS,
            {
                "max_memory_GB": max_memory_GB,
                "allow_isocenter_outside": allow_isocenter_outside,
                "arc_step_deg": arc_step_deg,
                "heterogeneity": heterogeneity,
            },
            self.title,
        )
        self.arc_step_deg: float = checked["arc_step_deg"]
        self.heterogeneity: bool = checked["heterogeneity"]
        self.max_memory_GB: float = checked["max_memory_GB"]
        self.allow_isocenter_outside: bool = checked["allow_isocenter_outside"]

    @abstractmethod
    def _beam_dose_per_MU(
        self,
        patient: Patient,
        beam: Beam,
        machine: Machine,
        position: str,
        grid: Grid,
        inside: np.ndarray,
        progress: Progress,
    ) -> np.ndarray:
        """Dose of one beam for one MU in Gy on the grid, float32, zero where not ``inside``."""

    def calculate_dose(
        self, patient: Patient, plan: Plan, grid: Grid | None = None, progress: Progress | None = None
    ) -> DoseResult:
        """Calculate the dose of a plan; see `DoseEngine.calculate_dose`."""
        report = part(progress, 0.0, 1.0)
        patient = self._patient_to_calculate(patient)
        grid = grid or patient.body_grid.with_spacing(plan.dose_grid_spacing_mm)
        self._check_memory(grid, len(plan.beams))
        machines = [load_beam_machine(beam) for beam in plan.beams]
        by_name = {beam.machine: machine for beam, machine in zip(plan.beams, machines, strict=True)}
        self._check_isocenters(patient, plan)
        inside = resample(patient.body, patient.grid, grid)
        if not inside.any():
            raise EngineError("The dose grid does not meet the body; check the grid's position.")
        metersets = [beam.meterset_MU if plan.has_MU else 100.0 * beam.weight for beam in plan.beams]
        doses = {}
        for number, (beam, meterset) in enumerate(zip(plan.beams, metersets, strict=True)):
            share = part(report, number / len(plan.beams), (number + 1) / len(plan.beams))
            share(0.0, f"{self.title}: {beam.name}")
            dose = self._beam_dose_per_MU(patient, beam, machines[number], plan.patient_position, grid, inside, share)
            dose *= np.float32(meterset * plan.fractions)
            doses[beam.name] = dose
        total = np.zeros(grid.shape, np.float32)
        for dose in doses.values():
            total += dose
        normalization = "MU as planned"
        if not plan.has_MU:
            factor, normalization = normalization_factor(plan, patient, total, grid)
            metersets = [meterset * factor for meterset in metersets]
            total *= np.float32(factor)
            for dose in doses.values():
                dose *= np.float32(factor)
        delivered = plan.with_metersets(metersets)
        report(1.0, f"{self.title}: done")
        return DoseResult(
            dose_Gy=total,
            grid=grid,
            beam_doses_Gy=doses,
            plan=delivered,
            dose_to=self.dose_to,
            provenance={
                "engine": self.label,
                "engine_version": self.version,
                "rtplanning_version": _package_version(),
                "options": {option.name: getattr(self, option.name) for option in self.options},
                "machines": {name: machine.title for name, machine in by_name.items()},
                "machines_do_not_model": {name: list(machine.does_not_model) for name, machine in by_name.items()},
                **_own_leaves(plan, machines),
                "dose_to": self.dose_to,
                "grid_shape_kji": list(grid.shape),
                "grid_spacing_mm": [round(float(s), 6) for s in grid.spacing_mm],
                "normalization": normalization,
                "plan_hash": delivered.hash(),
                "patient": patient.provenance,
                "does_not_model": [*self.does_not_model, *([] if self.heterogeneity else [_NO_HETEROGENEITY])],
            },
        )

    def _patient_to_calculate(self, patient: Patient) -> Patient:
        """Return the patient that beams are calculated in; without heterogeneity correction one of water."""
        if self.heterogeneity:
            return patient
        density = patient.body.astype(np.float32)
        density.setflags(write=False)
        provenance = {**patient.provenance, "density_overrides_g_cm3": {}, "heterogeneity": _NO_HETEROGENEITY}
        return replace(patient, density_g_cm3=density, hu=None, provenance=provenance)

    def _check_memory(self, grid: Grid, beams: int) -> None:
        need_GB = dose_memory_GB(grid.size, beams)
        if need_GB > self.max_memory_GB:
            raise EngineError(
                f"A dose grid of {grid.size / 1e6:.1f} million voxels for {beams} beams needs about {need_GB:.1f} GB, "
                f"more than the {self.max_memory_GB:g} GB allowed; use a coarser grid or raise max_memory_GB."
            )

    def _check_isocenters(self, patient: Patient, plan: Plan) -> None:
        if self.allow_isocenter_outside:
            return
        for beam in plan.beams:
            if not patient.grid.contains(np.array(beam.isocenter_RAS_mm)):
                raise PlanError(
                    f"Beam {beam.name}: the isocentre R {beam.isocenter_RAS_mm[0]:.1f}, A "
                    f"{beam.isocenter_RAS_mm[1]:.1f}, S {beam.isocenter_RAS_mm[2]:.1f} mm lies outside the image; "
                    "place it in the patient, or create the engine with allow_isocenter_outside=True."
                )


def _own_leaves(plan: Plan, machines: Sequence[Machine]) -> dict[str, dict[str, str]]:
    """What provenance says of leaves that are not the machine's."""
    leaves = {
        beam.name: machine.mlc.model
        for beam, machine in zip(plan.beams, machines, strict=True)
        if beam.leaf_boundaries_mm is not None or beam.leaf_model is not None
    }
    return {"leaves_of_the_plan": leaves} if leaves else {}


def _package_version() -> str:
    try:
        return version("rtplanning")
    except PackageNotFoundError:
        return "source tree"
