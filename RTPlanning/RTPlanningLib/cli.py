"""The command line: plan, optimize, evaluate, show, export, commission, validate, and list what there is.

Nothing heavy is imported before a command needs it, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from DoseEngineLib.errors import Cancelled, CaseError, PlanningError
from DoseEngineLib.progress import Progress, silent

if TYPE_CHECKING:
    from OptimizerLib.solvers import IterationState
    from RTPlanningLib.case import Case
    from RTPlanningLib.dicom.export import DicomOptions
    from RTPlanningLib.evaluation.dose_evaluation import DoseEvaluation
    from RTPlanningLib.evaluation.goals import GoalResult
    from RTPlanningLib.plan_file import PlanRequest
    from RTPlanningLib.validation.inverse_plans import InverseValidation
    from RTPlanningLib.validation.photons import ValidationOutput
    from RTPlanningLib.workflow import PlanningResult

DEFAULT_CASE = "tg119-prostate"
DEFAULT_DEMO_FOLDER = "rtplanning-demo"

OK = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130
TERMINATED = 143

_NOTICE = "For research and teaching, not for clinical use."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done; 1 the request could not be served (the reason is on stderr); 2 wrong usage; 130 stopped with Ctrl-C.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments after the program's name; by default those of the process.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        with _terminate_like_interrupt():
            options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader (head, less) went away: no complaint, and none at interpreter exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (KeyboardInterrupt, Cancelled):
        print("rtplanning: cancelled; nothing was written.", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if options.debug:
            raise
        print(f"rtplanning: {_in_words(error)}", file=sys.stderr)
        return FAILED
    return OK


def _in_words(error: Exception) -> str:
    if isinstance(error, PlanningError):
        return f"error: {error}"
    if isinstance(error, MemoryError):
        return (
            "error: not enough memory; use a coarser dose grid (spacing_mm in the plan file) or close other programs."
        )
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"error: {place}{error.strerror or error}."
    return (
        f"internal error: {type(error).__name__}: {error}\n"
        "This is a fault of the program, not of your input. Run it again with --debug and report what it shows."
    )


@contextmanager
def _terminate_like_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that nothing half-written stays."""

    def terminate(signum: int, frame: object) -> None:
        raise SystemExit(TERMINATED)

    try:
        former = signal.signal(signal.SIGTERM, terminate)
    except ValueError:
        # not in the main thread: signals are someone else's
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


