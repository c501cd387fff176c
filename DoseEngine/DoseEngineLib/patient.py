"""The patient as dose engines see it: mass density on a grid, inside a body outline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from DoseEngineLib.body import find_body
from DoseEngineLib.calibration import CalibrationCurve, default_calibration
from DoseEngineLib.errors import PatientError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.plan import Structure

# Above this there is no element in a patient (platinum 21.45, gold 19.3 g/cm3).
_MAXIMUM_DENSITY_G_CM3 = 22.6


@dataclass(frozen=True, eq=False)
class Patient:
    """A patient or phantom; make one with `from_hu` or `from_density`.

    Attributes
    ----------
    density_g_cm3 : (k, j, i) float32 array
        Mass density; zero outside the body.
    grid : Grid
    body : (k, j, i) bool array
    structures : tuple of Structure
        Structures that normalization, apertures and evaluation refer to by name.
    hu : (k, j, i) array or None
        The CT numbers it was made from, for display and material assignment.
    provenance : dict
        Calibration, body outline and overrides used, in words.
    """

    density_g_cm3: np.ndarray
    grid: Grid
    body: np.ndarray
    structures: tuple[Structure, ...] = ()
    hu: np.ndarray | None = None
    provenance: dict[str, object] = field(default_factory=dict)

    @classmethod
    def from_hu(
        cls,
        hu: np.ndarray,
        grid: Grid,
        *,
        calibration: CalibrationCurve | None = None,
        body: np.ndarray | None = None,
        structures: Sequence[Structure] = (),
        density_overrides_g_cm3: Mapping[str, float] | None = None,
    ) -> Patient:
        """Make a patient from CT numbers.

        Parameters
        ----------
        hu : (k, j, i) array
            CT numbers in HU.
        grid : Grid
        calibration : CalibrationCurve, optional
            HU to mass density; the default is Schneider (2000).
        body : (k, j, i) bool array, optional
            Body outline; else the structure of role EXTERNAL; else found in the image (couch and air left outside).
        structures : sequence of Structure
        density_overrides_g_cm3 : mapping of structure name to mass density
            Overrides are applied in the order given, the last one wins.

        Raises
        ------
        PatientError
            NaN or infinite values, a shape that is not the grid's, an empty body, an unknown or empty structure.
        """
        hu = np.asarray(hu)
        _check_array("CT", hu, grid)
        calibration = calibration or default_calibration()
        density = calibration.density_g_cm3(hu)
        if body is None and not any(s.role == "EXTERNAL" for s in structures):
            body = find_body(hu, grid)
            how = "found in the image"
        else:
            how = "given"
        return cls._make(
            density, grid, body, how, tuple(structures), density_overrides_g_cm3, hu, calibration.describe()
        )

    @classmethod
    def from_density(
        cls,
        density_g_cm3: np.ndarray,
        grid: Grid,
        *,
        body: np.ndarray | None = None,
        structures: Sequence[Structure] = (),
        density_overrides_g_cm3: Mapping[str, float] | None = None,
    ) -> Patient:
        """Make a patient from mass densities; without an outline the body is where the density exceeds 0.1 g/cm3,
        with enclosed cavities (lung, bowel gas) filled."""
        density = np.asarray(density_g_cm3, dtype=np.float32)
        _check_array("density", density, grid)
        how = "given"
        if body is None and not any(s.role == "EXTERNAL" for s in structures):
            # the outline finder thinks in HU: water is 0, air -1000
            body = find_body((density - 1.0) * 1000.0, grid, threshold_HU=-900.0, keep_all_parts=True)
            how = "density above 0.1 g/cm3, cavities filled"
        return cls._make(density, grid, body, how, tuple(structures), density_overrides_g_cm3, None, "density given")

    @classmethod
    def _make(
        cls,
        density: np.ndarray,
        grid: Grid,
        body: np.ndarray | None,
        how: str,
        structures: tuple[Structure, ...],
        overrides: Mapping[str, float] | None,
        hu: np.ndarray | None,
        calibration: str,
    ) -> Patient:
        names = [s.name for s in structures]
        if len(set(names)) != len(names):
            raise PatientError(f"Structure names must be unique; got {', '.join(names)}.")
        if body is None:
            external = [s for s in structures if s.role == "EXTERNAL"]
            if len(external) > 1:
                listed = ", ".join(s.name for s in external)
                raise PatientError(f"{len(external)} structures have the role EXTERNAL ({listed}); keep one.")
            body = resample(external[0].mask, external[0].grid, grid)
            how = f"structure {external[0].name}"
        body = np.asarray(body, dtype=bool)
        if body.shape != grid.shape:
            raise PatientError(f"The body outline's shape {body.shape} is not the grid's {grid.shape}.")
        if not body.any():
            raise PatientError("The body outline is empty; contour the body or check the CT numbers.")
        density = np.array(density, dtype=np.float32)
        by_name = {s.name: s for s in structures}
        for name, value in (overrides or {}).items():
            if name not in by_name:
                raise PatientError(
                    f"Density override: there is no structure {name!r}; choose one of: {', '.join(names) or 'none'}."
                )
            if not 0.0 <= value <= _MAXIMUM_DENSITY_G_CM3:
                raise PatientError(f"Density override of {name}: {value} g/cm3 is not in 0..{_MAXIMUM_DENSITY_G_CM3}.")
            mask = resample(by_name[name].mask, by_name[name].grid, grid)
            if not mask.any():
                raise PatientError(f"Density override: structure {name} is empty on the patient's grid.")
            density[mask] = value
        density[~body] = 0.0
        density.setflags(write=False)
        body.setflags(write=False)
        provenance = {
            "calibration": calibration,
            "body": how,
            "density_overrides_g_cm3": {name: float(value) for name, value in (overrides or {}).items()},
        }
        return cls(density, grid, body, structures, hu, provenance)

    def structure(self, name: str) -> Structure:
        """Return a structure by name; an unknown name raises `PatientError` and lists those there are."""
        for structure in self.structures:
            if structure.name == name:
                return structure
        known = ", ".join(s.name for s in self.structures) or "none"
        raise PatientError(f"There is no structure {name!r}; the case has: {known}.")

    @cached_property
    def body_grid(self) -> Grid:
        """The part of the grid that holds the body."""
        return self.grid.crop(self.body)[0]

    @cached_property
    def body_box(self) -> tuple[Grid, tuple[slice, slice, slice]]:
        """The part of the grid that holds the body and a voxel around it, and the slices that cut it out."""
        return self.grid.crop(self.body, margin_mm=float(self.grid.spacing_mm.max()))


def _check_array(what: str, values: np.ndarray, grid: Grid) -> None:
    if values.shape != grid.shape:
        raise PatientError(f"The {what} array's shape {values.shape} is not the grid's {grid.shape} (k, j, i).")
    if not np.isfinite(values).all():
        bad = int(np.count_nonzero(~np.isfinite(values)))
        raise PatientError(f"The {what} has {bad} NaN or infinite voxels; repair the image before planning.")
    if what == "density" and (values.min() < 0 or values.max() > _MAXIMUM_DENSITY_G_CM3):
        raise PatientError(
            f"Densities {values.min():.3g}..{values.max():.3g} g/cm3 are not in 0..{_MAXIMUM_DENSITY_G_CM3}; "
            "are these CT numbers? Then use Patient.from_hu."
        )
