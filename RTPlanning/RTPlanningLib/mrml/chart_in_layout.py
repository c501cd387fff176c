"""A chart in the plot view of Slicer's layout."""

from __future__ import annotations

import slicer


def showChartInLayout(chartNode) -> None:
    """Show a chart node beside the images, in a layout like the present one that has a plot view."""
    layoutManager = slicer.app.layoutManager()
    # a program that embeds Slicer may have none
    if layoutManager is None:
        return
    withPlot = slicer.vtkSlicerPlotsLogic.GetLayoutWithPlot(layoutManager.layout)
    if withPlot != layoutManager.layout:
        layoutManager.setLayout(withPlot)
    applicationLogic = slicer.app.applicationLogic()
    applicationLogic.GetSelectionNode().SetActivePlotChartID(chartNode.GetID())
    applicationLogic.PropagatePlotChartSelection()
