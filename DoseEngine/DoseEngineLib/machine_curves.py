"""Depth doses, profiles and output factors of a machine in water: what a machine viewer shows.

The pencil-beam engine's dose in a flat semi-infinite phantom has a closed form (`photon.water_dose`); any other engine
calculates the same fields in a phantom of voxels.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from DoseEngineLib.engine import create_engine
from DoseEngineLib.errors import MachineError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.machine import Machine, load_machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Aperture, Beam, Plan
from DoseEngineLib.progress import Progress, part

# The engine whose dose in a flat phantom has a closed form.
CLOSED_FORM_ENGINE = "photon-pencil-beam"
REFERENCE_SIDE_MM = 100.0
REFERENCE_DEPTH_MM = 100.0
DEEPEST_MM = 300.0
_STEP_MM = 1.0
# Of the phantom of voxels: its cells, how much water stands beside a field and behind the deepest point, and the dose
# grid, on whose planes all depths and positions lie.
_CELL_MM, _BESIDE_MM, _BEHIND_MM, _GRID_MM = 5.0, 60.0, 50.0, 2.5
_SIDES_MM = (50.0, 100.0, 200.0, 300.0, 400.0)
_OUTPUT_SIDES_MM = (20.0, 30.0, 40.0, 50.0, 70.0, 100.0, 150.0, 200.0, 250.0, 300.0, 350.0, 400.0)
_OUTPUT_SIDES_OF_ENGINES_MM = (30.0, 50.0, 100.0, 200.0)
_KEPT = 24
# At 80 % of the field's width the dose of a flat beam is at least this share of the axis.
_FLAT = 0.95

# Dose in Gy/MU of a square field, on the axis and on a plane through it: depths, off-axis positions -> (depth, x).
_FieldDose = Callable[[float, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class CurveConditions:
    """What is computed, and by which engine.

    Attributes
    ----------
    ssd_mm : float or None
        Distance from the source to the water; None: the machine's source-axis distance.
    profile_side_mm : float
        Side of the square field of the profiles, at the isocentre plane.
    profile_depths_mm : tuple of float
        The depth of the maximum comes to them.
    engine : str
    engine_options : tuple of (str, value)
    """

    ssd_mm: float | None = None
    profile_side_mm: float = REFERENCE_SIDE_MM
    profile_depths_mm: tuple[float, ...] = (50.0, 100.0, 200.0)
    engine: str = CLOSED_FORM_ENGINE
    engine_options: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.ssd_mm is not None and not 500.0 <= self.ssd_mm <= 2000.0:
            raise MachineError(f"The source-surface distance {self.ssd_mm:g} mm is not in 500..2000 mm.")
        if not 10.0 <= self.profile_side_mm <= 400.0:
            raise MachineError(f"The field of the profiles, {self.profile_side_mm:g} mm wide, is not in 10..400 mm.")
        depths = self.profile_depths_mm
        if not depths or any(not 0.0 < d <= DEEPEST_MM for d in depths) or len(set(depths)) != len(depths):
            raise MachineError(f"Depths of profiles must differ and lie in 0..{DEEPEST_MM:g} mm; got {depths}.")


@dataclass(frozen=True, eq=False)
class DoseCurve:
    """A curve of a chart: positions in mm, and per cent (output factors: a ratio)."""

    name: str
    position_mm: np.ndarray
    value: np.ndarray


@dataclass(frozen=True, eq=False)
class MachineCurves:
    """Curves of a machine.

    Attributes
    ----------
    machine : Machine
    conditions : CurveConditions
    ssd_mm : float
    depth_doses : tuple of DoseCurve
        Per cent of each field's maximum over depth.
    profiles : tuple of DoseCurve
        Per cent of the maximum on the axis over the position across the axis, at the stated depth.
    output_factors : DoseCurve
        Dose at 10 cm depth over that of the 10 x 10 cm field, over the side of the square field.
    quality : dict of str to float
        Of the 10 x 10 cm field: ``depth_of_maximum_mm``, ``maximum_Gy_per_MU``, ``pdd_10cm_percent``,
        ``pdd_20cm_percent``; ``tpr_20_10`` (10 x 10 cm at the isocentre, 20 over 10 cm deep; IAEA TRS-398); and
        ``penumbra_mm`` at 10 cm depth, from 80 to 20 % of the axis, of beams that are flat.
    computed_by : str
    """

    machine: Machine
    conditions: CurveConditions
    ssd_mm: float
    depth_doses: tuple[DoseCurve, ...]
    profiles: tuple[DoseCurve, ...]
    output_factors: DoseCurve
    quality: Mapping[str, float] = field(default_factory=dict)
    computed_by: str = ""


_kept: OrderedDict[tuple[str, CurveConditions], MachineCurves] = OrderedDict()


def machine_file_hash(name_or_path: str | Path) -> str:
    """SHA-256 of a machine's file, of one that comes with the package or of one by path.

    Raises
    ------
    MachineError
        A file that cannot be read.
    """
    text = str(name_or_path)
    load_machine(name_or_path)
    if text.endswith(".json") or "/" in text or "\\" in text:
        return hashlib.sha256(Path(text).read_bytes()).hexdigest()
    file = resources.files("DoseEngineLib").joinpath("machines", f"{text}.json")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def kept_curves(name_or_path: str | Path, conditions: CurveConditions | None = None) -> MachineCurves | None:
    """Return the curves that were computed before for the same file and conditions, or None."""
    return _kept.get((machine_file_hash(name_or_path), conditions or CurveConditions()))


def machine_curves(
    name_or_path: str | Path, conditions: CurveConditions | None = None, progress: Progress | None = None
) -> MachineCurves:
    """Compute the curves of a machine, or return those computed before for the same file and conditions.

    Parameters
    ----------
    name_or_path : str or path
        As `load_machine` takes it.
    conditions : CurveConditions, optional
    progress : callable, optional

    Raises
    ------
    MachineError
        No such machine, or one that forms no 10 x 10 cm field.
    EngineError
        An engine that cannot run here, or cannot calculate the phantom.
    """
    conditions = conditions or CurveConditions()
    key = (machine_file_hash(name_or_path), conditions)
    if key in _kept:
        _kept.move_to_end(key)
        return _kept[key]
    curves = _compute(str(name_or_path), conditions, part(progress, 0.0, 1.0))
    _kept[key] = curves
    while len(_kept) > _KEPT:
        _kept.popitem(last=False)
    return curves


def possible_sides_mm(machine: Machine, sides_mm: Sequence[float] = _SIDES_MM) -> tuple[float, ...]:
    """Sides of the square fields among these that the machine's jaws can form."""
    reach = 2 * min(machine.jaw_x.maximum_mm, -machine.jaw_x.minimum_mm, machine.jaw_y.maximum_mm,
                    -machine.jaw_y.minimum_mm)  # fmt: skip
    return tuple(side for side in sides_mm if side <= reach + 1e-6)


