"""The list of sample cases and what would be prescribed to each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from DoseEngineLib.errors import CaseError
from RTPlanningLib.case import Case
from RTPlanningLib.samples import tg119, thorax, water_tank
from RTPlanningLib.samples.phantom import Phantom


@dataclass(frozen=True)
class SamplePrescription:
    """A plan to begin with: what to prescribe, to what, and from where.

    Attributes
    ----------
    target : str
        Name of the target structure; its centroid is the isocentre.
    dose_Gy : float
        Dose of the whole course.
    fractions : int
    gantry_deg : tuple of float
        IEC 61217 gantry angles of a conformal plan, a four-field box unless the anatomy asks for another.
    normalization : str
        The isocentre's dose, but D95 where the target bends around what lies at its centroid.
    """

    target: str
    dose_Gy: float
    fractions: int
    gantry_deg: tuple[float, ...] = (0.0, 90.0, 180.0, 270.0)
    normalization: str = "point"


@dataclass(frozen=True)
class _Sample:
    title: str
    phantom: Callable[[], Phantom]
    prescription: SamplePrescription


_SAMPLES: dict[str, _Sample] = {
    "tg119-multitarget": _Sample(
        "TG-119 multi-target", tg119.multi_target, SamplePrescription("PTV_Central", 50.0, 25)
    ),
    "tg119-prostate": _Sample("TG-119 mock prostate", tg119.prostate, SamplePrescription("PTV", 75.6, 42)),
    "tg119-headneck": _Sample("TG-119 mock head and neck", tg119.head_and_neck, SamplePrescription("PTV", 50.0, 25)),
    "tg119-cshape": _Sample("TG-119 C-shape", tg119.c_shape, SamplePrescription("PTV", 50.0, 25, normalization="D95")),
    # the tumour lies in the right lung: no beam through the left one
    "thorax": _Sample(
        "Thorax with lung tumour", thorax.thorax, SamplePrescription("PTV", 60.0, 30, (0.0, 180.0, 270.0))
    ),
    "water-tank": _Sample("Water tank", water_tank.water_tank, SamplePrescription("PTV", 50.0, 25)),
}


def available_samples() -> list[tuple[str, str, str]]:
    """List the samples as (name, title, description)."""
    return [(name, sample.title, sample.phantom().description) for name, sample in _SAMPLES.items()]


def load_sample(name: str, spacing_mm: float | Sequence[float] | None = None) -> Case:
    """Make a sample case.

    Parameters
    ----------
    name : str
        One of the names `available_samples` lists.
    spacing_mm : float or three floats, optional
        Voxel size along R, A, S; by default 2-3 mm, the sample's own.

    Raises
    ------
    CaseError
        Unknown name, or a spacing that is not in 0.5..10 mm or too coarse for the smallest structure.
    """
    return _sample(name).phantom().to_case(spacing_mm)


def sample_plan(name: str) -> SamplePrescription:
    """What to prescribe to a sample; an unknown name raises `CaseError`."""
    return _sample(name).prescription


def _sample(name: str) -> _Sample:
    if name not in _SAMPLES:
        raise CaseError(f"There is no sample case {name!r}; choose one of: {', '.join(_SAMPLES)}.")
    return _SAMPLES[name]
