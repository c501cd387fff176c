"""``rtplanning sum``: add or subtract doses, as they are or in EQD2, and judge the sum."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from RTPlanningLib.cli.alpha_beta_argument import alpha_beta_asked
from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.dose_arguments import add_dose_arguments, add_labels_argument, doses_asked
from RTPlanningLib.cli.goal_arguments import add_goal_arguments, goals_asked
from RTPlanningLib.cli.output_arguments import add_output_arguments
from RTPlanningLib.cli.printed_output import print_evaluation, print_notes, print_written
from RTPlanningLib.cli.progress_bar import progress_bar
from RTPlanningLib.cli.structure_arguments import add_structure_arguments, structures_asked


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "sum",
        add_doses,
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
    parser.add_argument(
        "doses", metavar="DOSE", nargs="+", type=Path, help="DICOM RT Doses, volumes, or folders that hold one"
    )
    add_labels_argument(parser)
    parser.add_argument("--weights", metavar="W", nargs="+", type=float, help="one factor a dose (default: 1)")
    parser.add_argument("--courses", metavar="N", nargs="+", type=int, help="fractions that each dose stands for")
    parser.add_argument(
        "--delivered", metavar="N", nargs="+", type=int, help="fractions delivered of each (default: all)"
    )
    parser.add_argument(
        "--transforms",
        metavar="FILE|none",
        nargs="+",
        help="one a dose: what brings it onto the anatomy of the first (.h5, .tfm, .txt, .mat, displacements .nrrd)",
    )
    parser.add_argument("--subtract", action="store_true", help="the first dose minus the second")
    parser.add_argument(
        "--eqd2",
        metavar="GY",
        type=float,
        help="turn each dose into EQD2 first, with this alpha/beta outside structures",
    )
    parser.add_argument(
        "--alpha-beta",
        metavar="STRUCTURE=GY",
        nargs="+",
        action="extend",
        default=[],
        help="alpha/beta of structures; where they overlap the first one named counts",
    )
    parser.add_argument(
        "--overlap",
        choices=("first", "smallest", "largest"),
        default="first",
        help="which alpha/beta counts where structures overlap (default: %(default)s)",
    )
    parser.add_argument(
        "--grid",
        choices=("union", "first"),
        default="union",
        help="of the sum: the finest, extended to cover all, or the first's (default: %(default)s)",
    )
    parser.add_argument("--mixed-media", action="store_true", help="add dose to water to dose to medium")
    add_structure_arguments(parser, "none, and the sum is not judged")
    add_goal_arguments(parser, with_fractions=False)
    add_dose_arguments(parser)
    add_output_arguments(parser)


def add_doses(options: argparse.Namespace) -> None:
    """Add or subtract doses, as they are or in EQD2, and judge the sum."""
    from RTPlanningLib.sum_workflow import Eqd2Options, sum_doses

    alpha_beta = alpha_beta_asked(options)
    if alpha_beta and options.eqd2 is None:
        options.parser.error("--alpha-beta goes with --eqd2, which gives the value outside these structures")
    with progress_bar() as progress:
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
            force=options.force,
            progress=progress,
            **structures_asked(options),
            **goals_asked(options),
            **doses_asked(options),
        )
    print_notes(output.dose.notes if output.evaluation is None else output.evaluation.notes)
    for line in output.headlines():
        print(line)
    if output.evaluation is not None:
        print_evaluation(output.evaluation)
    print_written(output.folder, output.files, output.seconds)


def _transforms(options: argparse.Namespace) -> list[Path | None] | None:
    if options.transforms is None:
        return None
    return [None if text.lower() == "none" else Path(text) for text in options.transforms]
