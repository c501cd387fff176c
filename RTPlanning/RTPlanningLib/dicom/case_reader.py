"""A case from a DICOM folder: choose the CT and the structure set, read both."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from DoseEngineLib.errors import CaseError
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.case import Case
from RTPlanningLib.dicom.ct_series import read_ct_series
from RTPlanningLib.dicom.folder import DicomFile, FolderScan, SeriesInfo, scan_folder, without_copies
from RTPlanningLib.dicom.structure_set import (
    StructureSetReferences,
    read_density_overrides,
    read_references,
    read_structure_set,
)


def read_case(
    folder: str | os.PathLike,
    *,
    ct_series_uid: str | None = None,
    structure_set_uid: str | None = None,
    patient_position: str | None = None,
    skip_rois: Sequence[str] = (),
    progress: Progress | None = None,
) -> Case:
    """Read a CT with its structures from a folder of DICOM files, in any order and depth.

    Parameters
    ----------
    folder : path
    ct_series_uid : str, optional
        Series Instance UID of the CT; needed where there are several and the structure set does not decide.
    structure_set_uid : str, optional
        SOP Instance UID (or Series Instance UID) of the RTSTRUCT; needed where there are several.
    patient_position : {"HFS", "HFP", "FFS", "FFP"}, optional
        Needed where the CT does not say it.
    skip_rois : sequence of str
        Names of structures to leave out.
    progress : callable, optional

    Returns
    -------
    Case
        Without structures (and noted) when the folder holds no RTSTRUCT.

    Raises
    ------
    CaseError
        When nothing, or more than one candidate, is found (the text lists them), or the data cannot be read safely.
    """
    scan = scan_folder(folder, part(progress, 0.0, 0.2))
    notes = list(scan.notes)
    structure_sets = [file for file in scan.files if file.is_structure_set]
    structure_sets = list(without_copies(structure_sets, "structure set", notes).values())
    structure_set = _given_structure_set(structure_sets, structure_set_uid, scan)
    series, structure_set = _choose(scan, structure_sets, structure_set, ct_series_uid, notes)

    scouts = sum(file.is_localizer for file in series.files)
    if scouts:
        notes.append(f"Localizer (scout) images of the CT series were left out ({scouts}).")
    others = [file.path.name for file in series.files if not file.is_ct and not file.is_localizer]
    if others:
        notes.append(
            f"Files of the CT series that are no CT images were left out ({len(others)}): {', '.join(others[:5])}."
        )
    ct = read_ct_series(
        [file.path for file in series.files if file.is_ct],
        patient_position=patient_position,
        progress=part(progress, 0.2, 0.6),
    )
    notes += ct.notes
    structures = ()
    densities: dict[str, float] = {}
    if structure_set is None:
        notes.append("The folder holds no structure set (RTSTRUCT); the case has no structures.")
    else:
        structures, more = read_structure_set(
            structure_set.path, ct, skip_rois=skip_rois, progress=part(progress, 0.6, 1.0)
        )
        notes += more
        assigned, more = read_density_overrides(structure_set.path)
        densities = {structure.name: assigned[structure.name] for structure in structures if structure.name in assigned}
        notes += more
    label = f", structure set {structure_set.description!r}" if structure_set is not None else ""
    return Case(
        name=Path(folder).resolve().name or "DICOM",
        hu=ct.hu,
        grid=ct.grid,
        structures=structures,
        patient_position=ct.patient_position,
        patient_name=ct.patient_name,
        patient_id=ct.patient_id,
        study_instance_uid=ct.study_instance_uid,
        series_instance_uid=ct.series_instance_uid,
        frame_of_reference_uid=ct.frame_of_reference_uid,
        description=f"CT {ct.description!r} of {ct.grid.shape[0]} slices from DICOM{label}.",
        density_overrides_g_cm3=densities,
        notes=tuple(notes),
        dicom=ct.source,
    )


def _given_structure_set(structure_sets: Sequence[DicomFile], uid: str | None, scan: FolderScan) -> DicomFile | None:
    if uid is None:
        return structure_sets[0] if len(structure_sets) == 1 else None
    found = [file for file in structure_sets if uid in (file.sop_instance_uid, file.series_instance_uid)]
    if len(found) == 1:
        return found[0]
    if len(found) > 1:
        raise CaseError(
            f"Series {uid} holds {len(found)} structure sets; choose one by its SOP Instance UID:\n"
            + _list_structure_sets(found, {})
        )
    listing = _list_structure_sets(structure_sets, {}) or "  none"
    raise CaseError(f"There is no structure set {uid} in {scan.folder}; there are:\n{listing}")


def _choose(
    scan: FolderScan,
    structure_sets: Sequence[DicomFile],
    structure_set: DicomFile | None,
    ct_series_uid: str | None,
    notes: list[str],
) -> tuple[SeriesInfo, DicomFile | None]:
    """Settle on one CT series and at most one structure set."""
    candidates = [series for series in scan.series if series.is_ct]
    if not candidates:
        found = "\n".join(f"  {series}" for series in scan.series) or "  no DICOM files"
        raise CaseError(f"There is no CT series in {scan.folder}; it holds:\n{found}\nGive a folder with CT images.")
    listing = _list_ct(candidates)
    chosen: SeriesInfo | None = None
    if ct_series_uid is not None:
        chosen = next((series for series in candidates if series.series_instance_uid == ct_series_uid), None)
        if chosen is None:
            raise CaseError(f"There is no CT series {ct_series_uid} in {scan.folder}; there are:\n{listing}")
    elif len(candidates) == 1:
        chosen = candidates[0]

    if structure_set is None and len(structure_sets) > 1:
        references = {file.path: read_references(file.path) for file in structure_sets}
        if ct_series_uid is not None:
            fitting = [file for file in structure_sets if _refers_to(references[file.path], chosen)]
            if len(fitting) == 1:
                structure_set = fitting[0]
                notes.append(
                    f"Of {len(structure_sets)} structure sets, {structure_set.description!r} "
                    f"({structure_set.sop_instance_uid}) was chosen: only it was drawn on this CT."
                )
        if structure_set is None:
            more = f"\nThere are {len(candidates)} CT series too:\n{listing}" if chosen is None else ""
            raise CaseError(
                f"There are {len(structure_sets)} structure sets in {scan.folder}; choose one by its UID "
                f"(structure_set_uid):\n{_list_structure_sets(structure_sets, references)}{more}"
            )
    if chosen is None and structure_set is not None:
        references_of_one = read_references(structure_set.path)
        fitting_ct = [series for series in candidates if _refers_to(references_of_one, series)]
        if len(fitting_ct) == 1:
            chosen = fitting_ct[0]
            notes.append(
                f"Of {len(candidates)} CT series, {chosen.description!r} ({chosen.series_instance_uid}) was chosen: "
                "the structure set was drawn on it."
            )
    if chosen is None:
        raise CaseError(
            f"There are {len(candidates)} CT series in {scan.folder}; choose one by its UID (ct_series_uid):\n{listing}"
        )
    return chosen, structure_set


def _refers_to(references: StructureSetReferences, series: SeriesInfo | None) -> bool:
    if series is None:
        return False
    if references.series:
        return series.series_instance_uid in references.series
    return any(file.sop_instance_uid in references.images for file in series.files)


def _list_ct(candidates: Sequence[SeriesInfo]) -> str:
    return "\n".join(
        f"  {series.series_instance_uid}  {series.description or '(no description)'}  "
        f"{sum(file.is_ct for file in series.files)} images"
        for series in candidates
    )


def _list_structure_sets(files: Sequence[DicomFile], references: dict[Path, StructureSetReferences]) -> str:
    lines = []
    for file in files:
        drawn = references.get(file.path)
        on = f"  drawn on series {', '.join(sorted(drawn.series))}" if drawn is not None and drawn.series else ""
        lines.append(f"  {file.sop_instance_uid}  {file.description or '(no label)'}  {file.path.name}{on}")
    return "\n".join(lines)
