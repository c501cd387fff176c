"""The machine viewer: facts, depth doses, profiles and output factors; and a machine for the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import qt
from slicer.i18n import tr as _

from DoseEngineLib.errors import MachineError, PlanningError
from DoseEngineLib.machine import load_beam_machine, load_machine
from DoseEngineLib.machine_curves import (
    CLOSED_FORM_ENGINE,
    CurveConditions,
    MachineCurves,
    kept_curves,
    machine_curves,
    machine_file_hash,
)
from DoseEngineLib.machine_facts import machine_facts
from DoseEngineLib.mrml.curve_chart import ChartCurve, curveChart, removeCurveChart, setCurveChart
from DoseEngineLib.mrml.plan_node import planFromNode, setPlan
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.connectors import fillCombo, quiet
from DoseEngineLib.widget.dose_engine_parameters import optionsOf
from DoseEngineLib.widget.dose_session import DoseSession
from DoseEngineLib.widget.engine_list import fillEngines
from DoseEngineLib.widget.machine_list import fillMachines
from DoseEngineLib.widget.packages import DOSE_PACKAGES, ensurePackages, missingPackages
from DoseEngineLib.widget.plot_canvas import PlotCanvas
from DoseEngineLib.widget.section import Section
from DoseEngineLib.widget.text_table import fillTable

_CHART = "DoseEngine.MachineCurves"


class MachineSection(Section):
    """Connects the widgets of ``MachineSection.ui``.

    Parameters
    ----------
    ui : object
    session : DoseSession
    frame : ctkCollapsibleButton
        Nothing is read while it is collapsed.
    """

    def __init__(self, ui: Any, session: DoseSession, frame: Any) -> None:
        super().__init__(ui, session)
        self._frame = frame
        self._shownFacts = ""
        self._shownChart: tuple = ()
        self.canvas = PlotCanvas(
            ui.chartArea.layout(), session.scene, "DoseEngineMachineView", _("Curves of the machine in water")
        )
        fillCombo(
            ui.chartCombo,
            [(_("Depth doses"), "depth"), (_("Profiles"), "profiles"), (_("Output factors"), "output")],
            "depth",
        )
        with quiet(ui.curveEngineCombo):
            fillEngines(ui.curveEngineCombo)
        for spin in (ui.sourceSurfaceSpin, ui.profileSideSpin):
            spin.setMRMLScene(session.scene)
        ui.addMachineButton.clicked.connect(self.onAddMachine)
        ui.curvesButton.clicked.connect(self.onCurves)
        ui.useMachineButton.clicked.connect(self.onUseMachine)

    def coupled(self) -> Mapping[str, Any]:
        """Return the widget of each setting."""
        ui = self.ui
        fillMachines(ui.machineCombo, self.parameters.machineFiles, self.parameters.machine)
        return {
            "machine": ui.machineCombo,
            "curveEngine": ui.curveEngineCombo,
            "ssd_mm": ui.sourceSurfaceSpin,
            "profileSide_mm": ui.profileSideSpin,
            "chart": ui.chartCombo,
            "machineCollapsed": self._frame,
        }

    def handlers(self) -> Sequence[tuple[Any, Callable[..., None]]]:
        """Return what follows a choice."""
        ui = self.ui
        shown = (
            ui.sourceSurfaceSpin.valueChanged,
            ui.profileSideSpin.valueChanged,
            ui.curveEngineCombo.currentIndexChanged,
            ui.chartCombo.currentIndexChanged,
        )
        chosen = (ui.machineCombo.currentIndexChanged, self._frame.contentsCollapsed)
        return [
            *((signal, self.onMachineChanged) for signal in chosen),
            *((signal, self.onShownChanged) for signal in shown),
        ]

    def cleanup(self) -> None:
        """Let go of the scene."""
        super().cleanup()
        removeCurveChart(self.session.scene, _CHART)
        self.canvas.release()

    def update(self) -> None:
        """Show the machine, and curves that were computed before."""
        fillMachines(self.ui.machineCombo, self.parameters.machineFiles, self.parameters.machine)
        self.ui.useMachineButton.setEnabled(self.session.planNode is not None)
        if self.parameters.machineCollapsed:
            return
        missing = missingPackages(DOSE_PACKAGES)
        if missing:
            text = _("Press “Compute curves”: Slicer asks whether to install {packages}, which they need.")
            self.ui.qualityLabel.setText(text.format(packages=", ".join(missing)))
            self._showCurves(None)
            return
        try:
            self._showFacts()
            curves = kept_curves(self.parameters.machine, self._conditions())
        except PlanningError as error:
            self._shownFacts, curves = "", None
            fillTable(self.ui.factTable, [""], [])
            self.ui.qualityLabel.setText(str(error))
            self._showCurves(None)
            return
        self.ui.qualityLabel.setText(
            _("Press “Compute curves” to see them.") if curves is None else _qualityText(curves)
        )
        self._showCurves(curves)

    def onMachineChanged(self, *_unused: object) -> None:
        """Show another machine, with its curves where they take a moment only."""
        # not from within an import, whose settings come with the scene
        qt.QTimer.singleShot(0, self._showMachine)

    def _showMachine(self) -> None:
        if not self.session.isFree:
            return
        self.update()
        if self.parameters.machineCollapsed or self.parameters.curveEngine != CLOSED_FORM_ENGINE:
            return
        if missingPackages(DOSE_PACKAGES):
            return
        try:
            kept = kept_curves(self.parameters.machine, self._conditions())
        except PlanningError:
            # the section says what is wrong
            return
        if kept is None:
            self.onCurves()

    def onShownChanged(self, *_unused: object) -> None:
        """Show other curves, if they are known."""
        if self.session.isFree:
            self.update()

    def onAddMachine(self, *_unused: object) -> None:
        """Add a machine file to the list and show it."""
        path = str(self.ui.machinePathEdit.property("currentPath") or "").strip()

        def work(progress: Progress) -> str:
            ensurePackages(DOSE_PACKAGES, _("Dose Engine"))
            if not path.endswith(".json"):
                raise MachineError(_("Choose a machine file, one that ends with .json."))
            return self.session.background(lambda report: load_machine(path), progress).title

        if self.session.action.run(work, lambda title: _("Machine added: {title}").format(title=title)) is not None:
            self.addFile(path)
        self.session.update()

    def addFile(self, path: str) -> None:
        """List a machine file, and show it."""
        if path not in self.parameters.machineFiles:
            self.parameters.machineFiles.append(path)
        fillMachines(self.ui.machineCombo, self.parameters.machineFiles, self.parameters.machine)
        self.parameters.machine = path

    def onCurves(self, *_unused: object) -> None:
        """Compute the curves of the machine."""
        machine = self.parameters.machine

        def work(progress: Progress) -> MachineCurves:
            ensurePackages(DOSE_PACKAGES, _("Dose Engine"))
            conditions = self._conditions()
            return self.session.background(lambda report: machine_curves(machine, conditions, report), progress)

        self.session.run(work, lambda curves: _("Curves of {name}.").format(name=curves.machine.name))

    def onUseMachine(self, *_unused: object) -> None:
        """Give every beam of the plan this machine."""
        planNode, name = self.session.planNode, self.parameters.machine

        def work(progress: Progress) -> str:
            plan = planFromNode(planNode)
            beams = tuple(replace(beam, machine=name) for beam in plan.beams)
            for beam in beams:
                machine = load_beam_machine(beam)
                for point in beam.control_points:
                    machine.check_aperture(point.aperture, f"Beam {beam.name}")
            setPlan(planNode, replace(plan, beams=beams))
            return _("{count} beams of {plan} have {machine} now; compute the dose anew.").format(
                count=len(beams), plan=plan.name, machine=name
            )

        self.session.run(work, lambda text: text)

    def _conditions(self) -> CurveConditions:
        settings = self.parameters
        options: tuple = ()
        if settings.curveEngine != CLOSED_FORM_ENGINE:
            options = tuple(sorted(optionsOf(settings, settings.curveEngine).items()))
        return CurveConditions(
            ssd_mm=float(settings.ssd_mm) or None,
            profile_side_mm=float(settings.profileSide_mm),
            engine=settings.curveEngine,
            engine_options=options,
        )

    def _showFacts(self) -> None:
        digest = machine_file_hash(self.parameters.machine)
        if digest == self._shownFacts:
            return
        self._shownFacts = digest
        facts = machine_facts(load_machine(self.parameters.machine))
        rows = [
            [fact.group if n == 0 or facts[n - 1].group != fact.group else "", fact.label, fact.value]
            for n, fact in enumerate(facts)
        ]
        fillTable(self.ui.factTable, [_("Part"), _("What"), _("Value")], rows)

    def _showCurves(self, curves: MachineCurves | None) -> None:
        if curves is None:
            self._shownChart = ()
            self.canvas.show(None)
            return
        chart = self.parameters.chart
        shown = (curves, chart)
        # the chart goes when the scene is closed
        if shown == self._shownChart and curveChart(self.session.scene, _CHART) is not None:
            return
        self._shownChart = shown
        title = curves.machine.title
        if chart == "depth":
            what = (_("Depth in water (mm)"), _("Dose (% of the maximum)"))
            lines = [ChartCurve(c.name, c.position_mm, c.value) for c in curves.depth_doses]
        elif chart == "profiles":
            side = curves.conditions.profile_side_mm / 10
            title = _("{title}, {side:g} x {side:g} cm").format(title=title, side=side)
            what = (_("Off-axis position (mm)"), _("Dose (% of the maximum on the axis)"))
            lines = [ChartCurve(c.name, c.position_mm, c.value) for c in curves.profiles]
        else:
            what = (_("Side of the square field (mm)"), _("Output factor, 10 cm deep"))
            factors = curves.output_factors
            line = ChartCurve(factors.name, factors.position_mm, factors.value)
            lines = [line, replace(line, name=_("computed"), style="points")]
        self.canvas.show(setCurveChart(self.session.scene, _CHART, title, *what, lines))


def _qualityText(curves: MachineCurves) -> str:
    quality = curves.quality
    texts = [
        _("10 x 10 cm at SSD {ssd:g} mm: maximum {depth:g} mm deep, {dose:.3f} cGy/MU").format(
            ssd=curves.ssd_mm, depth=quality["depth_of_maximum_mm"], dose=100 * quality["maximum_Gy_per_MU"]
        ),
        _("{ten:.1f} % at 10 cm, {twenty:.1f} % at 20 cm depth").format(
            ten=quality["pdd_10cm_percent"], twenty=quality["pdd_20cm_percent"]
        ),
    ]
    if "tpr_20_10" in quality:
        texts.append(_("TPR20,10 {value:.3f}").format(value=quality["tpr_20_10"]))
    if "penumbra_mm" in quality:
        texts.append(_("penumbra (80-20 %) at 10 cm depth {value:.1f} mm").format(value=quality["penumbra_mm"]))
    return _("{texts}. Computed by: {engine}.").format(texts="; ".join(texts), engine=curves.computed_by)
