"""A plan as a DICOM RT Plan.

Modules follow DICOM PS3.3: RT General Plan (C.8.8.9), RT Prescription (C.8.8.10), RT Patient Setup (C.8.8.12), RT
Fraction Scheme (C.8.8.13), RT Beams (C.8.8.14) and Approval (C.8.8.16). Angles and lengths are IEC 61217 there as here;
coordinates are turned from RAS into the patient's LPS. Decimal strings hold 16 characters, which keeps positions to
1e-9 mm and MU to 1e-9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import RTDoseStorage, RTPlanStorage, RTStructureSetStorage

from DoseEngineLib.errors import PlanError
from DoseEngineLib.geometry import lps_from_ras
from DoseEngineLib.machine import Machine, load_beam_machine
from DoseEngineLib.plan import Beam, ControlPoint, Plan, Prescription
from RTPlanningLib.dicom.decimal import decimal_string
from RTPlanningLib.dicom.identity import DicomIdentity, text_for
from RTPlanningLib.dicom.rt_plan_energy import energy_of

FRACTION_GROUP, PATIENT_SETUP, DOSE_REFERENCE, POINT_REFERENCE = 1, 1, 1, 2
_LONGEST_SH = 16
# Sense of rotation with a growing angle, and with a falling one. DICOM looks at the gantry from the isocentre, at the
# collimator from the source and at the couch from above; IEC 61217 counts the gantry clockwise, the others not.
_SENSE = {"gantry_deg": ("CW", "CC"), "collimator_deg": ("CC", "CW"), "couch_deg": ("CC", "CW")}
_ANGLES = {
    "gantry_deg": ("GantryAngle", "GantryRotationDirection"),
    "collimator_deg": ("BeamLimitingDeviceAngle", "BeamLimitingDeviceRotationDirection"),
    "couch_deg": ("PatientSupportAngle", "PatientSupportRotationDirection"),
}


def rt_plan_dataset(
    plan: Plan,
    identity: DicomIdentity,
    *,
    structure_set_uid: str = "",
    dose_uids: Sequence[str] = (),
    target_roi_number: int | None = None,
) -> Dataset:
    """Return a plan as an RT Plan, ready to be saved.

    Parameters
    ----------
    plan : Plan
        As delivered: every beam with its MU. Beams are numbered from 1 in its order.
    identity : DicomIdentity
    structure_set_uid : str
        SOP Instance UID of the structure set; without one the plan's geometry is that of the treatment device.
    dose_uids : sequence of str
        SOP Instance UIDs of the doses of this plan.
    target_roi_number : int, optional
        ROI number, in that structure set, of the prescription's target.

    Raises
    ------
    PlanError
        A plan without MU, a beam that turns by half a circle between two control points, names that DICOM cannot hold.
    MachineError
        A machine that cannot be loaded.
    """
    if not plan.has_MU:
        raise PlanError(
            f"Plan {plan.name}: its beams have weights but no MU, which is what DICOM delivers; calculate its dose and "
            "export the delivered plan."
        )
    dataset = identity.new_dataset(RTPlanStorage, "RTPLAN", f"Plan {plan.name}"[:64])
    identity.add_frame_of_reference(dataset)
    name = text_for(plan.name, "LO", "Plan name")
    dataset.RTPlanLabel = name[:_LONGEST_SH].rstrip()
    dataset.RTPlanName = name
    dataset.RTPlanDate, dataset.RTPlanTime = identity.date, identity.time
    dataset.PlanIntent = "RESEARCH"
    dataset.RTPlanGeometry = "PATIENT" if structure_set_uid else "TREATMENT_DEVICE"
    if structure_set_uid:
        dataset.ReferencedStructureSetSequence = [_reference(RTStructureSetStorage, structure_set_uid)]
    if dose_uids:
        dataset.ReferencedDoseSequence = [_reference(RTDoseStorage, uid) for uid in dose_uids]
    if plan.prescription is not None:
        _add_prescription(dataset, plan.prescription, target_roi_number if structure_set_uid else None)
    setup = Dataset()
    setup.PatientSetupNumber = PATIENT_SETUP
    setup.PatientPosition = plan.patient_position
    dataset.PatientSetupSequence = [setup]
    dataset.FractionGroupSequence = [_fraction_group(plan)]
    dataset.BeamSequence = [_beam_item(beam, number) for number, beam in enumerate(plan.beams, start=1)]
    dataset.ApprovalStatus = "UNAPPROVED"
    return dataset


def _reference(sop_class: str, uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class
    item.ReferencedSOPInstanceUID = uid
    return item


def _add_prescription(dataset: Dataset, prescription: Prescription, roi_number: int | None) -> None:
    dose = decimal_string(prescription.dose_Gy)
    target = text_for(prescription.target or "", "LO", "Target")
    course = f"{prescription.dose_Gy:g} Gy in {prescription.fractions} fractions"
    dataset.PrescriptionDescription = f"{course}{f' to {target}' if target else ''}; normalization: " + (
        "MU as they are" if prescription.normalization == "none" else prescription.normalization
    )
    items = []
    if target or prescription.point_RAS_mm is None:
        item = Dataset()
        item.DoseReferenceNumber = DOSE_REFERENCE
        item.DoseReferenceStructureType = "SITE" if roi_number is None else "VOLUME"
        if roi_number is not None:
            item.ReferencedROINumber = roi_number
        if target:
            item.DoseReferenceDescription = target
        item.DoseReferenceType = "TARGET"
        item.TargetPrescriptionDose = dose
        items.append(item)
    if prescription.point_RAS_mm is not None:
        item = Dataset()
        item.DoseReferenceNumber = POINT_REFERENCE
        item.DoseReferenceStructureType = "COORDINATES"
        item.DoseReferenceDescription = "Normalization point"
        item.DoseReferencePointCoordinates = _lps(prescription.point_RAS_mm)
        item.DoseReferenceType = "TARGET"
        item.TargetPrescriptionDose = dose
        items.append(item)
    dataset.DoseReferenceSequence = items


def _lps(point_RAS_mm: Sequence[float]) -> list[str]:
    return [decimal_string(v) for v in lps_from_ras(np.array(point_RAS_mm, dtype=float))]


def _fraction_group(plan: Plan) -> Dataset:
    group = Dataset()
    group.FractionGroupNumber = FRACTION_GROUP
    group.NumberOfFractionsPlanned = plan.fractions
    group.NumberOfBeams = len(plan.beams)
    group.NumberOfBrachyApplicationSetups = 0
    group.ReferencedBeamSequence = []
    for number, beam in enumerate(plan.beams, start=1):
        item = Dataset()
        item.BeamMeterset = decimal_string(beam.meterset_MU)
        item.ReferencedBeamNumber = number
        group.ReferencedBeamSequence.append(item)
    return group


def _beam_item(beam: Beam, number: int) -> Dataset:
    owner = f"Beam {beam.name}"
    machine = load_beam_machine(beam)
    energy = energy_of(machine)
    item = Dataset()
    item.BeamNumber = number
    item.BeamName = text_for(beam.name, "LO", "Beam name")
    item.BeamDescription = text_for(f"Machine {machine.name}: {machine.title}", "ST", "Machine title")
    item.BeamType = "DYNAMIC" if _moves_while_on(beam) else "STATIC"
    item.RadiationType = "PHOTON"
    item.PrimaryFluenceModeSequence = [_fluence_mode(energy.is_fff)]
    item.TreatmentMachineName = text_for(machine.name[:_LONGEST_SH], "SH", "Machine name")
    item.PrimaryDosimeterUnit = "MU"
    item.SourceAxisDistance = decimal_string(machine.sad_mm)
    item.BeamLimitingDeviceSequence = _devices(beam, machine)
    item.ReferencedPatientSetupNumber = PATIENT_SETUP
    item.TreatmentDeliveryType = "TREATMENT"
    item.NumberOfWedges = item.NumberOfCompensators = item.NumberOfBoli = item.NumberOfBlocks = 0
    item.FinalCumulativeMetersetWeight = "1"
    item.NumberOfControlPoints = len(beam.control_points)
    item.ControlPointSequence = _control_points(beam, owner, energy.nominal_MV)
    return item


def _fluence_mode(is_fff: bool) -> Dataset:
    mode = Dataset()
    mode.FluenceMode = "NON_STANDARD" if is_fff else "STANDARD"
    if is_fff:
        mode.FluenceModeID = "FFF"
    return mode


def _has_leaves(beam: Beam) -> bool:
    given = {point.aperture.leaf_positions_mm is not None for point in beam.control_points}
    if len(given) == 2:
        raise PlanError(f"Beam {beam.name}: the MLC is parked at some control points and set at others; set it at all.")
    return given.pop()


def _devices(beam: Beam, machine: Machine) -> list[Dataset]:
    devices = []
    for kind, distance_mm in (("ASYMX", machine.jaw_x.distance_mm), ("ASYMY", machine.jaw_y.distance_mm)):
        item = Dataset()
        item.RTBeamLimitingDeviceType = kind
        item.SourceToBeamLimitingDeviceDistance = decimal_string(distance_mm)
        item.NumberOfLeafJawPairs = 1
        devices.append(item)
    if _has_leaves(beam):
        for point in beam.control_points:
            machine.check_aperture(point.aperture, f"Beam {beam.name}")
        item = Dataset()
        item.RTBeamLimitingDeviceType = "MLCX"
        item.SourceToBeamLimitingDeviceDistance = decimal_string(machine.mlc.distance_mm)
        item.NumberOfLeafJawPairs = machine.mlc.pairs
        item.LeafPositionBoundaries = [decimal_string(side) for side in machine.mlc.boundaries_mm]
        devices.append(item)
    return devices


def _moves_while_on(beam: Beam) -> bool:
    """Whether anything but the meterset changes between two control points with beam on (PS3.3 C.8.8.14, Beam Type)."""
    return any(
        stop.cumulative_meterset_weight > start.cumulative_meterset_weight
        and replace(stop, cumulative_meterset_weight=0.0) != replace(start, cumulative_meterset_weight=0.0)
        for start, stop in zip(beam.control_points, beam.control_points[1:])
    )


def _control_points(beam: Beam, owner: str, energy_MV: float) -> list[Dataset]:
    """Every attribute at the first control point; at the others those that change within the beam."""
    points = beam.control_points
    changing = {name for name in _ANGLES if len({getattr(point, name) for point in points}) > 1}
    positions = {kind: [of(point) for point in points] for kind, of in _positions_of(beam).items()}
    moving = {kind for kind, values in positions.items() if len(set(values)) > 1}
    items = []
    for index, point in enumerate(points):
        item = Dataset()
        item.ControlPointIndex = index
        first = index == 0
        if first:
            item.NominalBeamEnergy = decimal_string(energy_MV)
        given = [kind for kind in positions if first or kind in moving]
        if given:
            item.BeamLimitingDevicePositionSequence = [_position(kind, positions[kind][index]) for kind in given]
        for name, (angle, direction) in _ANGLES.items():
            if first or name in changing:
                setattr(item, angle, _angle(getattr(point, name)))
                setattr(item, direction, _direction(points, index, name, owner))
        if first:
            item.TableTopEccentricAngle = "0"
            item.TableTopEccentricRotationDirection = "NONE"
            item.TableTopVerticalPosition = None
            item.TableTopLongitudinalPosition = None
            item.TableTopLateralPosition = None
            item.IsocenterPosition = _lps(beam.isocenter_RAS_mm)
        last = index == len(points) - 1
        item.CumulativeMetersetWeight = "1" if last else decimal_string(point.cumulative_meterset_weight)
        items.append(item)
    return items


def _positions_of(beam: Beam) -> dict[str, Callable[[ControlPoint], tuple[float, ...]]]:
    """By device, how its positions are read off a control point: bank 1 (X1, Y1 side) first, then bank 2."""
    kinds: dict[str, Callable[[ControlPoint], tuple[float, ...]]] = {
        "ASYMX": lambda point: point.aperture.jaw_x_mm,
        "ASYMY": lambda point: point.aperture.jaw_y_mm,
    }
    if _has_leaves(beam):
        kinds["MLCX"] = lambda point: tuple(pair[bank] for bank in (0, 1) for pair in point.aperture.leaf_positions_mm)
    return kinds


def _position(kind: str, positions_mm: Sequence[float]) -> Dataset:
    item = Dataset()
    item.RTBeamLimitingDeviceType = kind
    item.LeafJawPositions = [decimal_string(position) for position in positions_mm]
    return item


def _angle(degrees: float) -> str:
    # the rest of a tiny negative angle is 360.0 in floating point
    turn = degrees % 360.0
    return decimal_string(0.0 if turn == 360.0 else turn)


def _direction(points: Sequence[ControlPoint], index: int, name: str, owner: str) -> str:
    """Sense of the rotation from a control point to the next, the short way round."""
    if index == len(points) - 1:
        return "NONE"
    turn = (getattr(points[index + 1], name) - getattr(points[index], name) + 180.0) % 360.0 - 180.0
    if turn == 0.0:
        return "NONE"
    if turn == -180.0:
        raise PlanError(
            f"{owner}: {name[:-4]} turns by half a circle between control points {index} and {index + 1}, which does "
            "not say which way; add control points."
        )
    growing, falling = _SENSE[name]
    return growing if turn > 0 else falling
