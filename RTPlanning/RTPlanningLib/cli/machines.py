"""``rtplanning machines``: list the machines."""

from __future__ import annotations

import argparse
from typing import Any

from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.printed_output import print_columns


def add(commands: Any) -> None:
    """Add the command."""
    add_command(commands, "machines", list_machines, "list the machines", "example:\n  rtplanning machines")


def list_machines(options: argparse.Namespace) -> None:
    """List the machines."""
    from DoseEngineLib.machine import available_machines, load_machine

    machines = [load_machine(name) for name in available_machines()]
    print_columns(
        [(m.name, m.energy_label, f"MLC of {m.mlc.pairs} pairs" if m.mlc else "no MLC", m.title) for m in machines]
    )
