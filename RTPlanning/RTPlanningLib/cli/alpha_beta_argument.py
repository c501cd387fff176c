"""Alpha/beta of tissues, as in SpinalCord=2."""

from __future__ import annotations

import argparse


def alpha_beta_asked(options: argparse.Namespace) -> dict[str, float]:
    """Return alpha/beta in Gy by name."""
    values = {}
    for text in options.alpha_beta:
        name, _, number = text.rpartition("=")
        try:
            values[name] = float(number)
        except ValueError:
            name = ""
        if not name:
            options.parser.error(f"--alpha-beta takes NAME=GY, as in SpinalCord=2, not {text!r}")
    return values
