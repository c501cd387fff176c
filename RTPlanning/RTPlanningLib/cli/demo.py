"""``rtplanning demo``: plan a built-in case: fields around its target, dose, DVHs, report."""

from __future__ import annotations

import argparse
from typing import Any

from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.output_arguments import add_output_arguments
from RTPlanningLib.cli.printed_output import print_result
from RTPlanningLib.cli.progress_bar import progress_bar

DEFAULT_CASE = "tg119-prostate"
DEFAULT_DEMO_FOLDER = "rtplanning-demo"


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "demo",
        plan_demo,
        "plan a built-in case: fields around its target, dose, DVHs, report",
        """\
examples:
  rtplanning demo
  rtplanning demo --case tg119-cshape --out cshape
The folder then holds a plan.toml to edit and run again:
  rtplanning run rtplanning-demo/plan.toml --case tg119-prostate --out mine""",
    )
    parser.add_argument(
        "--case", metavar="NAME", default=DEFAULT_CASE, help="see: rtplanning cases (default: %(default)s)"
    )
    parser.add_argument("--spacing", metavar="MM", type=float, help="dose grid spacing in mm (default: 2.5)")
    add_output_arguments(parser, default=DEFAULT_DEMO_FOLDER)


def plan_demo(options: argparse.Namespace) -> None:
    """Plan a built-in case: fields around its target, dose, DVHs, report."""
    from RTPlanningLib.workflow import plan_sample

    with progress_bar() as progress:
        result = plan_sample(
            options.case, options.out, spacing_mm=options.spacing, force=options.force, progress=progress
        )
    print_result(result)
