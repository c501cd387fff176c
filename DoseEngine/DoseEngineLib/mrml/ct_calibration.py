"""The calibration curve of a CT volume node: kept with the image, so that all that read it take the same one."""

from __future__ import annotations

import hashlib

from DoseEngineLib.calibration import CalibrationCurve, calibration_from_json

_CALIBRATION = "RTPlanning.CtCalibration"


def setCtCalibration(volumeNode, curve: CalibrationCurve | None) -> None:
    """Keep a calibration curve with a CT volume; None: the default curve, whichever that is."""
    if curve is None:
        volumeNode.RemoveAttribute(_CALIBRATION)
    else:
        volumeNode.SetAttribute(_CALIBRATION, curve.to_json())


def ctCalibration(volumeNode) -> CalibrationCurve | None:
    """Return the curve that is kept with a CT volume, or None.

    Raises
    ------
    PatientError, SchemaError
        What is kept cannot be used; the text names the volume.
    """
    text = volumeNode.GetAttribute(_CALIBRATION) if volumeNode is not None else None
    return calibration_from_json(text, f"The CT calibration of {volumeNode.GetName()}") if text else None


def ctCalibrationHash(volumeNode) -> str:
    """SHA-256 of what is kept with a CT volume, of nothing where the default curve is used."""
    return hashlib.sha256((volumeNode.GetAttribute(_CALIBRATION) or "").encode()).hexdigest()
