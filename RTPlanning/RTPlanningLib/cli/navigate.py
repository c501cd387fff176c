"""``rtplanning navigate``: choose between Pareto plans: fluence and a plan file to make it deliverable with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.named_number import add_named_numbers
from RTPlanningLib.cli.output_arguments import add_output_arguments
from RTPlanningLib.cli.printed_output import print_written


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "navigate",
        navigate,
        "choose between Pareto plans: fluence and a plan file to make it deliverable with",
        """\
examples:
  rtplanning navigate front --out chosen                                  the most balanced mixture
  rtplanning navigate front --out chosen --weight Lungs=2 --limit Heart=5
  rtplanning optimize chosen/plan.toml --case thorax --start chosen --keep-fluence --out result""",
    )
    parser.add_argument("front", metavar="DIR", type=Path, help="the folder of an earlier rtplanning pareto")
    nearer = "bring a goal this much nearer to its least value than the others (default: 1)"
    add_named_numbers(parser, "--weight", "GOAL=FACTOR", nearer)
    largest = "largest value of a goal, or of the goal that a structure belongs to"
    add_named_numbers(parser, "--limit", "GOAL=VALUE", largest)
    add_output_arguments(parser)


def navigate(options: argparse.Namespace) -> None:
    """Choose between Pareto plans: fluence and a plan file to make it deliverable with."""
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
    print_written(result.folder, result.files)
