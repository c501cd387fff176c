"""A case, a plan and its doses as one consistent set of DICOM objects in a folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from DoseEngineLib.contour_stack import ContourStack
from DoseEngineLib.errors import CaseError, EvaluationError, GeometryError, PlanError
from DoseEngineLib.plan import Plan, Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.case import Case
from RTPlanningLib.dicom.axial_grid import TurnedGrid, axial_grid, dicom_grid
from RTPlanningLib.dicom.ct_writer import ct_datasets, new_images, original_images
from RTPlanningLib.dicom.identity import identity_of_case, is_uid, new_uid, text_for
from RTPlanningLib.dicom.rt_dose_writer import DoseToExport, rt_dose_dataset
from RTPlanningLib.dicom.rt_plan_writer import rt_plan_dataset
from RTPlanningLib.dicom.structure_set_writer import structure_set_object
from RTPlanningLib.output_folder import OutputFolder

STRUCTURE_SET, PLAN = "RTSTRUCT.dcm", "RTPLAN.dcm"
PLAN_SERIES_NUMBER = 3
_NAME = re.compile(r"[A-Za-z0-9_]{1,60}")


@dataclass(frozen=True)
class DicomOptions:
    """What to write of a case or plan, and how.

    Attributes
    ----------
    beams : bool
        The dose of every beam too.
    eqd2_elsewhere_Gy : float, optional
        Write the EQD2 too, with this alpha/beta outside the structures of ``eqd2_Gy``.
    eqd2_Gy : mapping of structure name to alpha/beta in Gy
    with_ct : bool, optional
        Write the CT. By default where the objects could not refer to one: the case did not come from DICOM, or they are
        anonymised. A CT that came from DICOM is written as a new series of its study, the original stays as it is.
    anonymise : bool
        Take out of all objects what tells who the patient is; see `RTPlanningLib.dicom.anonymise`.
    resample_oblique : bool
        Resample a dose on a grid oblique to the patient's axes, which is refused otherwise.
    """

    beams: bool = False
    eqd2_elsewhere_Gy: float | None = None
    eqd2_Gy: Mapping[str, float] = field(default_factory=dict)
    with_ct: bool | None = None
    anonymise: bool = False
    resample_oblique: bool = False

    def __post_init__(self) -> None:
        if self.eqd2_Gy and self.eqd2_elsewhere_Gy is None:
            raise EvaluationError("An EQD2 needs an alpha/beta for what lies outside the structures named; give one.")


@dataclass(frozen=True)
class DicomExport:
    """What an export wrote.

    Attributes
    ----------
    folder : Path
    files : tuple of Path
    notes : tuple of str
        What the user should know.
    """

    folder: Path
    files: tuple[Path, ...]
    notes: tuple[str, ...]


def export_dicom(
    case: Case,
    out: str | Path,
    *,
    plan: Plan | None = None,
    doses: Sequence[DoseToExport] = (),
    options: DicomOptions | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> DicomExport:
    """Write a case, and its plan and doses where given, into a folder: all of it, or on failure and cancel nothing.

    Files are ``CT_0001.dcm`` and so on, ``RTSTRUCT.dcm``, ``RTPLAN.dcm``, ``RTDOSE.dcm``. Files in the folder that an
    earlier export did not write are never lost (see `OutputFolder`).

    Parameters
    ----------
    case : Case
    out : path
    plan : Plan, optional
        As delivered: every beam with its MU.
    doses : sequence of DoseToExport
        Of that plan.
    options : DicomOptions, optional
        Doses are those given, whatever the options say of them.
    force : bool
        Overwrite files whoever wrote them.
    progress : callable, optional
        ``progress(fraction, text)``; it may raise `Cancelled`.

    Raises
    ------
    PlanningError
        What DICOM cannot hold, a plan without MU, doses without a plan, a folder that cannot be written to.
    """
    with OutputFolder(out, force=force) as output:
        notes = stage_dicom(case, output.staging, plan=plan, doses=doses, options=options, progress=progress)
        files = output.commit()
    return DicomExport(output.folder, tuple(files), notes)


def check_exportable(case: Case, options: DicomOptions) -> None:
    """Say before a dose is calculated that it could not be exported.

    Raises
    ------
    PlanError
        Names or a patient that DICOM cannot hold.
    CaseError
        A UID that is none.
    GeometryError
        An oblique CT, which gives an oblique dose grid, where doses are not to be resampled.
    """
    identity_of_case(case)
    for structure in case.structures:
        text_for(structure.name, "LO", "Structure name")
    if axial_grid(case.grid) is None and not options.resample_oblique:
        raise GeometryError(
            "The CT is oblique to the patient's axes, and so would be the dose, which most systems do not read. "
            "Resample the CT to axial slices, or export the result later with: rtplanning export --resample-oblique"
        )


def stage_dicom(
    case: Case,
    folder: Path,
    *,
    plan: Plan | None = None,
    doses: Sequence[DoseToExport] = (),
    options: DicomOptions | None = None,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write the objects into an empty folder of the caller's, who moves them into place; as `export_dicom`.

    Returns
    -------
    tuple of str
        Notes for the user.
    """
    options = options or DicomOptions()
    if doses and plan is None:
        raise PlanError("A dose is exported with the plan it belongs to; give the plan.")
    names = [dose.name for dose in doses]
    if len(set(names)) != len(names) or not all(_NAME.fullmatch(name) for name in names):
        raise PlanError(f"Doses to export need names of letters, digits and _ that differ; got {', '.join(names)}.")
    report = part(progress, 0.0, 1.0)
    report(0.0, "DICOM export")
    notes: list[str] = []
    identity = identity_of_case(case, _moment(case, options))
    images = original_images(case)
    written_ct = images is None or options.anonymise if options.with_ct is None else options.with_ct
    if written_ct:
        turned = dicom_grid(case.grid)
        case = _turned(case, turned)
        images = new_images(case)
    elif images is not None and not all(map(is_uid, (images.series_instance_uid, *images.sop_instance_uids))):
        raise CaseError(
            "The CT that the case was read from names its images by texts that are no DICOM UIDs, so nothing can refer "
            "to them; export it with its CT (--with-ct), which gives them new ones."
        )
    elif images is None:
        raise PlanError(
            "This case did not come from DICOM, so its structures and doses have no CT to refer to; export it with "
            "its CT."
        )
    else:
        notes.append(
            f"The objects refer to the CT the case was read from (series {images.series_instance_uid}), which was not "
            "written again; keep it beside them, or export with the CT."
        )
    anonymiser = None
    if options.anonymise:
        from RTPlanningLib.dicom.anonymise import Anonymiser

        anonymiser = Anonymiser()

    def save(dataset: Dataset, name: str) -> None:
        if anonymiser is not None:
            anonymiser.anonymise(dataset)
        dataset.save_as(folder / name, enforce_file_format=True, overwrite=False)

    if written_ct:
        count = case.grid.shape[0]
        for k, dataset in enumerate(ct_datasets(case, images, identity), start=1):
            report(0.3 * k / count, f"CT image {k} of {count}")
            save(dataset, f"CT_{k:04d}.dcm")
    structure_set_uid, roi_numbers = "", {}
    if case.structures:
        structure_set_uid = new_uid()
        structure_set = structure_set_object(
            case.structures,
            images,
            identity,
            name=case.name,
            sop_instance_uid=structure_set_uid,
            density_overrides_g_cm3=case.density_overrides_g_cm3,
            progress=part(progress, 0.3, 0.6),
        )
        notes += structure_set.notes
        roi_numbers = structure_set.roi_numbers
        save(structure_set.dataset, STRUCTURE_SET)
    else:
        notes.append("The case has no structures; there is no structure set.")
    if plan is not None:
        report(0.6, "Plan")
        dose_uids = [new_uid() for _ in doses]
        target = plan.prescription.target if plan.prescription else None
        dataset = rt_plan_dataset(
            plan,
            identity,
            structure_set_uid=structure_set_uid,
            dose_uids=dose_uids,
            target_roi_number=roi_numbers.get(target) if target else None,
        )
        dataset.SeriesNumber = PLAN_SERIES_NUMBER
        plan_uid = str(dataset.SOPInstanceUID)
        save(dataset, PLAN)
        series = new_uid()
        for number, (dose, uid) in enumerate(zip(doses, dose_uids, strict=True), start=1):
            report(0.6 + 0.35 * (number - 1) / len(doses), f"Dose {number} of {len(doses)}")
            dataset = rt_dose_dataset(
                dose,
                identity,
                plan_uid=plan_uid,
                sop_instance_uid=uid,
                series_instance_uid=series,
                instance_number=number,
                resample_oblique=options.resample_oblique,
            )
            save(dataset, f"{dose.name}.dcm")
    if anonymiser is not None and anonymiser.renamed:
        renamed = ", ".join(f"{old} is {new}" for old, new in anonymiser.renamed.items())
        notes.append(f"Names that are no standard ones were replaced: {renamed}.")
    report(1.0, "DICOM objects written")
    return tuple(notes)


