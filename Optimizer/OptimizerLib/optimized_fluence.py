"""Optimized fluence as it is kept: with a plan in a scene, in a file, and to go on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from DoseEngineLib.errors import PlanError, SchemaError
from DoseEngineLib.influence import BixelBeam, DoseInfluence
from OptimizerLib.errors import OptimizationError
from OptimizerLib.fluence_planning import FluencePlan, FluenceSettings, HistoryEntry

FLUENCE_SCHEMA_VERSION = 1
_SAME_DEG, _SAME_MM = 0.01, 0.1


@dataclass(frozen=True, eq=False)
class OptimizedFluence:
    """What an optimization found, without the matrix it was found with.

    Attributes
    ----------
    beams : tuple of BixelBeam
    weights_MU : (bixels,) array
        The ideal fluence: MU a fraction of open fluence, beam after beam.
    delivered_MU : (bixels,) array
        What the plan's leaves give the bixels, before any scaling to the prescription.
    objectives : tuple of str
        Rows as `PlanningGoals.from_entries` reads them.
    targets : tuple of str
    settings : FluenceSettings
    term_names : tuple of str
        Of the terms of each history entry.
    history : tuple of HistoryEntry
        Level by level.
    converged : bool
    message : str
        How the search ended.
    notes : tuple of str
        What the rows left open.

    Raises
    ------
    OptimizationError
        Weights that are not one a bixel, finite and not negative.
    """

    beams: tuple[BixelBeam, ...]
    weights_MU: np.ndarray
    delivered_MU: np.ndarray
    objectives: tuple[str, ...]
    targets: tuple[str, ...] = ()
    settings: FluenceSettings = field(default_factory=FluenceSettings)
    term_names: tuple[str, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    converged: bool = False
    message: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        bixels = sum(beam.size for beam in self.beams)
        for name in ("weights_MU", "delivered_MU"):
            values = np.array(getattr(self, name), dtype=float)
            if values.shape != (bixels,) or not np.isfinite(values).all() or (values < 0).any():
                raise OptimizationError(f"{name} must be {bixels} finite numbers, not negative, one for each bixel.")
            values.setflags(write=False)
            object.__setattr__(self, name, values)

    @classmethod
    def of(cls, found: FluencePlan, targets: tuple[str, ...] = ()) -> OptimizedFluence:
        """What an optimization found."""
        return cls(
            found.influence.beams,
            found.solution.weights,
            # leaves may round to a hair below nothing
            np.maximum(found.delivered_weights, 0.0),
            tuple(found.goals.to_entries()),
            tuple(targets),
            found.settings,
            found.term_names,
            found.history,
            found.solution.converged,
            found.solution.message,
            found.notes,
        )

    def maps(self, weights_MU: np.ndarray | None = None) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
        """Name, values (y, x), x edges and y edges of each beam, see `BixelBeam.fluence_map`; the ideal by default."""
        weights = self.weights_MU if weights_MU is None else np.asarray(weights_MU)
        ends = np.cumsum([0] + [beam.size for beam in self.beams])
        return [
            (beam.name, *beam.fluence_map(weights[start:stop]))
            for beam, start, stop in zip(self.beams, ends[:-1], ends[1:], strict=True)
        ]

    def start_for(self, influence: DoseInfluence) -> np.ndarray:
        """Weights (bixels,) that give this fluence on the bixels of an influence, to go on from.

        Bixels may be of another width or reach; where there was no fluence it begins with none.

        Raises
        ------
        OptimizationError
            When a beam of the influence is none of these beams.
        """
        parts = []
        former = {beam.name: (beam, *fluence[1:]) for beam, fluence in zip(self.beams, self.maps(), strict=True)}
        for beam in influence.beams:
            if beam.name not in former or not _same_direction(beam, former[beam.name][0]):
                raise OptimizationError(
                    f"There is no earlier fluence for beam {beam.name} from this direction; the earlier beams are "
                    f"{', '.join(former)}. Optimize from the beginning."
                )
            _, values, x_edges, y_edges = former[beam.name]
            column = np.searchsorted(x_edges, beam.x_mm, side="right") - 1
            row = np.searchsorted(y_edges, beam.y_mm, side="right") - 1
            inside = (column >= 0) & (column < values.shape[1]) & (row >= 0) & (row < values.shape[0])
            parts.append(np.where(inside, values[row * inside, column * inside], 0.0))
        return np.concatenate(parts)

    def to_json(self) -> str:
        """Write as JSON; `from_json` reads it back exactly."""
        data = {
            "schema_version": FLUENCE_SCHEMA_VERSION,
            "beams": [beam.to_dict() for beam in self.beams],
            "weights_MU": self.weights_MU.tolist(),
            "delivered_MU": self.delivered_MU.tolist(),
            "objectives": list(self.objectives),
            "targets": list(self.targets),
            "settings": asdict(self.settings),
            "term_names": list(self.term_names),
            "history": [[entry.iteration, entry.value, list(entry.terms)] for entry in self.history],
            "history_levels": [entry.level for entry in self.history],
            "converged": self.converged,
            "message": self.message,
            "notes": list(self.notes),
        }
        return json.dumps(data, allow_nan=False, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, source: str = "The optimized fluence") -> OptimizedFluence:
        """Read what `to_json` wrote.

        Raises
        ------
        SchemaError
            No such text, a damaged one, or one of a newer version.
        """
        try:
            data = json.loads(text)
            version = data["schema_version"]
            if version != FLUENCE_SCHEMA_VERSION:
                raise SchemaError(
                    f"{source} has schema version {version}; this version of RTPlanning reads "
                    f"{FLUENCE_SCHEMA_VERSION}. Update RTPlanning, or optimize again."
                )
            return cls._from_data(data)
        except (ValueError, TypeError, KeyError, AttributeError, PlanError, OptimizationError) as error:
            raise SchemaError(f"{source} is not an optimized fluence, or is damaged ({error}).") from error

    @classmethod
    def _from_data(cls, data: Mapping[str, Any]) -> OptimizedFluence:
        # files from before levels had a history are of one level
        levels = data.get("history_levels", [1] * len(data["history"]))
        return cls(
            beams=tuple(BixelBeam.from_dict(entry) for entry in data["beams"]),
            weights_MU=data["weights_MU"],
            delivered_MU=data["delivered_MU"],
            objectives=tuple(data["objectives"]),
            targets=tuple(data["targets"]),
            settings=FluenceSettings(**data["settings"]),
            term_names=tuple(data["term_names"]),
            history=tuple(
                HistoryEntry(n, value, tuple(terms), level)
                for (n, value, terms), level in zip(data["history"], levels, strict=True)
            ),
            converged=bool(data["converged"]),
            message=str(data["message"]),
            notes=tuple(data.get("notes", ())),
        )

    def save(self, path: str | Path) -> Path:
        """Write a NumPy archive (.npz): ``fluence`` is the JSON, and beside it for other programs an array a beam.

        ``<beam>: ideal`` and ``<beam>: delivered`` are (y, x) MU a fraction, ``<beam>: x_edges_mm`` and ``y_edges_mm``
        their lattice.
        """
        path = Path(path)
        if path.suffix != ".npz":
            raise OptimizationError(f"Optimized fluence is saved as .npz; got {path.name}.")
        arrays = {"fluence": np.array(self.to_json())}
        for (name, ideal, x, y), (_, delivered, _, _) in zip(self.maps(), self.maps(self.delivered_MU), strict=True):
            arrays |= {
                f"{name}: ideal": ideal,
                f"{name}: delivered": delivered,
                f"{name}: x_edges_mm": x,
                f"{name}: y_edges_mm": y,
            }
        np.savez_compressed(path, **arrays)
        return path

    @classmethod
    def load(cls, path: str | Path) -> OptimizedFluence:
        """Read what `save` wrote; raises `SchemaError` where there is no such thing."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                text = str(archive["fluence"])
        except (OSError, ValueError, KeyError) as error:
            raise SchemaError(f"{path} holds no optimized fluence ({error}).") from error
        return cls.from_json(text, str(path))


def _same_direction(one: BixelBeam, other: BixelBeam) -> bool:
    turns = (
        abs((getattr(one, name) - getattr(other, name) + 180.0) % 360.0 - 180.0)
        for name in ("gantry_deg", "collimator_deg", "couch_deg")
    )
    apart = np.abs(np.subtract(one.isocenter_RAS_mm, other.isocenter_RAS_mm)).max()
    return max(turns) <= _SAME_DEG and apart <= _SAME_MM
