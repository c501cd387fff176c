"""How doses are read and DVHs written."""

from __future__ import annotations

import argparse


def add_dvh_step_argument(parser: argparse.ArgumentParser) -> None:
    """Add the distance of the rows of DVH tables."""
    parser.add_argument(
        "--dvh-step", metavar="GY", type=float, default=0.01, help="rows of dvh.csv (default: %(default)s Gy)"
    )


def add_dose_unit_argument(parser: argparse.ArgumentParser) -> None:
    """Add the unit of dose volumes."""
    parser.add_argument(
        "--dose-unit", choices=("Gy", "cGy"), default="Gy", help="unit of dose volumes (default: %(default)s)"
    )
