"""``rtplanning fractionation``: compare schedules of fractions: BED and EQD2 by tissue."""

from __future__ import annotations

import argparse
from typing import Any

from RTPlanningLib.cli.alpha_beta_argument import alpha_beta_asked
from RTPlanningLib.cli.command_parser import NOTICE, add_command
from RTPlanningLib.cli.printed_output import print_columns


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "fractionation",
        compare_schedules,
        "compare schedules of fractions: BED and EQD2 by tissue",
        """\
examples:
  rtplanning fractionation 74/37 60/20 36.25/5 --alpha-beta tumour=1.5 rectum=3
  rtplanning fractionation --site breast --alpha-beta tumour=3.5 heart=3""",
    )
    parser.add_argument("schedules", metavar="DOSE/FRACTIONS", nargs="*", help="Gy and number, as in 60/20")
    parser.add_argument("--site", metavar="NAME", help="schedules of trials: prostate, breast, ...")
    parser.add_argument(
        "--alpha-beta", metavar="TISSUE=GY", nargs="+", action="extend", default=[], required=True, help="tissues"
    )
    parser.add_argument(
        "--lql", metavar="GY", type=float, help="straighten the survival curve above this dose a fraction (LQ-L)"
    )


def compare_schedules(options: argparse.Namespace) -> None:
    """Compare schedules of fractions: BED and EQD2 by tissue."""
    from RTPlanningLib.radiobiology.fractionation import Fractionation, weekday_overall_days
    from RTPlanningLib.radiobiology.fractionation_comparison import Schedule, compare_fractionations, schedules_of
    from RTPlanningLib.radiobiology.linear_quadratic_linear import LargeFractions
    from RTPlanningLib.radiobiology.tissue import Tissue

    schedules = list(schedules_of(options.site)) if options.site else []
    for text in options.schedules:
        dose, _, count = text.partition("/")
        try:
            dose_Gy, fractions = float(dose), int(count)
        except ValueError:
            options.parser.error(f"a schedule is DOSE/FRACTIONS, as 60/20, not {text!r}")
        course = Fractionation(fractions, overall_days=weekday_overall_days(fractions))
        schedules.append(Schedule(text, dose_Gy, course))
    if not schedules:
        options.parser.error("give schedules (60/20), a --site, or both")
    large = None if options.lql is None else LargeFractions(options.lql)
    tissues = [Tissue(name, value, large_fractions=large) for name, value in alpha_beta_asked(options).items()]
    rows = [("schedule", "Gy", "fractions", "Gy a fraction", "tissue", "alpha/beta", "BED", "EQD2", "BED to the first")]
    for row in compare_fractionations(schedules, tissues):
        rows.append(
            (row.schedule, f"{row.dose_Gy:g}", f"{row.fractions}", f"{row.fraction_Gy:.3g}", row.tissue)
            + (f"{row.alpha_beta_Gy:g}", f"{row.bed_Gy:.1f}", f"{row.eqd2_Gy:.1f}", f"{row.relative_to_first:.3f}")
        )
    print_columns(rows)
    for schedule in schedules:
        if schedule.source:
            print(f"{schedule.name}: {schedule.source}")
    print(NOTICE)
