"""The arrows of the house: import-linter's contracts, light packages, and the data files every Lib carries."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LIBS = {"DoseEngine": "DoseEngineLib", "Optimizer": "OptimizerLib", "RTPlanning": "RTPlanningLib"}


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "from importlinter.cli import lint_imports_command as c; c(['--no-cache'])"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)


def test_contracts_hold() -> None:
    run = lint_imports(REPOSITORY)
    assert run.returncode == 0, run.stdout + run.stderr
    kept = re.search(r"Contracts: (\d+) kept, 0 broken", run.stdout)
    assert kept, run.stdout
    assert int(kept.group(1)) >= 5


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("DoseEngineLib.plan", "import OptimizerLib", "The floors"),
        ("DoseEngineLib.logic", "import DoseEngineLib.widget.panel", "Within a floor"),
        ("DoseEngineLib.plan", "import DoseEngineLib.mrml", "does not know nodes"),
        ("RTPlanningLib.case", "import DoseEngineLib.logic", "does not know logics"),
        ("DoseEngineLib.geometry", "import slicer", "no slicer, vtk or qt"),
        ("DoseEngineLib.geometry", "import vtk", "no slicer, vtk or qt"),
    ],
)
def test_contracts_see_a_wrong_arrow(module: str, line: str, contract: str, tmp_path: Path) -> None:
    """A copy of the house with one wrong import: the contract that forbids it breaks."""
    paths = []
    for folder, lib in LIBS.items():
        for source in (REPOSITORY / folder / lib).rglob("*.py"):
            target = tmp_path / source.relative_to(REPOSITORY / folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        paths.append(lib)
    wrong = tmp_path / (module.replace(".", "/") + ".py")
    wrong.write_text(wrong.read_text(encoding="utf-8") + f"\n\ndef _wrong():\n    {line}\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    run = lint_imports(tmp_path)
    assert run.returncode != 0, f"{module} may say {line!r} and nothing breaks"
    broken = [text for text in run.stdout.splitlines() if " BROKEN" in text]
    assert any(contract in text for text in broken), run.stdout


@pytest.mark.parametrize("lib", LIBS.values())
def test_package_imports_nothing_heavy(lib: str) -> None:
    heavy = ("numba", "scipy", "matplotlib", "vtk", "slicer", "pydicom", "qt", "PySide6")
    code = f"import sys, {lib}; print([name for name in {heavy!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_json_tables_say_where_they_come_from() -> None:
    paths = [path for folder, lib in LIBS.items() for path in (REPOSITORY / folder / lib).rglob("*.json")]
    assert paths
    for path in paths:
        data = json.loads(path.read_text(encoding="utf-8"))
        name = path.relative_to(REPOSITORY).as_posix()
        assert "schema_version" in data or "$schema" in data, f"{name} has no schema_version"
        if "$schema" not in data:
            text = json.dumps(data).lower()
            assert "source" in text or "provenance" in text, f"{name} does not say its source"
