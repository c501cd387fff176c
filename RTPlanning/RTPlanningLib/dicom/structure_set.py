"""An RTSTRUCT's regions of interest as structures on the CT's grid."""

from __future__ import annotations

import colorsys
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from DoseEngineLib.contour_stack import ContourStack
from DoseEngineLib.errors import CaseError, GeometryError, PlanError
from DoseEngineLib.geometry import Grid, ras_from_lps
from DoseEngineLib.outline_voxels import structure_from_outline
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, silent
from DoseEngineLib.structure_role import role_from_name
from RTPlanningLib.contouring.planar_contours import mask_from_contours
from RTPlanningLib.contouring.slice_spacing import contoured_spacing_mm
from RTPlanningLib.dicom.ct_series import CtSeries
from RTPlanningLib.dicom.dataset import (
    decimal_strings,
    number,
    numbers,
    read_dataset,
    required,
    text,
    value,
    whole_number,
)
from RTPlanningLib.dicom.roi_role import role_from_type

# Osmium, the densest element
_LARGEST_DENSITY_g_cm3 = 22.6
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


@dataclass(frozen=True)
class StructureSetReferences:
    """What a structure set says it was drawn on: UIDs of series, images and frames of reference."""

    series: frozenset[str]
    images: frozenset[str]
    frames_of_reference: frozenset[str]


def _items(dataset: Dataset, keyword: str, where: str) -> Sequence[Dataset]:
    return value(dataset, keyword, where) or ()


def read_references(file: str | os.PathLike) -> StructureSetReferences:
    """Read what a structure set was drawn on."""
    return _references(_open(Path(file)), str(file))


def _references(dataset: Dataset, where: str) -> StructureSetReferences:
    series, images, frames = set(), set(), set()
    for frame in _items(dataset, "ReferencedFrameOfReferenceSequence", where):
        frames.add(text(frame, "FrameOfReferenceUID", where))
        for study in _items(frame, "RTReferencedStudySequence", where):
            for one in _items(study, "RTReferencedSeriesSequence", where):
                series.add(text(one, "SeriesInstanceUID", where))
                for image in _items(one, "ContourImageSequence", where):
                    images.add(text(image, "ReferencedSOPInstanceUID", where))
    for roi in _items(dataset, "StructureSetROISequence", where):
        frames.add(text(roi, "ReferencedFrameOfReferenceUID", where))
    for roi in _items(dataset, "ROIContourSequence", where):
        for contour in _items(roi, "ContourSequence", where):
            images.update(_images_of(contour, where))
    return StructureSetReferences(frozenset(series - {""}), frozenset(images - {""}), frozenset(frames - {""}))


def _images_of(contour: Dataset, where: str) -> list[str]:
    return [text(image, "ReferencedSOPInstanceUID", where) for image in _items(contour, "ContourImageSequence", where)]


def _open(path: Path) -> Dataset:
    dataset = read_dataset(path)
    sop_class = text(dataset, "SOPClassUID", str(path))
    if sop_class != RTStructureSetStorage:
        raise CaseError(f"{path}: is not an RTSTRUCT (SOP Class UID {sop_class or 'missing'}).")
    for keyword in ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence"):
        if keyword not in dataset:
            raise CaseError(
                f"{path}: the required tag {keyword} is missing; the file is cut short or incomplete. Export it again."
            )
    return dataset


