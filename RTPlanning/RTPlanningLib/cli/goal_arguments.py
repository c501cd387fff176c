"""What a dose is judged by: templates, goals, prescription, and which structure is which organ."""

from __future__ import annotations

import argparse
from typing import Any


def add_goal_arguments(parser: argparse.ArgumentParser, *, with_fractions: bool = True) -> None:
    """Add the arguments that say what a dose is judged by."""
    parser.add_argument(
        "--template",
        metavar="NAME|FILE",
        nargs="+",
        action="extend",
        default=[],
        help="goal templates; see: rtplanning templates",
    )
    parser.add_argument(
        "--goal", metavar="GOAL", nargs="+", action="extend", default=[], help='goals of your own: "PTV D95%% >= 95 %%"'
    )
    parser.add_argument("--prescription", metavar="GY", type=float, help="prescribed dose of the course")
    if with_fractions:
        parser.add_argument("--fractions", metavar="N", type=int, help="its number of fractions")
    parser.add_argument("--target", metavar="NAME", help="structure it is prescribed to")
    parser.add_argument(
        "--name",
        metavar="ORGAN=NAME",
        nargs="+",
        action="extend",
        default=[],
        help="which structure is meant, where several may be",
    )


def goals_asked(options: argparse.Namespace) -> dict[str, Any]:
    """Return what these arguments say, by the names of the workflows' parameters."""
    asked = {
        "templates": options.template,
        "goals": options.goal,
        "prescription_Gy": options.prescription,
        "target": options.target,
        "names": names_asked(options),
    }
    return asked | ({"fractions": options.fractions} if "fractions" in options else {})


def names_asked(options: argparse.Namespace) -> dict[str, str]:
    """Return which structure is meant by an organ, as ORGAN=NAME."""
    names = dict(name.split("=", 1) for name in options.name if "=" in name)
    if len(names) != len(options.name):
        options.parser.error("--name takes ORGAN=NAME, each organ once, as in --name Lungs=Lungs-GTV")
    return names
