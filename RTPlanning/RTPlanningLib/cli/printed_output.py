"""What a person sees at the end of a command: notes, results, files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from RTPlanningLib.cli.command_parser import NOTICE

if TYPE_CHECKING:
    from RTPlanningLib.evaluation.dose_evaluation import DoseEvaluation
    from RTPlanningLib.evaluation.goals import GoalResult
    from RTPlanningLib.workflow import PlanningResult


def print_evaluation(evaluation: DoseEvaluation) -> None:
    """Print the goals that were judged, and why others were not."""
    print_goals([one.result for one in evaluation.goals])
    for reason in evaluation.open_reasons():
        print(f"  not judged: {reason}")


def print_result(result: PlanningResult, headlines: Sequence[str] | None = None) -> None:
    """Print what a planning run made."""
    print_notes(result.notes)
    print(f"{result.plan.name} on {result.case.name}: {len(result.plan.beams)} beams, ", end="")
    print(", ".join(f"{beam.name} {beam.meterset_MU:.1f} MU" for beam in result.plan.beams))
    for line in result.headlines() if headlines is None else headlines:
        print(line)
    print_goals(result.goals)
    print_written(result.folder, result.files, result.seconds)


def print_notes(notes: Iterable[str]) -> None:
    """Print notes."""
    for note in notes:
        print(f"Note: {note}")


def print_goals(results: Sequence[GoalResult]) -> None:
    """Print goals, what was achieved, and the verdicts."""
    width = max((len(str(result.goal)) for result in results), default=0)
    for result in results:
        value = "" if result.value is None else f"{result.value:.2f} {result.goal.unit}".rstrip()
        print(f"  {result.goal!s:<{width}}  {value:>10}  {result.verdict}{_because(result.note)}")


def print_written(folder: Path, files: Iterable[Path], seconds: float | None = None) -> None:
    """Print the files that were written, with their sizes."""
    print(f"Written to {folder}:" if seconds is None else f"Written to {folder} in {seconds:.1f} s:")
    inside: dict[str, list[int]] = {}
    rows = []
    for path in files:
        size = path.stat().st_size
        if path.parent == folder:
            rows.append((f"  {path.name}", size_text(size)))
        else:
            inside.setdefault(path.parent.name, []).append(size)
    rows += [(f"  {name}/ ({len(sizes)} files)", size_text(sum(sizes))) for name, sizes in inside.items()]
    print_columns(rows)
    print(NOTICE)


def _because(note: str) -> str:
    return f" ({note.rstrip('.')})" if note else ""


def size_text(size: int) -> str:
    """Return the size of a file in words."""
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000.0:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000.0
    return f"{value:.1f} GB"


def print_columns(rows: list[tuple[str, ...]]) -> None:
    """Print rows in columns as wide as their widest cells."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip())
