"""``rtplanning optimize``: optimize fluence by a plan file's objectives: leaves, dose, DVHs, goals, report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from RTPlanningLib.cli.case_arguments import add_case_arguments, check_case_arguments, read_case, read_request
from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.output_arguments import add_dicom_argument, add_output_arguments, dicom_options
from RTPlanningLib.cli.printed_output import print_result
from RTPlanningLib.cli.progress_bar import progress_bar
from RTPlanningLib.cli.stop_on_interrupt import stop_on_interrupt


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "optimize",
        optimize_plan,
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
    parser.add_argument(
        "plan", metavar="PLAN.toml", type=Path, help="the plan file, or the name of one that comes with the samples"
    )
    add_case_arguments(parser)
    add_output_arguments(parser)
    add_dicom_argument(parser)
    parser.add_argument(
        "--start", metavar="DIR", type=Path, help="go on from the fluence of an earlier result in this folder"
    )
    parser.add_argument(
        "--keep-fluence",
        action="store_true",
        help="with --start: take its fluence as it is, without a search; only leaves and dose are calculated",
    )
    parser.add_argument("--keep-influence", action="store_true", help="write influence.npz, which may be large")


def optimize_plan(options: argparse.Namespace) -> None:
    """Optimize fluence by a plan file's objectives: leaves, dose, DVHs, goals, report."""
    check_case_arguments(options)
    if options.keep_fluence and not options.start:
        options.parser.error("--keep-fluence goes with --start: the fluence to take")
    from DoseEngineLib.progress import part
    from RTPlanningLib.optimization_workflow import optimize_case, read_start
    from RTPlanningLib.samples.plan_files import find_plan_file

    plan_file = find_plan_file(options.plan)
    request = read_request(options, plan_file)
    start = read_start(options.start) if options.start else None
    with progress_bar() as bar, stop_on_interrupt(bar) as (progress, stop):
        result = optimize_case(
            read_case(options, request, part(progress, 0.0, 0.05)),
            request,
            options.out,
            plan_file=plan_file,
            start=start,
            search=not options.keep_fluence,
            keep_influence=options.keep_influence,
            dicom=dicom_options(options),
            force=options.force,
            progress=part(progress, 0.05, 1.0),
            callback=stop,
        )
    print_result(result.planning, result.headlines())
