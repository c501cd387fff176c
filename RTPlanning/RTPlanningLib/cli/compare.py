"""``rtplanning compare``: compare doses on the same structures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.dose_arguments import add_dose_arguments, add_labels_argument, doses_asked
from RTPlanningLib.cli.gamma_argument import add_gamma_argument, gamma_criterion
from RTPlanningLib.cli.goal_arguments import add_goal_arguments, goals_asked
from RTPlanningLib.cli.output_arguments import add_output_arguments
from RTPlanningLib.cli.printed_output import print_columns, print_notes, print_written
from RTPlanningLib.cli.progress_bar import progress_bar
from RTPlanningLib.cli.structure_arguments import add_structure_arguments, structures_asked


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "compare",
        compare,
        "compare doses on the same structures: gamma, differences, DVHs and goals side by side, report",
        """\
examples:
  rtplanning compare planned/ recomputed/ --out comparison                (folders of earlier runs: structures inside)
  rtplanning compare clinic.dcm ours.nrrd --structures dicom/ --gamma 2/2 --threshold 10 --out comparison
  rtplanning compare a.nrrd b.nrrd c.nrrd --labels 3D IMRT VMAT --structures s.seg.nrrd --template quantec \\
             --prescription 60 --fractions 30 --out comparison
The first dose is the reference: gamma and differences are of the others against it, on its grid.""",
    )
    parser.add_argument(
        "doses",
        metavar="DOSE",
        nargs="+",
        type=Path,
        help="two to five doses: a DICOM RT Dose, a volume (NRRD, NIfTI, MHA), or a folder that holds one",
    )
    add_labels_argument(parser)
    add_structure_arguments(parser, "those in the folder of the first dose")
    add_goal_arguments(parser)
    add_gamma_argument(parser, "dose and distance criterion")
    parser.add_argument("--local", action="store_true", help="the dose criterion is of the local dose")
    parser.add_argument(
        "--threshold", metavar="%", type=float, default=10.0, help="least dose that is judged (default: %(default)s %%)"
    )
    parser.add_argument(
        "--normalization", metavar="GY", type=float, help="what 100 %% are (default: the reference's maximum)"
    )
    parser.add_argument("--max-gamma", type=float, default=2.0, help="search up to this gamma (default: %(default)s)")
    parser.add_argument(
        "--within", metavar="NAME", nargs="+", action="extend", help="compare in these structures only (default: all)"
    )
    add_dose_arguments(parser)
    add_output_arguments(parser)


def compare(options: argparse.Namespace) -> None:
    """Compare doses on the same structures."""
    from RTPlanningLib.comparison_workflow import compare_doses
    from RTPlanningLib.evaluation.gamma import GammaCriterion

    if options.structures is None and options.case is None and options.doses[0].is_file():
        options.parser.error("dose files need --structures or --case")
    percent, distance = gamma_criterion(options)
    with progress_bar() as progress:
        output = compare_doses(
            options.doses,
            options.out,
            labels=options.labels,
            criterion=GammaCriterion(
                percent,
                distance,
                local=options.local,
                threshold_percent=options.threshold,
                normalization_Gy=options.normalization,
                max_gamma=options.max_gamma,
            ),
            within=options.within,
            force=options.force,
            progress=progress,
            **structures_asked(options),
            **goals_asked(options),
            **doses_asked(options),
        )
    comparison = output.comparison
    print_notes(comparison.notes)
    for line in output.headlines():
        print(line)
    if comparison.goals is not None:
        rows = [("  goal", *comparison.goals.plans)]
        for row in comparison.goals.rows:
            cells = zip(row.values(), row.verdicts(), strict=True)
            rows.append((f"  {row.goal}", *(f"{'' if v is None else f'{v:.2f} '}{verdict}" for v, verdict in cells)))
        print_columns(rows)
    print_written(output.folder, output.files, output.seconds)
