"""The program: its parser, its commands, and what it says and returns when something goes wrong."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from DoseEngineLib.errors import Cancelled, PlanningError
from RTPlanningLib.cli import (
    cases,
    commission,
    compare,
    demo,
    dose_sum,
    engines,
    evaluate,
    exercises,
    export,
    fractionation,
    machines,
    navigate,
    optimize,
    pareto,
    probabilities,
    recompute,
    run,
    show,
    templates,
    validate,
)
from RTPlanningLib.cli.command_parser import NOTICE

OK = 0
FAILED = 1
USAGE = 2
INTERRUPTED = 130
TERMINATED = 143

# in the order of the help
COMMANDS = (
    demo,
    run,
    optimize,
    pareto,
    navigate,
    evaluate,
    recompute,
    compare,
    dose_sum,
    show,
    commission,
    export,
    validate,
    probabilities,
    fractionation,
    cases,
    templates,
    exercises,
    machines,
    engines,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 done; 1 the request could not be served (the reason is on stderr); 2 wrong usage; 130 stopped with Ctrl-C.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments after the program's name; by default those of the process.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    try:
        with _terminate_like_interrupt():
            options.command(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader (head, less) went away: no complaint, and none at interpreter exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (KeyboardInterrupt, Cancelled):
        print("rtplanning: cancelled; nothing was written.", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        if options.debug:
            raise
        print(f"rtplanning: {_in_words(error)}", file=sys.stderr)
        return FAILED
    return OK


def _in_words(error: Exception) -> str:
    if isinstance(error, PlanningError):
        return f"error: {error}"
    if isinstance(error, MemoryError):
        return (
            "error: not enough memory; use a coarser dose grid (spacing_mm in the plan file) or close other programs."
        )
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return f"error: {place}{error.strerror or error}."
    return (
        f"internal error: {type(error).__name__}: {error}\n"
        "This is a fault of the program, not of your input. Run it again with --debug and report what it shows."
    )


@contextmanager
def _terminate_like_interrupt() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that nothing half-written stays."""

    def terminate(signum: int, frame: object) -> None:
        raise SystemExit(TERMINATED)

    try:
        former = signal.signal(signal.SIGTERM, terminate)
    except ValueError:
        # not in the main thread: signals are someone else's
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("rtplanning")
        except PackageNotFoundError:
            number = "(not installed as a package)"
        print(f"rtplanning {number}. {NOTICE}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rtplanning",
        allow_abbrev=False,
        description=f"Radiotherapy treatment planning. {NOTICE}",
        epilog="""\
examples:
  rtplanning demo                                    a four-field box on a built-in case
  rtplanning run plan.toml --ct dicom/ --out result  your plan file on your DICOM folder (CT and RTSTRUCT)
  rtplanning optimize tg119-cshape-imrt --case tg119-cshape --out imrt   an inverse plan of a built-in case
  rtplanning show result/scene.mrb                   what a saved plan holds

exit codes: 0 done, 1 could not be done (the reason is on stderr), 2 wrong usage, 130 Ctrl-C""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    parser.add_argument("--debug", action="store_true", help="show Python's traceback when something goes wrong")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
