"""The DVH chart of a plan in the panel: structures and units to choose, and the table of metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
from slicer.i18n import tr as _

from DoseEngineLib.errors import PlanningError
from DoseEngineLib.mrml.table_columns import tableTexts
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.connected_signals import connected
from DoseEngineLib.widget.connectors import quiet
from DoseEngineLib.widget.plot_canvas import PlotCanvas
from RTPlanningLib.mrml.dvh_chart import chartStructures, showDvhChart
from RTPlanningLib.widget.evaluation_part import EvaluationPart
from RTPlanningLib.widget.result_table import showRows
from RTPlanningLib.widget.with_packages import withPackages

_TAG = "RTPlanningDvh"
# Which columns of the metrics table say nothing to a reader of one plan.
_LEFT_OUT = ("Show", "Volume name")


class DvhView(EvaluationPart):
    """Shows a plan's DVHs from its nodes."""

    def __init__(self, step: Any) -> None:
        super().__init__(step)
        ui = self.ui
        place = ui.dvhPlotPlace
        tip = _("Cumulative DVHs: the part of each structure that receives at least a dose")
        self.plot = PlotCanvas(place.layout(), self.session.scene, _TAG, tip)
        ui.dvhStructuresList.itemChanged.connect(self.onStructuresChanged)
        ui.showAllButton.clicked.connect(self.onShowAll)
        ui.showNoneButton.clicked.connect(self.onShowNone)
        ui.metricsButton.clicked.connect(self.onAddMetrics)
        ui.metricsEdit.returnPressed.connect(self.onAddMetrics)

    def follow(self) -> Callable[[], None]:
        """Apply settings when they are changed; returns what ends that."""
        return connected(self.onChartChanged, (self.ui.relativeDoseCheck.toggled, self.ui.absoluteVolumeCheck.toggled))

    def cleanup(self) -> None:
        """Let go of the scene."""
        self.plot.release()

    def show(self, planNode: Any) -> None:
        """Show the DVHs of a plan that are current; None: none."""
        ui = self.ui
        logic = self.session.logic
        chart = logic.dvhChart(planNode) if planNode is not None else None
        # shown again, it would lose the part of it that a person zoomed into
        if self.plot.chart() is not chart:
            self.plot.show(chart)
        structures = chartStructures(planNode) if chart is not None else []
        self._listStructures(structures)
        for widget in (ui.relativeDoseCheck, ui.absoluteVolumeCheck, ui.showAllButton, ui.showNoneButton):
            widget.setEnabled(bool(structures))
        ui.metricsButton.setEnabled(bool(structures))
        metrics = logic.dvhMetricsTable(planNode) if structures else None
        if metrics is None:
            showRows(ui.metricsTable, [], header=[])
            return
        names, rows = tableTexts(metrics)
        kept = [n for n, name in enumerate(names) if name not in _LEFT_OUT]
        notes = logic.dvhNotes(planNode)
        structure = names.index("Structure")
        showRows(
            ui.metricsTable,
            [[_figure(row[n]) for n in kept] for row in rows],
            header=[names[n].replace("(GY)", "(Gy)") for n in kept],
            tips=[notes.get(row[structure], row[structure]) for row in rows],
        )

    def apply(self) -> None:
        """Bring the chart of the session's plan to what is set."""
        planNode = self.session.planNode
        if planNode is None or self.session.logic.dvhChart(planNode) is None or self.session.isRunning:
            return
        parameters = self.parameters
        try:
            showDvhChart(
                planNode,
                list(parameters.hiddenStructures),
                relativeDose=parameters.relativeDose,
                absoluteVolume=parameters.absoluteVolume,
            )
        except PlanningError as error:
            self.session.say(str(error))

    def onChartChanged(self, *_unused: object) -> None:
        """Other units were chosen."""
        self.apply()

    def onStructuresChanged(self, *_unused: object) -> None:
        """Structures were ticked or unticked."""
        items = self.ui.dvhStructuresList
        hidden = [
            items.item(n).text()
            for n in range(int(items.property("count")))
            if items.item(n).checkState() != qt.Qt.Checked
        ]
        former = list(self.parameters.hiddenStructures)
        # those of other plans stay hidden
        listed = {items.item(n).text() for n in range(int(items.property("count")))}
        self.parameters.hiddenStructures = [name for name in former if name not in listed] + hidden
        self.apply()

    def onShowAll(self, *_unused: object) -> None:
        """Show every curve."""
        self._tickAll(qt.Qt.Checked)

    def onShowNone(self, *_unused: object) -> None:
        """Take every curve off."""
        self._tickAll(qt.Qt.Unchecked)

    def onAddMetrics(self, *_unused: object) -> None:
        """Calculate the metrics that were typed."""
        texts = wantedMetrics(self.ui.metricsEdit.property("text"))
        if not texts:
            self.session.say(_("Type the metrics to calculate, for example D2cc, V20Gy[%], HI."))
            return
        planNode = self.session.planNode

        def work(progress: Progress) -> list[str]:
            return self.session.logic.addDvhMetrics(planNode, texts, progress)

        self.session.run(withPackages(work), lambda names: _("Calculated {names}.").format(names=", ".join(names)))

    def _tickAll(self, state: Any) -> None:
        items = self.ui.dvhStructuresList
        with quiet(items):
            for n in range(int(items.property("count"))):
                items.item(n).setCheckState(state)
        self.onStructuresChanged()

    def _listStructures(self, structures: list[str]) -> None:
        items = self.ui.dvhStructuresList
        hidden = set(self.parameters.hiddenStructures)
        with quiet(items):
            if [items.item(n).text() for n in range(int(items.property("count")))] != structures:
                items.clear()
                for name in structures:
                    item = qt.QListWidgetItem(name)
                    item.setFlags(qt.Qt.ItemIsUserCheckable | qt.Qt.ItemIsEnabled)
                    items.addItem(item)
            for n, name in enumerate(structures):
                items.item(n).setCheckState(qt.Qt.Unchecked if name in hidden else qt.Qt.Checked)


def wantedMetrics(text: str) -> list[str]:
    """Return the metrics of a text, at commas outside brackets; ``CI(Paddick, 95%)`` is one."""
    parts, depth, current = [], 0, ""
    for letter in str(text or ""):
        depth += (letter == "(") - (letter == ")")
        if letter in ",;" and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += letter
    return [part.strip() for part in (*parts, current) if part.strip()]


def _figure(text: str) -> str:
    """A number of the metrics table with two decimals; anything else as it is."""
    try:
        return f"{float(text):.2f}"
    except ValueError:
        return text
