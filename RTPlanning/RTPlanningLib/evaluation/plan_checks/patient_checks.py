"""Checks of the patient model: structures, densities, calibration."""

from __future__ import annotations

from collections.abc import Sequence

from DoseEngineLib.calibration import default_calibration
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Plan, Structure
from RTPlanningLib.evaluation.plan_checks.check_result import CheckResult, failed, not_applicable, passed, warning

STRUCTURES, OVERRIDES, CALIBRATION = "Structures", "Density overrides", "CT calibration"


def check_structures(
    plan: Plan, structures: Sequence[Structure], wanted: Sequence[str] = (), missing: Sequence[str] = ()
) -> CheckResult:
    """Check that the structures the plan needs are there and contoured.

    Parameters
    ----------
    wanted : sequence of str
        Names that goals refer to.
    missing : sequence of str
        Organs that a goal template asks for and the case has not.
    """
    by_name = {structure.name: structure for structure in structures}
    target = plan.prescription.target if plan.prescription else None
    if target is None:
        prescribed = "The plan names no target; name one in the prescription, so that its dose can be judged."
        return failed(STRUCTURES, prescribed) if plan.prescription else warning(STRUCTURES, prescribed)
    if target not in by_name:
        return failed(
            STRUCTURES,
            f"The target {target} is not among the structures ({', '.join(by_name) or 'none'}); contour it or "
            "prescribe to another.",
        )
    if by_name[target].is_empty:
        return failed(STRUCTURES, f"The target {target} is empty; contour it.")
    lines = []
    absent = [*dict.fromkeys(name for name in wanted if name not in by_name), *missing]
    if absent:
        lines.append(f"Asked for by goals, but not there: {', '.join(absent)}; contour them or change the goals.")
    empty = [structure.name for structure in structures if structure.is_empty]
    if empty:
        lines.append(f"Without a contour: {', '.join(empty)}; contour or delete them.")
    if not any(structure.role == "EXTERNAL" for structure in structures):
        lines.append("There is no body contour; the body was found in the image. Check it, or contour it.")
    if lines:
        return warning(STRUCTURES, " ".join(lines))
    return passed(STRUCTURES, f"Target, body and all {len(structures)} structures have contours.")


def check_density_overrides(patient: Patient) -> CheckResult:
    """List densities that were set by hand."""
    overrides = patient.provenance.get("density_overrides_g_cm3") or {}
    if not overrides:
        return passed(OVERRIDES, "None; all densities come from the image.")
    listed = ", ".join(f"{name} {value:g} g/cm³" for name, value in overrides.items())
    return warning(OVERRIDES, f"Set by hand: {listed}. Confirm each of them.")


def check_calibration(patient: Patient) -> CheckResult:
    """Check that the CT numbers were turned to densities by a curve of the scanner."""
    calibration = str(patient.provenance.get("calibration", ""))
    if not calibration:
        return failed(CALIBRATION, "How CT numbers became densities is not known; make the patient anew from its CT.")
    if patient.hu is None:
        return not_applicable(CALIBRATION, "Densities were given; there are no CT numbers.")
    if calibration == default_calibration().describe():
        return warning(
            CALIBRATION,
            f"The default curve was used: {calibration}. It is no scanner's own; give that of the scanner where it is "
            "known.",
        )
    return passed(CALIBRATION, f"{calibration}.")
