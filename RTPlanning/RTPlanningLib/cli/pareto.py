"""``rtplanning pareto``: compute plans for two to four goals that compete, to navigate between."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from RTPlanningLib.cli.case_arguments import add_case_arguments, check_case_arguments, read_case, read_request
from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.named_number import add_named_numbers
from RTPlanningLib.cli.output_arguments import add_output_arguments
from RTPlanningLib.cli.printed_output import print_notes, print_written
from RTPlanningLib.cli.progress_bar import progress_bar


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "pareto",
        compute_front,
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
    parser.add_argument(
        "plan", metavar="PLAN.toml", type=Path, help="a plan file with objectives, or the name of one of the samples"
    )
    add_case_arguments(parser)
    add_output_arguments(parser)
    parser.add_argument(
        "--tradeoff",
        metavar="STRUCTURE",
        nargs="+",
        action="append",
        default=[],
        help="a goal; two to four of them (default: a goal for each structure with objectives)",
    )
    largest = "largest value of a goal (default: --room times its value by the rows' weights)"
    add_named_numbers(parser, "--limit", "GOAL=VALUE", largest)
    parser.add_argument("--room", metavar="FACTOR", type=float, default=4.0, help="see --limit (default: %(default)g)")
    parser.add_argument(
        "--gap", metavar="PERCENT", type=float, default=5.0, help="how near to stop at (default: %(default)g %%)"
    )
    parser.add_argument("--plans", metavar="N", type=int, default=12, help="at most (default: %(default)s)")
    parser.add_argument("--start", metavar="DIR", type=Path, help="add plans to those in this folder")


def compute_front(options: argparse.Namespace) -> None:
    """Compute plans for two to four goals that compete, to navigate between."""
    check_case_arguments(options)
    if options.start and (options.tradeoff or options.limit):
        options.parser.error("--start keeps goals and limits; --tradeoff and --limit are for plans computed anew")
    from DoseEngineLib.progress import part
    from RTPlanningLib.pareto_workflow import pareto_case, read_front
    from RTPlanningLib.samples.plan_files import find_plan_file

    plan_file = find_plan_file(options.plan)
    request = read_request(options, plan_file)
    with progress_bar() as progress:
        result = pareto_case(
            read_case(options, request, part(progress, 0.0, 0.05)),
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
    print_notes(result.notes)
    for line in result.headlines():
        print(line)
    print_written(result.folder, result.files, result.seconds)
