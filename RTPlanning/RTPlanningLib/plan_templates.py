"""Plans made from a template: the classic four-field box."""

from __future__ import annotations

from DoseEngineLib.errors import PlanError
from DoseEngineLib.plan import Plan, Prescription
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

# Names for a patient on the back, head first: 90 degrees enters from the patient's left.
_SIDES = {
    "HFS": ("AP", "Left lateral", "PA", "Right lateral"),
    "FFS": ("AP", "Right lateral", "PA", "Left lateral"),
    "HFP": ("PA", "Right lateral", "AP", "Left lateral"),
    "FFP": ("PA", "Left lateral", "AP", "Right lateral"),
}
_GANTRY_DEG = (0.0, 90.0, 180.0, 270.0)


def four_field_box_request(
    target: str,
    dose_Gy: float,
    fractions: int,
    *,
    aperture: str = "mlc",
    margin_mm: float = DEFAULT_MARGIN_MM,
    machine: str = DEFAULT_MACHINE,
    normalization: str = "point",
    engine: str = DEFAULT_ENGINE,
    spacing_mm: float = DEFAULT_SPACING_MM,
    name: str = "Four-field box",
    patient_position: str = "HFS",
    goals: tuple[str, ...] = (),
) -> PlanRequest:
    """Ask for a four-field box: gantry 0, 90, 180, 270, isocentre at the target's centroid, equal weights.

    Parameters
    ----------
    target : str
        Name of the target structure.
    dose_Gy : float
        Dose of the whole course.
    fractions : int
    aperture : {"mlc", "jaws"}
        What is fitted to the target's beam's-eye view with ``margin_mm``.
    machine : str
    normalization : {"point", "mean", "D50", "D95"}
        "point" is the isocentre.
    patient_position : {"HFS", "HFP", "FFS", "FFP"}
        Names the beams (AP, PA, laterals).
    """
    if aperture not in FITS:
        raise PlanError(f"Four-field box: aperture {aperture!r} is unknown; use one of {', '.join(FITS)}.")
    if patient_position not in _SIDES:
        raise PlanError(f"Four-field box: patient position {patient_position!r}; use one of {', '.join(_SIDES)}.")
    beams = tuple(
        BeamRequest(side, gantry_deg, fit=aperture, margin_mm=float(margin_mm), machine=machine)
        for side, gantry_deg in zip(_SIDES[patient_position], _GANTRY_DEG)
    )
    return PlanRequest(
        name=name,
        beams=beams,
        prescription=Prescription(float(dose_Gy), fractions, target, normalization),
        engine=engine,
        dose_grid_spacing_mm=float(spacing_mm),
        goals=tuple(goals),
    )


def four_field_box(case: Case, target: str, dose_Gy: float, fractions: int, **options: object) -> Plan:
    """Make a four-field box for a case; the options are those of `four_field_box_request`.

    Raises
    ------
    PlanFileError
        When the case has no such target, or the machine cannot form the fitted apertures.
    """
    options.setdefault("patient_position", case.patient_position)
    return four_field_box_request(target, dose_Gy, fractions, **options).build(case)
