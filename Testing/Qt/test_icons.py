"""Icons: drawings that Qt reads, PNG files that are their renderings, and told apart at the size of a toolbar."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = ("DoseEngine", "Optimizer", "RTPlanning")
TOOLBAR = 24


def pixels(image) -> np.ndarray:
    """Colours (y, x, 4) of a QImage as numbers of 0..255."""
    image = image.convertToFormat(image.Format.Format_RGBA8888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 4 * image.width()].reshape(image.height(), image.width(), 4).astype(float)


def drawn(module: str, size: int):
    """The drawing of a module, rendered."""
    from PySide6 import QtGui, QtSvg

    renderer = QtSvg.QSvgRenderer(str(REPOSITORY / module / "Resources" / "Icons" / f"{module}.svg"))
    assert renderer.isValid()
    image = QtGui.QImage(size, size, QtGui.QImage.Format.Format_ARGB32)
    image.fill(0)
    painter = QtGui.QPainter(image)
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    renderer.render(painter)
    painter.end()
    return image


@pytest.mark.parametrize("module", MODULES)
def test_the_png_is_the_drawing(desktop, module: str) -> None:
    from PySide6 import QtGui

    png = QtGui.QImage(str(REPOSITORY / module / "Resources" / "Icons" / f"{module}.png"))
    difference = np.abs(pixels(png) - pixels(drawn(module, 128)))
    assert difference.mean() < 2.0


def test_icons_are_told_apart_in_a_toolbar(desktop) -> None:
    small = {module: pixels(drawn(module, TOOLBAR)) for module in MODULES}
    for one, other in combinations(MODULES, 2):
        differs = np.abs(small[one] - small[other]).max(axis=2) > 60
        assert differs.mean() > 0.3, f"{one} and {other} look alike"
    for module, image in small.items():
        # several colours that stand out against each other
        assert image[..., :3].reshape(-1, 3).std(axis=0).max() > 50, module
