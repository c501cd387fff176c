"""Dose engines: the abstract engine, its result, and the registry that says which are available and why not."""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from DoseEngineLib.errors import EngineError, EngineUnavailableError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress


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
    """A dose engine. Subclasses name themselves, what they model, and what they do not."""

    label: ClassVar[str]
    title: ClassVar[str]
    version: ClassVar[str]
    models: ClassVar[tuple[str, ...]]
    does_not_model: ClassVar[tuple[str, ...]]

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


@dataclass(frozen=True)
class EngineInfo:
    """A line of the registry: an engine, whether it can run here, and why not."""

    label: str
    title: str
    available: bool
    reason: str = ""


@dataclass(frozen=True)
class _Registration:
    title: str
    module: str
    class_name: str
    requires: tuple[str, ...] = ()


_REGISTRY: dict[str, _Registration] = {}


def register_engine(label: str, title: str, module: str, class_name: str, requires: tuple[str, ...] = ()) -> None:
    """Register an engine by label; it is imported only when created. A label in use raises `EngineError`."""
    if label in _REGISTRY:
        raise EngineError(f"A dose engine labelled {label!r} is registered already; choose another label.")
    _REGISTRY[label] = _Registration(title, module, class_name, requires)


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
        infos.append(EngineInfo(label, entry.title, not missing, reason))
    return infos


def create_engine(label: str, **options: Any) -> DoseEngine:
    """Create an engine by label.

    Raises
    ------
    EngineUnavailableError
        Unknown label, or a package is missing.
    EngineError
        An option that the engine does not have.
    """
    if label not in _REGISTRY:
        raise EngineUnavailableError(_unknown(label))
    info = next(info for info in available_engines() if info.label == label)
    if not info.available:
        raise EngineUnavailableError(f"Dose engine {label!r} is not available here: {info.reason}.")
    entry = _REGISTRY[label]
    engine_class = getattr(importlib.import_module(entry.module), entry.class_name)
    return engine_class(**options)


def _unknown(label: str) -> str:
    return f"There is no dose engine {label!r}; choose one of: {', '.join(sorted(_REGISTRY)) or 'none registered'}."


register_engine(
    "photon-pencil-beam",
    "Photon pencil beam",
    "DoseEngineLib.photon.pencil_beam",
    "PhotonPencilBeamEngine",
    requires=("numba",),
)
register_engine(
    "photon-collapsed-cone",
    "Photon collapsed cone",
    "DoseEngineLib.photon.collapsed_cone",
    "PhotonCollapsedConeEngine",
    requires=("numba",),
)