# The parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("rtplanning")
        except PackageNotFoundError:
            number = "(not installed as a package)"
        print(f"rtplanning {number}. {_NOTICE}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rtplanning",
        allow_abbrev=False,
        description=f"Radiotherapy treatment planning. {_NOTICE}",
        epilog="""\
examples:
  rtplanning demo                                    a four-field box on a built-in case
  rtplanning run plan.toml --ct dicom/ --out result  your plan file on your DICOM folder (CT and RTSTRUCT)
  rtplanning optimize tg119-cshape-imrt --case tg119-cshape --out imrt   an inverse plan of a built-in case
  rtplanning show result/scene.mrb                   what a saved plan holds

exit codes: 0 done, 1 could not be done (the reason is on stderr), 2 wrong usage, 130 Ctrl-C""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.add_argument("--debug", action="store_true", help="show Python's traceback when something goes wrong")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    demo = _command(
        commands,
        "demo",
        _demo,
        "plan a built-in case: fields around its target, dose, DVHs, report",
        """\
examples:
  rtplanning demo
  rtplanning demo --case tg119-cshape --out cshape
The folder then holds a plan.toml to edit and run again:
  rtplanning run rtplanning-demo/plan.toml --case tg119-prostate --out mine""",
    )
    demo.add_argument(
        "--case", metavar="NAME", default=DEFAULT_CASE, help="see: rtplanning cases (default: %(default)s)"
    )
    demo.add_argument("--spacing", metavar="MM", type=float, help="dose grid spacing in mm (default: 2.5)")
    _output_arguments(demo, default=DEFAULT_DEMO_FOLDER)

    run = _command(
        commands,
        "run",
        _run,
        "plan a CT by a plan file: dose, DVHs, goals, report",
        """\
examples:
  rtplanning run plan.toml --ct dicom/ --out result
  rtplanning run plan.toml --ct ct.nrrd --seg structures.seg.nrrd --out result
  rtplanning run plan.toml --case thorax --out result

a plan file (plan.toml):
  name = "Four-field box"
  goals = ["PTV D95% >= 47.5 Gy"]

  [prescription]
  dose_Gy = 50.0
  fractions = 25
  target = "PTV"
  normalization = "point"        # the isocentre; or mean, D50, D95 of the target, or none

  [defaults]
  machine = "generic_6mv"
  isocenter = "target"           # its centroid, or [r, a, s] in mm
  aperture = "mlc"               # fitted to the target; or jaws; or open, with field = [x, y] at each beam
  margin_mm = 7

  [[beam]]
  name = "AP"
  gantry = 0                     # also collimator, couch (IEC 61217 degrees), weight or MU

  [[beam]]
  name = "PA"
  gantry = 180
  field = [100, 100]             # an open field in mm, exactly as set""",
    )
    run.add_argument("plan", metavar="PLAN.toml", type=Path, help="the plan file")
    _case_arguments(run)
    _output_arguments(run)
    _dicom_argument(run)

    optimize = _command(
        commands,
        "optimize",
        _optimize,
        "optimize fluence by a plan file's objectives: leaves, dose, DVHs, goals, report",
        """\
examples:
  rtplanning optimize tg119-cshape-imrt --case tg119-cshape --out imrt
  rtplanning optimize plan.toml --ct dicom/ --out result
  rtplanning optimize plan.toml --ct dicom/ --start result --out result2   (weights changed: go on from result)
Ctrl-C while the objectives fall stops the search: leaves and dose follow. A second one cancels.

a plan file (plan.toml):
  name = "C-shape, nine beams"

  [prescription]
  dose_Gy = 50
  fractions = 25
  target = "PTV"
  normalization = "D95"          # all MU are scaled to it at the end; none: they stand as optimized

  [beams]
  gantry = [0, 40, 80, 120, 160, 200, 240, 280, 320]

  [optimization]
  objectives = [                 # goals, uniform, falloff, minimize, fluence smoothness; weight, level, constraint
    "PTV uniform 51 Gy, weight 100",
    "Core D10% <= 15 Gy, weight 10",
    "External falloff 50 Gy -> 15 Gy in 30 mm from PTV, weight 5",
  ]
  bixel_mm = 5                   # also target_margin_mm, spacing_mm, normal_tissue_every, solver, iterations,
  delivery = "step_and_shoot"    # or sliding_window; levels, refine""",
    )
    optimize.add_argument(
        "plan", metavar="PLAN.toml", type=Path, help="the plan file, or the name of one that comes with the samples"
    )
    _case_arguments(optimize)
    _output_arguments(optimize)
    _dicom_argument(optimize)
    optimize.add_argument(
        "--start", metavar="DIR", type=Path, help="go on from the fluence of an earlier result in this folder"
    )
    optimize.add_argument(
        "--keep-fluence",
        action="store_true",
        help="with --start: take its fluence as it is, without a search; only leaves and dose are calculated",
    )
    optimize.add_argument("--keep-influence", action="store_true", help="write influence.npz, which may be large")

    pareto = _command(
        commands,
        "pareto",
        _pareto,
        "compute plans for two to four goals that compete, to navigate between",
        """\
examples:
  rtplanning pareto plan.toml --case thorax --tradeoff PTV External --tradeoff Lungs --tradeoff Heart --out front
  rtplanning pareto plan.toml --case thorax --start front --plans 20 --out front2    (more plans, a smaller gap)
  rtplanning navigate front --out chosen --weight Lungs=2 --limit Heart=5
  rtplanning optimize chosen/plan.toml --case thorax --start chosen --keep-fluence --out result

Each --tradeoff is a goal: the rows of the structures it names, weighted as in the plan file. Constraints hold in every
plan. DVH rows are not convex: use uniform, Max, Min, Mean, gEUD or falloff, or make them constraints.""",
    )
    pareto.add_argument(
        "plan", metavar="PLAN.toml", type=Path, help="a plan file with objectives, or the name of one of the samples"
    )
    _case_arguments(pareto)
    _output_arguments(pareto)
    pareto.add_argument(
        "--tradeoff",
        metavar="STRUCTURE",
        nargs="+",
        action="append",
        default=[],
        help="a goal; two to four of them (default: a goal for each structure with objectives)",
    )
    pareto.add_argument(
        "--limit",
        metavar="GOAL=VALUE",
        action="append",
        default=[],
        type=_named_number,
        help="largest value of a goal (default: --room times its value by the rows' weights)",
    )
    pareto.add_argument("--room", metavar="FACTOR", type=float, default=4.0, help="see --limit (default: %(default)g)")
    pareto.add_argument(
        "--gap", metavar="PERCENT", type=float, default=5.0, help="how near to stop at (default: %(default)g %%)"
    )
    pareto.add_argument("--plans", metavar="N", type=int, default=12, help="at most (default: %(default)s)")
    pareto.add_argument("--start", metavar="DIR", type=Path, help="add plans to those in this folder")

    navigate = _command(
        commands,
        "navigate",
        _navigate,
        "choose between Pareto plans: fluence and a plan file to make it deliverable with",
        """\
examples:
  rtplanning navigate front --out chosen                                  the most balanced mixture
  rtplanning navigate front --out chosen --weight Lungs=2 --limit Heart=5
  rtplanning optimize chosen/plan.toml --case thorax --start chosen --keep-fluence --out result""",
    )
    navigate.add_argument("front", metavar="DIR", type=Path, help="the folder of an earlier rtplanning pareto")
    navigate.add_argument(
        "--weight",
        metavar="GOAL=FACTOR",
        action="append",
        default=[],
        type=_named_number,
        help="bring a goal this much nearer to its least value than the others (default: 1)",
    )
    navigate.add_argument(
        "--limit",
        metavar="GOAL=VALUE",
        action="append",
        default=[],
        type=_named_number,
        help="largest value of a goal, or of the goal that a structure belongs to",
    )
    _output_arguments(navigate)

    evaluate = _command(
        commands,
        "evaluate",
        _evaluate,
        "judge a dose file: goals of published templates, DVHs, radiobiology, report",
        """\
examples:
  rtplanning evaluate rtdose.dcm --structures dicom/ --template quantec --prescription 60 --fractions 30 --out result
  rtplanning evaluate dose.nrrd --structures structures.seg.nrrd --template tg101-3fx --target PTV --out result
  rtplanning evaluate rtplanning-demo/dose.nrrd --case tg119-prostate --template tg119-prostate --out result
  rtplanning evaluate rtdose.dcm --structures dicom/ --template quantec --name Lungs=Lungs-GTV --out result
  rtplanning evaluate dose.nrrd --structures structures.seg.vtm --out result        (DVHs alone: dvh.csv)
  rtplanning evaluate rtdose.dcm --structures rtstruct.dcm --end-caps none --out result        (no CT)
  rtplanning evaluate folder/ --out result        (a folder with one dose and its structures, or of an earlier run)
A structure that a template asks for is found by its TG-263 name or one in use; what may be several, or is not there,
is listed and not judged. See: rtplanning templates, rtplanning probabilities""",
    )
    evaluate.add_argument(
        "dose",
        metavar="DOSE",
        type=Path,
        help="a DICOM RT Dose, a volume (NRRD, NIfTI, MHA) of the whole course, or a folder that holds one",
    )
    _structure_arguments(evaluate, "those in the folder of the dose")
    _goal_arguments(evaluate)
    evaluate.add_argument("--radiobiology", action="store_true", help="add complication probabilities (NTCP)")
    evaluate.add_argument(
        "--ntcp",
        metavar="STRUCTURE=SET",
        nargs="+",
        action="extend",
        default=[],
        help="add its probability with these parameters",
    )
    evaluate.add_argument("--tcp", metavar="SET", help="add the target's control probability with these parameters")
    evaluate.add_argument(
        "--overall-days", metavar="N", type=float, help="from first to last fraction, for models with tumour growth"
    )
    _dvh_step_argument(evaluate)
    _dose_unit_argument(evaluate)
    _output_arguments(evaluate)

    recompute = _command(
        commands,
        "recompute",
        _recompute,
        "recompute a clinical plan (RTPLAN) with an engine of ours, and compare with its dose or DVHs",
        """\
examples:
  rtplanning recompute dicom/ --out result                  (CT, RTSTRUCT, RTPLAN and RTDOSE in one folder)
  rtplanning recompute dicom/ --dvh dvh.csv --name PTV=PTV_41.4 --out result               (DVHs in place of a dose)
  rtplanning recompute dicom/ --machine my-linac/generic_6mv_commissioned.json --engine photon-pencil-beam --out result
  rtplanning recompute dicom/ --allow wedges --out result                           (without what is not modelled)
Absolute dose from the plan's MU, jaws and leaves. Machines are replaced by generic ones of their energy unless given.
Beams with wedges, blocks, bolus and the like stop with an error that says how to allow them. Ion and brachytherapy
plans are not computed yet.

writes recompute.html, .json and .csv, gamma and difference as volumes, and what rtplanning run writes""",
    )
    recompute.add_argument("folder", metavar="FOLDER", type=Path, help="DICOM folder with CT, RTSTRUCT and RTPLAN")
    recompute.add_argument(
        "--engine",
        metavar="LABEL",
        default="photon-collapsed-cone",
        help="see: rtplanning engines (default: %(default)s)",
    )
    recompute.add_argument(
        "--machine",
        metavar="NAME|FILE|THEIRS=NAME",
        nargs="+",
        action="extend",
        default=[],
        help="machine for all beams, or for those of a treatment machine; see: rtplanning machines",
    )
    recompute.add_argument(
        "--leaves",
        choices=("plan", "machine"),
        default="plan",
        help="leaf transmission and ends that the plan's stored fluences show, or the machine's (default: %(default)s)",
    )
    recompute.add_argument(
        "--allow", metavar="WHAT", nargs="+", action="extend", default=[], help="calculate without: wedges, blocks, ..."
    )
    recompute.add_argument("--spacing", metavar="MM", type=float, default=2.5, help="dose grid (default: %(default)s)")
    recompute.add_argument(
        "--arc-step",
        metavar="DEG",
        type=float,
        default=4.0,
        help="control points of an arc this close are calculated together; 0: each by itself (default: %(default)s)",
    )
    recompute.add_argument("--dvh", metavar="FILE", type=Path, help="planned DVHs as CSV, where there is no dose")
    recompute.add_argument(
        "--name",
        metavar="STRUCTURE=ROW",
        nargs="+",
        action="extend",
        default=[],
        help="which DVH of the table is a structure's, where names differ",
    )
    recompute.add_argument("--target", metavar="NAME", help="structure of the prescription")
    recompute.add_argument("--prescription", metavar="GY", type=float, help="prescribed dose, where the plan has none")
    recompute.add_argument("--fractions", metavar="N", type=int, help="their number, where the plan does not say it")
    recompute.add_argument("--fraction-group", metavar="N", type=int, help="where the plan has several")
    recompute.add_argument(
        "--patient-position", metavar="HFS", help="HFS, HFP, FFS or FFP, where the files do not say it"
    )
    recompute.add_argument("--goal", metavar="GOAL", nargs="+", action="extend", default=[], help="goals to judge")
    recompute.add_argument(
        "--gamma", metavar="PERCENT/MM", default="3/2", help="criterion of gamma, global (default: %(default)s)"
    )
    recompute.add_argument("--plan", metavar="UID", help="plan, where the folder holds several")
    recompute.add_argument("--ct-series", metavar="UID", help="CT series, where the folder holds several")
    recompute.add_argument("--structure-set", metavar="UID", help="structure set, where the folder holds several")
    _output_arguments(recompute)

    compare = _command(
        commands,
        "compare",
        _compare,
        "compare doses on the same structures: gamma, differences, DVHs and goals side by side, report",
        """\
examples:
  rtplanning compare planned/ recomputed/ --out comparison                (folders of earlier runs: structures inside)
  rtplanning compare clinic.dcm ours.nrrd --structures dicom/ --gamma 2/2 --threshold 10 --out comparison
  rtplanning compare a.nrrd b.nrrd c.nrrd --labels 3D IMRT VMAT --structures s.seg.nrrd --template quantec \\
             --prescription 60 --fractions 30 --out comparison
The first dose is the reference: gamma and differences are of the others against it, on its grid.""",
    )
    compare.add_argument(
        "doses",
        metavar="DOSE",
        nargs="+",
        type=Path,
        help="two to five doses: a DICOM RT Dose, a volume (NRRD, NIfTI, MHA), or a folder that holds one",
    )
    compare.add_argument("--labels", metavar="NAME", nargs="+", help="what to call them, one name a dose")
    _structure_arguments(compare, "those in the folder of the first dose")
    _goal_arguments(compare)
    compare.add_argument(
        "--gamma", metavar="%/MM", default="3/2", help="dose and distance criterion (default: %(default)s)"
    )
    compare.add_argument("--local", action="store_true", help="the dose criterion is of the local dose")
    compare.add_argument(
        "--threshold", metavar="%", type=float, default=10.0, help="least dose that is judged (default: %(default)s %%)"
    )
    compare.add_argument(
        "--normalization", metavar="GY", type=float, help="what 100 %% are (default: the reference's maximum)"
    )
    compare.add_argument("--max-gamma", type=float, default=2.0, help="search up to this gamma (default: %(default)s)")
    compare.add_argument(
        "--within", metavar="NAME", nargs="+", action="extend", help="compare in these structures only (default: all)"
    )
    _dvh_step_argument(compare)
    _dose_unit_argument(compare)
    _output_arguments(compare)

    add = _command(
        commands,
        "sum",
        _sum,
        "add or subtract doses, as they are or in EQD2, and judge the sum",
        """\
examples:
  rtplanning sum first/ boost/ --out course                               (two runs, added on one grid)
  rtplanning sum a.dcm b.dcm --eqd2 3 --courses 25 5 --out course         (in EQD2, alpha/beta 3 Gy everywhere)
  rtplanning sum a.dcm b.dcm --eqd2 10 --alpha-beta Cord=2 Lungs=3 --courses 25 5 --structures dicom/ \\
             --goal "Cord Max < 50 Gy" --out course
  rtplanning sum plan/ --courses 30 --delivered 12 --out so-far           (what 12 of 30 fractions gave)
  rtplanning sum plan.nrrd day7.nrrd --transforms none day7.h5 --out accumulated      (through a registration)
  rtplanning sum a.nrrd b.nrrd --subtract --out difference""",
    )
    add.add_argument(
        "doses", metavar="DOSE", nargs="+", type=Path, help="DICOM RT Doses, volumes, or folders that hold one"
    )
    add.add_argument("--labels", metavar="NAME", nargs="+", help="what to call them, one name a dose")
    add.add_argument("--weights", metavar="W", nargs="+", type=float, help="one factor a dose (default: 1)")
    add.add_argument("--courses", metavar="N", nargs="+", type=int, help="fractions that each dose stands for")
    add.add_argument("--delivered", metavar="N", nargs="+", type=int, help="fractions delivered of each (default: all)")
    add.add_argument(
        "--transforms",
        metavar="FILE|none",
        nargs="+",
        help="one a dose: what brings it onto the anatomy of the first (.h5, .tfm, .txt, .mat, displacements .nrrd)",
    )
    add.add_argument("--subtract", action="store_true", help="the first dose minus the second")
    add.add_argument(
        "--eqd2",
        metavar="GY",
        type=float,
        help="turn each dose into EQD2 first, with this alpha/beta outside structures",
    )
    add.add_argument(
        "--alpha-beta",
        metavar="STRUCTURE=GY",
        nargs="+",
        action="extend",
        default=[],
        help="alpha/beta of structures; where they overlap the first one named counts",
    )
    add.add_argument(
        "--overlap",
        choices=("first", "smallest", "largest"),
        default="first",
        help="which alpha/beta counts where structures overlap (default: %(default)s)",
    )
    add.add_argument(
        "--grid",
        choices=("union", "first"),
        default="union",
        help="of the sum: the finest, extended to cover all, or the first's (default: %(default)s)",
    )
    add.add_argument("--mixed-media", action="store_true", help="add dose to water to dose to medium")
    _structure_arguments(add, "none, and the sum is not judged")
    _goal_arguments(add, with_fractions=False)
    _dvh_step_argument(add)
    _dose_unit_argument(add)
    _output_arguments(add)

    show = _command(
        commands,
        "show",
        _show,
        "tell what a saved plan (scene.mrb) holds: beams, dose, structures",
        "example:\n  rtplanning show result/scene.mrb",
    )
    show.add_argument("scene", metavar="SCENE.mrb", type=Path, help="a scene that RTPlanning or 3D Slicer saved")

    commission = _command(
        commands,
        "commission",
        _commission,
        "fit a photon machine to measured depth doses, profiles and output factors",
        """\
examples:
  rtplanning commission scans/ --machine generic_6mv --out my-linac
  rtplanning commission beam.csv --machine base.json --name ward_6mv --centre-profiles --out my-linac

measurements: one file or a folder of .csv, .asc (W2CAD) and .txt files. A CSV file holds curves one after the other:
  kind = pdd                     # or profile, output_factor
  ssd_mm = 1000
  field_x_mm = 100               # jaw setting at the isocentre plane
  field_y_mm = 100
  detector = ionization chamber
  depth_mm, dose                 # profile: position_mm, dose and above depth_mm, axis = crossline|inline|diagonal
  5, 81.2                        # output_factor: field_mm, dose and above depth_mm
  10, 96.5

writes <name>.json (the machine: plan with machine = "my-linac/<name>.json"), commissioning.html and curves.csv""",
    )
    commission.add_argument(
        "measurements", metavar="MEASUREMENTS", type=Path, help="a file or folder of measured curves"
    )
    commission.add_argument("--machine", metavar="NAME|FILE", required=True, help="the machine to begin from")
    commission.add_argument("--name", help="name of the fitted machine (default: the base's with _commissioned)")
    commission.add_argument(
        "--centre-profiles", action="store_true", help="move profiles to their centre; else shifts are only reported"
    )
    commission.add_argument("--robust", action="store_true", help="let outlying points count less (soft L1 loss)")
    _output_arguments(commission)

    export = _command(
        commands,
        "export",
        _export,
        "write a result, or a case, as DICOM objects: CT, RTSTRUCT, RTPLAN, RTDOSE",
        """\
examples:
  rtplanning export rtplanning-demo --out dicom
  rtplanning export result --beams --eqd2 3 PTV=10 --out dicom       (alpha/beta 3 Gy, 10 Gy in the PTV)
  rtplanning export result --anonymise --out to-give-away
  rtplanning export --case tg119-prostate --out dicom
  rtplanning export --ct dicom-in/ --anonymise --out to-give-away

A CT that came from DICOM is referred to and not written again, unless --with-ct or --anonymise is given.
--anonymise follows the basic profile of DICOM PS3.15 with shifted dates; which patient, date and UID became which is
not kept anywhere. It needs: pip install "rtplanning[anonymise]".""",
    )
    what = export.add_mutually_exclusive_group(required=True)
    what.add_argument("result", metavar="RESULT", nargs="?", type=Path, help="folder of a result, or a scene.mrb")
    _source_arguments(what)
    _series_arguments(export)
    export.add_argument("--plan", metavar="NAME", help="the plan, where a scene holds several")
    export.add_argument("--beams", action="store_true", help="the dose of every beam too")
    export.add_argument(
        "--eqd2",
        metavar="GY|NAME=GY",
        nargs="+",
        help="the EQD2 too, with this alpha/beta, and other ones in structures",
    )
    export.add_argument("--with-ct", action="store_true", help="write a CT that came from DICOM too, as a new series")
    export.add_argument("--anonymise", action="store_true", help="take out what tells who the patient is")
    export.add_argument(
        "--resample-oblique", action="store_true", help="interpolate a dose whose grid is oblique to the patient's axes"
    )
    _output_arguments(export)

    validate = _command(
        commands,
        "validate",
        _validate,
        "compare doses with Monte Carlo and measured data, inverse plans with the institutions of TG-119",
        """\
examples:
  rtplanning validate photons --reference egsnrc/ --out validation
  rtplanning validate photons --reference egsnrc/ --engine photon-pencil-beam --case w10 --out validation
  rtplanning validate imrt --out validation

photons: dose engines against Monte Carlo, the generic machine against measured data. The reference folder
holds a file a case, <letter><field>[_15MV].npz: w10 water, l03 lung slab, b03 bone slab.
The gamma index needs pymedphys: pip install "rtplanning[validate]".
A bar that is missed is a result (exit code 0); the page and the table say which.

imrt: the cases of AAPM TG-119 planned by their shipped plan files, sequenced, and held to what institutions reached.

writes validation.html and .csv, or validation-imrt.html and .csv: tables, curves, sources""",
    )
    validate.set_defaults(usage_error=validate.error)
    validate.add_argument("what", choices=("photons", "imrt"), help="what to validate")
    validate.add_argument(
        "--reference", metavar="FOLDER", type=Path, help="photons: folder of the Monte Carlo references (*.npz)"
    )
    validate.add_argument(
        "--engine",
        metavar="LABEL",
        nargs="+",
        action="extend",
        help="photons: dose engines (default: photon-pencil-beam photon-collapsed-cone); see: rtplanning engines",
    )
    validate.add_argument(
        "--case",
        metavar="NAME",
        nargs="+",
        action="extend",
        default=[],
        help="photons: references (default: all of the folder); imrt: built-in cases (default: the four of TG-119)",
    )
    _output_arguments(validate)

    _command(
        commands,
        "probabilities",
        _probabilities,
        "list the parameters of complication and control probabilities",
        "example:\n  rtplanning probabilities",
    )
    fractionation = _command(
        commands,
        "fractionation",
        _fractionation,
        "compare schedules of fractions: BED and EQD2 by tissue",
        """\
examples:
  rtplanning fractionation 74/37 60/20 36.25/5 --alpha-beta tumour=1.5 rectum=3
  rtplanning fractionation --site breast --alpha-beta tumour=3.5 heart=3""",
    )
    fractionation.add_argument("schedules", metavar="DOSE/FRACTIONS", nargs="*", help="Gy and number, as in 60/20")
    fractionation.add_argument("--site", metavar="NAME", help="schedules of trials: prostate, breast, ...")
    fractionation.add_argument(
        "--alpha-beta", metavar="TISSUE=GY", nargs="+", action="extend", default=[], required=True, help="tissues"
    )
    fractionation.add_argument(
        "--lql", metavar="GY", type=float, help="straighten the survival curve above this dose a fraction (LQ-L)"
    )

    _command(commands, "cases", _cases, "list the built-in cases", "example:\n  rtplanning cases")
    _command(
        commands, "templates", _templates, "list the templates of clinical goals", "example:\n  rtplanning templates"
    )
    exercises = _command(
        commands,
        "exercises",
        _exercises,
        "list the guided exercises, or check the file of one's own",
        "examples:\n  rtplanning exercises\n  rtplanning exercises mine.json",
    )
    exercises.add_argument("file", metavar="FILE", type=Path, nargs="?", help="an exercise in JSON, to be checked")
    _command(commands, "machines", _machines, "list the machines", "example:\n  rtplanning machines")
    _command(
        commands,
        "engines",
        _engines,
        "list the dose engines, and why one is not available",
        "example:\n  rtplanning engines",
    )
    return parser


