"""A chart within a panel: Slicer's plot widget with a view node of its own."""

from __future__ import annotations

from typing import Any

import slicer

_HEIGHT_PIXELS = 260


class PlotCanvas:
    """Shows one MRML plot chart at a time.

    Parameters
    ----------
    layout : QLayout
        Gets the plot widget.
    scene : vtkMRMLScene
    name : str
        Of the view node, unique among the panels.
    toolTip : str
    """

    def __init__(self, layout: Any, scene: Any, name: str, toolTip: str) -> None:
        self._scene, self._name = scene, name
        self.widget = slicer.qMRMLPlotWidget()
        self.widget.setMinimumHeight(_HEIGHT_PIXELS)
        self.widget.setToolTip(toolTip)
        self.widget.setMRMLScene(scene)
        self.widget.setVisible(False)
        layout.addWidget(self.widget)

    def show(self, chartNode: Any) -> None:
        """Show a chart; None hides the widget."""
        self.widget.setVisible(chartNode is not None)
        if chartNode is None:
            return
        viewNode = self._viewNode()
        if self.widget.mrmlPlotViewNode() is not viewNode:
            self.widget.setMRMLPlotViewNode(viewNode)
        viewNode.SetPlotChartNodeID(chartNode.GetID())
        self.widget.plotView().fitToContent()

    def release(self) -> None:
        """Let go of the scene and take the view node out of it."""
        self.widget.setMRMLPlotViewNode(None)
        self.widget.setMRMLScene(None)
        viewNode = self._scene.GetSingletonNode(self._name, "vtkMRMLPlotViewNode")
        if viewNode is not None:
            self._scene.RemoveNode(viewNode)

    def _viewNode(self) -> Any:
        viewNode = self._scene.GetSingletonNode(self._name, "vtkMRMLPlotViewNode")
        if viewNode is None:
            viewNode = slicer.vtkMRMLPlotViewNode()
            # no layout knows it: it is this panel's alone
            viewNode.SetSingletonTag(self._name)
            viewNode.SetLayoutName(self._name)
            viewNode.SetName(self._name)
            viewNode.SetHideFromEditors(True)
            viewNode.SetSaveWithScene(False)
            viewNode = self._scene.AddNode(viewNode)
        return viewNode
