"""What a check of a plan says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

VERDICTS = ("failed", "warning", "passed", "not applicable")


@dataclass(frozen=True)
class CheckResult:
    """The answer of one check.

    Attributes
    ----------
    name : str
        What was checked.
    verdict : {"passed", "warning", "failed", "not applicable"}
        A warning asks a person to look; a failure asks for a change.
    text : str
        What was found, and where the check did not pass, what to do.
    """

    name: str
    verdict: str
    text: str

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"A check's verdict is one of {', '.join(VERDICTS)}; got {self.verdict!r}.")


def passed(name: str, text: str) -> CheckResult:
    """Make the result of a check that found nothing to say."""
    return CheckResult(name, "passed", text)


def warning(name: str, text: str) -> CheckResult:
    """Make the result of a check that asks a person to look."""
    return CheckResult(name, "warning", text)


def failed(name: str, text: str) -> CheckResult:
    """Make the result of a check that asks for a change."""
    return CheckResult(name, "failed", text)


def not_applicable(name: str, text: str) -> CheckResult:
    """Make the result of a check that had nothing to look at."""
    return CheckResult(name, "not applicable", text)


def summary_of_checks(results: Iterable[CheckResult]) -> str:
    """Count the verdicts in words, the gravest first; those without any are left out."""
    verdicts = [result.verdict for result in results]
    counts = []
    for verdict in VERDICTS:
        count = verdicts.count(verdict)
        if count:
            counts.append(f"{count} {verdict}{'s' if verdict == 'warning' and count > 1 else ''}")
    return ", ".join(counts) or "none made"
