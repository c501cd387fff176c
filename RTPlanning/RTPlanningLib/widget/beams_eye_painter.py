"""A beam's-eye view painted for a panel: radiograph, jaws, leaves, outlines, scale and words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import qt

from RTPlanningLib.display.beams_eye_geometry import JAW_COLOR, LEAF_COLOR, BeamsEyeOverlay
from RTPlanningLib.display.colors import hex_color

_TICK_MM, _LONG_TICK_MM = 10.0, 50.0
_TEXT_PIXELS = 12


def paintBeamsEye(overlay: BeamsEyeOverlay, picture: bytes | None, side: int, note: str = "") -> Any:
    """Return a square picture of ``side`` pixels.

    Parameters
    ----------
    overlay : BeamsEyeOverlay
    picture : bytes or None
        Radiograph over the same square, in a format that Qt reads; None: black.
    side : int
    note : str
        Words across the lower end.

    Returns
    -------
    QPixmap
    """
    pixmap = qt.QPixmap(side, side)
    pixmap.fill(qt.QColor("black"))
    painter = qt.QPainter()
    painter.begin(pixmap)
    try:
        painter.setRenderHint(qt.QPainter.Antialiasing, True)
        painter.setRenderHint(qt.QPainter.SmoothPixmapTransform, True)
        if picture is not None:
            ground = qt.QPixmap()
            ground.loadFromData(picture)
            painter.drawPixmap(0, 0, side, side, ground)
        _Canvas(painter, side, overlay.half_mm).draw(overlay, note)
    finally:
        # a pixmap must not be let go while it is painted on
        painter.end()
    return pixmap


class _Canvas:
    """Draws in mm of the isocentre plane: X to the right, Y up."""

    def __init__(self, painter: Any, side: int, half_mm: float) -> None:
        self._painter = painter
        self._side = side
        self._half = half_mm
        self._scale = side / (2.0 * half_mm)
        font = qt.QFont()
        font.setPixelSize(_TEXT_PIXELS)
        painter.setFont(font)

    def draw(self, overlay: BeamsEyeOverlay, note: str) -> None:
        self._lines(overlay.leaves_mm, _pen(LEAF_COLOR, 0.7, 0.35), fill=_color(LEAF_COLOR, 0.18), closed=True)
        self._lines(overlay.tips_mm, _pen(LEAF_COLOR, 1.8))
        for shadow in overlay.shadows:
            self._lines(shadow.loops_mm, _pen(hex_color(shadow.color), 1.6), closed=True)
        (x1, x2), (y1, y2) = overlay.jaw_x_mm, overlay.jaw_y_mm
        self._lines([np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])], _pen(JAW_COLOR, 1.6), closed=True)
        self._cross()
        self._words(overlay, note)

    def _cross(self) -> None:
        """Axes of the collimator with a tick every centimetre, longer ones every five."""
        half = self._half
        lines = [((-half, 0.0), (half, 0.0)), ((0.0, -half), (0.0, half))]
        count = int(half // _TICK_MM)
        for n in range(-count, count + 1):
            at = n * _TICK_MM
            length = 0.02 * half if at % _LONG_TICK_MM else 0.04 * half
            lines += [((at, -length / 2), (at, length / 2)), ((-length / 2, at), (length / 2, at))]
            if n and not at % _LONG_TICK_MM and abs(at) < 0.92 * half:
                x, y = self._pixel(at, -length)
                self._text(f"{at:g}", x - 25, y, 50, _TEXT_PIXELS + 4, qt.Qt.AlignHCenter)
        self._lines([np.array(line) for line in lines], _pen("#ffffff", 1.0, 0.7))

    def _words(self, overlay: BeamsEyeOverlay, note: str) -> None:
        side, line = self._side, _TEXT_PIXELS + 4
        for n, words in enumerate(overlay.angles):
            self._text(words, 5, 3 + n * line, side - 10, line, qt.Qt.AlignLeft)
        for n, shadow in enumerate(overlay.shadows):
            color = hex_color(shadow.color)
            self._text(shadow.name, 5, 3 + n * line, side - 10, line, qt.Qt.AlignRight, color)
        places = {
            "right": (side - 25, side // 2 - 9 - line, 20),
            "left": (5, side // 2 - 9 - line, 20),
            "top": (side // 2 + 6, 3 + 2 * line, 20),
            "bottom": (side // 2 + 6, side - line - 5, 20),
        }
        for where, letter in overlay.sides.items():
            x, y, width = places[where]
            self._text(letter, x, y, width, line, qt.Qt.AlignHCenter)
        self._text(note or "mm at the isocentre plane", 5, side - line - 3, side - 10, line, qt.Qt.AlignLeft)

    def _pixel(self, x_mm: float, y_mm: float) -> tuple[int, int]:
        return round(self._side / 2 + x_mm * self._scale), round(self._side / 2 - y_mm * self._scale)

    def _lines(self, lines_mm: Sequence[np.ndarray], pen: Any, *, fill: Any = None, closed: bool = False) -> None:
        """Many lines (n, 2) in mm as one path: a call of Qt from Python costs more than what it draws."""
        path = qt.QPainterPath()
        for points in lines_mm:
            x = self._side / 2 + points[:, 0] * self._scale
            y = self._side / 2 - points[:, 1] * self._scale
            path.moveTo(float(x[0]), float(y[0]))
            for column, row in zip(x[1:].tolist(), y[1:].tolist()):
                path.lineTo(column, row)
            if closed:
                path.closeSubpath()
        if fill is not None:
            self._painter.fillPath(path, qt.QBrush(fill))
        self._painter.setPen(pen)
        self._painter.drawPath(path)

    def _text(self, words: str, x: int, y: int, width: int, height: int, align: Any, color: str = "#ffffff") -> None:
        """Words with a dark rim, readable on bone and air."""
        painter, flags = self._painter, int(align)
        painter.setPen(_pen("#000000", 1.0))
        for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            painter.drawText(qt.QRect(x + dx, y + dy, width, height), flags, words)
        painter.setPen(_pen(color, 1.0))
        painter.drawText(qt.QRect(x, y, width, height), flags, words)


def _color(name: str, opacity: float = 1.0) -> Any:
    color = qt.QColor(name)
    color.setAlphaF(opacity)
    return color


def _pen(name: str, width: float, opacity: float = 1.0) -> Any:
    pen = qt.QPen(_color(name, opacity))
    pen.setWidthF(width)
    return pen