def _command(commands: Any, name: str, function: Any, text: str, epilog: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        allow_abbrev=False,
        help=text,
        description=f"{text[0].upper()}{text[1:]}. {_NOTICE}",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # accepted after the command too; not given there, what stood before the command counts
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.set_defaults(command=function, parser=parser)
    return parser


def _case_arguments(parser: argparse.ArgumentParser) -> None:
    _source_arguments(parser.add_mutually_exclusive_group(required=True))
    _series_arguments(parser)


def _source_arguments(group: Any) -> None:
    group.add_argument("--ct", metavar="DIR|FILE", type=Path, help="a DICOM folder, or a volume file (NRRD, NIfTI)")
    group.add_argument("--case", metavar="NAME", help="a built-in case in place of --ct; see: rtplanning cases")


def _series_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seg", metavar="FILE", type=Path, help="segmentation (.seg.nrrd) of a volume file")
    parser.add_argument("--ct-series", metavar="UID", help="CT series, where the DICOM folder holds several")
    parser.add_argument("--structure-set", metavar="UID", help="structure set, where the DICOM folder holds several")


def _structure_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    organs = parser.add_mutually_exclusive_group()
    organs.add_argument(
        "--structures",
        metavar="DIR|FILE",
        nargs="+",
        type=Path,
        help="a DICOM folder, an RTSTRUCT, a segmentation (.seg.nrrd, .seg.vtm), or surfaces (.vtp, .vtk, .stl, ...); "
        f"by default {default}",
    )
    organs.add_argument("--case", metavar="NAME", help="a built-in case in their place; see: rtplanning cases")
    parser.add_argument(
        "--contours-only", action="store_true", help="take an RTSTRUCT by its contours, whatever CT lies beside it"
    )
    parser.add_argument(
        "--end-caps",
        choices=("half", "none"),
        default="half",
        help="how far contours reach beyond the first and last: half a slice, or not at all (default: %(default)s)",
    )
    parser.add_argument(
        "--skip", metavar="NAME", nargs="+", action="extend", default=[], help="leave these structures out"
    )


def _goal_arguments(parser: argparse.ArgumentParser, *, with_fractions: bool = True) -> None:
    parser.add_argument(
        "--template",
        metavar="NAME|FILE",
        nargs="+",
        action="extend",
        default=[],
        help="goal templates; see: rtplanning templates",
    )
    parser.add_argument(
        "--goal", metavar="GOAL", nargs="+", action="extend", default=[], help='goals of your own: "PTV D95%% >= 95 %%"'
    )
    parser.add_argument("--prescription", metavar="GY", type=float, help="prescribed dose of the course")
    if with_fractions:
        parser.add_argument("--fractions", metavar="N", type=int, help="its number of fractions")
    parser.add_argument("--target", metavar="NAME", help="structure it is prescribed to")
    parser.add_argument(
        "--name",
        metavar="ORGAN=NAME",
        nargs="+",
        action="extend",
        default=[],
        help="which structure is meant, where several may be",
    )


def _dvh_step_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dvh-step", metavar="GY", type=float, default=0.01, help="rows of dvh.csv (default: %(default)s Gy)"
    )


