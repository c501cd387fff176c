"""Commissioning: measurements checked and compared, a machine fitted to them, and its file saved."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer
from slicer.i18n import tr as _

from DoseEngineLib.errors import MachineError
from DoseEngineLib.machine import load_machine
from DoseEngineLib.mrml.curve_chart import ChartCurve, curveChart, removeCurveChart, setCurveChart
from DoseEngineLib.progress import Progress, part
from DoseEngineLib.widget.connectors import fillCombo
from DoseEngineLib.widget.dose_session import DoseSession
from DoseEngineLib.widget.machine_list import fillMachines
from DoseEngineLib.widget.packages import DOSE_PACKAGES, ensurePackages
from DoseEngineLib.widget.plot_canvas import PlotCanvas
from DoseEngineLib.widget.section import Section
from DoseEngineLib.widget.text_table import fillTable

if TYPE_CHECKING:
    from DoseEngineLib.commissioning.fit import CommissioningResult, CurveComparison

# The commissioning code needs numba, which may be missing until an action asked for it.
FIT_STAGES = {
    "spectrum": "fitSpectrum",
    "off_axis": "fitOffAxis",
    "penumbra": "fitPenumbra",
    "head_scatter": "fitHeadScatter",
    "contamination": "fitContamination",
}
_CHART = "DoseEngine.Commissioning"
_MEASURED, _BEFORE, _AFTER = (0.42, 0.46, 0.51), (0.90, 0.50, 0.10), (0.12, 0.44, 0.71)
_CRITERIA = ((1.0, 1.0), (2.0, 2.0))


class CommissioningSection(Section):
    """Connects the widgets of ``CommissioningSection.ui``.

    Parameters
    ----------
    ui : object
    session : DoseSession
    frame : ctkCollapsibleButton

    Attributes
    ----------
    result : CommissioningResult or None
        The last fit.
    added : callable or None
        Called with the path of a machine that was saved.
    """

    def __init__(self, ui: Any, session: DoseSession, frame: Any) -> None:
        super().__init__(ui, session)
        self._frame = frame
        self.result: CommissioningResult | None = None
        self.added: Any = None
        self._curves: tuple[CurveComparison, ...] = ()
        self._shownChart: CurveComparison | None = None
        self.canvas = PlotCanvas(
            ui.comparisonArea.layout(),
            session.scene,
            "DoseEngineCommissioningView",
            _("The measured curve, the base machine's and the fitted machine's"),
        )
        ui.readButton.clicked.connect(self.onRead)
        ui.fitButton.clicked.connect(self.onFit)
        ui.saveMachineButton.clicked.connect(self.onSave)
        ui.curveCombo.currentIndexChanged.connect(self.onCurveChanged)
        self._showResult(())

    def coupled(self) -> Mapping[str, Any]:
        """Return the widget of each setting."""
        ui = self.ui
        fillMachines(ui.baseCombo, self.parameters.machineFiles, self.parameters.baseMachine)
        return {
            "measurements": ui.measurementsEdit,
            "baseMachine": ui.baseCombo,
            "machineName": ui.machineNameEdit,
            "centreProfiles": ui.centreCheck,
            "robust": ui.robustCheck,
            "machineFile": ui.machineFileEdit,
            "commissioningCollapsed": self._frame,
            "fitSpectrum": ui.spectrumCheck,
            "fitOffAxis": ui.offAxisCheck,
            "fitPenumbra": ui.penumbraCheck,
            "fitHeadScatter": ui.headScatterCheck,
            "fitContamination": ui.contaminationCheck,
        }

    def cleanup(self) -> None:
        """Let go of the scene."""
        super().cleanup()
        removeCurveChart(self.session.scene, _CHART)
        self.canvas.release()

    def update(self) -> None:
        """Show which machines there are, and the chart again after a scene was closed."""
        fillMachines(self.ui.baseCombo, self.parameters.machineFiles, self.parameters.baseMachine)
        self.ui.saveMachineButton.setEnabled(self.result is not None)
        self.onCurveChanged()

    def onRead(self, *_unused: object) -> None:
        """Read the measurements, check them, and compare them with the base machine."""
        path, base, centre = self._measurements(), self.parameters.baseMachine, bool(self.parameters.centreProfiles)

        def work(progress: Progress) -> tuple[tuple[CurveComparison, ...], tuple[str, ...]]:
            ensurePackages(DOSE_PACKAGES, _("Dose Engine"))

            def compare(report: Progress) -> tuple[tuple[CurveComparison, ...], tuple[str, ...]]:
                from DoseEngineLib.commissioning.fit import compare_with_machine
                from DoseEngineLib.commissioning.measurements import read_measurements

                found = read_measurements(path())
                return compare_with_machine(found, base, report, centre_profiles=centre)

            return self.session.background(compare, progress)

        def show(found: tuple[tuple[CurveComparison, ...], tuple[str, ...]]) -> str:
            self.result = None
            self._showResult(found[0], found[1])
            return _("{count} curves read and compared with {machine}.").format(count=len(found[0]), machine=base)

        self.session.run(work, show)

    def onFit(self, *_unused: object) -> None:
        """Fit the chosen parts of the base machine to the measurements."""
        settings = self.parameters
        path, base = self._measurements(), settings.baseMachine
        stages = [stage for stage, name in FIT_STAGES.items() if getattr(settings, name)]
        options = {"centre_profiles": bool(settings.centreProfiles), "robust": bool(settings.robust), "stages": stages}

        def work(progress: Progress) -> CommissioningResult:
            ensurePackages(DOSE_PACKAGES, _("Dose Engine"))
            name = settings.machineName.strip() or f"{load_machine(base).name}_commissioned"
            if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
                raise MachineError(
                    _("{name} is no name of a machine; use letters, digits, _, - and .").format(name=repr(name))
                )

            def fit(report: Progress) -> CommissioningResult:
                from DoseEngineLib.commissioning.fit import commission
                from DoseEngineLib.commissioning.measurements import read_measurements

                report(0.0, _("Reading the measurements"))
                return commission(read_measurements(path()), base, part(report, 0.02, 1.0), name=name, **options)

            return self.session.background(fit, progress)

        def show(result: CommissioningResult) -> str:
            self.result = result
            self._showResult(result.curves, result.notes)
            return _("{name} fitted to {count} curves; look at them, then save it.").format(
                name=result.machine.name, count=len(result.curves)
            )

        self.session.run(work, show)

    def onSave(self, *_unused: object) -> None:
        """Write the fitted machine's file."""
        text = self.parameters.machineFile.strip()

        def work(progress: Progress) -> str | None:
            if not text.endswith(".json"):
                raise MachineError(_("Say where the machine goes: a file that ends with .json."))
            file = Path(text)
            question = _("{file} exists. Replace it?").format(file=file)
            if file.exists() and not slicer.util.confirmOkCancelDisplay(question, _("Save the machine")):
                return ""
            try:
                file.write_text(self.result.machine_json, encoding="utf-8", newline="\n")
            except OSError as error:
                raise MachineError(
                    _("{file} cannot be written ({reason}); choose another folder.").format(
                        file=file, reason=error.strerror
                    )
                ) from error
            return str(file)

        saved = self.session.action.run(
            work, lambda file: _("Saved: {file}").format(file=file) if file else _("Nothing was written.")
        )
        if saved and self.added is not None:
            self.added(saved)
        self.session.update()

    def onCurveChanged(self, *_unused: object) -> None:
        """Draw the chosen curve."""
        index = int(self.ui.curveCombo.property("currentIndex"))
        if not 0 <= index < len(self._curves):
            self._shownChart = None
            self.canvas.show(None)
            return
        found = self._curves[index]
        # the chart goes when the scene is closed
        if found is self._shownChart and curveChart(self.session.scene, _CHART) is not None:
            return
        self._shownChart = found
        at, fitted = found.curve.position_mm, self.result is not None
        curves = [
            ChartCurve(_("measured"), at, found.measured_percent, "points", _MEASURED),
            ChartCurve(_("base machine"), at, found.before_percent, "dashes" if fitted else "line", _BEFORE),
        ]
        if fitted:
            curves.append(ChartCurve(_("fitted machine"), at, found.computed_percent, "line", _AFTER))
        self.canvas.show(
            setCurveChart(
                self.session.scene,
                _CHART,
                found.curve.title,
                _axisTitle(found.curve.kind),
                _("Dose (%), {rule}").format(rule=found.normalization),
                curves,
            )
        )

    def _measurements(self) -> Any:
        text = self.parameters.measurements.strip()

        def path() -> Path:
            if not text:
                raise MachineError(_("Choose the folder or the file of the measurements."))
            return Path(text)

        return path

    def _showResult(self, curves: tuple[CurveComparison, ...], notes: Sequence[str] = ()) -> None:
        self._curves = curves
        result, ui = self.result, self.ui
        fillCombo(ui.curveCombo, [(c.curve.title, n) for n, c in enumerate(curves)], 0)
        texts = []
        if result is not None:
            texts.append(_("Reduced chi squared {value:.2f}. {weights}").format(
                value=result.chi2_reduced, weights=result.weights
            ))  # fmt: skip
        ui.commissioningLabel.setText("\n".join([*texts, *notes]))
        ui.commissioningLabel.setVisible(bool(texts or notes))
        headers = [_("Parameter"), _("Base"), _("Fitted"), _("Uncertainty"), _("Unit"), _("Note")]
        rows = [
            [
                p.label,
                f"{p.base:.4g}",
                f"{p.value:.4g}",
                "" if p.uncertainty is None else f"{p.uncertainty:.2g}",
                p.unit,
                p.note,
            ]
            for p in (result.parameters if result is not None else ())
            if p.asked
        ]
        fillTable(ui.parameterTable, headers, rows)
        before = [_("Curve"), _("RMS base")]
        after = [_("RMS fitted")] if result is not None else []
        gamma = [_("\N{GREEK SMALL LETTER GAMMA} {dose:g}%/{mm:g}mm").format(dose=d, mm=mm) for d, mm in _CRITERIA]
        fillTable(
            ui.curveTable,
            [*before, *after, *gamma],
            [
                [
                    c.curve.title,
                    f"{c.rms_before_percent:.2f} %",
                    *([f"{c.rms_percent:.2f} %"] if result is not None else []),
                    *(f"{c.passed_percent(criteria):.1f} %" for criteria in _CRITERIA),
                ]
                for c in curves
            ],
        )


def _axisTitle(kind: str) -> str:
    """What a chart's horizontal axis shows of a curve of this kind."""
    titles = {
        "pdd": _("Depth (mm)"),
        "profile": _("Off-axis position (mm)"),
        "output_factor": _("Equivalent square (mm)"),
    }
    return titles[kind]
