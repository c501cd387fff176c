"""Checks of a plan before it is signed off: a peer-review sheet whose every line explains itself.

Each check is a function on plain data that returns a `CheckResult`; `check_plan` runs them all. The thresholds stand at
the top of each file with their source, or as chosen by this project where there is none. A check that passes says what
was looked at; it does not replace the look of a second person.
"""

from RTPlanningLib.evaluation.plan_checks.check_plan import check_plan
from RTPlanningLib.evaluation.plan_checks.check_result import CheckResult, summary_of_checks

__all__ = ["CheckResult", "check_plan", "summary_of_checks"]
