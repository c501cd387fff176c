"""Planning target volumes: a clinical target with the margins for what moves and for how it is set up (ICRU 62)."""

from __future__ import annotations

import re
from dataclasses import astuple, replace

from DoseEngineLib.errors import PatientError
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.contouring.boolean import mask_on_grid
from RTPlanningLib.contouring.edited_structure import EditedStructure
from RTPlanningLib.contouring.expansion import moved_near, with_margins
from RTPlanningLib.contouring.margins import Margins

# ICRU 83's target volumes that a PTV is made of
_CLINICAL = re.compile(r"^(IGTV|ICTV|GTV|CTV|ITV)", re.IGNORECASE)
_RED = (1.0, 0.0, 0.0)


def planning_target(
    target: Structure,
    margins: Margins,
    *,
    body: Structure | None = None,
    skin_mm: float = 0.0,
    name: str = "",
    cut_at_image: bool = False,
    progress: Progress | None = None,
) -> EditedStructure:
    """Make a PTV from a clinical target, kept inside the body.

    Parameters
    ----------
    target : Structure
        Normally a CTV or ITV.
    margins : Margins
        None negative.
    body : Structure, optional
        The PTV is cut to it.
    skin_mm : float
        Distance that the PTV keeps from the body's surface; the target itself is cut, too, and a note says so.
    name : str
        By default the target's with PTV in place of CTV, ITV or GTV (``PTV_High`` of ``CTV_High``).
    cut_at_image : bool
        As `RTPlanningLib.contouring.expansion.with_margins`.
    progress : callable, optional

    Returns
    -------
    EditedStructure
        Role PTV, red.

    Raises
    ------
    PatientError
        Negative margins, a skin distance without a body, an empty structure, a PTV without a voxel or beyond the image.
    """
    if not margins.shrinking.is_zero:
        raise PatientError(
            f"A PTV is not smaller than its target; the margins are {margins.describe()}. Use none below 0."
        )
    if skin_mm < 0.0:
        raise PatientError(f"The distance to the skin is {skin_mm:g} mm; give one that is not negative.")
    if body is None and skin_mm > 0.0:
        raise PatientError(f"To keep {skin_mm:g} mm from the skin the body outline is needed; make it first.")
    notes: list[str] = []
    within = None
    if body is not None:
        if body.is_empty:
            raise PatientError(f"The body outline {body.name} is empty; make it again.")
        outline = mask_on_grid(body, target.grid, notes)
        within = moved_near(
            outline, target.grid, -skin_mm, target.mask, max(astuple(margins)), part(progress, 0.0, 0.4)
        )
        lost = target.mask & ~within
        if lost.any():
            share = lost.sum() / target.mask.sum()
            where = f"nearer than {skin_mm:g} mm to the surface of {body.name}" if skin_mm else f"outside {body.name}"
            notes.append(f"{share:.1%} of {target.name} itself lies {where} and is not in the PTV.")
    grown = with_margins(target, margins, within=within, cut_at_image=cut_at_image, progress=part(progress, 0.4, 1.0))
    ptv = replace(grown.structure, name=name or planning_target_name(target.name), role="PTV", color=_RED)
    return EditedStructure(ptv, (*grown.notes, *notes))


def planning_target_name(target: str) -> str:
    """Return the PTV's name for a target's: ``CTV_High`` becomes ``PTV_High``, ``Prostate`` ``PTV_Prostate``."""
    named = _CLINICAL.sub("PTV", target.strip())
    return named if named != target.strip() else f"PTV_{target.strip()}"
