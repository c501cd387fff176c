"""What an evaluation reads: doses and structures from files and folders, of clinics, of Slicer and of our own runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from DoseEngineLib.contour_stack import ContourStack
from DoseEngineLib.errors import CaseError, GeometryError
from DoseEngineLib.outline_voxels import structure_from_outline
from DoseEngineLib.plan import Structure, plan_from_json
from DoseEngineLib.progress import Progress, silent
from RTPlanningLib.case import Case
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution
from RTPlanningLib.headless import HeadlessSlicer
from RTPlanningLib.samples import load_sample

DOSE_UNITS = {"Gy": 1.0, "cGy": 0.01}
END_CAPS = ("half", "none")
# Doses of whole courses stay below this; a volume with more is in cGy, or no dose.
_LARGEST_GY = 500.0
_VOLUMES = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")
_SEGMENTATION = ".seg.nrrd"
_SURFACES = (".vtp", ".vtk", ".stl", ".obj", ".ply")
_STRUCTURES_IN_WORDS = (
    "a DICOM folder or an RTSTRUCT file, a segmentation (.seg.nrrd, .seg.vtm), or closed surfaces (.vtp, .vtk, .stl, "
    ".obj, .ply)"
)
# What a run of ours leaves in its folder.
_RUN_DOSE, _RUN_PLAN, _RUN_SCENE = "dose.nrrd", "plan.json", "scene.mrb"


@dataclass(frozen=True, eq=False)
class DoseInput:
    """A dose that was read.

    Attributes
    ----------
    dose : DoseDistribution
    frame_of_reference_uid : str
        Empty for a volume.
    notes : tuple of str
    prescription_Gy : float or None
        Of the plan, where the dose lay in the folder of a run.
    fractions : int or None
    target : str or None
    folder : Path or None
        The folder, where one was given.
    dicom_file : Path or None
        The file, where it is DICOM.
    """

    dose: DoseDistribution
    frame_of_reference_uid: str = ""
    notes: tuple[str, ...] = ()
    prescription_Gy: float | None = None
    fractions: int | None = None
    target: str | None = None
    folder: Path | None = None
    dicom_file: Path | None = None


@dataclass(frozen=True, eq=False)
class StructureInput:
    """Structures that were read.

    Attributes
    ----------
    structures : tuple of Structure
    case : Case or None
        With their CT, where there is one.
    notes : tuple of str
    goals : tuple of str
        Of the plan, where they came from the scene of a run.
    structure_set : Path or None
        Their file, where it is DICOM and the only one.
    """

    structures: tuple[Structure, ...]
    case: Case | None = None
    notes: tuple[str, ...] = ()
    goals: tuple[str, ...] = ()
    structure_set: Path | None = None


def read_dose_input(path: str | Path, dose_unit: str = "Gy", name: str | None = None) -> DoseInput:
    """Read a dose from a file, or the one dose of a folder: of a run of ours, of DICOM files, or of volumes.

    Parameters
    ----------
    path : path
    dose_unit : {"Gy", "cGy"}
        Of a volume.
    name : str, optional
        What to call it; by default the plan's name, the folder's, or the file's.

    Raises
    ------
    CaseError
        As `read_dose`; a folder with no dose, or with several.
    """
    path = Path(path)
    if not path.is_dir():
        dose, frame, notes = read_dose(path, dose_unit)
        return DoseInput(_named(dose, name), frame, notes, dicom_file=_dicom(path))
    if (path / _RUN_DOSE).is_file() and (path / _RUN_PLAN).is_file():
        return _dose_of_run(path, name)
    file = _dose_file_in(path)
    dose, frame, notes = read_dose(file, dose_unit)
    return DoseInput(_named(dose, name), frame, notes, folder=path, dicom_file=_dicom(file))


def _dicom(path: Path) -> Path | None:
    return None if path.name.lower().endswith(_VOLUMES) else path


def read_dose_inputs(
    doses: Sequence[str | Path], labels: Sequence[str] | None, dose_unit: str, *, one_frame: bool = True
) -> list[DoseInput]:
    """Read doses that are to be set against each other, each with a name of its own.

    Parameters
    ----------
    doses : sequence of path
    labels : sequence of str or None
    dose_unit : {"Gy", "cGy"}
    one_frame : bool
        Whether all have to be in one frame of reference, as far as they name theirs.

    Raises
    ------
    CaseError
        As `read_dose_input`; another number of labels than of doses, one label twice, different frames of reference.
    """
    if labels is not None and len(labels) != len(doses):
        raise CaseError(f"There are {len(doses)} doses and {len(labels)} labels; give one label a dose.")
    given = [read_dose_input(path, dose_unit, None if labels is None else labels[n]) for n, path in enumerate(doses)]
    frames = {one.frame_of_reference_uid for one in given if one.frame_of_reference_uid}
    if one_frame and len(frames) > 1:
        raise CaseError(
            f"The doses have different frames of reference ({', '.join(sorted(frames))}), so their places cannot be "
            "compared; give doses on one CT, or bring them together first."
        )
    return _told_apart(given, doses) if labels is None else given


def _told_apart(given: Sequence[DoseInput], paths: Sequence[str | Path]) -> list[DoseInput]:
    """Doses of one name are called after their folders, or numbered."""
    names = [one.dose.name for one in given]
    if len(set(names)) < len(names):
        names = [f"{name} ({_folder_name(path)})" for name, path in zip(names, paths, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name} {number}" for number, name in enumerate(names, start=1)]
    return [replace(one, dose=replace(one.dose, name=name)) for one, name in zip(given, names, strict=True)]


def _folder_name(path: str | Path) -> str:
    resolved = Path(path).resolve()
    return resolved.name if resolved.is_dir() else resolved.parent.name


def _named(dose: DoseDistribution, name: str | None) -> DoseDistribution:
    return dose if name is None else replace(dose, name=name)


def _dose_of_run(folder: Path, name: str | None) -> DoseInput:
    plan = plan_from_json((folder / _RUN_PLAN).read_text(encoding="utf-8"))
    # what a run writes is in Gy
    dose, frame, _ = read_dose(folder / _RUN_DOSE)
    dose = replace(
        dose,
        name=name or plan.name,
        fractions=plan.fractions,
        provenance={**dose.provenance, "folder": folder.name, "plan": plan.name, "fractions_known": True},
    )
    prescription = plan.prescription
    return DoseInput(
        dose,
        frame,
        (),
        prescription.dose_Gy if prescription else None,
        plan.fractions,
        prescription.target if prescription else None,
        folder,
    )


def _dose_file_in(folder: Path) -> Path:
    """The one dose in a folder: a DICOM RT Dose, else a volume that is not a segmentation."""
    from RTPlanningLib.dicom.dataset import read_header, text
    from RTPlanningLib.dicom.folder import scan_folder
    from RTPlanningLib.dicom.rt_dose import RT_DOSE_STORAGE, WHOLE_COURSE

    doses = [file.path for file in scan_folder(folder).files if file.sop_class_uid == RT_DOSE_STORAGE]
    if len(doses) > 1:
        # those of single beams or fractions are parts of it
        summed = {
            path: text(read_header(path, ["DoseSummationType"]), "DoseSummationType", str(path)) for path in doses
        }
        doses = [path for path in doses if summed[path].upper() in WHOLE_COURSE] or doses
    kind = "RT Doses"
    if not doses:
        kind = "volumes"
        doses = [p for p in _files(folder, _VOLUMES) if not p.name.lower().endswith(_SEGMENTATION)]
        named = [p for p in doses if "dose" in p.name.lower()]
        # a CT may lie beside it
        doses = named or doses
    if len(doses) == 1:
        return doses[0]
    if not doses:
        raise CaseError(f"{folder} holds no dose; give a DICOM RT Dose, or a volume ({', '.join(_VOLUMES)}).")
    listed = ", ".join(str(p.relative_to(folder)) for p in doses[:8])
    raise CaseError(f"{folder} holds {len(doses)} {kind} ({listed}); give the file of the one to evaluate.")


def _files(folder: Path, endings: Sequence[str]) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and p.name.lower().endswith(tuple(endings)))


def read_dose(path: str | Path, dose_unit: str = "Gy") -> tuple[DoseDistribution, str, tuple[str, ...]]:
    """Read a dose file.

    Parameters
    ----------
    path : path
        A DICOM RT Dose, or a volume that Slicer reads.
    dose_unit : {"Gy", "cGy"}
        Of a volume.

    Returns
    -------
    dose : DoseDistribution
    frame_of_reference_uid : str
        Empty for a volume.
    notes : tuple of str

    Raises
    ------
    CaseError
        A missing or unreadable file, or one that is no dose.
    EvaluationError
        NaN or negative doses.
    """
    path = Path(path)
    if dose_unit not in DOSE_UNITS:
        raise CaseError(f"The dose unit {dose_unit!r} is unknown; use {' or '.join(DOSE_UNITS)}.")
    if not path.is_file():
        raise CaseError(f"There is no dose file {path}; give a DICOM RT Dose, or a volume (NRRD, NIfTI, MHA).")
    if path.name.lower().endswith(_VOLUMES):
        with HeadlessSlicer():
            from RTPlanningLib.mrml.read_evaluation_files import readDoseVolume

            values, grid = readDoseVolume(path)
        values = values.astype(np.float32) * np.float32(DOSE_UNITS[dose_unit])
        if float(values.max()) > _LARGEST_GY:
            raise CaseError(
                f"{path.name} goes up to {float(values.max()):.4g} Gy when read as {dose_unit}; is it in cGy, or no "
                "dose? Say its unit, or give another file."
            )
        notes = (f"{path.name} does not say its unit; it was read as {dose_unit}.",)
        # a file tells no fractions: the dose counts as one, and says so
        provenance = {"file": path.name, "fractions_known": False}
        return DoseDistribution(_stem(path), values, grid, dose_to="unknown", provenance=provenance), "", notes
    from RTPlanningLib.dicom.rt_dose import read_rt_dose

    found = read_rt_dose(path)
    if dose_unit != "Gy":
        raise CaseError(f"{path.name} says itself that it is in Gy; leave the dose unit out.")
    dose = replace(found.dose, provenance={**found.dose.provenance, "fractions_known": False})
    return dose, found.frame_of_reference_uid, found.notes


def with_fractions(dose: DoseDistribution, fractions: int | None) -> DoseDistribution:
    """Return a dose as that of a course of so many fractions, where they are known.

    Raises
    ------
    EvaluationError
        Less than one fraction, or no whole number.
    """
    if fractions is None:
        return dose
    return replace(dose, fractions=fractions, provenance={**dose.provenance, "fractions_known": True})


def _stem(path: Path) -> str:
    name = path.name
    return name[: -len(".nii.gz")] if name.lower().endswith(".nii.gz") else path.stem


def read_structures(
    structures: str | Path | Sequence[str | Path] | None,
    *,
    case: str | None = None,
    frame_of_reference_uid: str = "",
    contours_only: bool = False,
    end_caps: str = "half",
    skip: Sequence[str] = (),
    progress: Progress | None = None,
) -> StructureInput:
    """Read structures, with their CT where there is one.

    Parameters
    ----------
    structures : path or sequence of path, optional
        A DICOM folder with an RTSTRUCT, an RTSTRUCT file, a segmentation of Slicer, surfaces, a folder of these, or the
        folder of a run of ours.
    case : str, optional
        Name of a built-in case, in their place.
    frame_of_reference_uid : str
        Of the dose; DICOM structures of another are refused.
    contours_only : bool
        Read a structure set by its contours, whatever CT lies beside it.
    end_caps : {"half", "none"}
        How far a structure reaches beyond its first and last contour: half the distance of the slices, or not at all.
        Planning systems differ here.
    skip : sequence of str
        Names of structures to leave out, for example one with a broken contour.
    progress : callable, optional

    Raises
    ------
    CaseError
        Neither or both of ``structures`` and ``case``, nothing to read, several things that may be meant.
    """
    if (structures is None) == (case is None):
        raise CaseError(f"Give either structures ({_STRUCTURES_IN_WORDS}) or the name of a built-in case.")
    if end_caps not in END_CAPS:
        raise CaseError(f"End caps are {' or '.join(END_CAPS)}, not {end_caps!r}.")
    if case is not None:
        sample = load_sample(case)
        found = StructureInput(sample.structures, sample, sample.notes)
    elif isinstance(structures, str | Path):
        found = _read_place(Path(structures), frame_of_reference_uid, contours_only, skip, progress or silent)
    else:
        found = _read_surfaces([Path(one) for one in structures])
    found = _without(found, skip)
    return found if end_caps == "half" else _without_end_caps(found)


def _without(found: StructureInput, skip: Sequence[str]) -> StructureInput:
    """Leave structures out, but for those that a reader has left out by itself."""
    kept = tuple(structure for structure in found.structures if structure.name not in skip)
    left_out = [name for name in skip if f"{name}: left out as asked." in found.notes]
    unknown = set(skip) - {structure.name for structure in found.structures} - set(left_out)
    if unknown:
        known = ", ".join(structure.name for structure in found.structures)
        raise CaseError(f"There is no structure {', '.join(sorted(unknown))} to leave out; there are: {known}.")
    if len(kept) == len(found.structures):
        return found
    notes = [f"{structure.name}: left out as asked." for structure in found.structures if structure.name in skip]
    case = None if found.case is None else replace(found.case, structures=kept)
    return replace(found, structures=kept, case=case, notes=(*found.notes, *notes))


def _read_place(path: Path, frame: str, contours_only: bool, skip: Sequence[str], progress: Progress) -> StructureInput:
    if path.is_dir():
        return _read_folder(path, frame, contours_only, skip, progress)
    if not path.is_file():
        raise CaseError(f"There are no structures at {path}; give {_STRUCTURES_IN_WORDS}.")
    name = path.name.lower()
    if name.endswith(_SEGMENTATION):
        with HeadlessSlicer():
            from RTPlanningLib.mrml.read_evaluation_files import readSegmentation

            return StructureInput(readSegmentation(path))
    if name.endswith((".vtm", *_SURFACES)):
        return _read_surfaces([path])
    if name.endswith(_VOLUMES):
        raise CaseError(f"{path.name} is a volume; structures are read from {_STRUCTURES_IN_WORDS}.")
    return _read_contours(path, frame, "", skip, progress)


def _read_folder(
    folder: Path, frame: str, contours_only: bool, skip: Sequence[str], progress: Progress
) -> StructureInput:
    if (folder / _RUN_SCENE).is_file() and (folder / _RUN_PLAN).is_file():
        return _read_scene(folder / _RUN_SCENE)
    segmentations = _files(folder, (_SEGMENTATION, ".vtm"))
    if len(segmentations) > 1:
        raise CaseError(
            f"{folder} holds {len(segmentations)} segmentations ({', '.join(p.name for p in segmentations)}); give the "
            "file of one."
        )
    if segmentations:
        return _read_place(segmentations[0], frame, contours_only, skip, progress)
    from RTPlanningLib.dicom import read_case, scan_folder

    scan = scan_folder(folder)
    structure_sets = [file for file in scan.files if file.is_structure_set]
    slices = max((sum(file.is_ct for file in one.files) for one in scan.series), default=0)
    if not structure_sets:
        surfaces = _files(folder, _SURFACES)
        if surfaces:
            return _read_surfaces(surfaces)
        raise CaseError(f"{folder} holds no structures; give {_STRUCTURES_IN_WORDS}.")
    if contours_only or not _is_volume(scan, slices):
        if len(structure_sets) > 1:
            listed = ", ".join(str(file.path.relative_to(folder)) for file in structure_sets)
            raise CaseError(f"{folder} holds {len(structure_sets)} structure sets ({listed}); give the file of one.")
        what = "was left aside, as asked" if contours_only and slices else f"has {slices} slice{'s' * (slices != 1)}"
        return _read_contours(structure_sets[0].path, frame, f"The CT of {folder.name} {what}.", skip, progress)
    try:
        found = read_case(folder, skip_rois=skip, progress=progress)
    except CaseError as error:
        raise CaseError(f"{error} To evaluate by contours, without the CT, ask for contours only.") from error
    if frame and found.frame_of_reference_uid and frame != found.frame_of_reference_uid:
        raise CaseError(
            "The dose and the structures have different frames of reference, so their places cannot be compared "
            f"({frame}, {found.frame_of_reference_uid}). Give files of one plan."
        )
    only = structure_sets[0].path if len(structure_sets) == 1 else None
    return StructureInput(found.structures, found, found.notes, structure_set=only)


def _is_volume(scan, slices: int) -> bool:
    """Whether a folder's CT has slices enough; a multi-frame file counts as one that has."""
    from pydicom.uid import CTImageStorage

    return slices > 1 or any(file.is_ct and file.sop_class_uid != CTImageStorage for file in scan.files)


