"""The parser of one command, as all commands have it."""

from __future__ import annotations

import argparse
from typing import Any

NOTICE = "For research and teaching, not for clinical use."


def add_command(commands: Any, name: str, function: Any, text: str, epilog: str) -> argparse.ArgumentParser:
    """Add a command with its help; what all commands take is added to it."""
    parser = commands.add_parser(
        name,
        allow_abbrev=False,
        help=text,
        description=f"{text[0].upper()}{text[1:]}. {NOTICE}",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # accepted after the command too; not given there, what stood before the command counts
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.set_defaults(command=function, parser=parser)
    return parser
