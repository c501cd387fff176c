"""``rtplanning evaluate``: judge a dose file: goals of published templates, DVHs, radiobiology, report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.dose_arguments import add_dose_arguments, doses_asked
from RTPlanningLib.cli.goal_arguments import add_goal_arguments, goals_asked
from RTPlanningLib.cli.output_arguments import add_output_arguments
from RTPlanningLib.cli.printed_output import print_evaluation, print_notes, print_written
from RTPlanningLib.cli.progress_bar import progress_bar
from RTPlanningLib.cli.structure_arguments import add_structure_arguments, structures_asked


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "evaluate",
        evaluate,
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
    parser.add_argument(
        "dose",
        metavar="DOSE",
        type=Path,
        help="a DICOM RT Dose, a volume (NRRD, NIfTI, MHA) of the whole course, or a folder that holds one",
    )
    add_structure_arguments(parser, "those in the folder of the dose")
    add_goal_arguments(parser)
    parser.add_argument("--radiobiology", action="store_true", help="add complication probabilities (NTCP)")
    parser.add_argument(
        "--ntcp",
        metavar="STRUCTURE=SET",
        nargs="+",
        action="extend",
        default=[],
        help="add its probability with these parameters",
    )
    parser.add_argument("--tcp", metavar="SET", help="add the target's control probability with these parameters")
    parser.add_argument(
        "--overall-days", metavar="N", type=float, help="from first to last fraction, for models with tumour growth"
    )
    add_dose_arguments(parser)
    add_output_arguments(parser)


def evaluate(options: argparse.Namespace) -> None:
    """Judge a dose file: goals of published templates, DVHs, radiobiology, report."""
    from RTPlanningLib.evaluation_workflow import evaluate_dose

    goals = goals_asked(options)
    if options.structures is None and options.case is None and options.dose.is_file():
        options.parser.error("a dose file needs --structures or --case")
    with progress_bar() as progress:
        output = evaluate_dose(
            options.dose,
            options.out,
            radiobiology=options.radiobiology,
            tcp_set=options.tcp,
            ntcp_sets=_ntcp_sets(options),
            overall_days=options.overall_days,
            force=options.force,
            progress=progress,
            **structures_asked(options),
            **goals,
            **doses_asked(options),
        )
    evaluation = output.evaluation
    print_notes(evaluation.notes)
    for line in output.headlines():
        print(line)
    print_evaluation(evaluation)
    print_written(output.folder, output.files, output.seconds)


def _ntcp_sets(options: argparse.Namespace) -> dict[str, str]:
    sets = dict(text.rsplit("=", 1) for text in options.ntcp if "=" in text)
    if len(sets) != len(options.ntcp):
        options.parser.error("--ntcp takes STRUCTURE=SET, each structure once; see: rtplanning probabilities")
    return sets
