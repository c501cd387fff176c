"""What desktop Slicer does not bring is not needed before an action asks for it."""

from __future__ import annotations

import subprocess
import sys

ABSENT = ("jsonschema", "numba", "matplotlib", "jinja2", "rich")


def test_logics_import_without_packages_the_desktop_lacks() -> None:
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            raise ImportError(f"No module named {{name}}")
sys.meta_path.insert(0, Absent())
import DoseEngineLib.logic, OptimizerLib.logic, RTPlanningLib.logic
import RTPlanningLib.evaluation_logic, RTPlanningLib.report_logic
import RTPlanningLib.plan_templates, RTPlanningLib.samples
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
