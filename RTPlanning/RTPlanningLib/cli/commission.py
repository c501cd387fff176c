"""``rtplanning commission``: fit a photon machine to measured depth doses, profiles and output factors."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.output_arguments import add_output_arguments
from RTPlanningLib.cli.printed_output import print_notes, print_written
from RTPlanningLib.cli.progress_bar import progress_bar


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "commission",
        commission,
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
    parser.add_argument("measurements", metavar="MEASUREMENTS", type=Path, help="a file or folder of measured curves")
    parser.add_argument("--machine", metavar="NAME|FILE", required=True, help="the machine to begin from")
    parser.add_argument("--name", help="name of the fitted machine (default: the base's with _commissioned)")
    parser.add_argument(
        "--centre-profiles", action="store_true", help="move profiles to their centre; else shifts are only reported"
    )
    parser.add_argument("--robust", action="store_true", help="let outlying points count less (soft L1 loss)")
    add_output_arguments(parser)


def commission(options: argparse.Namespace) -> None:
    """Fit a photon machine to measured depth doses, profiles and output factors."""
    from RTPlanningLib.commission import commission_to_folder

    with progress_bar() as progress:
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
    print_notes(output.result.notes)
    for line in output.headlines():
        print(line)
    print_written(output.folder, output.files)
