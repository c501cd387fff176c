"""A plot view inside a panel, apart from the views of Slicer's layout."""

from __future__ import annotations

from typing import Any

import slicer


class PlotPlace:
    """Shows plot charts of the scene in a widget of a panel.

    Parameters
    ----------
    container : QWidget
        With a layout; it gets the plot view.
    scene : vtkMRMLScene
    tag : str
        Tells the view from others; its node is there once in the scene and is not saved with it.
    """

    def __init__(self, container: Any, scene: Any, tag: str) -> None:
        self._scene = scene
        self._tag = tag
        self._widget = slicer.qMRMLPlotWidget()
        self._widget.setMRMLScene(scene)
        self._widget.setToolTip(container.property("toolTip") or "")
        container.layout().addWidget(self._widget)

    @property
    def widget(self) -> Any:
        """The plot widget."""
        return self._widget

    def chart(self) -> Any:
        """The chart node that is shown, or None."""
        view = self._scene.GetSingletonNode(self._tag, "vtkMRMLPlotViewNode")
        return view.GetPlotChartNode() if view is not None else None

    def show(self, chartNode: Any) -> None:
        """Show a chart; None: nothing."""
        view = self._scene.GetSingletonNode(self._tag, "vtkMRMLPlotViewNode")
        if view is None and chartNode is None:
            return
        if view is None:
            view = self._makeView()
        if self._widget.mrmlPlotViewNode() is not view:
            # a view of a closed scene is forgotten
            self._widget.setMRMLScene(self._scene)
            self._widget.setMRMLPlotViewNode(view)
        wanted = chartNode.GetID() if chartNode is not None else None
        if view.GetPlotChartNodeID() != wanted:
            view.SetPlotChartNodeID(wanted)

    def release(self) -> None:
        """Let go of the scene."""
        self._widget.setMRMLPlotViewNode(None)
        self._widget.setMRMLScene(None)

    def _makeView(self) -> Any:
        # a view without an owner of its own would be taken for one of Slicer's layout
        owner = slicer.vtkMRMLScriptedModuleNode()
        owner.SetName(f"{self._tag}_Owner")
        owner.SetSingletonTag(self._tag)
        owner.SetSaveWithScene(False)
        owner.SetHideFromEditors(True)
        owner = self._scene.AddNode(owner)
        view = slicer.vtkMRMLPlotViewNode()
        view.SetName(self._tag)
        view.SetSingletonTag(self._tag)
        view.SetLayoutName(self._tag)
        view.SetSaveWithScene(False)
        view.SetHideFromEditors(True)
        view.SetAndObserveParentLayoutNodeID(owner.GetID())
        return self._scene.AddNode(view)
