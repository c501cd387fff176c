"""All checks of a plan in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from DoseEngineLib.clinical_goals import Goal, parse_goal
from DoseEngineLib.dvh import Dvh, calculate_dvh
from DoseEngineLib.engine import DoseResult
from DoseEngineLib.machine import Machine, load_machine
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Plan, Structure
from RTPlanningLib.evaluation.plan_checks.beam_checks import (
    check_apertures,
    check_beams_meet_target,
    check_isocenter,
    check_metersets,
)
from RTPlanningLib.evaluation.plan_checks.check_result import CheckResult, not_applicable
from RTPlanningLib.evaluation.plan_checks.dose_checks import (
    COVERAGE,
    ENGINE,
    GRID_EXTENT,
    GRID_SPACING,
    HOT_SPOTS,
    PRESCRIPTION,
    check_coverage,
    check_dose_grid_extent,
    check_dose_grid_spacing,
    check_engine,
    check_hot_spots,
    check_prescription,
    covered_part,
)
from RTPlanningLib.evaluation.plan_checks.patient_checks import (
    check_calibration,
    check_density_overrides,
    check_structures,
)


def check_plan(
    patient: Patient,
    plan: Plan,
    result: DoseResult | None = None,
    *,
    goals: Sequence[Goal | str] = (),
    missing: Sequence[str] = (),
    structures: Sequence[Structure] | None = None,
    machines: Mapping[str, Machine] | None = None,
) -> list[CheckResult]:
    """Run every check before sign-off.

    Parameters
    ----------
    patient : Patient
    plan : Plan
        As it is to be delivered; with a dose, that of the result is taken, which carries the MU.
    result : DoseResult, optional
        Without it the checks of the dose are not applicable.
    goals : sequence of Goal or str
        Whose structures should be there.
    missing : sequence of str
        Organs that a goal template asks for and the case has not.
    structures : sequence of Structure, optional
        By default the patient's.
    machines : mapping of a beam's machine to Machine, optional
        Loaded by name when not given.

    Returns
    -------
    list of CheckResult
        Always the same checks in the same order.

    Raises
    ------
    EvaluationError
        A goal that cannot be read.
    MachineError
        A machine that cannot be loaded.
    """
    if result is not None:
        plan = result.plan
    structures = tuple(patient.structures if structures is None else structures)
    machines = machines or {beam.machine: load_machine(beam.machine) for beam in plan.beams}
    wanted = [(parse_goal(goal) if isinstance(goal, str) else goal).structure for goal in goals]
    prescription = plan.prescription
    name = prescription.target if prescription else None
    target = next((structure for structure in structures if structure.name == name), None)
    results = [
        check_structures(plan, structures, wanted, missing),
        check_calibration(patient),
        check_density_overrides(patient),
        check_isocenter(patient, plan, target),
        check_beams_meet_target(plan, machines, target),
        check_apertures(plan, machines),
        check_metersets(plan),
    ]
    if result is None:
        names = (GRID_EXTENT, GRID_SPACING, PRESCRIPTION, COVERAGE, HOT_SPOTS, ENGINE)
        return results + [not_applicable(one, "There is no dose yet; calculate it.") for one in names]
    dvh = _target_dvh(result, target)
    return [
        *results,
        check_dose_grid_extent(patient, result.grid, structures),
        check_dose_grid_spacing(plan, result.grid, structures),
        check_prescription(prescription, dvh),
        check_coverage(prescription, dvh),
        check_hot_spots(patient, prescription, result.dose_Gy, result.grid, structures),
        check_engine(patient, result.dose_Gy, result.grid, target, result.provenance),
    ]


def _target_dvh(result: DoseResult, target: Structure | None) -> Dvh | None:
    if target is None or target.is_empty:
        return None
    if covered_part(target.mask, target.grid, result.grid) == 0.0:
        # its own check reports that
        return None
    return calculate_dvh(result.dose_Gy, result.grid, target, allow_partial=True)