def _dose_unit_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dose-unit", choices=("Gy", "cGy"), default="Gy", help="unit of dose volumes (default: %(default)s)"
    )


def _output_arguments(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=default and Path(default),
        required=default is None,
        help="folder for the results" + (" (default: %(default)s)" if default else ""),
    )
    parser.add_argument("--force", action="store_true", help="overwrite files in the folder that are not our own")


def _dicom_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dicom",
        action="store_true",
        help="write structures, plan and dose as DICOM objects too, into the folder's dicom/; see: rtplanning export",
    )


# The commands


def _demo(options: argparse.Namespace) -> None:
    from RTPlanningLib.workflow import plan_sample

    with _progress_bar() as progress:
        result = plan_sample(
            options.case, options.out, spacing_mm=options.spacing, force=options.force, progress=progress
        )
    _print_result(result)


def _run(options: argparse.Namespace) -> None:
    _check_case_arguments(options)
    from DoseEngineLib.progress import part
    from RTPlanningLib.workflow import plan_case

    request = _read_request(options, options.plan)
    with _progress_bar() as progress:
        result = plan_case(
            _read_case(options, request, part(progress, 0.0, 0.1)),
            request,
            options.out,
            plan_file=options.plan,
            dicom=_dicom_options(options),
            force=options.force,
            progress=part(progress, 0.1, 1.0),
        )
    _print_result(result)


