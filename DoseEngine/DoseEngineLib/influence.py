"""Dose influence: what each bixel of open fluence gives each voxel, as a sparse matrix with its bookkeeping."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from DoseEngineLib.errors import EngineError, PlanError, SchemaError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.iec61217 import BeamFrame, beam_frame
from DoseEngineLib.machine import load_machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Beam, Plan, Structure

INFLUENCE_SCHEMA_VERSION = 1
_CENTRES = ("x_mm", "y_mm")


@dataclass(frozen=True, eq=False)
class BixelBeam:
    """A direction of fluence modulation and its bixels.

    Bixels are squares of one regular lattice in the isocentre plane, in the collimator frame; the lines of the lattice
    are multiples of ``width_mm`` from ``lattice_mm``.

    Attributes
    ----------
    name : str
        The plan's beam.
    gantry_deg, collimator_deg, couch_deg : float
    isocenter_RAS_mm : (3,) tuple of float
    machine : str
    width_mm : float
        Pitch of the lattice, side of a bixel.
    x_mm, y_mm : (n,) arrays
        Centres of the bixels.
    lattice_mm : (float, float)
        A crossing of the lattice's lines; the axis by default, so that bixel edges are multiples of ``width_mm``.

    Raises
    ------
    PlanError
        No bixels, a width that is not positive, centres off the lattice, or a bixel given twice.
    """

    name: str
    gantry_deg: float
    collimator_deg: float
    couch_deg: float
    isocenter_RAS_mm: tuple[float, float, float]
    machine: str
    width_mm: float
    x_mm: np.ndarray
    y_mm: np.ndarray
    lattice_mm: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        owner = f"Bixels of beam {self.name}"
        width = float(self.width_mm)
        if not (np.isfinite(width) and width > 0):
            raise PlanError(f"{owner}: the bixel width must be positive; got {self.width_mm} mm.")
        lattice = tuple(float(v) for v in self.lattice_mm)
        centres = []
        for values in (self.x_mm, self.y_mm):
            values = np.array(values, dtype=float)
            if values.ndim != 1 or not np.isfinite(values).all():
                raise PlanError(f"{owner}: centres must be a list of finite positions in mm.")
            values.setflags(write=False)
            centres.append(values)
        x, y = centres
        if x.size == 0 or x.size != y.size:
            raise PlanError(f"{owner}: {x.size} x and {y.size} y positions; give as many of both, at least one.")
        for values, origin in zip(centres, lattice, strict=True):
            place = (values - origin) / width - 0.5
            if np.abs(place - np.round(place)).max() * width > 1e-3:
                raise PlanError(
                    f"{owner}: centres must lie in the middle between lines {width:g} mm apart through "
                    f"{origin:g} mm; snap them to that lattice."
                )
        object.__setattr__(self, "width_mm", width)
        object.__setattr__(self, "isocenter_RAS_mm", tuple(float(v) for v in self.isocenter_RAS_mm))
        object.__setattr__(self, "lattice_mm", lattice)
        object.__setattr__(self, "x_mm", x)
        object.__setattr__(self, "y_mm", y)
        if np.unique(np.stack((self.columns, self.rows)), axis=1).shape[1] != x.size:
            raise PlanError(f"{owner}: a bixel is given twice.")

    def to_dict(self) -> dict[str, Any]:
        """Return the beam as JSON-ready values; `from_dict` reads them back exactly."""
        described = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in _CENTRES}
        return {**described, **{name: getattr(self, name).tolist() for name in _CENTRES}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BixelBeam:
        """Read what `to_dict` gave; KeyError or TypeError for other entries, `PlanError` for bixels that are none."""
        return cls(
            **{**data, "isocenter_RAS_mm": tuple(data["isocenter_RAS_mm"]), "lattice_mm": tuple(data["lattice_mm"])}
        )

    @property
    def size(self) -> int:
        """Number of bixels."""
        return self.x_mm.size

    @property
    def columns(self) -> np.ndarray:
        """Lattice index of each bixel along x, (n,) int64: from ``column * width`` to ``(column + 1) * width``."""
        return np.round((self.x_mm - self.lattice_mm[0]) / self.width_mm - 0.5).astype(np.int64)

    @property
    def rows(self) -> np.ndarray:
        """Lattice index of each bixel along y, (n,) int64."""
        return np.round((self.y_mm - self.lattice_mm[1]) / self.width_mm - 0.5).astype(np.int64)

    def frame(self, patient_position: str) -> BeamFrame:
        """Collimator frame in RAS."""
        return beam_frame(self.gantry_deg, self.collimator_deg, self.couch_deg, self.isocenter_RAS_mm, patient_position)

    def fluence_map(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lay weights out on the lattice.

        Parameters
        ----------
        weights : (n,) array
            One a bixel, MU.

        Returns
        -------
        values : (y, x) float64 array
            The rectangle of the lattice that holds all bixels; zero where there is none.
        x_edges_mm, y_edges_mm : (x + 1,), (y + 1,) arrays
        """
        weights = np.asarray(weights, dtype=float)
        if weights.shape != (self.size,):
            raise PlanError(f"Beam {self.name} has {self.size} bixels; got weights of shape {weights.shape}.")
        columns, rows = self.columns, self.rows
        first_column, first_row = columns.min(), rows.min()
        values = np.zeros((np.ptp(rows) + 1, np.ptp(columns) + 1))
        values[rows - first_row, columns - first_column] = weights
        x = self.lattice_mm[0] + (first_column + np.arange(values.shape[1] + 1)) * self.width_mm
        y = self.lattice_mm[1] + (first_row + np.arange(values.shape[0] + 1)) * self.width_mm
        return values, x, y


