"""``rtplanning templates``: list the templates of clinical goals."""

from __future__ import annotations

import argparse
from typing import Any

from RTPlanningLib.cli.command_parser import add_command
from RTPlanningLib.cli.printed_output import print_columns


def add(commands: Any) -> None:
    """Add the command."""
    add_command(
        commands,
        "templates",
        list_templates,
        "list the templates of clinical goals",
        "example:\n  rtplanning templates",
    )


def list_templates(options: argparse.Namespace) -> None:
    """List the templates of clinical goals."""
    from RTPlanningLib.evaluation.goal_templates import available_goal_templates

    print_columns([(one.name, f"{len(one.goals)} goals", one.title) for one in available_goal_templates()])