def _optimize(options: argparse.Namespace) -> None:
    _check_case_arguments(options)
    if options.keep_fluence and not options.start:
        options.parser.error("--keep-fluence goes with --start: the fluence to take")
    from DoseEngineLib.progress import part
    from RTPlanningLib.optimization_workflow import optimize_case, read_start
    from RTPlanningLib.samples.plan_files import find_plan_file

    plan_file = find_plan_file(options.plan)
    request = _read_request(options, plan_file)
    start = read_start(options.start) if options.start else None
    with _progress_bar() as bar, _stop_on_interrupt(bar) as (progress, stop):
        result = optimize_case(
            _read_case(options, request, part(progress, 0.0, 0.05)),
            request,
            options.out,
            plan_file=plan_file,
            start=start,
            search=not options.keep_fluence,
            keep_influence=options.keep_influence,
            dicom=_dicom_options(options),
            force=options.force,
            progress=part(progress, 0.05, 1.0),
            callback=stop,
        )
    _print_result(result.planning, result.headlines())


def _pareto(options: argparse.Namespace) -> None:
    _check_case_arguments(options)
    if options.start and (options.tradeoff or options.limit):
        options.parser.error("--start keeps goals and limits; --tradeoff and --limit are for plans computed anew")
    from DoseEngineLib.progress import part
    from RTPlanningLib.pareto_workflow import pareto_case, read_front
    from RTPlanningLib.samples.plan_files import find_plan_file

    plan_file = find_plan_file(options.plan)
    request = _read_request(options, plan_file)
    with _progress_bar() as progress:
        result = pareto_case(
            _read_case(options, request, part(progress, 0.0, 0.05)),
            request,
            options.out,
            options.tradeoff,
            limits=dict(options.limit),
            room=options.room,
            gap=options.gap / 100.0,
            max_plans=options.plans,
            start=read_front(options.start) if options.start else None,
            plan_file=plan_file,
            force=options.force,
            progress=part(progress, 0.05, 1.0),
        )
    _print_notes(result.notes)
    for line in result.headlines():
        print(line)
    _print_written(result.folder, result.files, result.seconds)


def _navigate(options: argparse.Namespace) -> None:
    from RTPlanningLib.pareto_workflow import navigate_front

    result = navigate_front(
        options.front,
        options.out,
        importance=dict(options.weight),
        limits=dict(options.limit),
        force=options.force,
    )
    for line in result.headlines():
        print(line)
    _print_written(result.folder, result.files)


def _named_number(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not name.strip() or not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} should be a name and a number, as in Lungs=2")
    return name.strip(), value


def _dicom_options(options: argparse.Namespace) -> DicomOptions | None:
    if not options.dicom:
        return None
    from RTPlanningLib.dicom.export import DicomOptions

    return DicomOptions()


