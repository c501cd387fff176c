"""The plot view: draws a real ``vtkMRMLPlotChartNode`` so that pictures of a panel show its curves."""

from __future__ import annotations

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

from desktop_standin.scene_watch import SceneWatch

_MARGINS = QtCore.QMargins(56, 26, 12, 40)
_DASHES = {
    "dash": QtCore.Qt.PenStyle.DashLine,
    "dot": QtCore.Qt.PenStyle.DotLine,
    "dash-dot": QtCore.Qt.PenStyle.DashDotLine,
    "dash-dot-dot": QtCore.Qt.PenStyle.DashDotDotLine,
    "none": QtCore.Qt.PenStyle.NoPen,
}


class qMRMLPlotView(QtWidgets.QWidget):
    """The canvas; it follows its view node, the chart there, its series and their tables."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = None
        self._view = None
        self._watch = SceneWatch(self)
        self.setMinimumSize(120, 90)

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        self._scene = scene
        self._follow()

    def mrmlPlotViewNode(self):
        return self._view

    def setMRMLPlotViewNode(self, node) -> None:
        self._view = node
        self._follow()

    def fitToContent(self) -> None:
        chart = self._chart()
        if chart is not None:
            chart.SetXAxisRangeAuto(True)
            chart.SetYAxisRangeAuto(True)
        self.update()

    def sizeHint(self) -> QtCore.QSize:
        return QtCore.QSize(400, 260)

    def _chart(self):
        return self._view.GetPlotChartNode() if self._scene is not None and self._view is not None else None

    def _series(self) -> list:
        chart = self._chart()
        nodes = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())] if chart else []
        return [node for node in nodes if node is not None and node.GetTableNode() is not None]

    def _follow(self) -> None:
        self._watch.clear()
        modified = [vtk.vtkCommand.ModifiedEvent]
        chart = self._chart()
        for node in (self._view, chart):
            if node is not None:
                self._watch.watch(node, modified, lambda widget: widget._follow())
        for series in self._series():
            self._watch.watch(series, modified, lambda widget: widget.update())
            self._watch.watch(series.GetTableNode(), modified, lambda widget: widget.update())
        self.update()

    def _curves(self) -> list[tuple]:
        """Return (series node, x, y) of what can be drawn."""
        curves = []
        for series in self._series():
            table = series.GetTableNode().GetTable()
            y = table.GetColumnByName(series.GetYColumnName() or "")
            if y is None or not y.GetNumberOfTuples():
                continue
            y = vtk_to_numpy(y)
            x = table.GetColumnByName(series.GetXColumnName() or "")
            scatter = series.GetPlotType() == slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter
            curves.append((series, vtk_to_numpy(x) if scatter and x is not None else range(len(y)), y))
        return curves

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), QtCore.Qt.GlobalColor.white)
        chart = self._chart()
        curves = self._curves()
        if chart is not None and curves:
            self._draw(painter, chart, curves)
        painter.end()

    def _draw(self, painter: QtGui.QPainter, chart, curves: list[tuple]) -> None:
        area = QtCore.QRectF(self.rect().marginsRemoved(_MARGINS))
        spans = []
        for axis, values in ((0, [x for _, x, _y in curves]), (1, [y for _, _x, y in curves])):
            auto = chart.GetXAxisRangeAuto() if axis == 0 else chart.GetYAxisRangeAuto()
            given = chart.GetXAxisRange() if axis == 0 else chart.GetYAxisRange()
            low, high = (min(min(v) for v in values), max(max(v) for v in values)) if auto else given
            spans.append((float(low), float(high) if high > low else float(low) + 1.0))
        (x0, x1), (y0, y1) = spans
        painter.setPen(QtGui.QPen(QtCore.Qt.GlobalColor.gray))
        painter.drawRect(area)
        painter.setPen(QtCore.Qt.GlobalColor.black)
        for part in range(5):
            x = area.left() + area.width() * part / 4
            y = area.bottom() - area.height() * part / 4
            across = QtCore.QRectF(x - 30, area.bottom() + 2, 60, 14)
            painter.drawText(across, QtCore.Qt.AlignmentFlag.AlignHCenter, f"{x0 + (x1 - x0) * part / 4:g}")
            beside = QtCore.QRectF(0, y - 7, area.left() - 4, 14)
            painter.drawText(beside, QtCore.Qt.AlignmentFlag.AlignRight, f"{y0 + (y1 - y0) * part / 4:g}")
        center = QtCore.Qt.AlignmentFlag.AlignHCenter
        if chart.GetTitleVisibility():
            painter.drawText(QtCore.QRectF(0, 4, self.width(), 18), center, chart.GetTitle() or "")
        below = QtCore.QRectF(area.left(), self.height() - 18, area.width(), 16)
        painter.drawText(below, center, chart.GetXAxisTitle() or "")
        painter.drawText(QtCore.QPointF(2, 16), chart.GetYAxisTitle() or "")
        for row, (series, xs, ys) in enumerate(curves):
            color = QtGui.QColor.fromRgbF(*series.GetColor())
            dash = _DASHES.get(series.GetLineStyleAsString(series.GetLineStyle()), QtCore.Qt.PenStyle.SolidLine)
            painter.setPen(QtGui.QPen(color, max(1.0, series.GetLineWidth()), dash))
            points = [
                QtCore.QPointF(
                    area.left() + (x - x0) / (x1 - x0) * area.width(),
                    area.bottom() - (y - y0) / (y1 - y0) * area.height(),
                )
                for x, y in zip(xs, ys, strict=False)
                if x == x and y == y
            ]
            painter.setClipRect(area)
            painter.drawPolyline(points)
            painter.setClipping(False)
            if chart.GetLegendVisibility():
                painter.drawText(
                    QtCore.QPointF(area.right() - 110, area.top() + 14 * (row + 1)), series.GetName() or ""
                )


class qMRMLPlotWidget(QtWidgets.QWidget):
    """A plot view as it stands in a layout."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._canvas = qMRMLPlotView(self)
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._canvas)

    def plotView(self) -> qMRMLPlotView:
        return self._canvas

    def viewWidget(self) -> QtWidgets.QWidget:
        return self._canvas

    def mrmlScene(self):
        return self._canvas.mrmlScene()

    def setMRMLScene(self, scene) -> None:
        self._canvas.setMRMLScene(scene)

    def mrmlPlotViewNode(self):
        return self._canvas.mrmlPlotViewNode()

    def setMRMLPlotViewNode(self, node) -> None:
        self._canvas.setMRMLPlotViewNode(node)


WIDGETS = (qMRMLPlotView, qMRMLPlotWidget)
