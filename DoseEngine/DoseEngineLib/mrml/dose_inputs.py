"""What a dose is calculated of beside the plan itself: the CT and its calibration, body, densities and target."""

from __future__ import annotations

from DoseEngineLib.mrml.ct_calibration import ctCalibrationHash
from DoseEngineLib.mrml.segmentation_digest import segmentsDigest
from DoseEngineLib.mrml.segmentations import densityTag, roleTag
from DoseEngineLib.mrml.volume_digest import volumeDigest
from DoseEngineLib.plan import Plan

CT, CALIBRATION, BODY, DENSITIES, TARGET = "CT", "CT calibration", "body", "densities of structures", "target"
# as they are where no structure counts
NO_STRUCTURES = {BODY: "", DENSITIES: "", TARGET: ""}


def doseInputs(plan: Plan, volumeNode, segmentationNode) -> dict[str, str]:
    """Return digests of all that counts, by what it is; nothing of a node that is not there.

    Structures count as far as a dose depends on them: the body, those with a density of their own, and the target where
    its dose makes the MU.

    Parameters
    ----------
    plan : Plan
    volumeNode : vtkMRMLScalarVolumeNode or None
    segmentationNode : vtkMRMLSegmentationNode or None
    """
    inputs = {}
    if volumeNode is not None:
        inputs[CT] = volumeDigest(volumeNode)
        inputs[CALIBRATION] = ctCalibrationHash(volumeNode)
    if segmentationNode is not None:
        inputs[BODY] = segmentsDigest(segmentationNode, lambda segment, name: _if(roleTag(segment, name) == "EXTERNAL"))
        inputs[DENSITIES] = segmentsDigest(segmentationNode, lambda segment, _name: densityTag(segment) or None)
        target = _targetOfNormalization(plan)
        inputs[TARGET] = segmentsDigest(segmentationNode, lambda _segment, name: _if(name == target))
    return inputs


def _if(counts: bool) -> str | None:
    return "" if counts else None


def _targetOfNormalization(plan: Plan) -> str | None:
    prescription = plan.prescription
    if prescription is None or prescription.normalization in ("point", "none"):
        return None
    return prescription.target if any(beam.meterset_MU is None for beam in plan.beams) else None