def _export(options: argparse.Namespace) -> None:
    if options.result is None:
        _check_case_arguments(options)
        if options.plan or options.beams or options.eqd2:
            options.parser.error("--plan, --beams and --eqd2 go with a RESULT; a case alone has no plan and no dose")
    elif options.seg or options.ct_series or options.structure_set:
        options.parser.error("--seg, --ct-series and --structure-set go with --ct; a RESULT has its own case")
    from DoseEngineLib.progress import part
    from RTPlanningLib.dicom.export import DicomOptions, export_dicom
    from RTPlanningLib.workflow import export_scene, read_case_from

    elsewhere, named = _eqd2_of_export(options)
    wanted = DicomOptions(
        beams=options.beams,
        eqd2_elsewhere_Gy=elsewhere,
        eqd2_Gy=named,
        with_ct=True if options.with_ct else None,
        anonymise=options.anonymise,
        resample_oblique=options.resample_oblique,
    )
    with _progress_bar() as progress:
        if options.result is not None:
            written = export_scene(
                options.result,
                options.out,
                plan_name=options.plan,
                options=wanted,
                force=options.force,
                progress=progress,
            )
        else:
            case = read_case_from(
                ct=options.ct,
                segmentation=options.seg,
                sample=options.case,
                ct_series_uid=options.ct_series,
                structure_set_uid=options.structure_set,
                progress=part(progress, 0.0, 0.5),
            )
            written = export_dicom(
                case, options.out, options=wanted, force=options.force, progress=part(progress, 0.5, 1.0)
            )
            written = replace(written, notes=(*case.notes, *written.notes))
    _print_notes(written.notes)
    images = [path for path in written.files if path.name.startswith("CT_")]
    print(f"Written to {written.folder}:")
    rows = [(f"  {path.name}", _size(path.stat().st_size)) for path in written.files if path not in images]
    if images:
        rows.insert(0, (f"  {len(images)} CT images", _size(sum(path.stat().st_size for path in images))))
    _print_columns(rows)
    print(_NOTICE)


def _eqd2_of_export(options: argparse.Namespace) -> tuple[float | None, dict[str, float]]:
    elsewhere, named = [], {}
    for text in options.eqd2 or ():
        name, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            options.parser.error(f"--eqd2 takes alpha/beta in Gy, and NAME=GY for a structure; got {text!r}")
        if equals:
            named[name] = value
        else:
            elsewhere.append(value)
    if options.eqd2 and len(elsewhere) != 1:
        options.parser.error("--eqd2 takes one alpha/beta for all that is not named, as in --eqd2 3 PTV=10")
    return (elsewhere[0] if elsewhere else None), named


def _check_case_arguments(options: argparse.Namespace) -> None:
    if options.seg and (options.case or options.ct.is_dir()):
        options.parser.error(
            "--seg goes with a volume file at --ct; a DICOM folder or a built-in case has its own structures"
        )
    if (options.ct_series or options.structure_set) and (options.case or options.ct.is_file()):
        options.parser.error("--ct-series and --structure-set go with a DICOM folder at --ct")


def _read_request(options: argparse.Namespace, plan_file: Path) -> PlanRequest:
    from RTPlanningLib.plan_file import read_plan_file

    request = read_plan_file(plan_file)
    return replace(
        request,
        ct_series_uid=options.ct_series or request.ct_series_uid,
        structure_set_uid=options.structure_set or request.structure_set_uid,
    )


def _read_case(options: argparse.Namespace, request: PlanRequest, progress: Progress) -> Case:
    from RTPlanningLib.workflow import read_case_from

    progress(0.0, "Reading the case")
    return read_case_from(
        ct=options.ct, segmentation=options.seg, sample=options.case, request=request, progress=progress
    )


def _commission(options: argparse.Namespace) -> None:
    from RTPlanningLib.commission import commission_to_folder

    with _progress_bar() as progress:
        output = commission_to_folder(
            options.measurements,
            options.machine,
            options.out,
            name=options.name,
            centre_profiles=options.centre_profiles,
            robust=options.robust,
            force=options.force,
            progress=progress,
        )
    _print_notes(output.result.notes)
    for line in output.headlines():
        print(line)
    _print_written(output.folder, output.files)


def _validate(options: argparse.Namespace) -> None:
    with _progress_bar() as progress:
        output = (_validate_photons if options.what == "photons" else _validate_imrt)(options, progress)
    for line in output.headlines():
        print(line)
    _print_written(output.folder, output.files)


def _validate_photons(options: argparse.Namespace, progress: Progress) -> ValidationOutput:
    from RTPlanningLib.validation.photons import ENGINES, validate_photons_to_folder

    if options.reference is None:
        options.usage_error("the following arguments are required: --reference")
    output = validate_photons_to_folder(
        options.reference,
        options.out,
        engines=options.engine or ENGINES,
        cases=options.case,
        force=options.force,
        progress=progress,
    )
    _print_notes(output.notes)
    return output


def _validate_imrt(options: argparse.Namespace, progress: Progress) -> InverseValidation:
    from RTPlanningLib.validation.inverse_plans import validate_inverse_plans_to_folder

    if options.reference is not None or options.engine:
        options.usage_error("imrt takes no --reference and no --engine: engines are chosen in the plan files")
    return validate_inverse_plans_to_folder(options.out, cases=options.case, force=options.force, progress=progress)


def _evaluate(options: argparse.Namespace) -> None:
    from RTPlanningLib.evaluation_workflow import evaluate_dose

    names = _names(options)
    if options.structures is None and options.case is None and options.dose.is_file():
        options.parser.error("a dose file needs --structures or --case")
    with _progress_bar() as progress:
        output = evaluate_dose(
            options.dose,
            options.out,
            structures=_one_or_several(options.structures),
            case=options.case,
            templates=options.template,
            goals=options.goal,
            prescription_Gy=options.prescription,
            fractions=options.fractions,
            target=options.target,
            names=names,
            radiobiology=options.radiobiology,
            tcp_set=options.tcp,
            ntcp_sets=_ntcp_sets(options),
            overall_days=options.overall_days,
            dose_unit=options.dose_unit,
            contours_only=options.contours_only,
            end_caps=options.end_caps,
            skip=options.skip,
            dvh_step_Gy=options.dvh_step,
            force=options.force,
            progress=progress,
        )
    evaluation = output.evaluation
    _print_notes(evaluation.notes)
    for line in output.headlines():
        print(line)
    _print_evaluation(evaluation)
    _print_written(output.folder, output.files, output.seconds)


def _print_evaluation(evaluation: DoseEvaluation) -> None:
    _print_goals([one.result for one in evaluation.goals])
    for reason in evaluation.open_reasons():
        print(f"  not judged: {reason}")


def _recompute(options: argparse.Namespace) -> None:
    from RTPlanningLib.evaluation.gamma import GammaCriterion
    from RTPlanningLib.recompute_workflow import recompute_plan

    percent, distance = _gamma_criterion(options)
    with _progress_bar() as progress:
        output = recompute_plan(
            options.folder,
            options.out,
            engine=options.engine,
            machine=_machines_asked(options),
            leaves=options.leaves,
            allow=options.allow,
            spacing_mm=options.spacing,
            arc_step_deg=options.arc_step,
            plan_uid=options.plan,
            ct_series_uid=options.ct_series,
            structure_set_uid=options.structure_set,
            patient_position=options.patient_position,
            fraction_group=options.fraction_group,
            fractions=options.fractions,
            prescription_Gy=options.prescription,
            target=options.target,
            dvh_table=options.dvh,
            names=_names(options),
            goals=options.goal,
            criterion=GammaCriterion(percent, distance),
            force=options.force,
            progress=progress,
        )
    _print_notes([*output.comparison.plan_notes, *output.comparison.notes])
    for line in output.headlines():
        print(line)
    for row in output.comparison.differences():
        if row.metric == "Mean":
            percent_text = "" if row.percent is None else f"  {row.percent:+.1f} %"
            print(f"  {row.structure} mean: {row.recomputed_Gy:.2f} Gy, planned {row.planned_Gy:.2f} Gy{percent_text}")
    _print_goals(output.planning.goals)
    _print_written(output.planning.folder, output.planning.files, output.planning.seconds)


