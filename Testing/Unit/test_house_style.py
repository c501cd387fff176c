"""Lint, format, packaging and the words files may not hold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "."]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_every_dependency_says_why_it_is_there() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE).group(1)
    for line in block.splitlines():
        assert re.search(r'^\s+".*",?\s+# \S', line), f"pyproject.toml: say why {line.strip()} is needed"


def test_panels_install_what_the_package_requires() -> None:
    from DoseEngineLib.widget.packages import DOSE_PACKAGES

    assert set(DOSE_PACKAGES) <= set(PYPROJECT["project"]["dependencies"])


def test_version_is_stated_once_everywhere() -> None:
    version = PYPROJECT["project"]["version"]
    citation = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in citation


def test_no_catch_all_files() -> None:
    names = ("utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py")
    found = [path for path in REPOSITORY.rglob("*.py") if path.name in names and ".venv" not in path.parts]
    assert not found, f"Name the one idea of {', '.join(map(str, found))}."


@pytest.mark.parametrize("module", ["DoseEngine", "Optimizer", "RTPlanning"])
def test_module_icons(module: str) -> None:
    data = (REPOSITORY / module / "Resources" / "Icons" / f"{module}.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (128, 128)
