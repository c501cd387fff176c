"""Alpha/beta of tissues, as in SpinalCord=2."""

from __future__ import annotations

import argparse

from RTPlanningLib.cli.named_number import named_number


def alpha_beta_asked(options: argparse.Namespace) -> dict[str, float]:
    """Return alpha/beta in Gy by name."""
    values = {}
    for text in options.alpha_beta:
        try:
            name, value = named_number(text)
        except argparse.ArgumentTypeError:
            options.parser.error(f"--alpha-beta takes NAME=GY, as in SpinalCord=2, not {text!r}")
        values[name] = value
    return values
