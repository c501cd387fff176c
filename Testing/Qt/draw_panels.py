"""Draw the pictures of the documentation: the panels themselves, driven as a person would, beside what is in the views.

    python Testing/Qt/draw_panels.py FOLDER

writes ``RTPlanning.png`` (the four-field box), ``DoseEngine.png`` (its dose) and ``Optimizer.png`` (five beams around
the C-shape).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / module) for module in ("DoseEngine", "Optimizer", "RTPlanning")]

from PySide6 import QtCore, QtGui, QtWidgets  # noqa: E402

from desktop_standin import installed  # noqa: E402
from desktop_standin.folding import click_title  # noqa: E402
from RTPlanningLib.headless import HeadlessSlicer  # noqa: E402

_HEIGHT = 1420


def turn(seconds: float = 0.0) -> None:
    """Let events turn for a while."""
    end = time.monotonic() + seconds
    QtWidgets.QApplication.processEvents()
    while time.monotonic() < end:
        QtWidgets.QApplication.processEvents()
        time.sleep(0.01)


def show_only(widget: Any, *sections: str) -> None:
    """Open these sections of the RT Planning panel and fold the others."""
    for name in widget.panel.steps:
        button = getattr(widget.ui, f"{name}Section")
        if bool(button.property("collapsed")) == (name in sections):
            click_title(button)
    turn(1.0)


def beside(pictures: list[QtGui.QImage], gap: int = 14) -> QtGui.QImage:
    """Pictures side by side on white."""
    width = sum(picture.width() for picture in pictures) + gap * (len(pictures) + 1)
    height = max(picture.height() for picture in pictures) + 2 * gap
    sheet = QtGui.QImage(width, height, QtGui.QImage.Format.Format_RGB32)
    sheet.fill(QtGui.QColor("white"))
    painter = QtGui.QPainter(sheet)
    at = gap
    for picture in pictures:
        painter.drawImage(at, gap, picture)
        at += picture.width() + gap
    painter.end()
    return sheet


def below(pictures: list[QtGui.QImage], width: int) -> QtGui.QImage:
    """Pictures of one width, one below the other, on white."""
    smooth = QtCore.Qt.TransformationMode.SmoothTransformation
    scaled = [picture.scaledToWidth(width, smooth) for picture in pictures]
    sheet = QtGui.QImage(width, sum(p.height() for p in scaled), QtGui.QImage.Format.Format_RGB32)
    sheet.fill(QtGui.QColor("white"))
    painter = QtGui.QPainter(sheet)
    top = 0
    for picture in scaled:
        painter.drawImage(0, top, picture)
        top += picture.height()
    painter.end()
    return sheet


def image_of(png: bytes) -> QtGui.QImage:
    """A PNG file's content as an image."""
    image = QtGui.QImage()
    if not image.loadFromData(png):
        raise ValueError("not a picture")
    return image


def draw_rtplanning(desktop: Any, folder: Path) -> Any:
    """The four-field box on the mock prostate; returns the plan node."""
    from RTPlanningLib.display.view3d import renderPlan, writePng
    from RTPlanningLib.report.plan_report import draw_plan_slices

    _module, widget = desktop.load_module(REPOSITORY / "RTPlanning" / "RTPlanning.py")
    widget.parent.resize(520, _HEIGHT)
    widget.parent.show()
    widget.enter()
    panel = widget.panel
    panel.steps["case"].ui.loadSampleButton.click()
    turn()
    panel.steps["beams"].ui.boxButton.click()
    turn(2.0)
    panel.steps["dose"].ui.computeButton.click()
    turn(2.0)
    if desktop.errors:
        raise RuntimeError(desktop.errors)
    show_only(widget, "beams")
    beams = widget.parent.grab().toImage()
    show_only(widget, "evaluate")
    evaluate = widget.parent.grab().toImage()
    session, logic = panel.session, panel.session.logic
    case = logic.caseFromNodes(session.volumeNode, session.segmentationNode)
    views = folder / "view3d.png"
    writePng(renderPlan(session.planNode, (1000, 620)), views)
    pictures = [image_of(draw_plan_slices(case, logic.lastResult)), image_of(views.read_bytes())]
    views.unlink()
    beside([beams, evaluate, below(pictures, 900)]).save(str(folder / "RTPlanning.png"))
    widget.exit()
    return widget


def draw_dose_engine(desktop: Any, planNode: Any, folder: Path) -> None:
    """The Dose Engine panel about a plan, with the statistics of its dose."""
    widget = open_module(desktop, "DoseEngine", planNode)
    save(widget, folder / "DoseEngine.png")
    widget.cleanup()


def draw_optimizer(desktop: Any, planning: Any, folder: Path) -> None:
    """The Plan Optimizer panel after five beams around the C-shape were optimized."""
    panel = planning.panel
    case, beams = panel.steps["case"].ui, panel.steps["beams"].ui
    case.sampleCombo.setCurrentIndex(case.sampleCombo.findData("tg119-cshape"))
    case.loadSampleButton.click()
    turn()
    beams.spacedButton.click()
    turn(1.0)
    panel.steps["dose"].ui.spacingSpin.setValue(4.0)
    widget = open_module(desktop, "Optimizer", panel.session.planNode)
    ui = widget.ui
    ui.templateCombo.setCurrentIndex(ui.templateCombo.findText("C-shape", QtCore.Qt.MatchFlag.MatchContains))
    ui.replaceRowsButton.click()
    ui.correctionsSpinBox.setValue(0)
    ui.fluenceButton.click()
    turn(1.0)
    save(widget, folder / "Optimizer.png")
    widget.cleanup()


def open_module(desktop: Any, name: str, planNode: Any) -> Any:
    """Show a module's panel about a plan."""
    _module, widget = desktop.load_module(REPOSITORY / name / f"{name}.py")
    widget.parent.resize(520, _HEIGHT)
    widget.parent.show()
    if hasattr(widget, "enter"):
        widget.enter()
    widget.ui.planSelector.setCurrentNode(planNode)
    turn(1.0)
    return widget


def save(widget: Any, path: Path) -> None:
    """Save a picture of all of a panel, as a scroll area would let one see it bit by bit."""
    widget.parent.resize(520, widget.parent.sizeHint().height())
    turn(0.5)
    if not widget.parent.grab().save(str(path)):
        raise OSError(f"cannot write {path}")


def main(folder: Path) -> None:
    """Draw all pictures into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with HeadlessSlicer() as runtime:
        import slicer

        with installed(slicer, runtime.application_logic) as desktop:
            desktop.scene = runtime.scene
            widget = draw_rtplanning(desktop, folder)
            draw_dose_engine(desktop, widget.panel.session.planNode, folder)
            draw_optimizer(desktop, widget, folder)
            if desktop.errors:
                raise RuntimeError(desktop.errors)
            widget.cleanup()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