def _compute(name_or_path: str, conditions: CurveConditions, report: Progress) -> MachineCurves:
    machine = load_machine(name_or_path)
    sides = possible_sides_mm(machine)
    if REFERENCE_SIDE_MM not in sides:
        raise MachineError(
            f"{machine.name} forms no field of 10 x 10 cm, to which curves refer; choose another machine."
        )
    if conditions.profile_side_mm not in possible_sides_mm(machine, (conditions.profile_side_mm,)):
        raise MachineError(
            f"{machine.name} forms no square field of {conditions.profile_side_mm:g} mm, the widest of those shown is "
            f"{sides[-1]:g} mm; choose a smaller field for the profiles."
        )
    ssd = conditions.ssd_mm or machine.sad_mm
    done = 0.0

    def within_step(fraction: float, text: str) -> None:
        # an engine's own progress can stop the work, the bar counts the steps
        report(done, text)

    if conditions.engine == CLOSED_FORM_ENGINE:
        dose, step, output_sides = _closed_form(machine, ssd), _STEP_MM, _OUTPUT_SIDES_MM
        computed_by = "pencil beam in a flat phantom (closed form)"
    else:
        engine = create_engine(conditions.engine, **dict(conditions.engine_options))
        dose, step = _in_voxels(name_or_path, machine, ssd, engine, within_step), _GRID_MM
        sides = tuple(side for side in sides if side <= max(200.0, conditions.profile_side_mm))
        output_sides = _OUTPUT_SIDES_OF_ENGINES_MM
        computed_by = f"{engine.title} in a phantom of voxels"
    output_sides = possible_sides_mm(machine, output_sides)
    steps = len(sides) + len(output_sides) + 2

    def next_step(text: str) -> None:
        nonlocal done
        report(done, text)
        done += 1.0 / steps

    axis, depths = np.zeros(1), np.arange(step, DEEPEST_MM + step / 2, step)
    doses = {}
    for side in sides:
        next_step(f"Depth dose of {_square(side)}")
        doses[side] = dose(side, depths, axis)[:, 0]
    depth_doses = tuple(DoseCurve(_square(side), depths, 100.0 * d / d.max()) for side, d in doses.items())
    next_step("Profiles")
    profiles = _profiles(conditions, dose, depths, step, ssd / machine.sad_mm)
    deep = np.array([REFERENCE_DEPTH_MM])
    factors = []
    for side in output_sides:
        next_step(f"Output factor of {_square(side)}")
        factors.append(float(dose(side, deep, axis)[0, 0]))
    reference = doses[REFERENCE_SIDE_MM]
    at_reference = float(dose(REFERENCE_SIDE_MM, deep, axis)[0, 0])
    next_step("Beam quality")
    quality = _quality(machine, depths, reference, conditions)
    report(1.0, "Curves computed")
    return MachineCurves(
        machine,
        conditions,
        ssd,
        depth_doses,
        profiles,
        DoseCurve("Output factor", np.array(output_sides), np.array(factors) / at_reference),
        quality,
        computed_by,
    )


