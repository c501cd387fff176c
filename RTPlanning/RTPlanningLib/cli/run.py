"""``rtplanning run``: plan a CT by a plan file: dose, DVHs, goals, report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from RTPlanningLib.cli.case_arguments import add_case_arguments, check_case_arguments, read_case, read_request
from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.output_arguments import add_dicom_argument, add_output_arguments, dicom_options
from RTPlanningLib.cli.printed_output import print_result
from RTPlanningLib.cli.progress_bar import progress_bar


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "run",
        run_plan,
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
    parser.add_argument("plan", metavar="PLAN.toml", type=Path, help="the plan file")
    add_case_arguments(parser)
    add_output_arguments(parser)
    add_dicom_argument(parser)


def run_plan(options: argparse.Namespace) -> None:
    """Plan a CT by a plan file: dose, DVHs, goals, report."""
    check_case_arguments(options)
    from DoseEngineLib.progress import part
    from RTPlanningLib.workflow import plan_case

    request = read_request(options, options.plan)
    with progress_bar() as progress:
        result = plan_case(
            read_case(options, request, part(progress, 0.0, 0.1)),
            request,
            options.out,
            plan_file=options.plan,
            dicom=dicom_options(options),
            force=options.force,
            progress=part(progress, 0.1, 1.0),
        )
    print_result(result)
