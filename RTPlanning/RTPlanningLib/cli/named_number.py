"""An argument that is a name and a number, as in Lungs=2."""

from __future__ import annotations

import argparse
import math


def add_named_numbers(parser: argparse.ArgumentParser, flag: str, metavar: str, text: str) -> None:
    """Add an argument that may be given several times, each time a name and a number."""
    parser.add_argument(flag, metavar=metavar, action="append", default=[], type=named_number, help=text)


def named_number(text: str) -> tuple[str, float]:
    """Return a name and a number; for ``argparse``."""
    name, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not name.strip() or not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} should be a name and a number, as in Lungs=2")
    return name.strip(), value
