"""Checks of a plan as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO

from RTPlanningLib.evaluation.plan_checks import CheckResult


def checks_csv(checks: Sequence[CheckResult]) -> str:
    """Return what was checked and what was found as CSV text, a line a check."""
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("Check", "Result", "Text"))
    writer.writerows((check.name, check.verdict, check.text) for check in checks)
    return stream.getvalue()
