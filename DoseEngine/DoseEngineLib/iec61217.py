"""IEC 61217 rotations: the only gantry, couch and collimator mathematics of the house.

Frames (IEC 61217:2011): fixed *f* (Xf to the viewer's right facing the gantry, Yf to the gantry, Zf up), gantry *g*
(rotated about Yf, clockwise for a viewer facing the gantry), beam limiting device *b* (rotated about Zg,
counter-clockwise seen from the source), patient support *s* (rotated about Zf, counter-clockwise seen from above).
The patient keeps still here: the couch turns the room about the patient, and everything is given in patient RAS.
Patient axes against the table are DICOM's definition of Patient Position (PS3.3 C.7.3.1.1.2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DoseEngineLib.errors import GeometryError

# Rows: R, A, S in terms of the patient-support axes (X, Y to the gantry, Z up).
_RAS_FROM_SUPPORT = {
    "HFS": np.array([[-1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]]),
    "HFP": np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]]),
    "FFS": np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]]),
    "FFP": np.array([[-1.0, 0, 0], [0, 0, -1.0], [0, -1.0, 0]]),
}
PATIENT_POSITIONS = tuple(_RAS_FROM_SUPPORT)


def check_patient_position(position: str) -> str:
    """Return the position when it is one of HFS, HFP, FFS, FFP; raise `GeometryError` otherwise."""
    if position not in _RAS_FROM_SUPPORT:
        raise GeometryError(
            f"Patient position {position!r} is not supported; use one of {', '.join(PATIENT_POSITIONS)} "
            "(decubitus positions need the image to be re-oriented first)."
        )
    return position


def ras_from_support(position: str) -> np.ndarray:
    """Rotation (3, 3) from patient-support axes (couch at 0: the fixed axes) to patient RAS."""
    return _RAS_FROM_SUPPORT[check_patient_position(position)].copy()


def _about_y(degrees: float) -> np.ndarray:
    c, s = _cos_sin(degrees)
    return np.array([[c, 0, s], [0, 1.0, 0], [-s, 0, c]])


def _about_z(degrees: float) -> np.ndarray:
    c, s = _cos_sin(degrees)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def _cos_sin(degrees: float) -> tuple[float, float]:
    if not np.isfinite(degrees):
        raise GeometryError(f"An angle must be a finite number of degrees; got {degrees}.")
    turn = float(degrees) % 360.0
    # exact at the quadrants, where cos(pi/2) is not zero in floating point
    exact = {0.0: (1.0, 0.0), 90.0: (0.0, 1.0), 180.0: (-1.0, 0.0), 270.0: (0.0, -1.0)}
    return exact.get(turn, (float(np.cos(np.radians(turn))), float(np.sin(np.radians(turn)))))


@dataclass(frozen=True, eq=False)
class BeamFrame:
    """The beam limiting device (collimator) frame in patient RAS, origin at the isocentre.

    Attributes
    ----------
    isocenter_RAS_mm : (3,) array
    rotation : (3, 3) array
        Columns: collimator X axis, collimator Y axis, Z axis (isocentre towards the source), in RAS.
    """

    isocenter_RAS_mm: np.ndarray
    rotation: np.ndarray

    @property
    def x_axis(self) -> np.ndarray:
        """Collimator X axis in RAS."""
        return self.rotation[:, 0]

    @property
    def y_axis(self) -> np.ndarray:
        """Collimator Y axis in RAS."""
        return self.rotation[:, 1]

    @property
    def source_direction(self) -> np.ndarray:
        """Unit vector from the isocentre to the source in RAS."""
        return self.rotation[:, 2]

    def source_RAS_mm(self, sad_mm: float) -> np.ndarray:
        """Position of the source at ``sad_mm`` from the isocentre."""
        return self.isocenter_RAS_mm + sad_mm * self.source_direction

    def to_beam(self, ras_mm: np.ndarray) -> np.ndarray:
        """RAS points (..., 3) -> collimator coordinates (x, y, z) in mm; z grows towards the source."""
        return (np.asarray(ras_mm, float) - self.isocenter_RAS_mm) @ self.rotation

    def to_ras(self, beam_mm: np.ndarray) -> np.ndarray:
        """Collimator coordinates (..., 3) in mm -> RAS."""
        return np.asarray(beam_mm, float) @ self.rotation.T + self.isocenter_RAS_mm

    def project(self, ras_mm: np.ndarray, sad_mm: float) -> np.ndarray:
        """Project RAS points (..., 3) from the source onto the isocentre plane: (..., 2) collimator x, y in mm.

        Raises
        ------
        GeometryError
            When a point lies at or behind the source.
        """
        beam = self.to_beam(ras_mm)
        distance = sad_mm - beam[..., 2]
        if np.any(distance <= 0):
            raise GeometryError("A point lies at or behind the radiation source; check the isocentre and the SAD.")
        return beam[..., :2] * (sad_mm / distance)[..., None]

    def matrix(self) -> np.ndarray:
        """4 x 4 transform from the collimator frame to RAS (mm)."""
        result = np.eye(4)
        result[:3, :3] = self.rotation
        result[:3, 3] = self.isocenter_RAS_mm
        return result


def beam_frame(
    gantry_deg: float,
    collimator_deg: float = 0.0,
    couch_deg: float = 0.0,
    isocenter_RAS_mm: np.ndarray = (0.0, 0.0, 0.0),
    patient_position: str = "HFS",
) -> BeamFrame:
    """Return the collimator frame of a beam in patient RAS.

    Parameters
    ----------
    gantry_deg, collimator_deg, couch_deg : float
        IEC 61217 gantry, beam limiting device and patient support angle.
    isocenter_RAS_mm : (3,) array
    patient_position : {"HFS", "HFP", "FFS", "FFP"}
    """
    isocenter = np.array(isocenter_RAS_mm, dtype=float)
    if isocenter.shape != (3,) or not np.isfinite(isocenter).all():
        raise GeometryError(f"The isocentre must be three finite RAS coordinates in mm; got {isocenter_RAS_mm}.")
    fixed_from_beam = _about_y(gantry_deg) @ _about_z(collimator_deg)
    support_from_fixed = _about_z(couch_deg).T
    return BeamFrame(isocenter, ras_from_support(patient_position) @ support_from_fixed @ fixed_from_beam)
