"""Pareto plans as they are kept: the front, what it was computed for, and the way from it to fluence."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from DoseEngineLib.errors import PlanError, SchemaError
from DoseEngineLib.influence import BixelBeam, DoseInfluence
from OptimizerLib.errors import OptimizationError
from OptimizerLib.fluence_planning import FluenceSettings
from OptimizerLib.multicriteria.navigation import Navigator, Position
from OptimizerLib.multicriteria.pareto import ParetoFront
from OptimizerLib.optimized_fluence import OptimizedFluence
from OptimizerLib.planning_goals import PlanningGoals

PARETO_SCHEMA_VERSION = 1
_ARRAYS = (
    "weights", "values", "normals", "ideal", "nadir", "plane_normals", "plane_offsets", "voxels", "doses_Gy",
)  # fmt: skip
# What of an influence's provenance says that doses and bixels are the same.
_SAME = ("patient_hash", "beams_hash")
_DIGITS = 6


@dataclass(frozen=True, eq=False)
class ParetoPlans:
    """A front of plans for goals that compete.

    Attributes
    ----------
    front : ParetoFront
        Its weights are MU a fraction, a bixel each.
    beams : tuple of BixelBeam
    objectives : tuple of str
        Rows as `PlanningGoals.from_entries` reads them.
    groups : tuple of tuple of str
        Structures whose rows make up each goal.
    limits : tuple of float
        What each goal was held to.
    balanced : tuple of float
        Value of each goal in the plan that the rows' own weights lead to.
    volumes_of : mapping of str to (n,) array
        Of each structure with stored dose, how much volume each of its voxels stands for, in any unit.
    targets : tuple of str
    settings : FluenceSettings
    provenance : dict
        Of the influence that the plans were computed with.
    notes : tuple of str
        What the rows left open.

    Raises
    ------
    OptimizationError
        Parts that do not belong together.
    """

    front: ParetoFront
    beams: tuple[BixelBeam, ...]
    objectives: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    limits: tuple[float, ...]
    balanced: tuple[float, ...]
    volumes_of: Mapping[str, np.ndarray] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    settings: FluenceSettings = field(default_factory=FluenceSettings)
    provenance: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        front, bixels, goals = self.front, sum(beam.size for beam in self.beams), len(self.front.goals)
        shapes = {
            "weights": (front.plans, bixels),
            "values": (front.plans, goals),
            "normals": (front.plans, goals),
            "ideal": (goals,),
            "nadir": (goals,),
            "doses_Gy": (front.plans, front.voxels.size),
        }
        for name, shape in shapes.items():
            array = getattr(front, name)
            if array.shape != shape or not np.isfinite(array).all():
                raise OptimizationError(f"{name} of the Pareto plans must be finite and {shape}; got {array.shape}.")
        for name, volumes in self.volumes_of.items():
            if name not in front.voxels_of or np.shape(volumes) != np.shape(front.voxels_of[name]):
                raise OptimizationError(f"Volumes and doses of {name} do not belong together.")
        if not {len(self.groups), len(self.limits), len(self.balanced)} == {goals} or front.plans == 0:
            raise OptimizationError(f"Pareto plans need plans, and structures and a limit for each of {goals} goals.")

    def goal_number(self, name: str) -> int:
        """Number of the goal of this name, or of the one goal that a structure's rows belong to.

        Raises
        ------
        OptimizationError
            No such goal, with those that there are.
        """
        named = [number for number, goal in enumerate(self.front.goals) if goal == name]
        named = named or [number for number, group in enumerate(self.groups) if name in group]
        if len(named) != 1:
            raise OptimizationError(f"There is no goal {name!r}; the goals are: {', '.join(self.front.goals)}.")
        return named[0]

    def check(self, influence: DoseInfluence, goals: PlanningGoals | None = None) -> None:
        """Raise `OptimizationError` where an influence, or the rows, are not those of these plans."""
        changed = []
        if any(influence.provenance.get(name) != self.provenance.get(name) for name in _SAME):
            changed.append("the patient or the plan's beams")
        elif len(influence.beams) != len(self.beams) or not all(
            np.array_equal(one.x_mm, other.x_mm) and np.array_equal(one.y_mm, other.y_mm)
            for one, other in zip(influence.beams, self.beams, strict=True)
        ):
            changed.append("the bixels")
        if goals is not None and tuple(goals.to_entries()) != self.objectives:
            changed.append("the objectives")
        if changed:
            raise OptimizationError(
                f"These Pareto plans are of something else: {' and '.join(changed)} changed since. Compute them anew."
            )

    def importance(self, shares: np.ndarray) -> np.ndarray:
        """Factors (goals,), of sum one, of whose weighted sum of goals a mixture is about the minimum.

        Exactly at a plan; between plans the mixture of theirs, in units of nadir - ideal.
        """
        extent = np.where(self.front.competing, self.front.nadir - self.front.ideal, 1.0)
        normals = self.front.normals * extent
        mixed = (shares @ (normals / normals.sum(axis=1, keepdims=True))) / extent
        return mixed / mixed.sum()

    def weighted_goals(self, shares: np.ndarray) -> PlanningGoals:
        """The rows, each with its weight times its goal's `importance`: what leaves are to be refined by."""
        importance = self.importance(shares)
        rows = []
        for row in PlanningGoals.from_entries(self.objectives).rows:
            if not row.constraint and row.structure is not None:
                factor = importance[self.goal_number_of(row.structure)]
                row = replace(row, weight=float(f"{row.weight * factor:.{_DIGITS}g}"))
            rows.append(row)
        return PlanningGoals(tuple(rows))

    def mean_Gy(self, shares: np.ndarray, structure: str) -> float:
        """Mean dose of a structure in a mixture, in the voxels of the optimization."""
        return float(np.average(self.front.mixed_dose_Gy(shares, structure), weights=self.volumes_of[structure]))

    def dose_at_volume_Gy(self, shares: np.ndarray, structure: str, percent: float) -> float:
        """Dose that the best-irradiated per cent of a structure receive at least, in the voxels of the optimization."""
        dose, volumes = self.front.mixed_dose_Gy(shares, structure), np.asarray(self.volumes_of[structure], float)
        order = np.argsort(dose)[::-1]
        covered = np.cumsum(volumes[order])
        place = np.searchsorted(covered, percent / 100.0 * covered[-1] * (1.0 - 1e-9))
        return float(dose[order[min(int(place), dose.size - 1)]])

    def goal_number_of(self, structure: str) -> int:
        """Number of the goal that a structure's rows belong to."""
        for number, group in enumerate(self.groups):
            if structure in group:
                return number
        raise OptimizationError(f"No goal has rows of {structure}; the goals are: {', '.join(self.front.goals)}.")

    def fluence(self, navigator: Navigator) -> OptimizedFluence:
        """Ideal fluence where a navigator stands: nothing of it is delivered by leaves yet."""
        position = navigator.position
        weights = np.maximum(navigator.weights(), 0.0)
        return OptimizedFluence(
            self.beams,
            weights,
            weights,
            tuple(self.weighted_goals(position.shares).to_entries()),
            self.targets,
            replace(self.settings, delivery="ideal"),
            message=mixture_text(position),
            notes=self.notes,
        )

    def save(self, path: str | Path) -> Path:
        """Write a NumPy archive (.npz); the file appears whole or not at all. Returns its path."""
        path = Path(path)
        if path.suffix != ".npz":
            raise OptimizationError(f"Pareto plans are saved as .npz; got {path.name}.")
        content = self.to_bytes()
        part = path.with_name(path.name + ".part")
        try:
            part.write_bytes(content)
            part.replace(path)
        except OSError as error:
            raise OptimizationError(f"The Pareto plans could not be written to {path}: {error}.") from error
        finally:
            part.unlink(missing_ok=True)
        return path

    def to_bytes(self) -> bytes:
        """Return what `save` writes; equal plans give equal bytes."""
        front = self.front
        meta = {
            "schema_version": PARETO_SCHEMA_VERSION,
            "goals": list(front.goals),
            "gap": front.gap,
            "gap_history": [list(entry) for entry in front.gap_history],
            "total_weight": front.total_weight,
            "stored": list(front.voxels_of),
            "measured": list(self.volumes_of),
            "converged": front.converged,
            "message": front.message,
            "beams": [beam.to_dict() for beam in self.beams],
            "objectives": list(self.objectives),
            "groups": [list(group) for group in self.groups],
            "limits": list(self.limits),
            "balanced": list(self.balanced),
            "targets": list(self.targets),
            "settings": asdict(self.settings),
            "provenance": self.provenance,
            "notes": list(self.notes),
        }
        arrays = {name: getattr(front, name) for name in _ARRAYS}
        arrays |= {f"columns_{number}": columns for number, columns in enumerate(front.voxels_of.values())}
        arrays |= {f"volumes_{number}": np.asarray(there) for number, there in enumerate(self.volumes_of.values())}
        file = io.BytesIO()
        np.savez_compressed(file, meta=np.array(json.dumps(meta, allow_nan=False)), **arrays)
        return file.getvalue()

    @classmethod
    def load(cls, path: str | Path) -> ParetoPlans:
        """Read what `save` wrote.

        Raises
        ------
        SchemaError
            No such file, a damaged one, or one of a newer version.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise SchemaError(f"Pareto plans cannot be read from {path}: {error}.") from error
        return cls.from_bytes(content, str(path))

    @classmethod
    def from_bytes(cls, content: bytes, source: str = "This") -> ParetoPlans:
        """Read what `to_bytes` gave.

        Raises
        ------
        SchemaError
            Something else, damaged, or of a newer version; the text names ``source``.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                meta = json.loads(str(archive["meta"]))
                if meta["schema_version"] != PARETO_SCHEMA_VERSION:
                    raise SchemaError(
                        f"{source} has schema version {meta['schema_version']}; this version of RTPlanning reads "
                        f"{PARETO_SCHEMA_VERSION}. Update RTPlanning, or compute the plans again."
                    )
                arrays = {name: archive[name] for name in archive.files if name != "meta"}
            return cls._from_parts(meta, arrays)
        except (
            ValueError, TypeError, KeyError, AttributeError, EOFError, OSError, PlanError, OptimizationError,
            zipfile.BadZipFile, zlib.error,
        ) as error:  # fmt: skip
            raise SchemaError(f"{source} holds no Pareto plans, or is damaged ({error}).") from error

    @classmethod
    def _from_parts(cls, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> ParetoPlans:
        front = ParetoFront(
            goals=tuple(meta["goals"]),
            gap=float(meta["gap"]),
            gap_history=tuple((int(plans), float(gap)) for plans, gap in meta["gap_history"]),
            total_weight=float(meta["total_weight"]),
            voxels_of={name: arrays[f"columns_{number}"] for number, name in enumerate(meta["stored"])},
            converged=bool(meta["converged"]),
            message=str(meta["message"]),
            **{name: arrays[name] for name in _ARRAYS},
        )
        return cls(
            front=front,
            beams=tuple(BixelBeam.from_dict(entry) for entry in meta["beams"]),
            objectives=tuple(meta["objectives"]),
            groups=tuple(tuple(group) for group in meta["groups"]),
            limits=tuple(float(value) for value in meta["limits"]),
            balanced=tuple(float(value) for value in meta["balanced"]),
            volumes_of={name: arrays[f"volumes_{number}"] for number, name in enumerate(meta["measured"])},
            targets=tuple(meta["targets"]),
            settings=FluenceSettings(**meta["settings"]),
            provenance=dict(meta["provenance"]),
            notes=tuple(meta["notes"]),
        )


def mixture_text(position: Position) -> str:
    """In words which plans a mixture is made of, the first being plan 1."""
    used: Sequence[int] = np.flatnonzero(position.shares > 1e-6)
    parts = [f"{100 * position.shares[plan]:.3g} % of plan {plan + 1}" for plan in used]
    return f"Navigated between Pareto plans: {', '.join(parts)}."
