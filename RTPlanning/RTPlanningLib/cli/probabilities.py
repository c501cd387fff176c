"""``rtplanning probabilities``: list the parameters of complication and control probabilities."""

from __future__ import annotations

import argparse
from typing import Any

from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.printed_output import print_columns


def add(commands: Any) -> None:
    """Add the command."""
    add_command(
        commands,
        "probabilities",
        list_probabilities,
        "list the parameters of complication and control probabilities",
        "example:\n  rtplanning probabilities",
    )


def list_probabilities(options: argparse.Namespace) -> None:
    """List the parameters of complication and control probabilities."""
    from RTPlanningLib.radiobiology.parameters import load_parameters

    table = load_parameters()
    print("Complications (NTCP); * by default for a structure of that tissue:")
    print_columns(
        [
            (f"{'*' if entry.default else ' '} {entry.id}", entry.model, f"{entry.tissue}: {entry.endpoint}")
            for entry in table.ntcp.values()
        ]
    )
    print("Control (TCP):")
    print_columns([(f"  {entry.id}", entry.model, f"{entry.what}: {entry.endpoint}") for entry in table.tcp.values()])