def read_structure_set(
    file: str | os.PathLike, ct: CtSeries, *, skip_rois: Sequence[str] = (), progress: Progress | None = None
) -> tuple[tuple[Structure, ...], tuple[str, ...]]:
    """Read an RTSTRUCT's structures onto the CT they were drawn on.

    Parameters
    ----------
    file : path
    ct : CtSeries
    skip_rois : sequence of str
        Names of structures to leave out, for example one with a broken contour.
    progress : callable, optional

    Returns
    -------
    structures : tuple of Structure
        In the file's order, names made unique; those without any voxel are left out and noted.
    notes : tuple of str

    Raises
    ------
    CaseError
        A structure set of another frame of reference, study or series; a broken contour (the text names structure and
        contour); a damaged file.
    """
    progress = progress or silent
    path = Path(file)
    where = str(path)
    dataset = _open(path)
    notes: list[str] = []
    _check_belongs(dataset, ct, path, skip_rois, notes)

    rois = _items(dataset, "StructureSetROISequence", where)
    names = _unique_names(rois, where, notes)
    _check_skipped(skip_rois, names, path)
    types = {
        whole_number(one, "ReferencedROINumber", where): text(one, "RTROIInterpretedType", where)
        for one in _items(dataset, "RTROIObservationsSequence", where)
    }
    drawn = _drawn(dataset, path, names, notes)

    slice_of = {uid: k for k, uid in enumerate(ct.sop_instance_uids)}
    structures = []
    for done, (roi_number, name) in enumerate(names.items()):
        progress(done / len(names), f"Filling {name}")
        if name in skip_rois:
            notes.append(f"{name}: left out as asked.")
            continue
        contours, labels = _contours(drawn.get(roi_number), name, path, ct, slice_of, notes)
        if not contours:
            notes.append(f"{name}: has no closed contours; left out.")
            continue
        try:
            filled = mask_from_contours(name, contours, ct.grid, labels)
        except CaseError as error:
            raise CaseError(f"{path.name}: {error}") from error
        notes += filled.notes
        if not filled.mask.any():
            notes.append(f"{name}: holds no voxel of the CT; left out.")
            continue
        role = role_from_type(types.get(roi_number, ""))
        structure = Structure(
            name,
            filled.mask,
            ct.grid,
            role_from_name(name) if role is None else role,
            _color(drawn[roi_number], f"{path.name}, {name}", done),
        )
        structures.append(_with_outline(structure, contours, notes))
    progress(1.0, "Structures read")
    return tuple(_one_external(structures, notes)), tuple(notes)


def read_density_overrides(file: str | os.PathLike) -> tuple[dict[str, float], tuple[str, ...]]:
    """Read the mass densities that a structure set assigns to structures (ROI Physical Properties, PS3.3 C.8.8.8).

    Returns
    -------
    overrides : dict of structure name to g/cm3
        Names are made unique as `read_structure_set` does.
    notes : tuple of str
        Which are used, and which properties are assigned that are not mass densities and so are not.

    Raises
    ------
    CaseError
        A density that is none; a damaged file.
    """
    path = Path(file)
    where = str(path)
    dataset = _open(path)
    names = _unique_names(_items(dataset, "StructureSetROISequence", where), where, [])
    overrides: dict[str, float] = {}
    notes: list[str] = []
    for one in _items(dataset, "RTROIObservationsSequence", where):
        properties = _items(one, "ROIPhysicalPropertiesSequence", where)
        name = names.get(whole_number(one, "ReferencedROINumber", where)) if properties else None
        if name is None:
            continue
        for item in properties:
            kind = text(item, "ROIPhysicalProperty", where)
            amount = number(item, "ROIPhysicalPropertyValue", where)
            if kind != "REL_MASS_DENSITY":
                notes.append(
                    f"{name}: the structure set assigns {kind or 'a property it does not name'} "
                    f"{'' if amount is None else f'{amount:g}'}, which is not used; assign a mass density in the plan "
                    "file if the dose shall see it."
                )
                continue
            if amount is None or not 0.0 <= amount <= _LARGEST_DENSITY_g_cm3:
                raise CaseError(
                    f"{path.name}, {name}: ROIPhysicalPropertyValue (3006,00B4) is {amount}, no mass density relative "
                    "to water. Export the structure set again."
                )
            # relative to water of 1 g/cm3
            overrides[name] = amount
            notes.append(f"{name}: its mass density is {amount:g} g/cm3, as the structure set assigns it.")
    return overrides, tuple(notes)