def _moment(case: Case, options: DicomOptions) -> datetime:
    """When the objects are made. Anonymised ones say it was on the day of the CT.

    Who receives a file knows about when it was made, and could tell from that by how much its dates were shifted.
    """
    now = datetime.now()
    if not options.anonymise or case.dicom is None or not case.dicom.study_date:
        return now
    try:
        day = datetime.strptime(case.dicom.study_date, "%Y%m%d")
    except ValueError:
        return now
    return day.replace(hour=12)


def _turned(case: Case, turned: TurnedGrid) -> Case:
    """The case on the grid its CT images will have; voxels stay where they are."""
    return replace(
        case,
        hu=np.ascontiguousarray(turned.array(case.hu)),
        grid=turned.grid,
        structures=tuple(_turned_structure(structure, turned) for structure in case.structures),
        dicom=None,
    )


def _turned_structure(structure: Structure, turned: TurnedGrid) -> Structure:
    outline = structure.outline
    if isinstance(outline, ContourStack):
        heights = [turned.grid.ras_to_index(points)[:, 2] for points in outline.contours_RAS_mm]
        if max(np.ptp(height) for height in heights) > 0.1:
            # contours drawn across the new slices: its voxels tell the structure there
            outline = None
    return replace(structure, mask=turned.array(structure.mask), grid=turned.grid, outline=outline)
