"""Point energy-deposition kernels of photons in water, as shipped with the package."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np

from DoseEngineLib.errors import SchemaError


@dataclass(frozen=True, eq=False)
class PointKernels:
    """Energy deposited around a photon interaction point in water.

    Attributes
    ----------
    energy_MeV : (e,) array
    cone_edges_deg : (c + 1,) array
        Polar angle against the photon's direction.
    radius_edges_cm : (r + 1,) array
    fraction : (e, c, r, p) array
        Fraction of the photon's energy deposited in the cone and shell, by component.
    components : tuple of str
        primary, first_scatter, second_scatter, multiple_scatter, brems_annihilation
    """

    energy_MeV: np.ndarray
    cone_edges_deg: np.ndarray
    radius_edges_cm: np.ndarray
    fraction: np.ndarray
    components: tuple[str, ...]

    def at(self, energy_MeV: float) -> np.ndarray:
        """Fractions (c, r) of all components at an energy, linear in its logarithm between the tabulated ones."""
        total = _summed()
        place = np.interp(np.log(energy_MeV), np.log(self.energy_MeV), np.arange(self.energy_MeV.size))
        low = min(int(place), self.energy_MeV.size - 2)
        share = place - low
        return (1.0 - share) * total[low] + share * total[low + 1]


@lru_cache(maxsize=1)
def _summed() -> np.ndarray:
    return load_point_kernels().fraction.sum(axis=-1, dtype=float)


@lru_cache(maxsize=1)
def load_point_kernels() -> PointKernels:
    """Load the kernels (EGSnrc EDKnrc, provenance inside the file)."""
    path = resources.files("DoseEngineLib").joinpath("photon", "point_kernels_water.npz")
    with path.open("rb") as file, np.load(file) as data:
        if int(data["schema_version"]) != 1:
            raise SchemaError("point_kernels_water.npz is of another schema version; reinstall RTPlanning.")
        return PointKernels(
            data["energy_MeV"],
            np.concatenate(([0.0], data["cone_upper_deg"])),
            np.concatenate(([0.0], data["radius_upper_cm"])),
            data["fraction"],
            tuple(str(name) for name in data["components"]),
        )
