"""``rtplanning exercises``: list the guided exercises, or check the file of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.printed_output import print_columns


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "exercises",
        list_exercises,
        "list the guided exercises, or check the file of one's own",
        "examples:\n  rtplanning exercises\n  rtplanning exercises mine.json",
    )
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="an exercise in JSON, to be checked")


def list_exercises(options: argparse.Namespace) -> None:
    """List the guided exercises, or check the file of one's own."""
    from RTPlanningLib.exercises.exercise import available_exercises, load_exercise, read_exercise

    if options.file is not None:
        exercise = read_exercise(options.file)
        print(f"{options.file} can be used: {exercise.title}, {len(exercise.steps)} steps on {exercise.case}.")
        return
    found = [load_exercise(name) for name in available_exercises()]
    print_columns([(one.name, f"{len(one.steps)} steps", one.case, one.title) for one in found])
