"""Everything of a planning that a DICOM folder holds: the CT with its structures, its plans, their doses."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydicom.uid import CTImageStorage

from DoseEngineLib.errors import CaseError, PlanningError
from DoseEngineLib.plan import Beam, Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.case import Case
from RTPlanningLib.dicom.case_reader import read_case
from RTPlanningLib.dicom.dataset import read_header, text
from RTPlanningLib.dicom.folder import DicomFile, FolderScan, scan_folder, without_copies
from RTPlanningLib.dicom.rt_dose import WHOLE_COURSE, RtDose, read_rt_dose
from RTPlanningLib.dicom.rt_plan_reader import RtPlan, read_rt_plan
from RTPlanningLib.dicom.rt_plan_set import check_belongs, with_target
from RTPlanningLib.dicom.structure_set import read_contoured_structures

_KINDS = ("PHYSICAL", "EFFECTIVE", "")
_ALL_READABLE = (*WHOLE_COURSE, "BEAM")


@dataclass(frozen=True, eq=False)
class DoseOfFolder:
    """A dose of a folder.

    Attributes
    ----------
    path : Path
    read : RtDose
    plan : RtPlan or None
        The plan it is the dose of, where that was read too.
    """

    path: Path
    read: RtDose
    plan: RtPlan | None


@dataclass(frozen=True, eq=False)
class PlanningFolder:
    """What was read of a folder.

    Attributes
    ----------
    case : Case or None
        None where the folder has doses and structures, but no CT volume.
    plans : tuple of RtPlan
        Their prescriptions name structures of the case, or none. Without a CT there are none; the notes tell of them.
    doses : tuple of DoseOfFolder
        Of whole plans first, then of beams.
    structure_set : Path or None
        The file of the structures, where the folder leaves no doubt of it.
    notes : tuple of str
        What was decided or left out, in words for the user.
    structures : tuple of Structure
        Without a CT: known by their contours, each on a grid of its own. Else they are the case's.
    patient_name, patient_id, study_instance_uid : str
        Without a CT: those of the first dose. Else they are the case's.
    """

    case: Case | None
    plans: tuple[RtPlan, ...]
    doses: tuple[DoseOfFolder, ...]
    structure_set: Path | None
    notes: tuple[str, ...]
    structures: tuple[Structure, ...] = ()
    patient_name: str = ""
    patient_id: str = ""
    study_instance_uid: str = ""


def read_planning_folder(
    folder: str | os.PathLike,
    *,
    plan_uids: Sequence[str] | None = None,
    dose_uids: Sequence[str] | None = None,
    ct_series_uid: str | None = None,
    structure_set_uid: str | None = None,
    target: str | None = None,
    progress: Progress | None = None,
    **plan_wishes: Any,
) -> PlanningFolder:
    """Read CT, structures, plans and doses of a folder, in any order and depth; all but the CT may be missing.

    Without a CT of two slices or more, a folder with doses and structures is read without its CT: structures by their
    contours, and of plans a note, since nothing can be calculated.

    A plan or dose that cannot be read, or that is of another CT, is left out and noted, unless it was asked for.

    Parameters
    ----------
    folder : path
    plan_uids, dose_uids : sequence of str, optional
        SOP Instance UIDs of the plans and doses to read; by default all, with an empty sequence none.
    ct_series_uid, structure_set_uid : str, optional
        Needed where there are several, as in `read_case`.
    target : str, optional
        Structure of the prescriptions, where the plans call it otherwise.
    progress : callable, optional
    **plan_wishes
        As in `read_rt_plan`: ``machine``, ``allow`` and so on.

    Raises
    ------
    CaseError
        No CT or several, structures that cannot be read, damaged files, two different objects of one UID, or what was
        asked for by its UID and is not there.
    PlanningError
        A plan or dose asked for that cannot be read.
    """
    scan = scan_folder(folder, part(progress, 0.0, 0.1))
    notes: list[str] = []
    plan_files = _chosen(scan, "plan", [file for file in scan.files if file.is_plan], plan_uids, notes)
    dose_files = _chosen(scan, "dose", [file for file in scan.files if file.is_dose], dose_uids, notes)
    plans: list[tuple[DicomFile, RtPlan]] = []
    for file in plan_files:
        read = _read(file, "Plan", lambda path: read_rt_plan(path, **plan_wishes), plan_uids is not None, notes)
        if read is not None:
            plans.append((file, read))
    sets = {file.sop_instance_uid: file for file in scan.files if file.is_structure_set}
    drawn_for = {read.structure_set_uid for _, read in plans} & set(sets)
    if structure_set_uid is None and len(drawn_for) == 1:
        structure_set_uid = next(iter(drawn_for))
    elif structure_set_uid is None and len(sets) == 1:
        structure_set_uid = next(iter(sets))
    if ct_series_uid is None and dose_files and sets and not _has_ct_volume(scan):
        if structure_set_uid not in sets:
            listed = "\n".join(f"  {uid}  {file.description or file.path.name}" for uid, file in sets.items())
            raise CaseError(f"Choose one of the structure sets of {scan.folder} by its UID:\n{listed}")
        asked_for = dose_uids is not None
        return _without_ct(scan, sets[structure_set_uid], plans, dose_files, asked_for, notes, part(progress, 0.1, 1.0))
    case = read_case(
        folder, ct_series_uid=ct_series_uid, structure_set_uid=structure_set_uid, progress=part(progress, 0.1, 0.8)
    )
    kept = []
    for file, read in plans:
        fit = partial(_fitted, read, case, target, notes)
        fitted = _read(file, "Plan", lambda _path, fit=fit: fit(), plan_uids is not None, notes)
        if fitted is not None:
            kept.append(fitted)
    chosen = sets.get(structure_set_uid or "")
    for read in kept:
        if chosen is not None and read.structure_set_uid not in ("", chosen.sop_instance_uid):
            notes.append(
                f"{read.plan.name} was made on another structure set ({read.structure_set_uid}) than "
                f"{chosen.path.name}, which was read."
            )
    frame = case.frame_of_reference_uid
    doses = _doses(dose_files, frame, "CT", kept, dose_uids is not None, notes, part(progress, 0.8, 1.0))
    return PlanningFolder(
        case, tuple(kept), doses, chosen.path if chosen else None, tuple(dict.fromkeys((*case.notes, *notes)))
    )


def _has_ct_volume(scan: FolderScan) -> bool:
    """Whether a series has two slices or more; a multi-frame file counts as one that has."""
    slices = max((sum(file.is_ct for file in series.files) for series in scan.series), default=0)
    return slices > 1 or any(file.is_ct and file.sop_class_uid != CTImageStorage for file in scan.files)


def _without_ct(
    scan: FolderScan,
    structure_set: DicomFile,
    plans: Sequence[tuple[DicomFile, RtPlan]],
    dose_files: Sequence[DicomFile],
    doses_asked_for: bool,
    notes: list[str],
    progress: Progress,
) -> PlanningFolder:
    slices = sum(file.is_ct for file in scan.files)
    notes.insert(
        0,
        f"There is no CT: {scan.folder.name} has {slices or 'no'} CT slice{'s' * (slices != 1)}, and a volume needs "
        "two of one series. Doses and structures were read without it; nothing can be calculated or optimized on them. "
        "Add the CT to the folder and import again for that.",
    )
    where = str(dose_files[0].path)
    header = read_header(dose_files[0].path, ["FrameOfReferenceUID", "PatientName", "PatientID", "StudyInstanceUID"])
    frame = text(header, "FrameOfReferenceUID", where)
    doses = _doses(dose_files, frame, "first dose", (), doses_asked_for, notes, part(progress, 0.0, 0.4))
    if not doses:
        raise CaseError(" ".join(notes))
    structures, said = read_contoured_structures(structure_set.path, frame, progress=part(progress, 0.4, 1.0))
    notes.extend(said)
    for file, read in plans:
        plan = read.plan
        beams = "; ".join(f"{beam.name} {_described(beam)}" for beam in plan.beams)
        notes.append(
            f"Plan {plan.name} ({file.path.name}) was read: {len(plan.beams)} beams ({beams}). It cannot be calculated "
            "without a CT and was not added."
        )
    return PlanningFolder(
        None,
        (),
        doses,
        structure_set.path,
        tuple(dict.fromkeys(notes)),
        structures,
        text(header, "PatientName", where),
        text(header, "PatientID", where),
        text(header, "StudyInstanceUID", where),
    )


def _described(beam: Beam) -> str:
    """A beam's technique and MU in words."""
    angles = {point.gantry_deg for point in beam.control_points}
    movement = "arc" if len(angles) > 1 else f"gantry {next(iter(angles)):g} degrees"
    metersets = "MU unknown" if beam.meterset_MU is None else f"{beam.meterset_MU:.6g} MU"
    return f"{movement}, {len(beam.control_points)} control points: {metersets}"


