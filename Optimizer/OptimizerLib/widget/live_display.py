"""Convergence and DVH in the panel: of a search while it runs, of the plan when it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from DoseEngineLib.widget.plot_canvas import PlotCanvas
from OptimizerLib.live_search import LiveSearch
from OptimizerLib.mrml.live_plot_nodes import LivePlots
from OptimizerLib.mrml.objective_history_nodes import HISTORY_CHART
from OptimizerLib.mrml.optimization_result_nodes import RESULT_CHART

# How often it is looked whether there is something new; there is no more than every half second.
_LOOK_EVERY_MS = 100

Colors = Mapping[str, tuple[float, float, float]]


class LiveDisplay:
    """Two plot views, and the timer that keeps them up with a search in another thread.

    Parameters
    ----------
    convergencePlace, dvhPlace : QWidget
        Empty; the views fill them.
    scene : vtkMRMLScene
    """

    def __init__(self, convergencePlace: Any, dvhPlace: Any, scene: Any) -> None:
        self._convergence = PlotCanvas(
            convergencePlace.layout(),
            scene,
            "OptimizerConvergence",
            _("How the objectives fell, by iteration"),
        )
        self._dvh = PlotCanvas(
            dvhPlace.layout(), scene, "OptimizerDvh", _("Dose-volume histograms of the structures that objectives name")
        )
        self._plots = LivePlots(scene)
        self._live: LiveSearch | None = None
        self._termNames: Sequence[str] = ()
        self._colors: Colors = {}
        # the plan whose charts are shown, and these
        self._shown: tuple[Any, ...] | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_LOOK_EVERY_MS)
        self._timer.timeout.connect(self._refresh)

    def start(self, live: LiveSearch, termNames: Sequence[str], colors: Colors) -> None:
        """Follow a search until `finish`."""
        self._live, self._termNames, self._colors = live, tuple(termNames), colors
        self._shown = None
        self._timer.start()

    def finish(self) -> None:
        """Follow no longer; what was shown of the search goes."""
        self._timer.stop()
        self._live = None
        self._plots.remove()

    def showPlan(self, planNode: Any, *, anew: bool = False) -> None:
        """Show the charts that are kept with a plan; None: nothing.

        DVHs that belong to no plan yet stay until there is another plan or another chart of it; not so ``anew``.
        """
        roles = (HISTORY_CHART, RESULT_CHART)
        charts = [None if planNode is None else planNode.GetNodeReference(role) for role in roles]
        if (planNode, *charts) == self._shown and not anew:
            return
        self._shown = (planNode, *charts)
        self._plots.remove()
        for view, chart in zip((self._convergence, self._dvh), charts, strict=True):
            view.show(chart)

    def showDvh(self, dose_Gy: Sequence[float], volume_percent: Mapping[str, Sequence[float]], colors: Colors) -> None:
        """Show DVHs that belong to no plan yet."""
        self._plots.showDvh(dose_Gy, volume_percent, colors)
        self._dvh.show(self._plots.dvh.chartNode)

    def release(self) -> None:
        """Let go of the scene."""
        self.finish()
        for view in (self._convergence, self._dvh):
            view.release()

    def _refresh(self, *_unused: object) -> None:
        snapshot = None if self._live is None else self._live.take()
        if snapshot is None:
            return
        self._plots.showHistory(self._termNames, snapshot.history)
        self._convergence.show(self._plots.convergence.chartNode)
        self.showDvh(snapshot.dose_Gy, snapshot.volume_percent, self._colors)
