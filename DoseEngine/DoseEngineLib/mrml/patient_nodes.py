"""CT and segmentation nodes to a `Patient`."""

from __future__ import annotations

from collections.abc import Callable

from DoseEngineLib.calibration import CalibrationCurve
from DoseEngineLib.mrml.ct_calibration import ctCalibration
from DoseEngineLib.mrml.segmentations import densityOverrides
from DoseEngineLib.mrml.structures_in_turn import structuresInTurn
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.patient import Patient
from DoseEngineLib.progress import Progress


def patientFromNodes(volumeNode, segmentationNode=None, calibration: CalibrationCurve | None = None) -> Patient:
    """Return the patient that a CT volume and its segmentation describe, density overrides included.

    Parameters
    ----------
    volumeNode : vtkMRMLScalarVolumeNode
        CT numbers in HU.
    segmentationNode : vtkMRMLSegmentationNode, optional
        The segment of role EXTERNAL is the body; without one the body is found in the image.
    calibration : CalibrationCurve, optional
        By default the one that is kept with the volume (`ct_calibration`), else Schneider (2000).

    Raises
    ------
    PatientError, GeometryError
        As `arrayFromVolume`, `gridFromVolume`, `structuresFromSegmentation` and `Patient.from_hu`.
    """
    return readPatient(volumeNode, segmentationNode, calibration)()


def readPatient(
    volumeNode,
    segmentationNode=None,
    calibration: CalibrationCurve | None = None,
    progress: Progress | None = None,
) -> Callable[[], Patient]:
    """Read CT and segmentation now; return what makes the patient of them, which touches no node.

    Making it takes longer than reading and may run in a thread; parameters and errors as `patientFromNodes`. Progress
    is told of every structure, so that a panel's events turn in between.
    """
    grid = gridFromVolume(volumeNode)
    structures = structuresInTurn(segmentationNode, grid, progress) if segmentationNode is not None else ()
    overrides = densityOverrides(segmentationNode) if segmentationNode is not None else {}
    hu = arrayFromVolume(volumeNode)
    curve = calibration or ctCalibration(volumeNode)

    def make() -> Patient:
        return Patient.from_hu(hu, grid, calibration=curve, structures=structures, density_overrides_g_cm3=overrides)

    return make
