"""The patient that a plan of SlicerRT names: its reference volume, segmentation and body segment."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from DoseEngineLib.calibration import CalibrationCurve
from DoseEngineLib.errors import PlanError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.ct_calibration import ctCalibration
from DoseEngineLib.mrml.segmentations import densityOverrides, structuresFromSegmentation
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Structure
from RTPlanningLib.mrml.slicerrt_nodes import bodySegmentID, referencedSegmentation, referencedVolume


@dataclass(frozen=True, eq=False)
class PatientData:
    """What a patient is made of.

    Attributes
    ----------
    hu : (k, j, i) array
    grid : Grid
    structures : tuple of Structure
        At most one of role EXTERNAL, the body.
    density_overrides_g_cm3 : dict of str to float
    calibration : CalibrationCurve or None
        The one that is kept with the volume; None: the default.
    """

    hu: np.ndarray
    grid: Grid
    structures: tuple[Structure, ...]
    density_overrides_g_cm3: dict[str, float]
    calibration: CalibrationCurve | None = None

    def patient(self) -> Patient:
        """Make the patient."""
        return Patient.from_hu(
            self.hu,
            self.grid,
            calibration=self.calibration,
            structures=self.structures,
            density_overrides_g_cm3=self.density_overrides_g_cm3,
        )

    def digest(self) -> bytes:
        """Hash of all that the patient depends on; it takes far less time than to make the patient."""
        digest = hashlib.blake2b()
        described = [self.hu.shape, str(self.hu.dtype), self.grid.affine.tolist(), self.density_overrides_g_cm3]
        described.append(repr(self.calibration))
        described += [(s.name, s.role) for s in self.structures]
        digest.update(repr(described).encode())
        digest.update(np.ascontiguousarray(self.hu))
        for structure in self.structures:
            digest.update(structure.mask)
        return digest.digest()


def patientData(rtPlanNode, names: tuple[str, ...] | None = None) -> PatientData:
    """Read the patient of a plan of SlicerRT.

    The body is the segment that the plan names; else that of role EXTERNAL; else it is found in the image.

    Parameters
    ----------
    rtPlanNode : vtkMRMLRTPlanNode
    names : tuple of str, optional
        Structures that are wanted beside the body and those with a density of their own; by default all.

    Raises
    ------
    PlanError
        No reference volume, or a body segment that is not in the segmentation.
    PatientError, GeometryError
        As `DoseEngineLib.mrml.patient_nodes.patientFromNodes`.
    """
    volumeNode, segmentationNode = referencedVolume(rtPlanNode), referencedSegmentation(rtPlanNode)
    grid, structures, overrides = gridFromVolume(volumeNode), (), {}
    if segmentationNode is not None:
        overrides = densityOverrides(segmentationNode)
        structures = structuresFromSegmentation(segmentationNode, grid)
        structures = _withBody(rtPlanNode, segmentationNode, structures)
    elif bodySegmentID(rtPlanNode) is not None:
        raise PlanError(f"Plan {rtPlanNode.GetName()} names a body segment but has no segmentation; choose it there.")
    if names is not None:
        structures = tuple(s for s in structures if s.name in (*names, *overrides) or s.role == "EXTERNAL")
    return PatientData(arrayFromVolume(volumeNode), grid, structures, overrides, ctCalibration(volumeNode))


def _withBody(rtPlanNode, segmentationNode, structures: tuple[Structure, ...]) -> tuple[Structure, ...]:
    segmentID = bodySegmentID(rtPlanNode)
    if segmentID is None:
        return structures
    segment = segmentationNode.GetSegmentation().GetSegment(segmentID)
    if segment is None:
        raise PlanError(
            f"Plan {rtPlanNode.GetName()}: its body segment {segmentID!r} is not in its segmentation; choose it there."
        )
    name = segment.GetName() or segmentID
    return tuple(
        replace(s, role="EXTERNAL") if s.name == name else replace(s, role="OTHER") if s.role == "EXTERNAL" else s
        for s in structures
    )
