"""Plans made from a template: conformal fields about a target, of which the four-field box is the classic."""

from __future__ import annotations

from collections.abc import Sequence

from DoseEngineLib.errors import PlanError
from DoseEngineLib.plan import Plan, Prescription
from RTPlanningLib.beam_editing import side_name
from RTPlanningLib.case import Case
from RTPlanningLib.plan_file import (
    DEFAULT_ENGINE,
    DEFAULT_MACHINE,
    DEFAULT_MARGIN_MM,
    DEFAULT_SPACING_MM,
    FITS,
    BeamRequest,
    PlanRequest,
)

BOX_GANTRY_DEG = (0.0, 90.0, 180.0, 270.0)


def conformal_request(
    target: str,
    dose_Gy: float,
    fractions: int,
    gantry_deg: Sequence[float] = BOX_GANTRY_DEG,
    *,
    aperture: str = "mlc",
    margin_mm: float = DEFAULT_MARGIN_MM,
    machine: str = DEFAULT_MACHINE,
    normalization: str = "point",
    engine: str = DEFAULT_ENGINE,
    spacing_mm: float = DEFAULT_SPACING_MM,
    name: str = "",
    patient_position: str = "HFS",
    goals: Sequence[str] = (),
) -> PlanRequest:
    """Ask for fields fitted to a target: isocentre at its centroid, equal weights, one gantry angle a field.

    Parameters
    ----------
    target : str
        Name of the target structure.
    dose_Gy : float
        Dose of the whole course.
    fractions : int
    gantry_deg : sequence of float
        IEC 61217 gantry angles; the default is the four-field box.
    aperture : {"mlc", "jaws"}
        What is fitted to the target's beam's-eye view with ``margin_mm`` at the isocentre plane.
    machine : str
    normalization : {"point", "mean", "D50", "D95"}
        "point" is the isocentre.
    name : str
        Name of the plan; by default "Four-field box" or "3 fields".
    patient_position : {"HFS", "HFP", "FFS", "FFP"}
        Names the fields by the side they enter (AP, PA, laterals).
    """
    if aperture not in FITS:
        raise PlanError(f"Conformal fields: aperture {aperture!r} is unknown; use one of {', '.join(FITS)}.")
    beams = tuple(
        BeamRequest(
            side_name(float(angle), patient_position),
            float(angle),
            fit=aperture,
            margin_mm=float(margin_mm),
            machine=machine,
        )
        for angle in gantry_deg
    )
    is_box = tuple(float(angle) for angle in gantry_deg) == BOX_GANTRY_DEG
    return PlanRequest(
        name=name or ("Four-field box" if is_box else f"{len(beams)} fields"),
        beams=beams,
        prescription=Prescription(float(dose_Gy), fractions, target, normalization),
        engine=engine,
        dose_grid_spacing_mm=float(spacing_mm),
        goals=tuple(goals),
    )


def four_field_box(case: Case, target: str, dose_Gy: float, fractions: int, **options: object) -> Plan:
    """Make a four-field box for a case; ``options`` are the keyword arguments of `conformal_request`.

    Raises
    ------
    PlanFileError
        When the case has no such target, or the machine cannot form the fitted apertures.
    """
    options.setdefault("patient_position", case.patient_position)
    return conformal_request(target, dose_Gy, fractions, **options).build(case)