@dataclass(frozen=True, eq=False)
class DoseInfluence:
    """Dose influence of the bixels of a plan.

    Attributes
    ----------
    matrix : (voxels, bixels) scipy.sparse.csc_array
        float32, int32 indices: Gy in one fraction for 1 MU of open fluence in that bixel. Weights are MU a fraction.
    voxels : (v,) int64 array
        Flat C-order index into ``grid`` of each row, ascending.
    grid : Grid
    beams : tuple of BixelBeam
        In the order of the columns.
    fractions : int
        Dose of the course is ``fractions * matrix @ weights``.
    voxel_weights : (v,) float32 array
        How many voxels of the grid each row stands for: one, or more where normal tissue was sampled.
    cutoff_error : dict
        What the cut-off does to the dose, measured: see the engine.
    provenance : dict
        Engine, versions, machines, grid, hashes of patient and beams: JSON values.
    """

    matrix: sparse.csc_array
    voxels: np.ndarray
    grid: Grid
    beams: tuple[BixelBeam, ...]
    fractions: int = 1
    voxel_weights: np.ndarray | None = None
    cutoff_error: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        beams = tuple(self.beams)
        voxels = np.ascontiguousarray(self.voxels, dtype=np.int64)
        bixels = sum(beam.size for beam in beams)
        if self.matrix.shape != (voxels.size, bixels):
            raise EngineError(
                f"A dose influence of {voxels.size} voxels and {bixels} bixels cannot have a matrix of shape "
                f"{self.matrix.shape}; matrix, voxels and beams belong together."
            )
        if voxels.size and (voxels[0] < 0 or voxels[-1] >= self.grid.size or (np.diff(voxels) <= 0).any()):
            raise EngineError("The voxels of a dose influence must be ascending indices into its grid.")
        weights = np.ones(voxels.size, np.float32) if self.voxel_weights is None else self.voxel_weights
        weights = np.ascontiguousarray(weights, dtype=np.float32)
        if weights.shape != voxels.shape:
            raise EngineError(f"{weights.size} voxel weights do not fit {voxels.size} voxels; give one for each row.")
        object.__setattr__(self, "beams", beams)
        object.__setattr__(self, "voxels", voxels)
        object.__setattr__(self, "voxel_weights", weights)

    @property
    def bixels(self) -> int:
        """Number of bixels of all beams."""
        return self.matrix.shape[1]

    def beam_slices(self) -> tuple[slice, ...]:
        """Columns of each beam."""
        ends = np.cumsum([0] + [beam.size for beam in self.beams])
        return tuple(slice(int(a), int(b)) for a, b in zip(ends[:-1], ends[1:]))

    def rows_of(self, structure: Structure) -> np.ndarray:
        """Rows (n,) int64 whose voxel centre lies in a structure, ascending; empty where no row does."""
        mask = resample(structure.mask, structure.grid, self.grid)
        return np.flatnonzero(mask.ravel()[self.voxels])

    def dose(self, weights: np.ndarray) -> np.ndarray:
        """Dose of the course on the grid.

        Parameters
        ----------
        weights : (bixels,) array
            MU a fraction.

        Returns
        -------
        (k, j, i) float32 array
            Gy; zero where the matrix has no row (outside the body, structures left out, tissue not sampled).
        """
        weights = np.asarray(weights)
        if weights.shape != (self.bixels,):
            raise PlanError(f"The dose influence has {self.bixels} bixels; got weights of shape {weights.shape}.")
        dose = np.zeros(self.grid.size, np.float32)
        dose[self.voxels] = self.fractions * (self.matrix @ weights.astype(np.float32))
        return dose.reshape(self.grid.shape)

    def check(self, patient: Patient, plan: Plan) -> None:
        """Raise `PlanError` when patient or plan are no longer those that the matrix was computed for.

        Of the plan what counts is the directions of its beams, isocentres, machines and the patient's position;
        metersets, apertures and the prescription may change.
        """
        changed = []
        if patient_hash(patient) != self.provenance.get("patient_hash"):
            changed.append("the patient (density, body outline or grid)")
        if beams_hash(plan.beams, plan.patient_position) != self.provenance.get("beams_hash"):
            changed.append("the plan's beams (angles, isocentre, machine or patient position)")
        if changed:
            raise PlanError(
                f"The dose influence was computed for something else: {' and '.join(changed)} changed since. "
                "Calculate it again."
            )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to a NumPy archive (.npz); the file appears whole or not at all. Returns its path."""
        path = Path(path)
        if path.suffix != ".npz":
            raise EngineError(f"A dose influence is saved as .npz; got {path.name}.")
        meta = {
            "schema_version": INFLUENCE_SCHEMA_VERSION,
            "shape": list(self.matrix.shape),
            "grid_shape": list(self.grid.shape),
            "fractions": self.fractions,
            "cutoff_error": self.cutoff_error,
            "provenance": self.provenance,
            "beams": [
                # the centres of all beams stand in two arrays
                {**{key: value for key, value in beam.to_dict().items() if key not in _CENTRES}, "bixels": beam.size}
                for beam in self.beams
            ],
        }
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as file:
                np.savez(
                    file,
                    meta=np.array(json.dumps(meta, allow_nan=False)),
                    data=self.matrix.data,
                    indices=self.matrix.indices,
                    indptr=self.matrix.indptr,
                    voxels=self.voxels,
                    voxel_weights=self.voxel_weights,
                    affine=self.grid.affine,
                    x_mm=np.concatenate([beam.x_mm for beam in self.beams]),
                    y_mm=np.concatenate([beam.y_mm for beam in self.beams]),
                )
            part.replace(path)
        except OSError as error:
            raise EngineError(f"The dose influence could not be written to {path}: {error}.") from error
        finally:
            part.unlink(missing_ok=True)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DoseInfluence:
        """Read what `save` wrote.

        Raises
        ------
        SchemaError
            When the file is not a dose influence, is damaged, or comes from a newer version.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                meta = json.loads(str(archive["meta"]))
                version = meta["schema_version"]
                if version != INFLUENCE_SCHEMA_VERSION:
                    raise SchemaError(
                        f"{path} has schema version {version}; this version of RTPlanning reads "
                        f"{INFLUENCE_SCHEMA_VERSION}. Update RTPlanning, or calculate the influence again."
                    )
                arrays = {name: archive[name] for name in archive.files if name != "meta"}
            return cls._from_parts(meta, arrays)
        except OSError as error:
            raise SchemaError(f"The dose influence {path} cannot be read: {error}.") from error
        except (KeyError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise SchemaError(f"{path} is not a dose influence, or is damaged ({error}).") from error

    @classmethod
    def _from_parts(cls, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> DoseInfluence:
        beams, start = [], 0
        for entry in meta["beams"]:
            stop = start + entry["bixels"]
            described = {key: value for key, value in entry.items() if key != "bixels"}
            centres = {name: arrays[name][start:stop] for name in _CENTRES}
            beams.append(BixelBeam.from_dict({**described, **centres}))
            start = stop
        matrix = sparse.csc_array(
            (arrays["data"], arrays["indices"], arrays["indptr"]), shape=tuple(meta["shape"]), copy=False
        )
        matrix.check_format(full_check=True)
        return cls(
            matrix=matrix,
            voxels=arrays["voxels"],
            grid=Grid(tuple(meta["grid_shape"]), arrays["affine"]),
            beams=tuple(beams),
            fractions=meta["fractions"],
            voxel_weights=arrays["voxel_weights"],
            cutoff_error=meta["cutoff_error"],
            provenance=meta["provenance"],
        )


def patient_hash(patient: Patient) -> str:
    """SHA-256 of what a dose depends on: density, body outline and grid."""
    digest = hashlib.sha256()
    digest.update(np.array(patient.grid.shape, np.int64).tobytes())
    # positions to a micrometre: affines that went through a file are the same patient
    digest.update(np.round(patient.grid.affine * 1e3).astype(np.int64).tobytes())
    digest.update(np.ascontiguousarray(patient.density_g_cm3, np.float32))
    digest.update(np.packbits(patient.body).tobytes())
    return digest.hexdigest()


def beams_hash(beams: Sequence[Beam], patient_position: str) -> str:
    """SHA-256 of directions, isocentres and machines of a plan's beams, by their first control points."""
    described = []
    for beam in beams:
        first = beam.control_points[0]
        described.append(
            [
                beam.name,
                [round(float(v) % 360.0, 6) for v in (first.gantry_deg, first.collimator_deg, first.couch_deg)],
                [round(float(v), 4) for v in beam.isocenter_RAS_mm],
                # all that a machine file says: an edited machine is another machine
                repr(load_machine(beam.machine)),
            ]
        )
    return hashlib.sha256(json.dumps([patient_position, described]).encode()).hexdigest()