def _machines_asked(options: argparse.Namespace) -> str | dict[str, str] | None:
    """One machine for all beams, or one a treatment machine."""
    if not options.machine:
        return None
    if len(options.machine) == 1 and "=" not in options.machine[0]:
        return options.machine[0]
    named = dict(text.rsplit("=", 1) for text in options.machine if "=" in text)
    if len(named) < len(options.machine):
        options.parser.error("--machine takes one machine for all beams, or THEIRS=NAME for each treatment machine")
    return named


def _compare(options: argparse.Namespace) -> None:
    from RTPlanningLib.comparison_workflow import compare_doses
    from RTPlanningLib.evaluation.gamma import GammaCriterion

    if options.structures is None and options.case is None and options.doses[0].is_file():
        options.parser.error("dose files need --structures or --case")
    percent, distance = _gamma_criterion(options)
    with _progress_bar() as progress:
        output = compare_doses(
            options.doses,
            options.out,
            structures=_one_or_several(options.structures),
            case=options.case,
            labels=options.labels,
            templates=options.template,
            goals=options.goal,
            prescription_Gy=options.prescription,
            fractions=options.fractions,
            target=options.target,
            names=_names(options),
            criterion=GammaCriterion(
                percent,
                distance,
                local=options.local,
                threshold_percent=options.threshold,
                normalization_Gy=options.normalization,
                max_gamma=options.max_gamma,
            ),
            within=options.within,
            dose_unit=options.dose_unit,
            contours_only=options.contours_only,
            end_caps=options.end_caps,
            skip=options.skip,
            dvh_step_Gy=options.dvh_step,
            force=options.force,
            progress=progress,
        )
    comparison = output.comparison
    _print_notes(comparison.notes)
    for line in output.headlines():
        print(line)
    if comparison.goals is not None:
        rows = [("  goal", *comparison.goals.plans)]
        for row in comparison.goals.rows:
            cells = zip(row.values(), row.verdicts(), strict=True)
            rows.append((f"  {row.goal}", *(f"{'' if v is None else f'{v:.2f} '}{verdict}" for v, verdict in cells)))
        _print_columns(rows)
    _print_written(output.folder, output.files, output.seconds)


def _gamma_criterion(options: argparse.Namespace) -> tuple[float, float]:
    percent, _, distance = options.gamma.partition("/")
    try:
        return float(percent), float(distance)
    except ValueError:
        options.parser.error(f"--gamma takes a dose in % and a distance in mm, as in 3/2, not {options.gamma!r}")


def _sum(options: argparse.Namespace) -> None:
    from RTPlanningLib.sum_workflow import Eqd2Options, sum_doses

    alpha_beta = _alpha_beta(options)
    if alpha_beta and options.eqd2 is None:
        options.parser.error("--alpha-beta goes with --eqd2, which gives the value outside these structures")
    with _progress_bar() as progress:
        output = sum_doses(
            options.doses,
            options.out,
            weights=options.weights,
            courses=options.courses,
            delivered=options.delivered,
            subtract=options.subtract,
            transforms=_transforms(options),
            eqd2=None if options.eqd2 is None else Eqd2Options(options.eqd2, alpha_beta, options.overlap),
            grid=options.grid,
            labels=options.labels,
            allow_mixed_media=options.mixed_media,
            structures=_one_or_several(options.structures),
            case=options.case,
            templates=options.template,
            goals=options.goal,
            prescription_Gy=options.prescription,
            target=options.target,
            names=_names(options),
            dose_unit=options.dose_unit,
            contours_only=options.contours_only,
            end_caps=options.end_caps,
            skip=options.skip,
            dvh_step_Gy=options.dvh_step,
            force=options.force,
            progress=progress,
        )
    _print_notes(output.dose.notes if output.evaluation is None else output.evaluation.notes)
    for line in output.headlines():
        print(line)
    if output.evaluation is not None:
        _print_evaluation(output.evaluation)
    _print_written(output.folder, output.files, output.seconds)


def _ntcp_sets(options: argparse.Namespace) -> dict[str, str]:
    sets = dict(text.rsplit("=", 1) for text in options.ntcp if "=" in text)
    if len(sets) != len(options.ntcp):
        options.parser.error("--ntcp takes STRUCTURE=SET, each structure once; see: rtplanning probabilities")
    return sets


def _probabilities(options: argparse.Namespace) -> None:
    from RTPlanningLib.radiobiology.parameters import load_parameters

    table = load_parameters()
    print("Complications (NTCP); * by default for a structure of that tissue:")
    _print_columns(
        [
            (f"{'*' if entry.default else ' '} {entry.id}", entry.model, f"{entry.tissue}: {entry.endpoint}")
            for entry in table.ntcp.values()
        ]
    )
    print("Control (TCP):")
    _print_columns([(f"  {entry.id}", entry.model, f"{entry.what}: {entry.endpoint}") for entry in table.tcp.values()])


def _fractionation(options: argparse.Namespace) -> None:
    from RTPlanningLib.radiobiology.fractionation import Fractionation, weekday_overall_days
    from RTPlanningLib.radiobiology.fractionation_comparison import Schedule, compare_fractionations, schedules_of
    from RTPlanningLib.radiobiology.linear_quadratic_linear import LargeFractions
    from RTPlanningLib.radiobiology.tissue import Tissue

    schedules = list(schedules_of(options.site)) if options.site else []
    for text in options.schedules:
        dose, _, count = text.partition("/")
        try:
            dose_Gy, fractions = float(dose), int(count)
        except ValueError:
            options.parser.error(f"a schedule is DOSE/FRACTIONS, as 60/20, not {text!r}")
        course = Fractionation(fractions, overall_days=weekday_overall_days(fractions))
        schedules.append(Schedule(text, dose_Gy, course))
    if not schedules:
        options.parser.error("give schedules (60/20), a --site, or both")
    large = None if options.lql is None else LargeFractions(options.lql)
    tissues = [Tissue(name, value, large_fractions=large) for name, value in _alpha_beta(options).items()]
    rows = [("schedule", "Gy", "fractions", "Gy a fraction", "tissue", "alpha/beta", "BED", "EQD2", "BED to the first")]
    for row in compare_fractionations(schedules, tissues):
        rows.append(
            (row.schedule, f"{row.dose_Gy:g}", f"{row.fractions}", f"{row.fraction_Gy:.3g}", row.tissue)
            + (f"{row.alpha_beta_Gy:g}", f"{row.bed_Gy:.1f}", f"{row.eqd2_Gy:.1f}", f"{row.relative_to_first:.3f}")
        )
    _print_columns(rows)
    for schedule in schedules:
        if schedule.source:
            print(f"{schedule.name}: {schedule.source}")
    print(_NOTICE)