def _read_contours(path: Path, frame: str, why: str, skip: Sequence[str], progress: Progress) -> StructureInput:
    from RTPlanningLib.dicom.structure_set import read_contoured_structures

    structures, notes = read_contoured_structures(path, frame, skip_rois=skip, progress=progress)
    if not structures:
        raise CaseError(f"{path.name} holds no structure with a volume. {' '.join(notes)}".rstrip())
    missing = (
        f"{why} Structures are known by their contours alone: volumes and DVHs are exact for these, pictures show no "
        "CT, and nothing is known of densities."
    )
    return StructureInput(structures, None, (missing.strip(), *notes), structure_set=path)


def _read_surfaces(paths: Sequence[Path]) -> StructureInput:
    with HeadlessSlicer():
        from RTPlanningLib.mrml.read_surfaces import readSurfaces

        structures, notes = readSurfaces(paths)
    return StructureInput(structures, None, notes)


def _read_scene(path: Path) -> StructureInput:
    """The CT, the structures and the goals of a run's plan."""
    with HeadlessSlicer() as runtime:
        from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, SEGMENTATION, goalsOf, referencedNode
        from RTPlanningLib.logic import RTPlanningLogic

        logic = RTPlanningLogic(runtime.scene)
        logic.loadScene(path)
        planNodes = logic.planNodes()
        if len(planNodes) != 1:
            raise CaseError(f"{path} holds {len(planNodes)} plans; give the structures by themselves.")
        volumeNode = referencedNode(planNodes[0], REFERENCE_VOLUME, "CT volume")
        segmentationNode = referencedNode(planNodes[0], SEGMENTATION, "segmentation", optional=True)
        case = logic.caseFromNodes(volumeNode, segmentationNode)
        goals = tuple(goalsOf(planNodes[0]))
    if not case.structures:
        raise CaseError(f"The plan of {path} has no structures; give some.")
    return StructureInput(case.structures, case, case.notes, goals)


def _without_end_caps(found: StructureInput) -> StructureInput:
    structures, kept, by_voxels = [], [], []
    for structure in found.structures:
        if not isinstance(structure.outline, ContourStack):
            by_voxels.append(structure.name)
            structures.append(structure)
            continue
        try:
            outline = replace(structure.outline, end_cap_mm=0.0)
            if found.case is None:
                structures.append(structure_from_outline(outline, structure.role, structure.color))
            else:
                structures.append(replace(structure, outline=outline))
        except GeometryError:
            # a single contour has no thickness without them
            kept.append(structure.name)
            structures.append(structure)
    notes = [*found.notes, "Structures end at their first and last contour, without end caps."]
    if kept:
        notes.append(f"Drawn on a single slice, and so a slice thick all the same: {', '.join(kept)}.")
    if by_voxels:
        notes.append(f"Not known by contours, so as they are: {', '.join(by_voxels)}.")
    return replace(found, structures=tuple(structures), notes=tuple(notes))