def read_contoured_structures(
    file: str | os.PathLike,
    frame_of_reference_uid: str = "",
    *,
    skip_rois: Sequence[str] = (),
    progress: Progress | None = None,
) -> tuple[tuple[Structure, ...], tuple[str, ...]]:
    """Read an RTSTRUCT's structures by their contours alone, where the CT they were drawn on is not at hand.

    Volumes and DVHs are those of the contours. The distance of the slices is what most contours are apart; it is the
    thickness of a structure on a single slice. Voxels lie on a grid of each structure's own.

    Parameters
    ----------
    file : path
    frame_of_reference_uid : str
        Of the dose that the structures are for; a structure set of another one is refused.
    skip_rois : sequence of str
        Names of structures to leave out, for example one with a broken contour.
    progress : callable, optional

    Returns
    -------
    structures : tuple of Structure
        In the file's order, names made unique; those without closed contours, or whose contours make no solid, are
        left out and noted.
    notes : tuple of str

    Raises
    ------
    CaseError
        A structure set of another frame of reference, a broken contour, a damaged file.
    """
    progress = progress or silent
    path = Path(file)
    where = str(path)
    dataset = _open(path)
    notes: list[str] = []
    frames = _references(dataset, where).frames_of_reference
    if frame_of_reference_uid and frames and frames != {frame_of_reference_uid}:
        raise CaseError(
            f"The structures of {path.name} are in the frame of reference {', '.join(sorted(frames))}, the dose is in "
            f"{frame_of_reference_uid}, so their places cannot be compared. Give files of one plan."
        )
    if not frame_of_reference_uid or not frames:
        notes.append(f"{path.name} or the dose names no frame of reference; they were taken to share one.")
    names = _unique_names(_items(dataset, "StructureSetROISequence", where), where, notes)
    types = {
        whole_number(one, "ReferencedROINumber", where): text(one, "RTROIInterpretedType", where)
        for one in _items(dataset, "RTROIObservationsSequence", where)
    }
    drawn = _drawn(dataset, path, names, notes)
    _check_skipped(skip_rois, names, path)
    contours = {
        n: _contours(drawn.get(n), name, path, None, {}, notes)[0] for n, name in names.items() if name not in skip_rois
    }
    spacing_mm = contoured_spacing_mm(list(contours.values()))
    if spacing_mm is not None:
        notes.append(f"{path.name}: slices are taken to be {spacing_mm:g} mm apart, as most of its contours are.")
    structures = []
    for done, (roi_number, name) in enumerate(names.items()):
        progress(done / len(names), f"Filling {name}")
        if name in skip_rois:
            notes.append(f"{name}: left out as asked.")
            continue
        if not contours[roi_number]:
            notes.append(f"{name}: has no closed contours; left out.")
            continue
        role = role_from_type(types.get(roi_number, ""))
        color = _color(drawn[roi_number], f"{path.name}, {name}", done)
        try:
            outline = ContourStack(name, tuple(contours[roi_number]), spacing_mm)
            structures.append(structure_from_outline(outline, role_from_name(name) if role is None else role, color))
        except GeometryError as error:
            notes.append(f"{name}: left out, its contours make no solid ({error})")
    progress(1.0, "Structures read")
    return tuple(_one_external(structures, notes)), tuple(notes)


def _drawn(dataset: Dataset, path: Path, names: dict[int, str], notes: list[str]) -> dict[int, Dataset]:
    """ROI number -> its contours; those of ROIs without a name are noted."""
    drawn: dict[int, Dataset] = {}
    for one in _items(dataset, "ROIContourSequence", str(path)):
        number = whole_number(one, "ReferencedROINumber", str(path))
        if number in drawn:
            raise CaseError(f"{path}: ROI number {number} has two sets of contours; export the structure set again.")
        drawn[number] = one
    nameless = sorted(set(drawn) - set(names))
    if nameless:
        notes.append(f"Left out contours of ROI numbers {nameless}, which {path.name} does not name.")
    return drawn


def _check_skipped(skip_rois: Sequence[str], names: dict[int, str], path: Path) -> None:
    unknown = [name for name in skip_rois if name not in names.values()]
    if unknown:
        raise CaseError(
            f"skip_rois: {path.name} has no structure {', '.join(unknown)}; it has: {', '.join(names.values())}."
        )


