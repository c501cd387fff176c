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
        self._shownIn: Any = None
        self.widget = slicer.qMRMLPlotWidget()
        self.widget.setMinimumHeight(_HEIGHT_PIXELS)
        self.widget.setToolTip(toolTip)
        self.widget.setMRMLScene(scene)
        self.widget.setVisible(False)
        layout.addWidget(self.widget)

    def chart(self) -> Any:
        """The chart node that is shown, or None."""
        viewNode = self._scene.GetSingletonNode(self._name, "vtkMRMLPlotViewNode")
        shown = viewNode is not None and not self.widget.isHidden()
        return viewNode.GetPlotChartNode() if shown else None

    def show(self, chartNode: Any) -> None:
        """Show a chart; None hides the widget."""
        self.widget.setVisible(chartNode is not None)
        if chartNode is None:
            return
        viewNode = self._viewNode()
        if self._shownIn is not viewNode:
            self.widget.setMRMLPlotViewNode(viewNode)
            self._shownIn = viewNode
        viewNode.SetPlotChartNodeID(chartNode.GetID())
        self.widget.plotView().fitToContent()

    def release(self) -> None:
        """Let go of the scene and take the view node out of it."""
        self.widget.setMRMLPlotViewNode(None)
        self.widget.setMRMLScene(None)
        for className in ("vtkMRMLPlotViewNode", "vtkMRMLScriptedModuleNode"):
            node = self._scene.GetSingletonNode(self._name, className)
            if node is not None:
                self._scene.RemoveNode(node)

    def _viewNode(self) -> Any:
        viewNode = self._scene.GetSingletonNode(self._name, "vtkMRMLPlotViewNode")
        if viewNode is None:
            # a view without an owner of its own would be taken for one of Slicer's layout
            owner = slicer.vtkMRMLScriptedModuleNode()
            owner.SetSingletonTag(self._name)
            owner.SetName(f"{self._name}_Owner")
            owner.SetHideFromEditors(True)
            owner.SetSaveWithScene(False)
            owner = self._scene.AddNode(owner)
            viewNode = slicer.vtkMRMLPlotViewNode()
            viewNode.SetAndObserveParentLayoutNodeID(owner.GetID())
            viewNode.SetSingletonTag(self._name)
            viewNode.SetLayoutName(self._name)
            viewNode.SetName(self._name)
            viewNode.SetHideFromEditors(True)
            viewNode.SetSaveWithScene(False)
            # a chart that is shown elsewhere is not shown here, too
            viewNode.SetDoPropagatePlotChartSelection(False)
            viewNode = self._scene.AddNode(viewNode)
        return viewNode
