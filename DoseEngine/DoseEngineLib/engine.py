"""Dose engines: the abstract engine, its result, and the registry that says which are available and why not."""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from DoseEngineLib.engine_option import EngineOption, checked_options
from DoseEngineLib.errors import EngineError, EngineUnavailableError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.patient import Patient
from DoseEngineLib.photon.photon_limits import COLLAPSED_CONE_DOES_NOT_MODEL, PENCIL_BEAM_DOES_NOT_MODEL
from DoseEngineLib.photon.photon_options import COLLAPSED_CONE_OPTIONS, PENCIL_BEAM_OPTIONS
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress

if TYPE_CHECKING:
    from DoseEngineLib.influence import BixelBeam, DoseInfluence


@dataclass(frozen=True, eq=False)
class DoseResult:
    """The dose of a plan.

    Attributes
    ----------
    dose_Gy : (k, j, i) float32 array
        Dose of the whole course (all fractions).
    grid : Grid
    beam_doses_Gy : dict of str to (k, j, i) float32 array
        Dose of each beam over the whole course; they add up to ``dose_Gy``.
    plan : Plan
        The plan as delivered: every beam carries its MU a fraction.
    dose_to : {"water", "medium"}
    uncertainty_Gy : (k, j, i) array or None
        One standard deviation where the engine is statistical.
    provenance : dict
        engine, engine_version, machines, grid, plan_hash, options, normalization: JSON values.
    """

    dose_Gy: np.ndarray
    grid: Grid
    beam_doses_Gy: dict[str, np.ndarray]
    plan: Plan
    dose_to: str = "water"
    uncertainty_Gy: np.ndarray | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


class DoseEngine(ABC):
    """A dose engine. Subclasses name themselves, what they model, what they do not, and the options they take."""

    label: ClassVar[str]
    title: ClassVar[str]
    version: ClassVar[str]
    models: ClassVar[tuple[str, ...]]
    does_not_model: ClassVar[tuple[str, ...]]
    options: ClassVar[tuple[EngineOption, ...]] = ()

    @abstractmethod
    def calculate_dose(
        self, patient: Patient, plan: Plan, grid: Grid | None = None, progress: Progress | None = None
    ) -> DoseResult:
        """Calculate the dose of a plan.

        Parameters
        ----------
        patient : Patient
        plan : Plan
        grid : Grid, optional
            Dose grid; by default ``plan.dose_grid_spacing_mm`` isotropic over the body.
        progress : callable, optional
            ``progress(fraction, text)``; it may raise `Cancelled`.

        Raises
        ------
        EngineError, PlanError, PatientError, MachineError
            When the request cannot be served; an engine never falls back to another one.
        """

    def calculate_influence(
        self,
        patient: Patient,
        plan: Plan,
        *,
        target: str | None = None,
        structures: Sequence[str] | None = None,
        mask: np.ndarray | None = None,
        normal_tissue_every: int | None = None,
        bixel_mm: float = 5.0,
        target_margin_mm: float = 5.0,
        bixels: Sequence[BixelBeam] | None = None,
        grid: Grid | None = None,
        cutoff: float = 1e-3,
        max_memory_GB: float | None = None,
        progress: Progress | None = None,
    ) -> DoseInfluence:
        """Calculate what each bixel of the plan's beams gives each voxel.

        Parameters
        ----------
        patient : Patient
        plan : Plan
            Its beams give directions, isocentres and machines; apertures and metersets do not matter.
        target : str, optional
            Structure that bixels are laid around in every beam's eye view; the prescription's target by default.
        structures, mask, normal_tissue_every
            Voxels that get a row, see `influence_voxels`; by default all of the body.
        bixel_mm : float
            Side of a bixel at the isocentre plane.
        target_margin_mm : float
            About the target, at the isocentre plane.
        bixels : sequence of BixelBeam, optional
            Take these, one for each beam of the plan in its order, in place of bixels around a target.
        grid : Grid, optional
            Dose grid; by default ``plan.dose_grid_spacing_mm`` isotropic over the body.
        cutoff : float
            Entries below this share of the largest are not all kept one by one; what that does to the dose is measured
            and stated in ``cutoff_error``. 0 keeps every entry.
        max_memory_GB : float, optional
            Refuse a matrix that would need more; the engine's own limit by default.
        progress : callable, optional

        Raises
        ------
        EngineError
            When this engine has no dose influence, or the request cannot be served.
        PlanError, PatientError, MachineError
        """
        having = ", ".join(info.label for info in available_engines() if info.has_influence)
        raise EngineError(f"{self.title} has no dose influence; optimize with one that has: {having or 'none'}.")


