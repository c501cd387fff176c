"""``rtplanning cases``: list the built-in cases."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from RTPlanningLib.cli.command_parser import add_command


def add(commands: Any) -> None:
    """Add the command."""
    add_command(commands, "cases", list_cases, "list the built-in cases", "example:\n  rtplanning cases")


def list_cases(options: argparse.Namespace) -> None:
    """List the built-in cases."""
    from RTPlanningLib.samples import available_samples

    for name, title, description in available_samples():
        print(f"{name}: {title}")
        print(textwrap.fill(description, 100, initial_indent="    ", subsequent_indent="    "))
