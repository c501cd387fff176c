"""``rtplanning recompute``: recompute a clinical plan (RTPLAN) with an engine of ours."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from RTPlanningLib.cli.case_arguments import add_uid_arguments
from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.gamma_argument import add_gamma_argument, gamma_criterion
from RTPlanningLib.cli.goal_arguments import names_asked
from RTPlanningLib.cli.output_arguments import add_output_arguments
from RTPlanningLib.cli.printed_output import print_goals, print_notes, print_written
from RTPlanningLib.cli.progress_bar import progress_bar


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "recompute",
        recompute,
        "recompute a clinical plan (RTPLAN) with an engine of ours, and compare with its dose or DVHs",
        """\
examples:
  rtplanning recompute dicom/ --out result                  (CT, RTSTRUCT, RTPLAN and RTDOSE in one folder)
  rtplanning recompute dicom/ --dvh dvh.csv --name PTV=PTV_41.4 --out result               (DVHs in place of a dose)
  rtplanning recompute dicom/ --machine my-linac/generic_6mv_commissioned.json --engine photon-pencil-beam --out result
  rtplanning recompute dicom/ --allow wedges --out result                           (without what is not modelled)
Absolute dose from the plan's MU, jaws and leaves. Machines are replaced by generic ones of their energy unless given.
Beams with wedges, blocks, bolus and the like stop with an error that says how to allow them. Ion and brachytherapy
plans are not computed yet.

writes recompute.html, .json and .csv, gamma and difference as volumes, and what rtplanning run writes""",
    )
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="DICOM folder with CT, RTSTRUCT and RTPLAN")
    parser.add_argument(
        "--engine",
        metavar="LABEL",
        default="photon-collapsed-cone",
        help="see: rtplanning engines (default: %(default)s)",
    )
    parser.add_argument(
        "--machine",
        metavar="NAME|FILE|THEIRS=NAME",
        nargs="+",
        action="extend",
        default=[],
        help="machine for all beams, or for those of a treatment machine; see: rtplanning machines",
    )
    parser.add_argument(
        "--leaves",
        choices=("plan", "machine"),
        default="plan",
        help="leaf transmission and ends that the plan's stored fluences show, or the machine's (default: %(default)s)",
    )
    parser.add_argument(
        "--allow", metavar="WHAT", nargs="+", action="extend", default=[], help="calculate without: wedges, blocks, ..."
    )
    parser.add_argument("--spacing", metavar="MM", type=float, default=2.5, help="dose grid (default: %(default)s)")
    parser.add_argument(
        "--arc-step",
        metavar="DEG",
        type=float,
        default=4.0,
        help="control points of an arc this close are calculated together; 0: each by itself (default: %(default)s)",
    )
    parser.add_argument("--dvh", metavar="FILE", type=Path, help="planned DVHs as CSV, where there is no dose")
    parser.add_argument(
        "--name",
        metavar="STRUCTURE=ROW",
        nargs="+",
        action="extend",
        default=[],
        help="which DVH of the table is a structure's, where names differ",
    )
    parser.add_argument("--target", metavar="NAME", help="structure of the prescription")
    parser.add_argument("--prescription", metavar="GY", type=float, help="prescribed dose, where the plan has none")
    parser.add_argument("--fractions", metavar="N", type=int, help="their number, where the plan does not say it")
    parser.add_argument("--fraction-group", metavar="N", type=int, help="where the plan has several")
    parser.add_argument("--patient-position", metavar="HFS", help="HFS, HFP, FFS or FFP, where the files do not say it")
    parser.add_argument("--goal", metavar="GOAL", nargs="+", action="extend", default=[], help="goals to judge")
    add_gamma_argument(parser, "criterion of gamma, global")
    parser.add_argument("--plan", metavar="UID", help="plan, where the folder holds several")
    add_uid_arguments(parser)
    add_output_arguments(parser)


def recompute(options: argparse.Namespace) -> None:
    """Recompute a clinical plan (RTPLAN) with an engine of ours."""
    from RTPlanningLib.evaluation.gamma import GammaCriterion
    from RTPlanningLib.recompute_workflow import recompute_plan

    percent, distance = gamma_criterion(options)
    with progress_bar() as progress:
        output = recompute_plan(
            options.folder,
            options.out,
            engine=options.engine,
            machine=_machines_asked(options),
            leaves=options.leaves,
            allow=options.allow,
            spacing_mm=options.spacing,
            arc_step_deg=options.arc_step,
            plan_uid=options.plan,
            ct_series_uid=options.ct_series,
            structure_set_uid=options.structure_set,
            patient_position=options.patient_position,
            fraction_group=options.fraction_group,
            fractions=options.fractions,
            prescription_Gy=options.prescription,
            target=options.target,
            dvh_table=options.dvh,
            names=names_asked(options),
            goals=options.goal,
            criterion=GammaCriterion(percent, distance),
            force=options.force,
            progress=progress,
        )
    print_notes([*output.comparison.plan_notes, *output.comparison.notes])
    for line in output.headlines():
        print(line)
    for row in output.comparison.differences():
        if row.metric == "Mean":
            percent_text = "" if row.percent is None else f"  {row.percent:+.1f} %"
            print(f"  {row.structure} mean: {row.recomputed_Gy:.2f} Gy, planned {row.planned_Gy:.2f} Gy{percent_text}")
    print_goals(output.planning.goals)
    print_written(output.planning.folder, output.planning.files, output.planning.seconds)


def _machines_asked(options: argparse.Namespace) -> str | dict[str, str] | None:
    """One machine for all beams, or one a treatment machine."""
    if not options.machine:
        return None
    if len(options.machine) == 1 and "=" not in options.machine[0]:
        return options.machine[0]
    named = dict(text.rsplit("=", 1) for text in options.machine if "=" in text)
    if len(named) < len(options.machine):
        options.parser.error("--machine takes one machine for all beams, or THEIRS=NAME for each treatment machine")
    return named
