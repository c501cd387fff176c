"""CT calibration: CT numbers to mass density, by a piecewise linear curve that users edit as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from DoseEngineLib.errors import PatientError, SchemaError

CALIBRATION_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class CalibrationCurve:
    """A piecewise linear curve from CT number to mass density; held constant beyond its ends.

    Attributes
    ----------
    name : str
    hu : tuple of float
        CT numbers in HU, strictly rising.
    mass_density_g_cm3 : tuple of float
        Densities, not negative. They need not rise: Schneider's curve drops where bone begins.
    source : str
        Where the numbers come from.
    """

    name: str
    hu: tuple[float, ...]
    mass_density_g_cm3: tuple[float, ...]
    source: str = ""

    def __post_init__(self) -> None:
        hu = np.asarray(self.hu, dtype=float)
        density = np.asarray(self.mass_density_g_cm3, dtype=float)
        if hu.ndim != 1 or hu.size < 2 or hu.shape != density.shape:
            raise PatientError(f"CT calibration {self.name}: give at least two HU values and one density for each.")
        if not (np.isfinite(hu).all() and np.isfinite(density).all()):
            raise PatientError(f"CT calibration {self.name}: values must be finite.")
        if (np.diff(hu) <= 0).any():
            raise PatientError(f"CT calibration {self.name}: HU values must rise strictly; sort them, drop repeats.")
        if (density < 0).any():
            raise PatientError(f"CT calibration {self.name}: a density is negative.")
        object.__setattr__(self, "hu", tuple(float(v) for v in hu))
        object.__setattr__(self, "mass_density_g_cm3", tuple(float(v) for v in density))

    def density_g_cm3(self, hu: np.ndarray) -> np.ndarray:
        """Mass density in g/cm3 (float32) of CT numbers in HU, any shape."""
        values = np.asarray(hu)
        if values.dtype.kind in "iu" and values.size > 100_000:
            # a table over the integers present: a hundred times faster than interpolating each voxel
            low, high = int(values.min()), int(values.max())
            if high - low < 2**20:
                table = np.interp(np.arange(low, high + 1), self.hu, self.mass_density_g_cm3).astype(np.float32)
                return table[values.astype(np.int64) - low]
        return np.interp(values, self.hu, self.mass_density_g_cm3).astype(np.float32)

    def describe(self) -> str:
        """One line for reports."""
        return f"{self.name} ({len(self.hu)} points, {self.hu[0]:g}..{self.hu[-1]:g} HU)"

    def to_json(self) -> str:
        """JSON text that `load_calibration` reads."""
        return json.dumps(
            {
                "schema_version": CALIBRATION_SCHEMA_VERSION,
                "name": self.name,
                "source": self.source,
                "hu": self.hu,
                "mass_density_g_cm3": self.mass_density_g_cm3,
            },
            indent=1,
        )


def calibration_from_points(name: str, points: Sequence[tuple[float, float]], source: str = "") -> CalibrationCurve:
    """Make a curve from (HU, g/cm3) pairs in any order."""
    ordered = sorted((float(hu), float(density)) for hu, density in points)
    return CalibrationCurve(name, tuple(p[0] for p in ordered), tuple(p[1] for p in ordered), source)


def load_calibration(path: str | Path) -> CalibrationCurve:
    """Read a calibration curve from a JSON file.

    Raises
    ------
    PatientError
        When the file is missing or its numbers cannot be used.
    SchemaError
        When it is not a calibration file of a known schema version.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PatientError(f"CT calibration {path} cannot be read: {error.strerror}.") from error
    return calibration_from_json(text, str(path))


@lru_cache(maxsize=1)
def default_calibration() -> CalibrationCurve:
    """The default curve: Schneider, Bortfeld and Schlegel (2000)."""
    text = (
        resources.files("DoseEngineLib")
        .joinpath("materials", "ct_calibration_schneider2000.json")
        .read_text(encoding="utf-8")
    )
    return calibration_from_json(text, "ct_calibration_schneider2000.json")


def calibration_from_json(text: str, where: str) -> CalibrationCurve:
    """Read a curve from JSON text, which errors speak of as ``where``; errors as `load_calibration`."""
    try:
        data = json.loads(text)
        version = data["schema_version"]
        values = data["name"], data["hu"], data["mass_density_g_cm3"], data.get("source", "")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SchemaError(
            f"{where} is not a CT calibration ({error!r}); it needs schema_version, name, hu and mass_density_g_cm3."
        ) from error
    if version != CALIBRATION_SCHEMA_VERSION:
        raise SchemaError(f"{where}: schema version {version} is not {CALIBRATION_SCHEMA_VERSION}; update RTPlanning.")
    name, hu, density, source = values
    return CalibrationCurve(str(name), tuple(hu), tuple(density), str(source))