def _profiles(
    conditions: CurveConditions, dose: _FieldDose, depths: np.ndarray, step: float, magnification: float
) -> tuple[DoseCurve, ...]:
    side = conditions.profile_side_mm
    along_axis = dose(side, depths, np.zeros(1))[:, 0]
    of_maximum = float(depths[int(np.argmax(along_axis))])
    wanted = sorted({of_maximum, *conditions.profile_depths_mm})
    widest = side / 2 * magnification * 1.35 + 40.0
    reach = step * np.ceil(widest / step)
    across = np.arange(-reach, reach + step / 2, step)
    planes = 100.0 * dose(side, np.array(wanted), across) / along_axis.max()
    return tuple(
        DoseCurve(f"{depth / 10:g} cm deep{' (maximum)' if depth == of_maximum else ''}", across, plane)
        for depth, plane in zip(wanted, planes)
    )


def _quality(
    machine: Machine, depths: np.ndarray, reference: np.ndarray, conditions: CurveConditions
) -> dict[str, float]:
    greatest = float(reference.max())
    quality = {
        "depth_of_maximum_mm": float(depths[int(np.argmax(reference))]),
        "maximum_Gy_per_MU": greatest,
        "pdd_10cm_percent": 100.0 * float(np.interp(100.0, depths, reference)) / greatest,
        "pdd_20cm_percent": 100.0 * float(np.interp(200.0, depths, reference)) / greatest,
    }
    if conditions.engine != CLOSED_FORM_ENGINE:
        return quality
    shallow, deep = (
        float(_closed_form(machine, machine.sad_mm - depth)(REFERENCE_SIDE_MM, np.array([depth]), np.zeros(1))[0, 0])
        for depth in (100.0, 200.0)
    )
    quality["tpr_20_10"] = deep / shallow
    across = np.arange(0.0, REFERENCE_SIDE_MM, 0.25)
    ssd = conditions.ssd_mm or machine.sad_mm
    plane = _closed_form(machine, ssd)(REFERENCE_SIDE_MM, np.array([REFERENCE_DEPTH_MM]), across)[0]
    # without a flattening filter 80 % of the axis is no edge
    if np.interp(0.8 * REFERENCE_SIDE_MM / 2, across, plane) < _FLAT * plane[0]:
        return quality
    # rising, as interpolation needs it; from the horns on the dose falls steadily
    outward = slice(int(np.argmax(plane)), None)
    at_80, at_20 = (
        float(np.interp(share * plane[0], plane[outward][::-1], across[outward][::-1])) for share in (0.8, 0.2)
    )
    quality["penumbra_mm"] = at_20 - at_80
    return quality


