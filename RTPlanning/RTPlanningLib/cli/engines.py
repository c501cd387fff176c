"""``rtplanning engines``: list the dose engines, and why one is not available."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from RTPlanningLib.cli.command_parser import add_command


def add(commands: Any) -> None:
    """Add the command."""
    add_command(
        commands,
        "engines",
        list_engines,
        "list the dose engines, and why one is not available",
        "example:\n  rtplanning engines",
    )


def list_engines(options: argparse.Namespace) -> None:
    """List the dose engines, and why one is not available."""
    from DoseEngineLib.engine import available_engines, engine_options

    for info in available_engines():
        print(f"{info.label}  {'available' if info.available else f'not available: {info.reason}'}  {info.title}")
        for option in engine_options(info.label):
            print(textwrap.fill(option.describe(), 100, initial_indent="    ", subsequent_indent="        "))
