"""The criterion of gamma, as in 3/2."""

from __future__ import annotations

import argparse


def add_gamma_argument(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the criterion; ``text`` says in words what it is of."""
    parser.add_argument("--gamma", metavar="%/MM", default="3/2", help=f"{text} (default: %(default)s)")


def gamma_criterion(options: argparse.Namespace) -> tuple[float, float]:
    """Return the dose criterion in % and the distance in mm."""
    percent, _, distance = options.gamma.partition("/")
    try:
        return float(percent), float(distance)
    except ValueError:
        options.parser.error(f"--gamma takes a dose in % and a distance in mm, as in 3/2, not {options.gamma!r}")
