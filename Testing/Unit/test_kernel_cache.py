"""Compiled kernels of changed code are thrown away, and only those."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from DoseEngineLib.kernel_cache import drop_stale_kernels

INNER = "import numba\n\n@numba.njit(cache=True, inline='always')\ndef inner(x):\n    return x + {}\n"
OUTER = "import numba\nfrom kernels.inner import inner\n\n@numba.njit(cache=True)\ndef outer(x):\n    return inner(x)\n"
GUARD = "from DoseEngineLib.kernel_cache import drop_stale_kernels\n\ndrop_stale_kernels(__path__[0])\n"


def make_package(folder: Path, guarded: bool) -> Path:
    package = folder / "kernels"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text(GUARD if guarded else "")
    (package / "inner.py").write_text(INNER.format(1))
    (package / "outer.py").write_text(OUTER)
    (package / "sub" / "__init__.py").write_text("")
    return package


def outer_of_ten(folder: Path, cache: Path | None) -> int:
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache)
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); from kernels.outer import outer; print(outer(10))"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.parametrize("chosen_cache", [False, True])
def test_a_change_in_another_file_reaches_compiled_kernels(tmp_path, chosen_cache):
    """A kernel that inlines a function of another file: numba alone keeps its old value, with the guard it is new."""
    for guarded, expected in ((False, 11), (True, 12)):
        folder = tmp_path / str(guarded)
        cache = folder / "cache" if chosen_cache else None
        package = make_package(folder, guarded)
        assert outer_of_ten(folder, cache) == 11
        (package / "inner.py").write_text(INNER.format(2) + "# longer\n")
        # numba alone: the known weakness, so that this test says when it is gone
        assert outer_of_ten(folder, cache) == expected


def test_kernels_are_kept_while_nothing_they_are_made_of_changes(tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    package = make_package(tmp_path, False)
    below = tmp_path / "below"
    below.mkdir()
    (below / "called.py").write_text("STEP = 1\n")
    (package / "inner.py").write_text("from below.called import (\n    STEP,\n)\n" + INNER.format("STEP"))
    (package / "other.py").write_text("import numba\n")
    (package / "plain.py").write_text("")
    cache = package / "__pycache__"
    cache.mkdir()
    for name in ("outer.outer-4.py311.nbi", "outer.outer-4.py311.1.nbc", "other.f-1.py311.nbi", "outer.pyc"):
        (cache / name).write_text("")
    assert drop_stale_kernels(package, below) == 3
    (cache / "outer.outer-4.py311.nbi").write_text("")
    (cache / "other.f-1.py311.nbi").write_text("")
    (package / "plain.py").write_text("# changed\n")
    os.utime(package / "inner.py")
    assert drop_stale_kernels(package, below) == 0
    (below / "called.py").write_text("STEP = 2\n")
    assert drop_stale_kernels(package, below) == 1
    assert {file.name for file in cache.iterdir()} == {"other.f-1.py311.nbi", "outer.pyc", "rtplanning_kernels.stamp"}


def test_a_cache_that_cannot_be_written_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    package = make_package(tmp_path, False)
    cache = package / "__pycache__"
    cache.mkdir()
    (cache / "outer.outer-4.py311.nbi").write_text("")

    def refuse(self, missing_ok=False):
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.warns(UserWarning, match="NUMBA_CACHE_DIR"):
        assert drop_stale_kernels(package) == 0