def _chosen(
    scan: FolderScan, what: str, files: Sequence[DicomFile], wanted: Sequence[str] | None, notes: list[str]
) -> list[DicomFile]:
    """One file of each UID asked for."""
    kept = without_copies(files, what, notes)
    if wanted is None:
        return list(kept.values())
    absent = [uid for uid in wanted if uid not in kept]
    if absent:
        listing = "\n".join(f"  {uid}  {file.description or file.path.name}" for uid, file in kept.items()) or "  none"
        raise CaseError(f"There is no {what} {absent[0]} in {scan.folder}; there are:\n{listing}")
    return [kept[uid] for uid in dict.fromkeys(wanted)]


def _read(file: DicomFile, what: str, reader: Callable[[Path], Any], asked_for: bool, notes: list[str]) -> Any:
    """What the reader gives; None and a note where it refuses what nobody asked for by name."""
    try:
        return reader(file.path)
    except PlanningError as error:
        if asked_for:
            raise
        notes.append(f"{what} {file.path.name} was left out: {error}")
        return None


def _fitted(read: RtPlan, case: Case, target: str | None, notes: list[str]) -> RtPlan:
    said: list[str] = []
    check_belongs(read, case, said)
    plan = with_target(read.plan, case.structures, target, said)
    fitted = replace(read, plan=plan, notes=(*read.notes, *said))
    notes.extend(f"{plan.name}: {note}" for note in fitted.notes)
    return fitted