def _transforms(options: argparse.Namespace) -> list[Path | None] | None:
    if options.transforms is None:
        return None
    return [None if text.lower() == "none" else Path(text) for text in options.transforms]


def _alpha_beta(options: argparse.Namespace) -> dict[str, float]:
    values = {}
    for text in options.alpha_beta:
        name, _, number = text.rpartition("=")
        try:
            values[name] = float(number)
        except ValueError:
            name = ""
        if not name:
            options.parser.error(f"--alpha-beta takes NAME=GY, as in SpinalCord=2, not {text!r}")
    return values


def _names(options: argparse.Namespace) -> dict[str, str]:
    names = dict(name.split("=", 1) for name in options.name if "=" in name)
    if len(names) != len(options.name):
        options.parser.error("--name takes ORGAN=NAME, each organ once, as in --name Lungs=Lungs-GTV")
    return names


def _one_or_several(paths: Sequence[Path] | None) -> Path | Sequence[Path] | None:
    """A place to look at, or several files of surfaces."""
    return paths[0] if paths is not None and len(paths) == 1 else paths


def _templates(options: argparse.Namespace) -> None:
    from RTPlanningLib.evaluation.goal_templates import available_goal_templates

    _print_columns([(one.name, f"{len(one.goals)} goals", one.title) for one in available_goal_templates()])


def _cases(options: argparse.Namespace) -> None:
    from RTPlanningLib.samples import available_samples

    for name, title, description in available_samples():
        print(f"{name}: {title}")
        print(textwrap.fill(description, 100, initial_indent="    ", subsequent_indent="    "))


def _exercises(options: argparse.Namespace) -> None:
    from RTPlanningLib.exercises.exercise import available_exercises, load_exercise, read_exercise

    if options.file is not None:
        exercise = read_exercise(options.file)
        print(f"{options.file} can be used: {exercise.title}, {len(exercise.steps)} steps on {exercise.case}.")
        return
    found = [load_exercise(name) for name in available_exercises()]
    _print_columns([(one.name, f"{len(one.steps)} steps", one.case, one.title) for one in found])


def _machines(options: argparse.Namespace) -> None:
    from DoseEngineLib.machine import available_machines, load_machine

    machines = [load_machine(name) for name in available_machines()]
    _print_columns(
        [(m.name, m.energy_label, f"MLC of {m.mlc.pairs} pairs" if m.mlc else "no MLC", m.title) for m in machines]
    )


def _engines(options: argparse.Namespace) -> None:
    from DoseEngineLib.engine import available_engines, engine_options

    for info in available_engines():
        print(f"{info.label}  {'available' if info.available else f'not available: {info.reason}'}  {info.title}")
        for option in engine_options(info.label):
            print(textwrap.fill(option.describe(), 100, initial_indent="    ", subsequent_indent="        "))


def _show(options: argparse.Namespace) -> None:
    from RTPlanningLib.headless import HeadlessSlicer

    with HeadlessSlicer() as runtime:
        from RTPlanningLib.logic import RTPlanningLogic
        from RTPlanningLib.mrml.plan_summary import planSummary

        logic = RTPlanningLogic(runtime.scene)
        logic.loadScene(options.scene)
        planNodes = logic.planNodes()
        if not planNodes:
            raise CaseError(f"{options.scene} holds no RTPlanning plan; open it in 3D Slicer to see what it holds.")
        for planNode in planNodes:
            print("\n".join(planSummary(planNode)))


# What the user sees


def _print_result(result: PlanningResult, headlines: Sequence[str] | None = None) -> None:
    _print_notes(result.notes)
    print(f"{result.plan.name} on {result.case.name}: {len(result.plan.beams)} beams, ", end="")
    print(", ".join(f"{beam.name} {beam.meterset_MU:.1f} MU" for beam in result.plan.beams))
    for line in result.headlines() if headlines is None else headlines:
        print(line)
    _print_goals(result.goals)
    _print_written(result.folder, result.files, result.seconds)


def _print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"Note: {note}")


def _print_goals(results: Sequence[GoalResult]) -> None:
    width = max((len(str(result.goal)) for result in results), default=0)
    for result in results:
        value = "" if result.value is None else f"{result.value:.2f} {result.goal.unit}".rstrip()
        print(f"  {result.goal!s:<{width}}  {value:>10}  {result.verdict}{_because(result.note)}")


def _print_written(folder: Path, files: Iterable[Path], seconds: float | None = None) -> None:
    print(f"Written to {folder}:" if seconds is None else f"Written to {folder} in {seconds:.1f} s:")
    inside: dict[str, list[int]] = {}
    rows = []
    for path in files:
        size = path.stat().st_size
        if path.parent == folder:
            rows.append((f"  {path.name}", _size(size)))
        else:
            inside.setdefault(path.parent.name, []).append(size)
    rows += [(f"  {name}/ ({len(sizes)} files)", _size(sum(sizes))) for name, sizes in inside.items()]
    _print_columns(rows)
    print(_NOTICE)


def _because(note: str) -> str:
    return f" ({note.rstrip('.')})" if note else ""


def _size(size: int) -> str:
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000.0:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000.0
    return f"{value:.1f} GB"


def _print_columns(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip())


# The search answers an interrupt within this many progress reports, else it is over and there is nothing to stop.
_REPORTS_TO_ANSWER = 3


@contextmanager
def _stop_on_interrupt(progress: Progress) -> Iterator[tuple[Progress, Callable[[IterationState], None]]]:
    """Give a progress and a callback that end the search at the first Ctrl-C while it runs; any other cancels."""
    searching = asked = False
    unanswered = 0

    def callback(state: IterationState) -> None:
        nonlocal searching, asked
        searching = not asked
        if asked:
            state.stop()
            asked = False

    def watched(fraction: float, text: str) -> None:
        nonlocal unanswered
        unanswered = unanswered + 1 if asked else 0
        if unanswered > _REPORTS_TO_ANSWER:
            raise KeyboardInterrupt
        progress(fraction, text)

    def interrupt(signum: int, frame: object) -> None:
        nonlocal asked, searching
        if not searching:
            raise KeyboardInterrupt
        asked, searching = True, False

    try:
        former = signal.signal(signal.SIGINT, interrupt)
    except ValueError:
        # not in the main thread: signals are someone else's
        yield progress, callback
        return
    try:
        yield watched, callback
    finally:
        signal.signal(signal.SIGINT, former)


@contextmanager
def _progress_bar(stream: TextIO | None = None) -> Iterator[Progress]:
    """Show a progress bar on a terminal; nowhere else."""
    stream = stream or sys.stderr
    if not stream.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=Console(file=stream), transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def progress(fraction: float, text: str) -> None:
            bar.update(task, completed=fraction, description=text)

        yield progress


if __name__ == "__main__":
    sys.exit(main())
