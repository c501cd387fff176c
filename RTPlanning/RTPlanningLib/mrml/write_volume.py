"""A volume node to a file of its own."""

from __future__ import annotations

from pathlib import Path

import slicer

from DoseEngineLib.errors import PlanningError


class VolumeFileError(PlanningError):
    """A volume that cannot be written."""


def writeVolume(volumeNode, path: str | Path) -> Path:
    """Write a scalar volume node with its attributes to a compressed ``.nrrd`` file; the scene keeps no trace of it.

    The same volume gives the same bytes.

    Raises
    ------
    VolumeFileError
        Another ending, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".nrrd":
        raise VolumeFileError(f"Volumes are written as .nrrd files; {path.name!r} has another ending.")
    storage = slicer.vtkMRMLNRRDStorageNode()
    storage.SetFileName(str(path))
    storage.SetUseCompression(True)
    if not storage.WriteData(volumeNode) or not path.is_file():
        raise VolumeFileError(f"{volumeNode.GetName()} could not be written to {path}; check the folder and the disk.")
    return path
