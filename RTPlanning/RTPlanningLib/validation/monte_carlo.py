"""Monte Carlo reference doses in slab phantoms, and our engines in the same geometry.

EGSnrc DOSXYZnrc: ideal point source at SSD 90 cm, sharp square fields, cubic voxels; Gy for 1 photon/cm2 in air on the
axis at 100 cm (1e9 of them are one MU of the ideal machines). A reference is one file ``<name>.npz``, and its name says
what it is: a letter for the phantom (`SLABS`), digits for the field, and ``_15MV`` where the spectrum is not the 6 MV
one. The size of the field is read from the file.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from DoseEngineLib.engine import create_engine
from DoseEngineLib.errors import PlanningError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Beam, Plan
from DoseEngineLib.progress import Progress

PHOTONS_PER_MU = 1e9
SURFACE_TO_ISOCENTER_MM = 100.0
BUILD_UP_MM = {"ideal_6mv": 15.0, "ideal_15mv": 30.0}
# Backscatter is missing at the phantom's end; its last part is not judged.
LAST_PART_MM = 20.0

# letter: what lies in the water, from, to in mm, mass density in g/cm3
SLABS = {
    "w": ("water", None),
    "l": ("lung slab", (50.0, 150.0, 0.26)),
    "b": ("bone slab", (50.0, 70.0, 1.85)),
}
_NAME = re.compile(r"([wlb])[0-9]+(_15MV)?")
_NEEDED = ("field_cm", "z", "x", "axis", "axis_relunc", "axis_halfwidth_cm", "common_mode_relunc", "dose3d")


class ReferenceDataError(PlanningError):
    """Reference doses that are missing, malformed, or of a kind that cannot be calculated."""


@dataclass(frozen=True, eq=False)
class Reference:
    """A reference case: a dose cube [z, y, x] in Gy for 1 photon/cm2, and what is needed to calculate it; mm.

    Attributes
    ----------
    field_mm : float
        Side of the square field at the isocentre.
    phantom : str
        One of the letters of `SLABS`.
    machine : str
    dose : (z, y, x) array
    z_mm, x_mm : arrays
        Voxel centres: depth, and distance from the axis (the same for y).
    axis, axis_error : (z,) arrays
        Mean of the columns within ``axis_half_width_mm`` of the axis, and its relative standard deviation.
    """

    name: str
    field_mm: float
    phantom: str
    machine: str
    dose: np.ndarray
    z_mm: np.ndarray
    x_mm: np.ndarray
    axis: np.ndarray
    axis_error: np.ndarray
    axis_half_width_mm: float

    @property
    def title(self) -> str:
        """The case in words."""
        energy = "15 MV" if self.machine == "ideal_15mv" else "6 MV"
        side = f"{self.field_mm / 10:g}"
        return f"{SLABS[self.phantom][0]}, {energy}, {side} x {side} cm"

    @property
    def voxel_mm(self) -> float:
        """Side of a voxel."""
        return float(self.z_mm[1] - self.z_mm[0])

    @property
    def judged(self) -> np.ndarray:
        """(z,) mask of the depths beyond the build-up and above the phantom's last 2 cm."""
        end = self.z_mm[-1] + self.voxel_mm / 2
        return (self.z_mm > BUILD_UP_MM[self.machine]) & (self.z_mm < end - LAST_PART_MM)

    def axis_of(self, dose: np.ndarray) -> np.ndarray:
        """Average of a cube over the same columns as the reference's axis."""
        near = np.abs(self.x_mm) <= self.axis_half_width_mm + 1e-6
        return dose[:, near][:, :, near].mean(axis=(1, 2))

    def profile_of(self, dose: np.ndarray, depth_mm: float) -> np.ndarray:
        """Profile across the axis at a depth: mean of the two voxel planes that meet there."""
        below = round(depth_mm / self.voxel_mm)
        return dose[below - 1 : below + 1, :, self.x_mm.size // 2].mean(axis=0)

    def axis_deviation(self, dose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Relative deviation of a cube on the axis at the `judged` depths, and the reference's relative error there."""
        return (self.axis_of(dose) / self.axis - 1)[self.judged], self.axis_error[self.judged]


def reference_names(folder: str | Path) -> tuple[list[str], list[str]]:
    """Names of the references in a folder: those that can be calculated, and those whose names say nothing known.

    Raises
    ------
    ReferenceDataError
        No such folder, or none in it that can be calculated.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ReferenceDataError(f"There is no folder {folder}; give the one that holds the reference doses (*.npz).")
    names = sorted(path.stem for path in folder.glob("*.npz"))
    known = [name for name in names if _phantom_of(name)]
    if not known:
        inside = f" (it holds {', '.join(names)})" if names else ""
        raise ReferenceDataError(
            f"{folder} holds no reference dose{inside}; they are files named like w10.npz, l03.npz or w10_15MV.npz."
        )
    return known, [name for name in names if name not in known]


def load_reference(folder: str | Path, name: str) -> Reference:
    """Read a reference.

    Raises
    ------
    ReferenceDataError
        A name that says nothing known, a missing file, or one whose arrays are not as they should be.
    """
    phantom = _phantom_of(name)
    path = Path(folder) / f"{name}.npz"
    if phantom is None:
        raise ReferenceDataError(
            f"{path.name} is no known reference: its name begins with w (water), l (lung) or b (bone), then field and, "
            "where it is not 6 MV, _15MV."
        )
    try:
        with np.load(path, allow_pickle=False) as data:
            missing = [key for key in _NEEDED if key not in data.files]
            if missing:
                raise ReferenceDataError(f"{path} lacks {', '.join(missing)}; it is no whole reference dose.")
            values = {key: np.asarray(data[key], dtype=float) for key in _NEEDED}
    except FileNotFoundError as error:
        raise ReferenceDataError(f"There is no reference dose at {path}; give the folder that holds it.") from error
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise ReferenceDataError(f"{path} cannot be read as a reference dose ({error}); copy it anew.") from error
    _check(path, values)
    return Reference(
        name=name,
        field_mm=float(values["field_cm"]) * 10.0,
        phantom=phantom,
        machine="ideal_15mv" if name.endswith("_15MV") else "ideal_6mv",
        dose=values["dose3d"],
        z_mm=values["z"] * 10.0,
        x_mm=values["x"] * 10.0,
        axis=values["axis"],
        axis_error=np.hypot(values["axis_relunc"], values["common_mode_relunc"]),
        axis_half_width_mm=float(values["axis_halfwidth_cm"]) * 10.0,
    )


def calculate(reference: Reference, engine: str = "photon-pencil-beam", progress: Progress | None = None) -> np.ndarray:
    """Our dose [z, y, x] in the reference's voxels, Gy for 1 photon/cm2; the beam points along -A, surface at A = 0."""
    voxel = reference.voxel_mm
    depths, width = reference.z_mm.size, reference.x_mm.size
    half = (width - 1) / 2 * voxel
    grid = Grid.from_spacing((width, depths, width), voxel, (-half, -(depths - 0.5) * voxel, -half))
    density = np.ones(grid.shape, np.float32)
    slab = SLABS[reference.phantom][1]
    if slab is not None:
        depth = -(grid.origin_RAS_mm[1] + voxel * np.arange(depths))
        density[:, (depth > slab[0]) & (depth < slab[1]), :] = slab[2]
    jaws = (-reference.field_mm / 2, reference.field_mm / 2)
    beam = Beam.open_field(
        jaw_x_mm=jaws,
        jaw_y_mm=jaws,
        isocenter_RAS_mm=(0, -SURFACE_TO_ISOCENTER_MM, 0),
        machine=reference.machine,
        meterset_MU=1.0,
    )
    result = create_engine(engine).calculate_dose(
        Patient.from_density(density, grid), Plan(reference.name, (beam,)), grid=grid, progress=progress
    )
    return result.dose_Gy.transpose(1, 0, 2)[::-1].astype(float) / PHOTONS_PER_MU


def penumbra_mm(x_mm: np.ndarray, profile: np.ndarray) -> tuple[float, float]:
    """Distance of the 50 % edge from the axis, and 80-20 % width, of the right half of a profile."""
    middle = x_mm.size // 2
    right = profile[middle:] / profile[middle - 3 : middle + 4].mean()
    at = {level: float(np.interp(-level, -right, x_mm[middle:])) for level in (0.8, 0.5, 0.2)}
    return at[0.5], at[0.2] - at[0.8]


def _phantom_of(name: str) -> str | None:
    found = _NAME.fullmatch(name)
    return found.group(1) if found else None


def _check(path: Path, values: dict[str, np.ndarray]) -> None:
    """Raise `ReferenceDataError` where arrays are not of one shape, not finite, or not on even cubic voxels."""
    z, x, dose = values["z"], values["x"], values["dose3d"]
    reason = ""
    if z.ndim != 1 or x.ndim != 1 or z.size < 50 or x.size < 21 or dose.shape != (z.size, x.size, x.size):
        reason = f"dose3d has the shape {dose.shape}, which does not fit z {z.shape} and x {x.shape}"
    elif any(values[key].shape != z.shape for key in ("axis", "axis_relunc")):
        reason = "axis and axis_relunc do not have a value a depth"
    elif any(values[key].ndim for key in ("field_cm", "axis_halfwidth_cm", "common_mode_relunc")):
        reason = "field_cm, axis_halfwidth_cm and common_mode_relunc must be single numbers"
    elif not all(np.isfinite(array).all() for array in values.values()):
        reason = "it holds values that are not finite"
    elif not (values["axis"].min() > 0 and dose.min() >= 0):
        reason = "it holds doses that are negative, or zero on the axis"
    elif not 0 < 10 * values["field_cm"] < 400:
        reason = f"a field of {values['field_cm']} cm is out of range"
    else:
        step = z[1] - z[0]
        even = np.allclose(np.diff(z), step, atol=1e-4) and np.allclose(np.diff(x), step, atol=1e-4)
        centred = x.size % 2 == 1 and abs(x[x.size // 2]) < 1e-4 and abs(z[0] - step / 2) < 1e-4
        if not (step > 0 and even and centred):
            reason = "its voxels are not even cubes that begin at the surface and lie about the axis"
        elif z[-1] < 22.0:
            reason = "it ends less than 22 cm deep"
    if reason:
        raise ReferenceDataError(f"{path} is no usable reference dose: {reason}.")
