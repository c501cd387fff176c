"""What is shown of a search while it runs: tables, series and charts that come and go with it, and are never saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import slicer

from DoseEngineLib.mrml.plot_series import setLine
from DoseEngineLib.mrml.table_columns import oneChange, setColumns
from OptimizerLib.fluence_planning import HistoryEntry
from OptimizerLib.mrml.curve_colors import CURVE_COLORS, TOTAL_COLOR

# Terms that never mattered would stretch a logarithmic axis over many decades.
_LEAST_SHARE = 1e-4
_ITERATION, _TOTAL, _DOSE = "Iteration", "Total", "Dose"


class LivePlot:
    """A chart of curves from one table, updated in place.

    Parameters
    ----------
    scene : vtkMRMLScene
    name : str
    xTitle, yTitle : str
    """

    def __init__(self, scene, name: str, xTitle: str, yTitle: str) -> None:
        self._scene = scene
        self._name = name
        self._titles = xTitle, yTitle
        # the nodes themselves: IDs of a closed scene are given to others
        self._nodes: list = []
        self._drawn: list[str] = []
        self._table = self._chart = None

    @property
    def chartNode(self):
        """The chart, or None where there is none (any more)."""
        return self._chart if self._chart is not None and self._chart.GetScene() is self._scene else None

    def show(
        self,
        xName: str,
        x: Sequence[float],
        curves: Mapping[str, Sequence[float]],
        colors: Mapping[str, tuple[float, float, float]],
        *,
        logarithmic: bool = False,
    ) -> None:
        """Show curves over the same abscissae, in place of those before.

        Parameters
        ----------
        xName : str
        x : (n,) sequence of float
        curves : mapping of name to (n,) sequence of float
        colors : mapping of name to RGB, 0 to 1
        logarithmic : bool
            The ordinate.
        """
        if self.chartNode is None or list(curves) != self._drawn:
            self.remove()
            self._create(xName, list(curves), colors)
        chart = self._chart
        setColumns(self._table, {xName: list(x), **{name: list(values) for name, values in curves.items()}})
        with oneChange(chart):
            chart.SetYAxisLogScale(logarithmic)
            # the chart redraws when it is told to
            chart.Modified()

    def remove(self) -> None:
        """Take the nodes out of the scene; those that are gone already are no matter."""
        for node in reversed(self._nodes):
            if node.GetScene() is self._scene:
                self._scene.RemoveNode(node)
        self._nodes, self._drawn = [], []
        self._table = self._chart = None

    def _create(self, xName: str, names: list[str], colors: Mapping[str, tuple[float, float, float]]) -> None:
        table = self._add("vtkMRMLTableNode", self._name)
        setColumns(table, {xName: [0.0], **{name: [0.0] for name in names}})
        chart = self._add("vtkMRMLPlotChartNode", self._name)
        chart.SetXAxisTitle(self._titles[0])
        chart.SetYAxisTitle(self._titles[1])
        chart.SetTitle(self._name)
        for name in names:
            series = self._add("vtkMRMLPlotSeriesNode", name)
            setLine(series, table, xName, name, colors.get(name, (0.5, 0.5, 0.5)))
            chart.AddAndObservePlotSeriesNodeID(series.GetID())
        self._drawn = names
        self._table, self._chart = table, chart

    def _add(self, className: str, name: str):
        # told to stay out of lists and files before the scene tells anybody of it
        node = getattr(slicer, className)()
        node.SetName(self._scene.GenerateUniqueName(name))
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node = self._scene.AddNode(node)
        self._nodes.append(node)
        return node


class LivePlots:
    """The two charts of a search.

    Parameters
    ----------
    scene : vtkMRMLScene
    """

    def __init__(self, scene) -> None:
        self.convergence = LivePlot(scene, "Objectives", _ITERATION, "Objective")
        self.dvh = LivePlot(scene, "DVH", "Dose [Gy]", "Volume [%]")

    def showHistory(self, termNames: Sequence[str], history: Sequence[HistoryEntry]) -> None:
        """Show how the sum of the objectives and each of them fell; terms that hardly matter are left out."""
        totals = np.array([entry.value for entry in history])
        terms = np.array([entry.terms for entry in history]).reshape(len(history), -1)
        logarithmic = bool((totals > 0.0).all())
        least = _LEAST_SHARE * float(np.abs(totals).min()) if logarithmic else -np.inf
        curves, colors = {_TOTAL: totals}, {_TOTAL: TOTAL_COLOR}
        for number, name in enumerate(termNames[: terms.shape[1]]):
            if not logarithmic or terms[:, number].max() > least:
                label = f"{number + 1}: {name}"
                curves[label] = np.maximum(terms[:, number], least)
                colors[label] = CURVE_COLORS[number % len(CURVE_COLORS)]
        self.convergence.show(_ITERATION, np.arange(len(history)), curves, colors, logarithmic=logarithmic)

    def showDvh(
        self,
        dose_Gy: Sequence[float],
        volume_percent: Mapping[str, Sequence[float]],
        colors: Mapping[str, tuple[float, float, float]],
    ) -> None:
        """Show DVHs over common doses."""
        self.dvh.show(_DOSE, dose_Gy, volume_percent, colors)

    def remove(self) -> None:
        """Take everything out of the scene."""
        self.convergence.remove()
        self.dvh.remove()
