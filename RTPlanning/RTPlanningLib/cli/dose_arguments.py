"""How doses are read and DVHs written."""

from __future__ import annotations

import argparse
from typing import Any


def add_dose_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the distance of the rows of DVH tables and the unit of dose volumes."""
    parser.add_argument(
        "--dvh-step", metavar="GY", type=float, default=0.01, help="rows of dvh.csv (default: %(default)s Gy)"
    )
    parser.add_argument(
        "--dose-unit", choices=("Gy", "cGy"), default="Gy", help="unit of dose volumes (default: %(default)s)"
    )


def add_labels_argument(parser: argparse.ArgumentParser) -> None:
    """Add what to call several doses."""
    parser.add_argument("--labels", metavar="NAME", nargs="+", help="what to call them, one name a dose")


def doses_asked(options: argparse.Namespace) -> dict[str, Any]:
    """Return what these arguments say, by the names of the workflows' parameters."""
    return {"dvh_step_Gy": options.dvh_step, "dose_unit": options.dose_unit}
