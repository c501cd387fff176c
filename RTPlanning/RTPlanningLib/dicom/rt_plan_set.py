"""What goes with a plan: the files of its folder, the CT it is for, the structure it is prescribed to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from DoseEngineLib.errors import CaseError
from DoseEngineLib.plan import Plan, Structure
from RTPlanningLib.case import Case
from RTPlanningLib.dicom.dataset import read_header, text, value
from RTPlanningLib.dicom.folder import DicomFile, FolderScan
from RTPlanningLib.dicom.rt_dose import RtDose, read_rt_dose
from RTPlanningLib.dicom.rt_plan_reader import RtPlan

_SUMMATIONS = ("PLAN", "MULTI_PLAN")


def choose_plan(scan: FolderScan, plan_uid: str | None = None) -> DicomFile:
    """Return the plan of a folder.

    Parameters
    ----------
    scan : FolderScan
    plan_uid : str, optional
        SOP Instance UID; needed where there are several plans.

    Raises
    ------
    CaseError
        No plan, several, or none of that UID; the text lists those there are.
    """
    plans = [file for file in scan.files if file.is_plan]
    listing = "\n".join(
        f"  {one.sop_instance_uid}  {one.description or '(no label)'}  {one.path.name}" for one in plans
    )
    if not plans:
        found = "\n".join(f"  {series}" for series in scan.series) or "  no DICOM files"
        raise CaseError(f"There is no RT Plan in {scan.folder}; it holds:\n{found}\nAdd the RTPLAN file of the plan.")
    if plan_uid is not None:
        chosen = [one for one in plans if one.sop_instance_uid == plan_uid]
        if not chosen:
            raise CaseError(f"There is no plan {plan_uid} in {scan.folder}; there are:\n{listing}")
        plans = chosen
    if len({one.sop_instance_uid for one in plans}) > 1:
        raise CaseError(f"There are {len(plans)} plans in {scan.folder}; choose one by its UID (plan_uid):\n{listing}")
    return plans[0]


def choose_structure_set(scan: FolderScan, referenced_uid: str, wanted: str | None) -> str | None:
    """Return the structure set to read with a plan: the one asked for, else that it was planned on if it is there."""
    if wanted is not None:
        return wanted
    there = {file.sop_instance_uid for file in scan.files if file.is_structure_set}
    return referenced_uid if referenced_uid in there else None


def read_dose_of_plan(scan: FolderScan, plan_uid: str, notes: list[str]) -> RtDose | None:
    """Read the dose of a whole plan, where the folder has it.

    Parameters
    ----------
    scan : FolderScan
    plan_uid : str
        SOP Instance UID of the plan.
    notes : list of str
        Told which doses were left out.

    Raises
    ------
    CaseError
        Several doses of the plan, or one that cannot be read.
    """
    fitting, others, unnamed = [], [], []
    for file in scan.files:
        if not file.is_dose:
            continue
        summation, kind, plans = _of(file)
        if summation not in _SUMMATIONS or kind not in ("PHYSICAL", ""):
            others.append(f"{file.path.name} ({' '.join(word for word in (kind, summation) if word).lower()})")
        elif plan_uid in plans:
            fitting.append(file)
        elif plans:
            others.append(f"{file.path.name} (of another plan)")
        else:
            unnamed.append(file)
    if others:
        notes.append(f"Doses that are not that of the whole plan were left out ({len(others)}): {_some(others)}.")
    if not fitting and len(unnamed) == 1:
        fitting = unnamed
        notes.append(
            f"{unnamed[0].path.name} does not say which plan it is the dose of; it was taken to be this one's."
        )
    if not fitting:
        return None
    if len(fitting) > 1:
        listing = _some([one.path.name for one in fitting])
        raise CaseError(f"There are {len(fitting)} doses of the plan in {scan.folder}: {listing}; leave one there.")
    return read_rt_dose(fitting[0].path)


def _of(file: DicomFile) -> tuple[str, str, set[str]]:
    header = read_header(file.path, ["DoseSummationType", "DoseType", "ReferencedRTPlanSequence", "SOPClassUID"])
    where = str(file.path)
    plans = {
        text(one, "ReferencedSOPInstanceUID", where) for one in value(header, "ReferencedRTPlanSequence", where) or ()
    }
    return text(header, "DoseSummationType", where).upper(), text(header, "DoseType", where).upper(), plans - {""}


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def check_belongs(read: RtPlan, case: Case, notes: list[str]) -> None:
    """Refuse a plan for another CT than the case's.

    Raises
    ------
    CaseError
        Another frame of reference, or another patient where the plan names none.
    """
    name = read.label or read.plan.name
    if read.frame_of_reference_uid and case.frame_of_reference_uid != read.frame_of_reference_uid:
        raise CaseError(
            f"The plan {name} has frame of reference {read.frame_of_reference_uid}, the CT "
            f"{case.frame_of_reference_uid}: its isocentre is not in the CT's coordinates. Give the CT it is of."
        )
    if not read.frame_of_reference_uid:
        notes.append("The plan names no frame of reference; it was taken to be the CT's.")
    if read.patient_id != case.patient_id:
        if not read.frame_of_reference_uid:
            raise CaseError(
                f"The plan {name} is of patient ID {read.patient_id!r}, the CT of {case.patient_id!r}, and the "
                "plan names no frame of reference. Give files of one patient."
            )
        notes.append(f"The plan is of patient ID {read.patient_id!r}, the CT of {case.patient_id!r}.")
    if read.plan.patient_position != case.patient_position:
        notes.append(
            f"The plan is for a patient lying {read.plan.patient_position}, the CT was taken {case.patient_position}; "
            "the plan's position counts for the beams."
        )


def with_target(plan: Plan, structures: Sequence[Structure], wanted: str | None, notes: list[str]) -> Plan:
    """Give the prescription of a plan a target that is among the structures, or none.

    Parameters
    ----------
    plan : Plan
    structures : sequence of Structure
    wanted : str or None
        What the user says.
    notes : list of str
        Told what was decided.

    Raises
    ------
    CaseError
        A wanted target that is not there.
    """
    prescription = plan.prescription
    names = [structure.name for structure in structures if not structure.is_empty]
    if wanted is not None and wanted not in names:
        raise CaseError(f"There is no structure {wanted!r} for the target; there are: {', '.join(names) or 'none'}.")
    if prescription is None:
        if wanted is not None:
            notes.append(f"The plan prescribes no dose, so {wanted} counts as no target.")
        return plan
    said = prescription.target or "(without a name)"
    target = wanted or (prescription.target if prescription.target in names else None)
    if target is None:
        targets = [s.name for s in structures if s.role == "PTV" and not s.is_empty]
        if len(targets) == 1:
            target = targets[0]
            notes.append(f"The plan's target {said} was taken to be {target}, the only PTV.")
        else:
            notes.append(f"The plan's target {said} is not among the structures; say which it is (target).")
    return replace(plan, prescription=replace(prescription, target=target))
