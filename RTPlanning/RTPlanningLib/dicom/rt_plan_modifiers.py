"""What stands in or about a beam of an RT Plan that no engine here models: wedges, blocks, bolus, tilted couches.

Each matters for the dose, so each is an error unless the caller allows that the dose be calculated without it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from DoseEngineLib.errors import CaseError
from RTPlanningLib.dicom.dataset import number, text, value

# What may be allowed, and what is then left out of the dose.
ALLOWANCES = {
    "wedges": "wedges",
    "blocks": "blocks",
    "compensators": "compensators",
    "boluses": "boluses",
    "applicators": "applicators (cones)",
    "couch-tilt": "pitch, roll and eccentric rotation of the couch, pitch of the gantry",
    "sad": "a source-axis distance other than the machine's",
    "fluence-mode": "fluence modes other than with or without flattening filter",
    "electrons": "electron beams, which are left out with their whole dose",
}
_TILTS = {
    "TableTopPitchAngle": "the couch is pitched",
    "TableTopRollAngle": "the couch is rolled",
    "TableTopEccentricAngle": "the couch is turned about an eccentric axis",
    "GantryPitchAngle": "the gantry is pitched",
}
_LEAST_TILT_DEG = 0.01


def check_allowances(allow: Collection[str]) -> frozenset[str]:
    """Return the allowances as a set; one that is unknown raises `CaseError` and lists those there are."""
    allowed = frozenset([allow] if isinstance(allow, str) else allow)
    unknown = sorted(allowed - set(ALLOWANCES))
    if unknown:
        listed = ", ".join(f"{name} ({what})" for name, what in ALLOWANCES.items())
        raise CaseError(f"There is nothing called {', '.join(unknown)} to allow; there are: {listed}.")
    return allowed


@dataclass
class NotModelled:
    """Collects what a plan has and no engine models: an error, or a note where it is allowed.

    Attributes
    ----------
    allowed : frozenset of str
        Keys of `ALLOWANCES`.
    notes : list of str
        Filled with what was allowed.
    """

    allowed: frozenset[str]
    notes: list[str]

    def found(self, kind: str, what: str, where: str, tag: str) -> None:
        """Report something: ``what`` says it in words, ``tag`` where it stands in the file."""
        if kind not in self.allowed:
            raise CaseError(
                f"{where}: {what} ({tag}), which no engine models: the dose would be wrong. To calculate it without "
                f"{ALLOWANCES[kind]} all the same, allow it (allow={kind})."
            )
        self.notes.append(f"NOT IN THE DOSE, {where.split(', ', 1)[-1]}: {what}. It was left out as allowed.")


def check_modifiers(beam: Dataset, points: Sequence[Dataset], where: str, missing: NotModelled) -> list[str]:
    """Report wedges, blocks, compensators, boluses, applicators and tilts of a beam.

    Returns
    -------
    list of str
        Remarks on what is in the file and changes no dose.
    """
    remarks = []
    wedges = [wedge for wedge in _items(beam, "WedgeSequence", where) if _is_in(wedge, points, where)]
    if wedges or _stated(beam, "NumberOfWedges", "WedgeSequence", where):
        kinds = ", ".join(_wedge(wedge, where) for wedge in wedges) or "wedges it does not describe"
        missing.found("wedges", f"it has {kinds}", where, "WedgeSequence (300A,00D1)")
    blocks = _items(beam, "BlockSequence", where)
    if blocks or _stated(beam, "NumberOfBlocks", "BlockSequence", where):
        kinds = ", ".join(text(block, "BlockType", where) or "of no type" for block in blocks)
        missing.found("blocks", f"it has blocks ({kinds or 'not described'})", where, "BlockSequence (300A,00F4)")
    compensators = _items(beam, "CompensatorSequence", where)
    # without a material the item holds the fluence that leaves are to give, which is no filter in the beam
    solid = [item for item in compensators if text(item, "MaterialID", where)]
    if solid or _stated(beam, "NumberOfCompensators", "CompensatorSequence", where):
        kinds = ", ".join(text(item, "MaterialID", where) for item in solid) or "not described"
        missing.found("compensators", f"it has compensators ({kinds})", where, "CompensatorSequence (300A,00E3)")
    elif compensators:
        remarks.append("fluences stored as compensators without material: the leaves give them")
    if _items(beam, "ReferencedBolusSequence", where) or (number(beam, "NumberOfBoli", where) or 0) > 0:
        missing.found("boluses", "it has a bolus", where, "ReferencedBolusSequence (300C,00B0)")
    applicators = _items(beam, "ApplicatorSequence", where)
    if applicators:
        kinds = ", ".join(text(item, "ApplicatorType", where) or "of no type" for item in applicators)
        missing.found("applicators", f"it has applicators ({kinds})", where, "ApplicatorSequence (300A,0107)")
    for keyword, what in _TILTS.items():
        angles = [angle for point in points if (angle := number(point, keyword, where)) is not None]
        turned = [angle for angle in angles if abs((angle + 180.0) % 360.0 - 180.0) > _LEAST_TILT_DEG]
        if turned:
            missing.found("couch-tilt", f"{what} by {turned[0]:g} degrees", where, keyword)
    return remarks


def _items(dataset: Dataset, keyword: str, where: str) -> list[Dataset]:
    return list(value(dataset, keyword, where) or ())


def _stated(beam: Dataset, count: str, sequence: str, where: str) -> bool:
    """Whether a beam counts things that it then does not describe."""
    return (number(beam, count, where) or 0) > 0 and not _items(beam, sequence, where)


def _wedge(wedge: Dataset, where: str) -> str:
    kind = text(wedge, "WedgeType", where).lower() or "unknown"
    angle = number(wedge, "WedgeAngle", where)
    return f"a wedge ({kind}{'' if angle is None else f', {angle:g} degrees'})"


def _is_in(wedge: Dataset, points: Sequence[Dataset], where: str) -> bool:
    """Whether a wedge is in the beam at any control point; one without stated positions is."""
    label = text(wedge, "WedgeNumber", where)
    stated = [
        text(item, "WedgePosition", where).upper()
        for point in points
        for item in _items(point, "WedgePositionSequence", where)
        if text(item, "ReferencedWedgeNumber", where) in (label, "")
    ]
    return not stated or any(position != "OUT" for position in stated)
