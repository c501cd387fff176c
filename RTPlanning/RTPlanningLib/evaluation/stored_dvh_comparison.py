"""A DVH beside the one that another system stored for the same structure and dose."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from DoseEngineLib.dvh import Dvh

# Points of the stored curve that agree lie within this of ours: % of the volume, % of the largest dose.
VOLUME_PERCENT = DOSE_PERCENT = 1.0
_STEPS = 8000


class StoredCurve(Protocol):
    """What a stored DVH tells; see `RTPlanningLib.dicom.stored_dvh.StoredDvh`."""

    dose_Gy: np.ndarray
    volume_percent: np.ndarray
    volume_cm3: float | None

    @property
    def mean_Gy(self) -> float:
        """Mean dose."""

    def dose_at_volume_percent(self, percent: float) -> float:
        """Dose that so much of the volume receives at least."""


@dataclass(frozen=True)
class StoredComparison:
    """Figures of a structure, ours and stored.

    Attributes
    ----------
    structure : str
    volume_cm3, stored_volume_cm3 : float
        The stored one None where the file gives volumes in %.
    mean_Gy, stored_mean_Gy, D98_Gy, stored_D98_Gy, D50_Gy, stored_D50_Gy, D2_Gy, stored_D2_Gy : float
    agreement_percent : float
        Part of the stored curve's points within 1 % of the volume and 1 % of the largest dose of ours, as an ellipse
        (M. A. Ebert et al., Phys. Med. Biol. 55 (2010) N337).
    """

    structure: str
    volume_cm3: float
    stored_volume_cm3: float | None
    mean_Gy: float
    stored_mean_Gy: float
    D98_Gy: float
    stored_D98_Gy: float
    D50_Gy: float
    stored_D50_Gy: float
    D2_Gy: float
    stored_D2_Gy: float
    agreement_percent: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for a table, CSV or JSON."""
        return asdict(self)


def compare_with_stored(dvh: Dvh, stored: StoredCurve, maximum_Gy: float) -> StoredComparison:
    """Compare a DVH with a stored one; ``maximum_Gy`` is the largest dose of the plan."""
    end = max(float(stored.dose_Gy[-1]), dvh.max_Gy)
    dose, volume = dvh.curve(end / _STEPS, end + 2.0 * end / _STEPS)
    reach = DOSE_PERCENT / 100.0 * maximum_Gy
    near = [
        np.min(((dose - d) / reach) ** 2 + ((volume - v) / VOLUME_PERCENT) ** 2) <= 1.0
        for d, v in zip(stored.dose_Gy, stored.volume_percent, strict=True)
    ]
    figures = [
        value
        for percent in (98.0, 50.0, 2.0)
        for value in (dvh.dose_at_volume_percent(percent), stored.dose_at_volume_percent(percent))
    ]
    return StoredComparison(
        dvh.structure_name,
        dvh.covered_volume_cm3,
        stored.volume_cm3,
        dvh.mean_Gy,
        stored.mean_Gy,
        *figures,
        100.0 * float(np.mean(near)),
    )