@dataclass(frozen=True)
class EngineInfo:
    """A line of the registry: an engine, whether it can run here, why not, whether it gives dose influence, its limits.

    ``does_not_model`` is None where only the engine's class knows it.
    """

    label: str
    title: str
    available: bool
    reason: str = ""
    has_influence: bool = False
    does_not_model: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Registration:
    title: str
    module: str
    class_name: str
    requires: tuple[str, ...] = ()
    has_influence: bool = False
    options: tuple[EngineOption, ...] | None = None
    does_not_model: tuple[str, ...] | None = None


_REGISTRY: dict[str, _Registration] = {}


def register_engine(
    label: str,
    title: str,
    module: str,
    class_name: str,
    requires: tuple[str, ...] = (),
    has_influence: bool = False,
    options: tuple[EngineOption, ...] | None = None,
    does_not_model: tuple[str, ...] | None = None,
) -> None:
    """Register an engine by label; it is imported only when created. A label in use raises `EngineError`.

    Parameters
    ----------
    requires : tuple of str
        Python packages without which the engine cannot be imported.
    options : tuple of EngineOption, optional
        Those of the class, where they can be had without importing it; else they are asked of the class.
    does_not_model : tuple of str, optional
        That of the class, where it can be had without importing it.
    """
    if label in _REGISTRY:
        raise EngineError(f"A dose engine labelled {label!r} is registered already; choose another label.")
    _REGISTRY[label] = _Registration(title, module, class_name, requires, has_influence, options, does_not_model)


def unregister_engine(label: str) -> None:
    """Take an engine out of the registry; an unknown label raises `EngineUnavailableError`."""
    if label not in _REGISTRY:
        raise EngineUnavailableError(_unknown(label))
    del _REGISTRY[label]


def available_engines() -> list[EngineInfo]:
    """List every registered engine, the unavailable ones with the reason."""
    infos = []
    for label, entry in sorted(_REGISTRY.items()):
        missing = [name for name in entry.requires if importlib.util.find_spec(name) is None]
        reason = f"needs {', '.join(missing)}: pip install {' '.join(missing)}" if missing else ""
        infos.append(EngineInfo(label, entry.title, not missing, reason, entry.has_influence, entry.does_not_model))
    return infos


def engine_class(label: str) -> type[DoseEngine]:
    """Import an engine's class by label.

    Raises
    ------
    EngineUnavailableError
        Unknown label, or a package is missing.
    """
    if label not in _REGISTRY:
        raise EngineUnavailableError(_unknown(label))
    info = next(info for info in available_engines() if info.label == label)
    if not info.available:
        raise EngineUnavailableError(f"Dose engine {label!r} is not available here: {info.reason}.")
    entry = _REGISTRY[label]
    return getattr(importlib.import_module(entry.module), entry.class_name)


def engine_options(label: str) -> tuple[EngineOption, ...]:
    """Return the options that an engine declares, where they are registered without importing it.

    Raises
    ------
    EngineUnavailableError
        Unknown label; or a package is missing, and the options are known to the class alone.
    """
    if label not in _REGISTRY:
        raise EngineUnavailableError(_unknown(label))
    options = _REGISTRY[label].options
    return engine_class(label).options if options is None else options


def create_engine(label: str, **options: Any) -> DoseEngine:
    """Create an engine by label; `engine_options` says which options it takes.

    Raises
    ------
    EngineUnavailableError
        Unknown label, or a package is missing.
    EngineError
        An option that the engine does not have, or a value out of its range; the text names what there is.
    """
    found = engine_class(label)
    return found(**checked_options(found.options, options, found.title))


def _unknown(label: str) -> str:
    return f"There is no dose engine {label!r}; choose one of: {', '.join(sorted(_REGISTRY)) or 'none registered'}."


register_engine(
    "photon-pencil-beam",
    "Photon pencil beam",
    "DoseEngineLib.photon.pencil_beam",
    "PhotonPencilBeamEngine",
    requires=("numba",),
    has_influence=True,
    options=PENCIL_BEAM_OPTIONS,
    does_not_model=PENCIL_BEAM_DOES_NOT_MODEL,
)
register_engine(
    "photon-collapsed-cone",
    "Photon collapsed cone",
    "DoseEngineLib.photon.collapsed_cone",
    "PhotonCollapsedConeEngine",
    requires=("numba",),
    options=COLLAPSED_CONE_OPTIONS,
    does_not_model=COLLAPSED_CONE_DOES_NOT_MODEL,
)
