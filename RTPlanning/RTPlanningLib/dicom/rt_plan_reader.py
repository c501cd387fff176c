"""A DICOM RT Plan as a plan: photon beams of every technique, and plain words on what is not in it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import RTBeamsTreatmentRecordStorage, RTIonPlanStorage, RTPlanStorage

from DoseEngineLib.errors import CaseError, MachineError, PlanError
from DoseEngineLib.geometry import ras_from_lps
from DoseEngineLib.iec61217 import PATIENT_POSITIONS
from DoseEngineLib.leaves.published_leaves import published_leaves
from DoseEngineLib.machine import Machine, load_machine
from DoseEngineLib.plan import Aperture, Beam, LeafModel, Plan, Prescription
from RTPlanningLib.dicom.dataset import number, numbers, read_dataset, required, text, value, whole_number
from RTPlanningLib.dicom.rt_plan_control_points import Devices, read_control_points, read_devices
from RTPlanningLib.dicom.rt_plan_energy import BeamEnergy, choose_machine
from RTPlanningLib.dicom.rt_plan_modifiers import NotModelled, check_allowances, check_modifiers

# RTPlanLabel and Treatment Delivery Types (PS3.3 C.8.8.14) of beams that take pictures.
_SETUP_DELIVERIES = ("SETUP", "TRMT_PORTFILM", "OPEN_PORTFILM")
_SAME_SIDE_MM = 1e-3
_SAD_TOLERANCE_MM = 1.0
_ENGINE = "photon-collapsed-cone"


@dataclass(frozen=True, eq=False)
class RtPlan:
    """What an RT Plan file holds.

    Attributes
    ----------
    plan : Plan
        With the MU of the file. Its prescription carries fractions and prescribed dose; the MU stand as they are.
    beam_numbers : tuple of int
        Beam Number of each beam.
    energies : tuple of BeamEnergy
    treatment_machines : tuple of str
        Treatment Machine Name of each beam.
    sop_instance_uid, frame_of_reference_uid, structure_set_uid, study_instance_uid, label : str
        Empty where the file does not say it. ``structure_set_uid``: the structure set it was planned on.
    dose_uids : tuple of str
        RT Doses it refers to.
    patient_id : str
    notes : tuple of str
        Decisions and what was left out, in words for the user.
    """

    plan: Plan
    beam_numbers: tuple[int, ...]
    energies: tuple[BeamEnergy, ...]
    treatment_machines: tuple[str, ...]
    sop_instance_uid: str
    frame_of_reference_uid: str
    structure_set_uid: str
    study_instance_uid: str
    label: str
    dose_uids: tuple[str, ...]
    patient_id: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Wishes:
    """What the caller asked for."""

    missing: NotModelled
    machine: str | Mapping[str, str] | None
    patient_position: str | None


def read_rt_plan(
    file: str | os.PathLike,
    *,
    allow: Collection[str] = (),
    machine: str | Mapping[str, str] | None = None,
    patient_position: str | None = None,
    fraction_group: int | None = None,
    fractions: int | None = None,
    prescription_Gy: float | None = None,
) -> RtPlan:
    """Read an RT Plan with photon beams.

    Parameters
    ----------
    file : path
    allow : collection of str
        What may be in the plan though no engine models it: keys of `rt_plan_modifiers.ALLOWANCES`.
    machine : str or mapping of treatment machine name to str, optional
        Machine (name or JSON file) to calculate with; by default the one of that name, or the generic one of the beam's
        energy and fluence mode, which is noted.
    patient_position : {"HFS", "HFP", "FFS", "FFP"}, optional
        Needed where the file does not say it.
    fraction_group : int, optional
        Number of the fraction group; needed where there are several.
    fractions : int, optional
        Needed where the file does not say it.
    prescription_Gy : float, optional
        Prescribed dose of the course, where the file says none or another is meant.

    Raises
    ------
    CaseError
        A file that is no RT Plan of photon beams (ion and brachytherapy plans are named as such), a required tag that
        is missing or malformed, values that contradict each other, or something in the beams that no engine models and
        that was not allowed. The text names file, beam and tag.
    MachineError
        A machine that cannot be loaded.
    """
    path = Path(file)
    where = str(path)
    notes: list[str] = []
    wishes = _Wishes(NotModelled(check_allowances(allow), notes), machine, patient_position)
    if patient_position is not None and patient_position not in PATIENT_POSITIONS:
        raise CaseError(
            f"patient_position {patient_position!r} is not supported; use one of {', '.join(PATIENT_POSITIONS)}."
        )
    dataset = _open(path)
    group = _fraction_group(dataset, where, fraction_group)
    metersets = _metersets(group, where)
    position_of = _positions(dataset, where)
    read = _read_beams(dataset, metersets, position_of, wishes, where)
    count = _fractions(group, where, fractions)
    beams = [one.beam for one in read]
    prescription = _prescription(dataset, group, count, prescription_Gy, where, notes)
    _note_machines(read, notes)
    _note_once(read, notes)
    label = text(dataset, "RTPlanLabel", where)
    try:
        plan = Plan(
            text(dataset, "RTPlanName", where) or label or path.stem,
            tuple(beams),
            prescription,
            _one_position(read, wishes, where),
            engine=_ENGINE,
        )
    except PlanError as error:
        raise CaseError(f"{where}: {error}") from error
    status = text(dataset, "ApprovalStatus", where).upper()
    if status == "REJECTED":
        notes.append("The plan is marked as rejected (Approval Status).")
    structure_sets = value(dataset, "ReferencedStructureSetSequence", where) or ()
    doses = value(dataset, "ReferencedDoseSequence", where) or ()
    return RtPlan(
        plan=plan,
        beam_numbers=tuple(one.number for one in read),
        energies=tuple(one.energy for one in read),
        treatment_machines=tuple(one.treatment_machine for one in read),
        sop_instance_uid=text(dataset, "SOPInstanceUID", where),
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID", where),
        structure_set_uid=next((text(item, "ReferencedSOPInstanceUID", where) for item in structure_sets), ""),
        study_instance_uid=text(dataset, "StudyInstanceUID", where),
        label=label,
        dose_uids=tuple(text(item, "ReferencedSOPInstanceUID", where) for item in doses),
        patient_id=text(dataset, "PatientID", where),
        notes=tuple(notes),
    )


def _open(path: Path) -> Dataset:
    dataset = read_dataset(path)
    where = str(path)
    sop_class = text(dataset, "SOPClassUID", where)
    if sop_class == RTIonPlanStorage:
        raise CaseError(
            f"{path} is an ion plan (RT Ion Plan): beams of protons or ions are not computed yet. Give an RT Plan of "
            "photon beams."
        )
    if sop_class != RTPlanStorage and text(dataset, "Modality", where) != "RTPLAN":
        kind = "a treatment record" if sop_class == RTBeamsTreatmentRecordStorage else text(dataset, "Modality", where)
        raise CaseError(f"{path} is {kind or 'something else'}, not an RT Plan; give the RTPLAN file.")
    if value(dataset, "BrachyTreatmentType", where) or value(dataset, "ApplicationSetupSequence", where):
        kind = text(dataset, "BrachyTreatmentType", where)
        raise CaseError(
            f"{path} is a brachytherapy plan{f' ({kind})' if kind else ''}: sources are not computed yet. Give an RT "
            "Plan of photon beams."
        )
    required(dataset, "BeamSequence", where)
    return dataset


# Fractions, MU, prescription


def _fraction_group(dataset: Dataset, where: str, wanted: int | None) -> Dataset:
    groups = list(required(dataset, "FractionGroupSequence", where))
    numbers_ = [whole_number(group, "FractionGroupNumber", f"{where}, fraction group") for group in groups]
    if wanted is None:
        if len(groups) > 1:
            raise CaseError(
                f"{where}: FractionGroupSequence (300A,0070) has {len(groups)} fraction groups (numbers "
                f"{', '.join(map(str, numbers_))}); choose one (fraction_group)."
            )
        return groups[0]
    if wanted not in numbers_:
        raise CaseError(f"{where}: there is no fraction group {wanted}; there are: {', '.join(map(str, numbers_))}.")
    return groups[numbers_.index(wanted)]


def _metersets(group: Dataset, where: str) -> dict[int, float | None]:
    """MU a fraction by beam number; None where the group does not say it."""
    metersets: dict[int, float | None] = {}
    for place, item in enumerate(value(group, "ReferencedBeamSequence", where) or (), start=1):
        at = f"{where}, fraction group, referenced beam {place}"
        beam = whole_number(item, "ReferencedBeamNumber", at)
        if beam in metersets:
            raise CaseError(f"{at}: beam number {beam} (300C,0006) is referred to twice; export the plan again.")
        metersets[beam] = number(item, "BeamMeterset", at)
        if metersets[beam] is not None and metersets[beam] < 0:
            raise CaseError(f"{at}: BeamMeterset (300A,0086) is negative ({metersets[beam]:g}); export the plan again.")
    if not any(metersets.values()):
        raise CaseError(
            f"{where}: BeamMeterset (300A,0086) gives no beam any MU; export the plan with its dose calculated."
        )
    return metersets


def _fractions(group: Dataset, where: str, wanted: int | None) -> int:
    if wanted is not None:
        if int(wanted) != wanted or wanted < 1:
            raise CaseError(f"fractions must be a whole number from 1 on; got {wanted}.")
        return int(wanted)
    if value(group, "NumberOfFractionsPlanned", where) is None:
        raise CaseError(
            f"{where}: the tag NumberOfFractionsPlanned (300A,0078) is missing or empty; say how many (fractions)."
        )
    count = whole_number(group, "NumberOfFractionsPlanned", where)
    if count < 1:
        raise CaseError(
            f"{where}: NumberOfFractionsPlanned (300A,0078) is {count}; say how many are meant (fractions)."
        )
    return count


def _prescription(
    dataset: Dataset, group: Dataset, fractions: int, wanted_Gy: float | None, where: str, notes: list[str]
) -> Prescription | None:
    """Prescribed dose and fractions; None for a single fraction without a prescribed dose."""
    found = []
    for place, item in enumerate(value(dataset, "DoseReferenceSequence", where) or (), start=1):
        at = f"{where}, dose reference {place}"
        dose = number(item, "TargetPrescriptionDose", at)
        if text(item, "DoseReferenceType", at).upper() != "TARGET" or dose is None or dose <= 0:
            continue
        on_point = text(item, "DoseReferenceStructureType", at).upper() in ("COORDINATES", "POINT")
        name = "" if on_point else text(item, "DoseReferenceDescription", at)
        found.append((on_point, -dose, name))
    # the dose of a target says more than that of a point in it; of several the highest is the plan's
    found.sort()
    if wanted_Gy is not None:
        return Prescription(wanted_Gy, fractions, found[0][2] if found else None, "none")
    if found:
        _, negative, name = found[0]
        if len({dose for on_point, dose, _ in found if on_point == found[0][0]}) > 1:
            listed = ", ".join(f"{-dose:g} Gy{f' to {label}' if label else ''}" for _, dose, label in found)
            notes.append(f"The plan prescribes several doses ({listed}); the highest counts as its prescription.")
        return Prescription(-negative, fractions, name or None, "none")
    if fractions == 1:
        return None
    doses = [number(item, "BeamDose", where) for item in value(group, "ReferencedBeamSequence", where) or ()]
    total = sum(dose for dose in doses if dose)
    if total > 0:
        notes.append(
            f"The plan prescribes no dose; the sum of its beams' doses at their specification points, {total:g} Gy a "
            "fraction, counts as one."
        )
        return Prescription(total * fractions, fractions, None, "none")
    raise CaseError(
        f"{where}: TargetPrescriptionDose (300A,0026) and BeamDose (300A,0084) are missing, so the prescribed dose of "
        f"the {fractions} fractions is not known; give it (prescription_Gy)."
    )


def _positions(dataset: Dataset, where: str) -> dict[int, str]:
    """Patient position by setup number."""
    return {
        whole_number(item, "PatientSetupNumber", where): text(item, "PatientPosition", where).upper()
        for item in value(dataset, "PatientSetupSequence", where) or ()
    }


def _one_position(read: Sequence[_ReadBeam], wishes: _Wishes, where: str) -> str:
    if wishes.patient_position is not None:
        return wishes.patient_position
    found = sorted({one.patient_position for one in read})
    if found == [""]:
        raise CaseError(
            f"{where}: the tag PatientPosition (0018,5100) of its set-up is missing or empty; say it "
            "(patient_position)."
        )
    if len(found) > 1:
        raise CaseError(
            f"{where}: its beams are for different patient positions ({', '.join(one or 'none' for one in found)}); "
            "split the plan, or say which is meant (patient_position)."
        )
    if found[0] not in PATIENT_POSITIONS:
        raise CaseError(
            f"{where}: PatientPosition (0018,5100) {found[0]} is not supported; use one of "
            f"{', '.join(PATIENT_POSITIONS)}."
        )
    return found[0]


# Beams


@dataclass(frozen=True, eq=False)
class _ReadBeam:
    beam: Beam
    number: int
    energy: BeamEnergy
    treatment_machine: str
    patient_position: str
    machine_note: str
    remarks: tuple[str, ...]


def _read_beams(
    dataset: Dataset,
    metersets: Mapping[int, float | None],
    position_of: Mapping[int, str],
    wishes: _Wishes,
    where: str,
) -> list[_ReadBeam]:
    items: dict[int, Dataset] = {}
    for place, item in enumerate(required(dataset, "BeamSequence", where), start=1):
        beam_number = whole_number(item, "BeamNumber", f"{where}, beam {place}")
        if beam_number in items:
            raise CaseError(f"{where}: beam number {beam_number} (300A,00C0) is used twice; export the plan again.")
        items[beam_number] = item
    absent = sorted(beam for beam, meterset in metersets.items() if meterset and beam not in items)
    if absent:
        raise CaseError(
            f"{where}: FractionGroupSequence (300A,0070) gives MU to beams {absent}, which BeamSequence (300A,00B0) "
            "does not have; export the plan again."
        )
    read: list[_ReadBeam] = []
    left_out: dict[str, list[str]] = {}
    names = _unique_names(items, where)
    for beam_number, item in items.items():
        name = names[beam_number]
        at = f"{where}, beam {beam_number} ({name})"
        reason = _not_treatment(item, beam_number, metersets, at)
        if reason:
            left_out.setdefault(reason, []).append(f"{name} (number {beam_number})")
            continue
        radiation = text(item, "RadiationType", at).upper()
        if radiation != "PHOTON":
            kind = "electrons" if radiation == "ELECTRON" else ""
            if not kind:
                raise CaseError(
                    f"{at}: RadiationType (300A,00C6) is {radiation or 'missing'}; only photon beams are computed yet."
                )
            wishes.missing.found(kind, "it is an electron beam", at, "RadiationType (300A,00C6)")
            continue
        read.append(_read_beam(item, name, beam_number, float(metersets[beam_number]), position_of, wishes, at))
    for reason, beams in left_out.items():
        wishes.missing.notes.append(f"Left out, {reason}: {', '.join(beams)}.")
    if not read:
        raise CaseError(f"{where}: none of its {len(items)} beams is a treatment beam with photons and MU.")
    return read


def _not_treatment(item: Dataset, beam_number: int, metersets: Mapping[int, float | None], at: str) -> str:
    """Why a beam treats nobody, or an empty string."""
    if beam_number not in metersets:
        return "not in the fraction group"
    delivery = text(item, "TreatmentDeliveryType", at).upper()
    meterset = metersets[beam_number]
    if delivery in _SETUP_DELIVERIES:
        if meterset:
            return f"images ({delivery}), whose {meterset:g} MU are not in the dose"
        return f"images ({delivery})"
    return "" if meterset else "set-up beams, without MU in the fraction group"


def _unique_names(items: Mapping[int, Dataset], where: str) -> dict[int, str]:
    wanted = {beam: text(item, "BeamName", f"{where}, beam {beam}") or f"Beam {beam}" for beam, item in items.items()}
    several = {name for name in wanted.values() if list(wanted.values()).count(name) > 1}
    names: dict[int, str] = {}
    for beam, name in wanted.items():
        unique = f"{name} [{beam}]" if name in several else name
        while unique in names.values():
            unique += "'"
        names[beam] = unique
    return names


def _read_beam(
    item: Dataset,
    name: str,
    beam_number: int,
    meterset: float,
    position_of: Mapping[int, str],
    wishes: _Wishes,
    at: str,
) -> _ReadBeam:
    unit = text(item, "PrimaryDosimeterUnit", at).upper()
    if unit != "MU":
        raise CaseError(
            f"{at}: PrimaryDosimeterUnit (300A,00B3) is {unit or 'missing'}, not MU; such metersets are not computed."
        )
    points = list(required(item, "ControlPointSequence", at))
    count = number(item, "NumberOfControlPoints", at)
    if count is not None and count != len(points):
        raise CaseError(
            f"{at}: NumberOfControlPoints (300A,0110) says {count:g}, ControlPointSequence (300A,0111) has "
            f"{len(points)}; the file may be damaged, export it again."
        )
    remarks = check_modifiers(item, points, at, wishes.missing)
    energy = _energy(item, points[0], at, wishes.missing)
    treatment_machine = text(item, "TreatmentMachineName", at)
    choice = choose_machine(treatment_machine, energy, wishes.machine, at)
    base = load_machine(choice.name)
    devices = read_devices(item, at)
    leaves = _leaves(base, devices, remarks, at)
    _check_sad(item, base, wishes.missing, at)
    if set(devices.jaws) != {"x", "y"}:
        absent = " and ".join(axis.upper() for axis in "xy" if axis not in devices.jaws)
        remarks.append(f"no {absent} jaws: those of {base.name} were opened wide")
    wide_open = Aperture((base.jaw_x.minimum_mm, base.jaw_x.maximum_mm), (base.jaw_y.minimum_mm, base.jaw_y.maximum_mm))
    final = float(numbers(item, "FinalCumulativeMetersetWeight", at, 1)[0])
    travel = None if base.mlc is None else (base.mlc.minimum_mm, base.mlc.maximum_mm)
    read = read_control_points(points, devices, wide_open, final, at, travel)
    if read.drawn_in:
        remarks.append(f"leaf tips further out than those of {base.name} can be, behind the jaws, were drawn in")
    if read.divided:
        remarks.append(f"{read.divided} of its arc segments were divided into steps of at most 5 degrees")
    isocenter = tuple(float(v) + 0.0 for v in ras_from_lps(read.isocenter_LPS_mm))
    try:
        beam = Beam(name, read.points, isocenter, choice.name, meterset, 1.0, *leaves)
        machine = base.for_beam(beam)
        for aperture in dict.fromkeys(point.aperture for point in read.points):
            machine.check_aperture(aperture, f"Beam {name}")
    except (PlanError, MachineError) as error:
        raise CaseError(f"{at}: {error}") from error
    setup = value(item, "ReferencedPatientSetupNumber", at)
    if setup is None:
        found = set(position_of.values())
        position = found.pop() if len(found) == 1 else ""
    else:
        position = position_of.get(whole_number(item, "ReferencedPatientSetupNumber", at), "")
    return _ReadBeam(beam, beam_number, energy, treatment_machine, position, choice.note, tuple(remarks))


def _energy(item: Dataset, first_point: Dataset, at: str, missing: NotModelled) -> BeamEnergy:
    nominal = float(numbers(first_point, "NominalBeamEnergy", f"{at}, control point 0", 1)[0])
    if not nominal > 0:
        raise CaseError(f"{at}, control point 0: NominalBeamEnergy (300A,0114) is {nominal:g}; export the plan again.")
    is_fff = False
    for mode in value(item, "PrimaryFluenceModeSequence", at) or ():
        kind, name = text(mode, "FluenceMode", at).upper(), text(mode, "FluenceModeID", at).upper()
        if kind in ("", "STANDARD"):
            continue
        if "FFF" in name or name in ("UNFLAT", "UNFLATTENED"):
            is_fff = True
        else:
            missing.found(
                "fluence-mode",
                f"its fluence mode is {kind} {name}".rstrip(),
                at,
                "PrimaryFluenceModeSequence (3002,0050)",
            )
    return BeamEnergy(nominal, is_fff)


def _leaves(
    base: Machine, devices: Devices, remarks: list[str], at: str
) -> tuple[tuple[float, ...] | None, LeafModel | None]:
    """Leaf boundaries and leaf model for the plan, where they are not the machine's."""
    sides = devices.leaf_boundaries_mm
    if sides is None:
        return None, None
    if base.mlc is None:
        raise CaseError(
            f"{at}: the plan has an MLC of {len(sides) - 1} pairs, {base.name} has none; give a machine with MLC "
            "(machine)."
        )
    own = np.array(base.mlc.boundaries_mm)
    if own.size == len(sides) and np.abs(own - sides).max() < _SAME_SIDE_MM:
        return None, None
    widths = np.diff(sides)
    narrow, wide = (f"{width:.4g}" for width in (widths.min(), widths.max()))
    what = f"its MLC has {widths.size} leaf pairs of {narrow if narrow == wide else f'{narrow} to {wide}'} mm, which "
    known = published_leaves(sides, base)
    if known is None:
        remarks.append(f"{what}the plan keeps; transmission, leaf ends and tongue and groove are those of {base.name}")
        return sides, None
    remarks.append(f"{what}are those of {known.title}; {known.describe(base)}")
    return sides, known.model_for(base)


def _check_sad(item: Dataset, machine: Machine, missing: NotModelled, at: str) -> None:
    sad = number(item, "SourceAxisDistance", at)
    if sad is not None and abs(sad - machine.sad_mm) > _SAD_TOLERANCE_MM:
        missing.found(
            "sad",
            f"its source-axis distance is {sad:g} mm, that of {machine.name} {machine.sad_mm:g} mm",
            at,
            "SourceAxisDistance (300A,00B4)",
        )


# Notes


def _note_machines(read: Sequence[_ReadBeam], notes: list[str]) -> None:
    notes += list(dict.fromkeys(one.machine_note for one in read if one.machine_note))


def _note_once(read: Sequence[_ReadBeam], notes: list[str]) -> None:
    """A remark that concerns several beams is made once."""
    beams_of: dict[str, list[str]] = {}
    for one in read:
        for remark in one.remarks:
            beams_of.setdefault(remark, []).append(one.beam.name)
    for remark, beams in beams_of.items():
        whose = "All beams" if len(beams) == len(read) and len(read) > 1 else ", ".join(beams)
        notes.append(f"{whose}: {remark}.")