def _check_belongs(dataset: Dataset, ct: CtSeries, path: Path, skip_rois: Sequence[str], notes: list[str]) -> None:
    """Refuse a structure set that was drawn on something else than this CT."""
    references = _references(dataset, str(path))
    label = text(dataset, "StructureSetLabel", str(path)) or path.name
    foreign = references.frames_of_reference - {ct.frame_of_reference_uid}
    if ct.frame_of_reference_uid not in references.frames_of_reference:
        if foreign:
            raise CaseError(
                f"The structure set {label!r} ({path.name}) has frame of reference {', '.join(sorted(foreign))}, the "
                f"CT {ct.frame_of_reference_uid}: its contours are not in the CT's coordinates. Choose the structure "
                "set drawn on this CT, or register and resample it first."
            )
        notes.append(f"The structure set {label!r} names no frame of reference; it was taken to be the CT's.")
    for roi in _items(dataset, "StructureSetROISequence", str(path)):
        frame = text(roi, "ReferencedFrameOfReferenceUID", str(path))
        if frame and frame != ct.frame_of_reference_uid and text(roi, "ROIName", str(path)) not in skip_rois:
            raise CaseError(
                f"Structure {text(roi, 'ROIName', str(path))!r} of {path.name} has frame of reference {frame}, the CT "
                f"{ct.frame_of_reference_uid}: its contours are not in the CT's coordinates. Choose the structure set "
                "drawn on this CT, or leave the structure out with skip_rois."
            )
    if references.series and ct.series_instance_uid not in references.series:
        raise CaseError(
            f"The structure set {label!r} ({path.name}) was drawn on series {', '.join(sorted(references.series))} of "
            f"study {text(dataset, 'StudyInstanceUID', str(path)) or 'unknown'}, not on this CT series "
            f"{ct.series_instance_uid} of study {ct.study_instance_uid}. Choose the structure set of this CT or add "
            "the CT it was drawn on."
        )
    known = references.images & set(ct.sop_instance_uids)
    if references.images and not known:
        raise CaseError(
            f"The structure set {label!r} ({path.name}) refers to {len(references.images)} images (SOP Instance UIDs), "
            f"none of which is in this CT series {ct.series_instance_uid}: it was drawn on another series. Choose the "
            "structure set of this CT or add the CT it was drawn on."
        )
    if len(known) < len(references.images):
        notes.append(
            f"The structure set {label!r} refers to {len(references.images) - len(known)} images that are not in the "
            "CT series; if slices were lost at its ends, export the CT again."
        )
    if not references.series and not references.images:
        notes.append(f"The structure set {label!r} names no images; it was matched by its frame of reference alone.")
    study = text(dataset, "StudyInstanceUID", str(path))
    if study and study != ct.study_instance_uid:
        notes.append(f"The structure set {label!r} is filed under another study ({study}) than the CT it refers to.")
    patient = text(dataset, "PatientID", str(path))
    if patient != ct.patient_id:
        notes.append(f"The structure set {label!r} has patient ID {patient!r}, the CT {ct.patient_id!r}.")


def _unique_names(rois: Sequence[Dataset], where: str, notes: list[str]) -> dict[int, str]:
    """ROI number -> name, each name once."""
    names: dict[int, str] = {}
    for roi in rois:
        number = whole_number(roi, "ROINumber", where)
        if number in names:
            raise CaseError(f"{where}: ROI number {number} is used twice; export the structure set again.")
        wanted = text(roi, "ROIName", where)
        name = wanted or f"ROI {number}"
        copy = 2
        while name in names.values():
            name = f"{wanted} ({copy})"
            copy += 1
        if not wanted:
            notes.append(f"ROI number {number} has no name; it was called {name!r}.")
        elif name != wanted:
            notes.append(f"Several structures are named {wanted!r}; ROI number {number} was called {name!r}.")
        names[number] = name
    return names


