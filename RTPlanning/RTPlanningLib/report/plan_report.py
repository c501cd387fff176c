"""The report of one plan: its figures drawn, and everything that is said of it drawn together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from DoseEngineLib.engine import DoseResult, create_engine
from DoseEngineLib.machine import load_machine
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.case import Case
from RTPlanningLib.display.beams_eye_view import draw_beams_eye_view
from RTPlanningLib.display.dvh_plot import draw_dvh
from RTPlanningLib.display.figure_bytes import png_bytes, svg_bytes
from RTPlanningLib.display.radiograph import RadiographVolume
from RTPlanningLib.display.slice_view import draw_slices
from RTPlanningLib.evaluation.dvh import Dvh
from RTPlanningLib.evaluation.goals import GoalResult
from RTPlanningLib.evaluation.plan_checks import CheckResult
from RTPlanningLib.report.optimization_section import OptimizationSection
from RTPlanningLib.report.report_data import ReportData

# More would make the report long.
_MOST_BEAM_VIEWS = 9


def plan_report(
    case: Case,
    result: DoseResult,
    dvhs: Mapping[str, Dvh],
    goals: Sequence[GoalResult],
    checks: Sequence[CheckResult],
    *,
    slices: bytes | None = None,
    view_3d: bytes | None = None,
    notes: Sequence[str] = (),
    optimization: OptimizationSection | None = None,
    progress: Progress | None = None,
) -> ReportData:
    """Draw a plan's figures and return its report.

    Parameters
    ----------
    case : Case
    result : DoseResult
        Its plan is the delivered one, with MU.
    dvhs : mapping of structure name to Dvh
        May be empty.
    goals : sequence of GoalResult
    checks : sequence of CheckResult
    slices, view_3d : bytes, optional
        Pictures that were drawn already; without ``slices`` they are drawn here.
    notes : sequence of str
        After the case's own.
    optimization : OptimizationSection, optional
    progress : callable, optional

    Raises
    ------
    EvaluationError, MachineError, EngineError
        A target without dose, a machine or an engine that is not here.
    """
    report = part(progress, 0.0, 1.0)
    report(0.0, "Report: DVHs and slices")
    plan = result.plan
    prescription_Gy = plan.prescription.dose_Gy if plan.prescription else None
    dvh_figure = None
    if dvhs:
        colors = {structure.name: structure.color for structure in case.structures}
        planned = optimization.planned_dvhs if optimization else None
        dvh_figure = svg_bytes(draw_dvh(dvhs, colors, prescription_Gy, dashed=planned, dashed_label="ideal fluence"))
    if slices is None:
        slices = draw_plan_slices(case, result)
    data = ReportData.from_result(
        case,
        result,
        dvhs,
        goals,
        dvh_figure=dvh_figure,
        slices=[("CT, dose and structures through the isocentre of the first beam", slices)],
        view_3d=view_3d,
        engine=create_engine(plan.engine, **plan.engine_options),
        notes=notes,
        optimization=optimization,
        checks=checks,
        beam_views=_beam_views(case, plan, part(report, 0.3, 1.0)),
    )
    report(1.0, "Report ready")
    return data


def draw_plan_slices(case: Case, result: DoseResult) -> bytes:
    """Draw CT, dose and structures in three planes through the isocentre of the first beam; returns a PNG."""
    prescription = result.plan.prescription
    isocenter = result.plan.beams[0].isocenter_RAS_mm
    figure = draw_slices(
        case.hu,
        case.grid,
        result.dose_Gy,
        result.grid,
        case.structures,
        isocenter if case.grid.contains(isocenter) else None,
        prescription_Gy=prescription.dose_Gy if prescription else None,
        isocenter_RAS_mm=isocenter,
    )
    return png_bytes(figure)


def _beam_views(case: Case, plan: Plan, progress: Progress) -> list[tuple[str, bytes]]:
    """Caption and PNG of the beam's-eye view of each of the first beams."""
    volume = RadiographVolume.from_hu(case.hu, case.grid)
    views = []
    beams = plan.beams[:_MOST_BEAM_VIEWS]
    for number, beam in enumerate(beams):
        progress(number / len(beams), f"Report: beam's-eye view of {beam.name}")
        figure = draw_beams_eye_view(
            beam, load_machine(beam.machine), plan.patient_position, volume, case.structures, thumbnail=True
        )
        moving = "" if beam.is_static else ", control point 1"
        views.append((f"Beam's-eye view of {beam.name}{moving}", png_bytes(figure)))
    return views