def _doses(
    files: Sequence[DicomFile],
    frame: str,
    what: str,
    plans: Sequence[RtPlan],
    asked_for: bool,
    notes: list[str],
    progress: Progress,
) -> tuple[DoseOfFolder, ...]:
    doses = []
    plan_of = {plan.sop_instance_uid: plan for plan in plans}

    def check_frame(read: RtDose, path: Path) -> RtDose:
        there, own = frame, read.frame_of_reference_uid
        if not (there and own):
            notes.append(
                f"{path.name} or the {what} names no frame of reference; the dose was taken to be in the {what}'s."
            )
        if there and own and there != own:
            raise CaseError(
                f"The dose {path} has frame of reference {own}, the {what} {there}: it is not in the {what}'s "
                f"coordinates. Give the {what} it is of."
            )
        return read

    for number, file in enumerate(files):
        progress(number / len(files), f"Dose {file.path.name}")
        header = read_header(file.path, ["DoseUnits", "DoseType", "DoseSummationType"])
        where = str(file.path)
        units, kind, summation = (
            text(header, key, where).upper() for key in ("DoseUnits", "DoseType", "DoseSummationType")
        )
        readable = units == "GY" and kind in _KINDS and summation in _ALL_READABLE
        # a kind of dose that is not read is left out; one that is and is damaged is an error
        read = _read(file, "Dose", _read_dose, asked_for or readable, notes)
        if read is not None:
            read = _read(file, "Dose", partial(check_frame, read), asked_for, notes)
        if read is not None:
            notes.extend(read.notes)
            doses.append(DoseOfFolder(file.path, read, plan_of.get(read.plan_uid)))
    progress(1.0, "DICOM folder read")
    doses.sort(key=lambda dose: dose.read.summation == "BEAM")
    return tuple(doses)


def _read_dose(path: Path) -> RtDose:
    return read_rt_dose(path, allow_effective=True, allow_beams=True)