def _closed_form(machine: Machine, ssd_mm: float) -> _FieldDose:
    from DoseEngineLib.photon.water_dose import water_dose

    def dose(side_mm: float, depths_mm: np.ndarray, across_mm: np.ndarray) -> np.ndarray:
        points = np.zeros((depths_mm.size, across_mm.size, 3))
        points[..., 0] = across_mm
        points[..., 2] = depths_mm[:, None]
        found = water_dose(machine, _open_field(side_mm), ssd_mm, points.reshape(-1, 3))
        return found.reshape(points.shape[:2])

    return dose


def _in_voxels(name_or_path: str, machine: Machine, ssd_mm: float, engine: Any, report: Progress) -> _FieldDose:
    planes: dict[float, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def dose(side_mm: float, depths_mm: np.ndarray, across_mm: np.ndarray) -> np.ndarray:
        if side_mm not in planes:
            planes[side_mm] = _phantom_plane(name_or_path, machine, ssd_mm, side_mm, engine, report)
        at_depth, at_across, plane = planes[side_mm]
        rows = np.stack([np.interp(across_mm, at_across, row) for row in plane])
        return np.stack([np.interp(depths_mm, at_depth, column) for column in rows.T], axis=1)

    return dose


def _phantom_plane(
    name_or_path: str, machine: Machine, ssd_mm: float, side_mm: float, engine: Any, report: Progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dose in Gy/MU (depth, x) of a square field on the plane through the axis and the collimator's X, with depths and
    positions, rising."""
    half = side_mm / 2 * (ssd_mm + DEEPEST_MM) / machine.sad_mm + _BESIDE_MM
    columns = 2 * int(np.ceil(half / _CELL_MM))
    layers = int((DEEPEST_MM + _BEHIND_MM) / _CELL_MM)
    # air up to the isocentre and a layer more: an engine wants the isocentre in the image
    air = max(int(np.ceil((ssd_mm - machine.sad_mm) / _CELL_MM)), 0) + 1
    shape = (columns, layers + air, columns)
    # the surface is at A = 0, the source above
    side_first = -(columns - 1) / 2 * _CELL_MM
    grid = Grid.from_spacing(shape, _CELL_MM, (side_first, (0.5 - layers) * _CELL_MM, side_first))
    density = np.zeros(shape, np.float32)
    density[:, :layers] = 1.0
    phantom = Patient.from_density(density, grid, body=density > 0)
    beam = Beam.open_field(
        "Field",
        jaw_x_mm=(-side_mm / 2, side_mm / 2),
        jaw_y_mm=(-side_mm / 2, side_mm / 2),
        isocenter_RAS_mm=(0.0, ssd_mm - machine.sad_mm, 0.0),
        machine=name_or_path,
        meterset_MU=100.0,
    )
    # the collimator's X axis lies along R for a beam from above: one row of voxels along S holds the plane
    rows = round(DEEPEST_MM / _GRID_MM)
    reach = int(half / _GRID_MM) - 4
    across = _GRID_MM * np.arange(-reach, reach + 1)
    plane = Grid.from_spacing((1, rows, across.size), _GRID_MM, (float(across[0]), -DEEPEST_MM, 0.0))
    found = engine.calculate_dose(phantom, Plan("Phantom", (beam,)), plane, report).dose_Gy[0] / 100.0
    return _GRID_MM * np.arange(1, rows + 1), across, found[::-1]


def _open_field(side_mm: float) -> Aperture:
    half = side_mm / 2
    return Aperture((-half, half), (-half, half))


def _square(side_mm: float) -> str:
    return f"{side_mm / 10:g} x {side_mm / 10:g} cm"
