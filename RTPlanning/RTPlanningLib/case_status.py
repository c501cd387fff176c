"""Whether a case is ready to be planned on: CT numbers, geometry, body, targets, organs, densities, line by line.

Each line says what was found and, where something is missing or asks for a look, what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from DoseEngineLib.body import find_body
from DoseEngineLib.calibration import CalibrationCurve, default_calibration
from DoseEngineLib.errors import PatientError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.case import Case

MARKS = ("ok", "look", "missing")
_TARGET_ROLES = ("PTV", "CTV", "GTV")
_ORGAN_ROLES = ("ORGAN", "AVOIDANCE")
# Air about the patient; an image stored without its offset of 1000 or 1024 has none.
_AIR_BELOW_HU = -800.0
# Median of all a body's voxels: lungs pull a thorax down, bone and contrast agent lift no body above this.
_PLAUSIBLE_MEDIAN_HU = (-450.0, 250.0)
# Twelve bits end at 3071 HU: metal and its streaks.
_METAL_HU = 2500.0
_METAL_CM3 = 0.05
_OBLIQUE_DEG = 0.5
# Slices further apart than this blur the ends of small structures (AAPM TG-101: 1 to 3 mm).
_THICK_SLICE_MM = 5.0
_THICK_SLICE_SMALL_TARGET_MM = 3.0
_SMALL_TARGET_CM3 = 20.0
_PLAUSIBLE_BODY_CM3 = (500.0, 250_000.0)
# Of the body's outermost voxels on a side face of the image: more is a cut patient, not a voxel of noise.
_CUT_SHARE = 0.02
_FEW_VOXELS = 27
_SAME_SHARE = 0.98
_OVERLAP_SHARE = 0.02


@dataclass(frozen=True)
class StatusLine:
    """A line of the status of a case.

    Attributes
    ----------
    name : str
        What was looked at.
    mark : {"ok", "look", "missing"}
        "look" asks a person to look, "missing" must be mended before a dose can be calculated or judged.
    text : str
        What was found, and unless the mark is "ok", what to do.
    """

    name: str
    mark: str
    text: str

    def __post_init__(self) -> None:
        if self.mark not in MARKS:
            raise ValueError(f"A status is marked by one of {', '.join(MARKS)}; got {self.mark!r}.")


def case_status(
    case: Case,
    calibration: CalibrationCurve | None = None,
    progress: Progress | None = None,
    *,
    unreadable: Sequence[str] = (),
) -> tuple[StatusLine, ...]:
    """Look a case over before planning.

    Parameters
    ----------
    case : Case
    calibration : CalibrationCurve, optional
        The curve that doses will be calculated with; by default Schneider (2000).
    progress : callable, optional
    unreadable : sequence of str
        Why structures could not be read, and what to do; they are not among those of the case.

    Returns
    -------
    tuple of StatusLine
        Always the same lines in the same order: patient position, image geometry, CT numbers, CT calibration, body,
        targets, organs, couch, density overrides, structures; a last line holds the notes of the case where it has any.
    """
    report = part(progress, 0.0, 1.0)
    curve = calibration or default_calibration()
    report(0.0, "Looking for the body")
    body, body_line = _body(case)
    report(0.5, "Looking at the CT numbers")
    numbers = _ct_numbers(case, body)
    report(0.7, "Looking at the structures")
    lines = [
        _position(case),
        _geometry(case),
        numbers,
        _calibration(case, curve, body),
        body_line,
        _targets(case, body),
        _organs(case),
        _support(case, body),
        _overrides(case),
        _structures(case.structures, unreadable, part(report, 0.7, 1.0)),
    ]
    notes = [note for note in case.notes if not _is_about_position(note) and not _is_about_empty(note)]
    if notes:
        lines.append(StatusLine("Notes", "look", " ".join(notes)))
    report(1.0, "Case looked over")
    return tuple(lines)


def status_summary(lines: Sequence[StatusLine]) -> str:
    """Return one sentence on how ready the case is."""
    missing = [line.name for line in lines if line.mark == "missing"]
    look = [line.name for line in lines if line.mark == "look"]
    if missing:
        return f"Not ready: {_listed(missing)}."
    if look:
        return f"Ready, after a look at: {_listed(look)}."
    return "Ready for planning."


def _position(case: Case) -> StatusLine:
    words = {
        "HFS": "head first, supine",
        "HFP": "head first, prone",
        "FFS": "feet first, supine",
        "FFP": "feet first, prone",
    }
    name, text = "Patient position", f"{case.patient_position} ({words[case.patient_position]})"
    if any(_is_about_position(note) for note in case.notes):
        return StatusLine(
            name, "look", f"{text} is assumed: the image does not say it. Check it; beams turn with the patient."
        )
    return StatusLine(name, "ok", f"{text}.")


def _is_about_position(note: str) -> bool:
    """Whether a note of the reader says that the patient position was not known; its own line says so."""
    return "patient position" in note and "assumed" in note


def _is_about_empty(note: str) -> bool:
    """Whether a note says that a structure is empty; the line of the structures says so."""
    return note.startswith("Structure ") and note.endswith(" is empty.")


def _geometry(case: Case) -> StatusLine:
    name, grid = "Image geometry", case.grid
    spacing = grid.spacing_mm
    slices = grid.shape[0]
    text = (
        f"{grid.shape[2]} x {grid.shape[1]} x {slices} voxels of {spacing[0]:.3g} x {spacing[1]:.3g} x "
        f"{spacing[2]:.3g} mm, evenly spaced"
    )
    # angle between each axis of the image and the patient's axis it is nearest to
    tilt = float(np.degrees(np.arccos(np.clip(np.abs(grid.directions).max(axis=0), 0.0, 1.0))).max())
    along = int(np.argmax(np.abs(grid.directions[:, 2])))
    if slices < 3:
        return StatusLine(name, "missing", f"{text}. {slices} slices are no volume to plan on; load the whole series.")
    if along != 2 or tilt > _OBLIQUE_DEG:
        how = ("sagittal", "coronal", "axial")[along] if tilt <= _OBLIQUE_DEG else f"oblique by {tilt:.1f} degrees"
        return StatusLine(
            name,
            "look",
            f"{text}, {how}. Doses are calculated on it as it is; DICOM export needs axial slices, and contours are "
            "easier to judge on them.",
        )
    thick = float(spacing[2])
    small = [s.name for s in case.structures if s.role in _TARGET_ROLES and 0.0 < s.volume_cm3 < _SMALL_TARGET_CM3]
    if thick > _THICK_SLICE_MM or (small and thick > _THICK_SLICE_SMALL_TARGET_MM):
        why = f" for {_listed(small)}" if small and thick <= _THICK_SLICE_MM else ""
        return StatusLine(
            name, "look", f"{text}, axial. Slices {thick:.3g} mm apart are coarse{why}; scan thinner ones."
        )
    return StatusLine(name, "ok", f"{text}, axial.")


def _ct_numbers(case: Case, body: np.ndarray | None) -> StatusLine:
    name, hu = "CT numbers", case.hu
    low, high = float(hu.min()), float(hu.max())
    text = f"{low:.0f} to {high:.0f} HU"
    if low == high:
        return StatusLine(name, "missing", f"Every voxel is {low:.0f}: the image is empty. Load the CT again.")
    inside = hu[body] if body is not None else np.empty(0)
    if inside.size:
        median = float(np.median(inside))
        text += f", {median:.0f} HU the median of the body"
        if not _PLAUSIBLE_MEDIAN_HU[0] <= median <= _PLAUSIBLE_MEDIAN_HU[1]:
            return StatusLine(
                name,
                "missing",
                f"{text}. That is no tissue: the image is no CT in HU, or its rescale slope and intercept were not "
                "applied. Load the CT from its DICOM files.",
            )
    if low > _AIR_BELOW_HU:
        return StatusLine(
            name,
            "look",
            f"{text}. There is no air (about -1000 HU): check that the image is a CT in HU and not cut to the body.",
        )
    metal_cm3 = float(np.count_nonzero(inside > _METAL_HU)) * case.grid.voxel_volume_cm3
    if metal_cm3 > _METAL_CM3:
        return StatusLine(
            name,
            "look",
            f"{text}. {metal_cm3:.1f} cm³ in the body exceed {_METAL_HU:.0f} HU: metal or its streaks; contour it and "
            "override its density.",
        )
    return StatusLine(name, "ok", f"{text}.")


def _calibration(case: Case, curve: CalibrationCurve, body: np.ndarray | None) -> StatusLine:
    name, text = "CT calibration", curve.describe()
    if body is not None:
        beyond = float(np.count_nonzero(case.hu[body] > curve.hu[-1])) * case.grid.voxel_volume_cm3
        if beyond > 0.0:
            return StatusLine(
                name,
                "look",
                f"{text}. {beyond:.2g} cm³ of the body lie above its end and get {curve.mass_density_g_cm3[-1]:g} "
                "g/cm³; use a curve that reaches further, or override the density.",
            )
    if curve == default_calibration():
        if _is_drawn(case):
            return StatusLine(name, "ok", f"{text}. A phantom's CT numbers are drawn, so no scanner's curve is needed.")
        return StatusLine(
            name, "look", f"{text}: published, no scanner's own. Choose the curve of your scanner where you have it."
        )
    return StatusLine(name, "ok", f"{text}.")


def _is_drawn(case: Case) -> bool:
    """Whether the case is one of the built-in phantoms: their patient names begin so, and they are of no study."""
    return case.patient_name.startswith("RTPLANNING^") and not case.study_instance_uid


def _body(case: Case) -> tuple[np.ndarray | None, StatusLine]:
    name = "Body"
    external = [s for s in case.structures if s.role == "EXTERNAL"]
    if len(external) > 1:
        listed = _listed([s.name for s in external])
        return None, StatusLine(
            name, "missing", f"{len(external)} structures have the role EXTERNAL ({listed}); give it to one alone."
        )
    if external and external[0].is_empty:
        return None, StatusLine(
            name, "missing", f"{external[0].name} (EXTERNAL) is empty; outline the body, or delete it to have it found."
        )
    if external:
        mask = external[0].mask
        if not external[0].grid.is_same_as(case.grid):
            mask = resample(mask, external[0].grid, case.grid)
        how, mark = f"{external[0].name}", "ok"
    else:
        try:
            mask = find_body(case.hu, case.grid)
        except PatientError as error:
            return None, StatusLine(name, "missing", f"There is no body outline. {error}")
        how, mark = "No structure of role EXTERNAL: found in the image", "look"
    volume = float(np.count_nonzero(mask)) * case.grid.voxel_volume_cm3
    text = f"{how}, {volume / 1000.0:.3g} litres"
    if not _PLAUSIBLE_BODY_CM3[0] <= volume <= _PLAUSIBLE_BODY_CM3[1]:
        return mask, StatusLine(name, "look", f"{text}. That is no person's volume; check the outline.")
    faces = _cut_faces(mask)
    if faces:
        return mask, StatusLine(
            name,
            "look",
            f"{text}. It reaches the {_listed(faces)} of the image: what lies beyond is missing for beams that pass "
            "there.",
        )
    if mark == "look":
        return mask, StatusLine(name, mark, f"{text}. Look at it, or outline the body (Structures).")
    return mask, StatusLine(name, mark, f"{text}.")


def _cut_faces(mask: np.ndarray) -> list[str]:
    """The sides of the image, its first and last slices aside, that the body is cut by."""
    largest = max(float(mask.any(axis=axis).sum()) for axis in (1, 2))
    if not largest:
        return []
    faces = {
        "first rows": mask[:, 0, :],
        "last rows": mask[:, -1, :],
        "first columns": mask[:, :, 0],
        "last columns": mask[:, :, -1],
    }
    return [name for name, face in faces.items() if np.count_nonzero(face) > _CUT_SHARE * largest]


def _targets(case: Case, body: np.ndarray | None) -> StatusLine:
    name = "Targets"
    targets = [s for s in case.structures if s.role in _TARGET_ROLES]
    filled = [s for s in targets if not s.is_empty]
    if not filled:
        why = f"{_listed([s.name for s in targets])} is empty" if targets else "There is no GTV, CTV or PTV"
        return StatusLine(name, "missing", f"{why}; contour a target (Structures).")
    text = _with_volumes(filled)
    remarks = []
    if not any(s.role == "PTV" for s in filled):
        remarks.append("There is no PTV: make one from the CTV with your margin (Structures).")
    if body is not None:
        for target in filled:
            outside = _share_outside(target, body, case.grid)
            if outside > 0.001:
                remarks.append(f"{100.0 * outside:.1f} % of {target.name} lie outside the body; crop it to the body.")
    remarks += _not_nested(filled)
    if remarks:
        return StatusLine(name, "look", f"{text}. {' '.join(remarks)}")
    return StatusLine(name, "ok", f"{text}.")


def _not_nested(targets: Sequence[Structure]) -> list[str]:
    """What of a CTV lies in no PTV, and what of a GTV in no CTV or PTV."""
    remarks = []
    outer_of = {"CTV": ("PTV",), "GTV": ("CTV", "PTV")}
    for inner in targets:
        outers = [s for s in targets if s.role in outer_of.get(inner.role, ()) and s.grid.is_same_as(inner.grid)]
        if not outers:
            continue
        covered = np.zeros(inner.mask.shape, bool)
        for outer in outers:
            covered |= outer.mask
        outside = np.count_nonzero(inner.mask & ~covered) / np.count_nonzero(inner.mask)
        if outside > 0.01:
            listed = " or ".join(s.name for s in outers)
            remarks.append(f"{100.0 * outside:.0f} % of {inner.name} lie outside {listed}; check the margins.")
    return remarks


def _organs(case: Case) -> StatusLine:
    organs = [s for s in case.structures if s.role in _ORGAN_ROLES and not s.is_empty]
    if not organs:
        return StatusLine("Organs", "look", "There are none; contour the organs at risk that goals shall be set for.")
    return StatusLine("Organs", "ok", f"{_with_volumes(organs)}.")


def _support(case: Case, body: np.ndarray | None) -> StatusLine:
    name = "Couch and support"
    supports = [s for s in case.structures if s.role == "SUPPORT"]
    if not supports:
        return StatusLine(name, "ok", "None contoured; beams are calculated without a couch.")
    text = _with_volumes([s for s in supports if not s.is_empty]) or _listed([s.name for s in supports])
    if body is None:
        return StatusLine(name, "look", f"{text}. Without a body it is not known whether beams see it.")
    outside = [s.name for s in supports if not s.is_empty and _share_outside(s, body, case.grid) > 0.5]
    if outside:
        return StatusLine(
            name,
            "look",
            f"{text}. {_listed(outside)} lies outside the body, so doses are calculated without it; include it in the "
            "outline of the body where beams pass through it.",
        )
    return StatusLine(name, "ok", f"{text}, within the body's outline: part of the calculation.")


def _overrides(case: Case) -> StatusLine:
    name, overrides = "Density overrides", case.density_overrides_g_cm3
    if not overrides:
        return StatusLine(name, "ok", "None; all densities come from the image.")
    by_name = {s.name: s for s in case.structures}
    lost = [one for one in overrides if one not in by_name or by_name[one].is_empty]
    listed = ", ".join(f"{one} {value:g} g/cm³" for one, value in overrides.items())
    if lost:
        return StatusLine(name, "missing", f"{listed}. {_listed(lost)} has no contour; contour it or drop its density.")
    return StatusLine(name, "look", f"Set by hand: {listed}. Confirm each of them.")


def _structures(structures: Sequence[Structure], unreadable: Sequence[str], progress: Progress) -> StatusLine:
    name = "Structures"
    filled = [s for s in structures if not s.is_empty]
    empty = [s.name for s in structures if s.is_empty]
    remarks = []
    if empty:
        remarks.append(f"Without a contour: {_listed(empty)}; contour or delete them.")
    few = [s.name for s in filled if np.count_nonzero(s.mask) < _FEW_VOXELS]
    if few:
        remarks.append(f"Fewer than {_FEW_VOXELS} voxels: {_listed(few)}; DVHs of them are coarse.")
    gaps = [f"{s.name} ({count})" for s in filled if (count := _empty_slices_between(s))]
    if gaps:
        remarks.append(f"Slices without a contour between others: {_listed(gaps)}; fill between slices (Structures).")
    same, crossing = _overlaps([s for s in filled if s.role in (*_TARGET_ROLES, *_ORGAN_ROLES)], progress)
    if same:
        remarks.append(f"The same volume twice: {_listed(same)}; delete one.")
    if crossing:
        remarks.append(f"Organs that overlap: {_listed(crossing)}; check which of them the voxels belong to.")
    if unreadable:
        return StatusLine(name, "missing", " ".join((*unreadable, *remarks)))
    if remarks:
        return StatusLine(name, "look", " ".join(remarks))
    return StatusLine(name, "ok", f"{len(filled)}, all contoured." if filled else "None.")


def _empty_slices_between(structure: Structure) -> int:
    """Slices without a voxel between the parts of a structure, where it has a gap of few slices."""
    used = np.flatnonzero(structure.mask.any(axis=(1, 2)))
    steps = np.diff(used)
    # a contour on every second or third slice, not two nodes far apart
    gaps = steps[(steps > 1) & (steps <= 4)] - 1
    return int(gaps.sum())


def _overlaps(structures: Sequence[Structure], progress: Progress) -> tuple[list[str], list[str]]:
    """Pairs that are the same, and pairs of organs that overlap in part; one within the other is no matter."""
    boxes = [_box(s.mask) for s in structures]
    counts = [int(np.count_nonzero(s.mask)) for s in structures]
    same, crossing = [], []
    pairs = list(combinations(range(len(structures)), 2))
    for number, (a, b) in enumerate(pairs):
        if number % 50 == 0:
            progress(number / len(pairs), "Looking for structures that overlap")
        first, second = structures[a], structures[b]
        box = _common(boxes[a], boxes[b])
        if box is None or not first.grid.is_same_as(second.grid):
            continue
        common = int(np.count_nonzero(first.mask[box] & second.mask[box]))
        if not common:
            continue
        union = counts[a] + counts[b] - common
        pair = f"{first.name} and {second.name}"
        if common >= _SAME_SHARE * union:
            same.append(pair)
        elif first.role in _ORGAN_ROLES and second.role in _ORGAN_ROLES:
            share = common / min(counts[a], counts[b])
            if _OVERLAP_SHARE < share < _SAME_SHARE:
                crossing.append(f"{pair} ({common * first.grid.voxel_volume_cm3:.2g} cm³)")
    return same, crossing


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    ends = []
    for axis in range(3):
        used = np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
        ends.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(ends)


def _common(one: tuple[slice, ...], other: tuple[slice, ...]) -> tuple[slice, ...] | None:
    box = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return box if all(side.start < side.stop for side in box) else None


def _share_outside(structure: Structure, body: np.ndarray, grid: Grid) -> float:
    mask = structure.mask if structure.grid.is_same_as(grid) else resample(structure.mask, structure.grid, grid)
    count = int(np.count_nonzero(mask))
    return np.count_nonzero(mask & ~body) / count if count else 0.0


def _with_volumes(structures: Sequence[Structure]) -> str:
    return ", ".join(f"{s.name} {_cm3(s.volume_cm3)}" for s in structures)


def _cm3(volume: float) -> str:
    return f"{volume:.0f} cm³" if volume >= 100.0 else f"{volume:.3g} cm³"


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
