"""The command line: plan, optimize, evaluate, show, export, commission, validate, and list what there is.

A command a file. Nothing heavy is imported before a command needs it, so that ``--help`` answers at once.
"""

from RTPlanningLib.cli.demo import DEFAULT_CASE, DEFAULT_DEMO_FOLDER
from RTPlanningLib.cli.program import FAILED, INTERRUPTED, OK, TERMINATED, USAGE, main

__all__ = ["DEFAULT_CASE", "DEFAULT_DEMO_FOLDER", "FAILED", "INTERRUPTED", "OK", "TERMINATED", "USAGE", "main"]
