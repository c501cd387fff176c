"""Panels on a real scene: slicer-core below, PySide6 and the desktop stand-ins above."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from missing import missing
from uncaught_errors import uncaught_errors

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
REPOSITORY = Path(__file__).resolve().parents[2]
# Panels are drawn into this folder when it is named, for a person to look at.
SCREENSHOTS = os.environ.get("RTPLANNING_SCREENSHOTS")


@pytest.fixture
def desktop(monkeypatch):
    """Desktop stand-ins around a fresh scene; Qt's own complaints, and errors nobody caught, fail the test."""
    try:
        from desktop_standin import installed
    except ImportError as error:
        missing(f"PySide6 cannot be loaded ({error}); install .[test] and the system library the text names.")
    from RTPlanningLib.headless import HeadlessSlicer

    # desktop Slicer puts each module folder on the path
    for module in ("DoseEngine", "Optimizer", "RTPlanning"):
        monkeypatch.syspath_prepend(str(REPOSITORY / module))
    with uncaught_errors() as uncaught, HeadlessSlicer() as runtime:
        import slicer

        with installed(slicer, runtime.application_logic) as standin:
            standin.scene = runtime.scene
            yield standin
            complaints = [text for text in standin.warnings if "propagateSizeHints" not in text]
    assert not complaints, "\n".join(complaints)
    assert not uncaught, "\n".join(uncaught)


@pytest.fixture
def heartbeat(desktop):
    """Measure the longest time that the event loop stands still: ``with heartbeat() as beat: ...``.

    Afterwards ``beat.longest_s`` (wall), ``beat.longest_cpu_s`` (this thread's work alone) and ``beat.where`` (what it
    was doing).
    """
    from desktop_standin import Heartbeat

    return Heartbeat


@pytest.fixture
def load(desktop):
    """Load a module by name: (module, widget); widgets are cleaned up at the end, as Slicer does before it exits."""
    widgets = []

    def _load(name: str):
        module, widget = desktop.load_module(REPOSITORY / name / f"{name}.py")
        widgets.append(widget)
        end = widget.cleanup

        def cleanup() -> None:
            if widget in widgets:
                widgets.remove(widget)
            end()

        widget.cleanup = cleanup
        return module, widget

    yield _load
    for widget in list(widgets):
        widget.cleanup()
    for name in ("DoseEngine", "Optimizer", "RTPlanning"):
        sys.modules.pop(name, None)


@pytest.fixture
def picture(desktop, tmp_path):
    """Save a widget's picture and return the path."""

    def _picture(widget, name: str) -> Path:
        folder = Path(SCREENSHOTS) if SCREENSHOTS else tmp_path
        path = folder / f"{name}.png"
        desktop.grab(widget.parent, path)
        return path

    return _picture
