"""A chart of the scene in a panel."""

from __future__ import annotations

from typing import Any

import qt
import slicer

from DoseEngineLib.widget.module_parameters import moduleParameterNode


class PlotView:
    """A plot view in a place of a panel, with a view node of its own.

    Parameters
    ----------
    place : QWidget
        Empty; the view fills it.
    scene : vtkMRMLScene
    name : str
        Of the view node; one a scene.
    moduleName : str
        Its parameter node owns the view node: the layout of the application leaves it alone then.
    """

    def __init__(self, place: Any, scene: Any, name: str, moduleName: str) -> None:
        self._scene = scene
        self._name = name
        self._moduleName = moduleName
        self._widget = slicer.qMRMLPlotWidget()
        self._widget.setMRMLScene(scene)
        layout = qt.QVBoxLayout(place)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._widget)
        self._widget.setToolTip(place.property("toolTip"))

    def show(self, chartNode: Any) -> None:
        """Show a chart; None: nothing."""
        viewNode = self._viewNode()
        if self._widget.mrmlPlotViewNode() is not viewNode:
            self._widget.setMRMLPlotViewNode(viewNode)
        chartID = None if chartNode is None else chartNode.GetID()
        if viewNode.GetPlotChartNodeID() != chartID:
            viewNode.SetPlotChartNodeID(chartID)

    def fit(self) -> None:
        """Let the axes hold all curves."""
        self._widget.plotView().fitToContent()

    def release(self) -> None:
        """Let go of the scene; the view node goes with it."""
        viewNode = self._scene.GetSingletonNode(self._name, "vtkMRMLPlotViewNode")
        self._widget.setMRMLPlotViewNode(None)
        self._widget.setMRMLScene(None)
        if viewNode is not None:
            self._scene.RemoveNode(viewNode)

    def _viewNode(self) -> Any:
        """The view's node; made anew where the scene was closed."""
        node = self._scene.GetSingletonNode(self._name, "vtkMRMLPlotViewNode")
        if node is None:
            node = slicer.vtkMRMLPlotViewNode()
            node.SetName(self._name)
            node.SetSingletonTag(self._name)
            node.SetLayoutName(self._name)
            node.SetLayoutLabel(self._name)
            # part of a panel, not of the layout, and not of the saved scene
            node.SetHideFromEditors(True)
            node.SetSaveWithScene(False)
            # a chart that is shown elsewhere is not shown here, too
            node.SetDoPropagatePlotChartSelection(False)
            node.SetAndObserveParentLayoutNodeID(moduleParameterNode(self._scene, self._moduleName).GetID())
            node = self._scene.AddNode(node)
        return node