def _contours(
    roi: Dataset | None, name: str, path: Path, ct: CtSeries | None, slice_of: dict[str, int], notes: list[str]
) -> tuple[list[np.ndarray], list[str]]:
    """Points (n, 3) in RAS mm of a ROI's closed contours, and what to call each; without a CT nothing is compared."""
    contours: list[np.ndarray] = []
    labels: list[str] = []
    skipped: dict[str, int] = {}
    for place, item in enumerate(_items(roi, "ContourSequence", str(path)) if roi is not None else (), start=1):
        label = f"contour {place}"
        where = f"{path.name}, {name}, {label}"
        kind = str(required(item, "ContourGeometricType", where)).strip()
        if kind not in _CLOSED:
            skipped[kind] = skipped.get(kind, 0) + 1
            continue
        flat = decimal_strings(item, "ContourData", where)
        if flat.size % 3:
            raise CaseError(
                f"{where}: ContourData (3006,0050) holds {flat.size} numbers, which is no multiple of 3. The contour "
                f"is broken; redraw it and export again, or leave the structure out with skip_rois=({name!r},)."
            )
        stated = number(item, "NumberOfContourPoints", where)
        # some writers count coordinates instead of points, which loses nothing
        if stated is not None and stated not in (flat.size // 3, flat.size):
            raise CaseError(
                f"{where}: NumberOfContourPoints (3006,0046) says {stated:g}, but ContourData has {flat.size // 3} "
                f"points. The contour is broken; redraw it and export again, or leave the structure out with "
                f"skip_rois=({name!r},)."
            )
        points = ras_from_lps(flat.reshape(-1, 3))
        if ct is not None:
            _check_slice(points, item, where, ct, slice_of)
        contours.append(points)
        labels.append(label)
    for kind, count in skipped.items():
        notes.append(f"{name}: contours of type {kind} ({count}) enclose no volume and were left out.")
    return contours, labels


def _with_outline(structure: Structure, contours: Sequence[np.ndarray], notes: list[str]) -> Structure:
    """Keep the contours with the structure, for DVHs exact to fractions of a voxel, where the CT holds all of them."""
    grid: Grid = structure.grid
    index = grid.ras_to_index(np.concatenate(contours))
    # up to half a pixel is the usual overshoot of a contour that hugs the border
    low, high = np.array((-1.0, -1.0, -0.5)), np.array(grid.shape[::-1]) - (0.0, 0.0, 0.5)
    if ((index < low - 1e-3) | (index > high + 1e-3)).any():
        # what lies beyond the CT is not part of the structure: its voxels are
        return structure
    try:
        return replace(structure, outline=ContourStack(structure.name, tuple(contours), float(grid.spacing_mm[2])))
    except (GeometryError, PlanError) as error:
        notes.append(f"{structure.name}: its DVH will be that of its voxels, not of its contours ({error})")
        return structure


def _check_slice(points: np.ndarray, item: Dataset, where: str, ct: CtSeries, slice_of: dict[str, int]) -> None:
    """Refuse a contour that lies elsewhere than the image it says it was drawn on."""
    known = [slice_of[uid] for uid in _images_of(item, where) if uid in slice_of]
    if not known or not np.isfinite(points).all():
        return
    k = float(ct.grid.ras_to_index(points)[:, 2].mean())
    away = min(abs(k - one) for one in known)
    if away > 1.0 + 1e-3:
        raise CaseError(
            f"{where}: says it was drawn on an image that lies {away * ct.grid.spacing_mm[2]:.1f} mm away from its "
            "points. The structure set does not fit this CT; export both again."
        )


def _color(roi: Dataset, where: str, index: int) -> tuple[float, float, float]:
    if value(roi, "ROIDisplayColor", where) is None:
        # hues a golden-ratio step apart stay distinguishable however many there are
        return colorsys.hsv_to_rgb((index * 0.6180339887) % 1.0, 0.75, 0.95)
    red, green, blue = np.clip(numbers(roi, "ROIDisplayColor", where, 3), 0, 255) / 255.0
    return float(red), float(green), float(blue)


def _one_external(structures: Sequence[Structure], notes: list[str]) -> list[Structure]:
    """Keep the largest of several EXTERNAL structures as the body outline."""
    external = sorted((s for s in structures if s.role == "EXTERNAL"), key=lambda s: s.volume_cm3)
    if len(external) < 2:
        return list(structures)
    others = external[:-1]
    notes.append(
        f"{len(external)} structures are of type EXTERNAL; the largest, {external[-1].name}, was kept as the body "
        f"outline, {', '.join(s.name for s in others)} got the role OTHER."
    )
    return [replace(s, role="OTHER") if s in others else s for s in structures]
