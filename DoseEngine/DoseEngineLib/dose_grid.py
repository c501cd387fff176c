"""The dose grid of a plan before it is calculated: how many voxels, and what they need."""

from __future__ import annotations

from dataclasses import dataclass

from DoseEngineLib.geometry import Grid


def dose_memory_GB(voxels: int, beams: int) -> float:
    """Return about how much memory a dose calculation needs, in GB: doses of plan and beams, mask, and one beam's."""
    return voxels * (4 * (beams + 1) + 1) / 1e9 + 0.3


@dataclass(frozen=True)
class DoseGridEstimate:
    """A dose grid to be.

    Attributes
    ----------
    shape : (int, int, int)
        Voxels along k, j, i.
    spacing_mm : float
    memory_GB : float
    is_of_body : bool
        Whether it encloses the body; else the whole image, as the body is not outlined yet, and is an upper limit.
    """

    shape: tuple[int, int, int]
    spacing_mm: float
    memory_GB: float
    is_of_body: bool

    @property
    def voxels(self) -> int:
        """Number of voxels."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    def __str__(self) -> str:
        most = "" if self.is_of_body else "at most "
        k, j, i = self.shape
        return f"{most}{i} x {j} x {k} = {self.voxels / 1e6:.2f} million voxels, about {self.memory_GB:.1f} GB"


def estimate_dose_grid(box: Grid, spacing_mm: float, beams: int, *, is_of_body: bool = True) -> DoseGridEstimate:
    """Estimate the dose grid over a box.

    Parameters
    ----------
    box : Grid
        The part of the image that holds the body (`Patient.body_grid`), or the whole image.
    spacing_mm : float
    beams : int
    is_of_body : bool
    """
    shape = box.with_spacing(spacing_mm).shape
    return DoseGridEstimate(shape, float(spacing_mm), dose_memory_GB(shape[0] * shape[1] * shape[2], beams), is_of_body)
