"""``rtplanning validate``: compare with Monte Carlo, measured data, and the institutions of TG-119."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DoseEngineLib.progress import Progress
from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.output_arguments import add_output_arguments
from RTPlanningLib.cli.printed_output import print_notes, print_written
from RTPlanningLib.cli.progress_bar import progress_bar

if TYPE_CHECKING:
    from RTPlanningLib.validation.inverse_plans import InverseValidation
    from RTPlanningLib.validation.photons import ValidationOutput


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "validate",
        validate,
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
    parser.set_defaults(usage_error=parser.error)
    parser.add_argument("what", choices=("photons", "imrt"), help="what to validate")
    parser.add_argument(
        "--reference", metavar="FOLDER", type=Path, help="photons: folder of the Monte Carlo references (*.npz)"
    )
    parser.add_argument(
        "--engine",
        metavar="LABEL",
        nargs="+",
        action="extend",
        help="photons: dose engines (default: photon-pencil-beam photon-collapsed-cone); see: rtplanning engines",
    )
    parser.add_argument(
        "--case",
        metavar="NAME",
        nargs="+",
        action="extend",
        default=[],
        help="photons: references (default: all of the folder); imrt: built-in cases (default: the four of TG-119)",
    )
    add_output_arguments(parser)


def validate(options: argparse.Namespace) -> None:
    """Compare with Monte Carlo, measured data, and the institutions of TG-119."""
    with progress_bar() as progress:
        output = (_validate_photons if options.what == "photons" else _validate_imrt)(options, progress)
    for line in output.headlines():
        print(line)
    print_written(output.folder, output.files)


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
    print_notes(output.notes)
    return output


def _validate_imrt(options: argparse.Namespace, progress: Progress) -> InverseValidation:
    from RTPlanningLib.validation.inverse_plans import validate_inverse_plans_to_folder

    if options.reference is not None or options.engine:
        options.usage_error("imrt takes no --reference and no --engine: engines are chosen in the plan files")
    return validate_inverse_plans_to_folder(options.out, cases=options.case, force=options.force, progress=progress)
