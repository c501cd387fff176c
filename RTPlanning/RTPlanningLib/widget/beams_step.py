"""The step Beams: fields and arcs about the target, edited in a table and by sliders, live in all views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.errors import PlanError, PlanningError
from DoseEngineLib.machine import available_machines
from DoseEngineLib.mrml.plan_node import (
    REFERENCE_VOLUME,
    SEGMENTATION,
    deliveredPlan,
    isDoseCurrent,
    planFromNode,
    planNodes,
)
from DoseEngineLib.plan import Plan
from DoseEngineLib.structure_role import role_from_name
from DoseEngineLib.widget.connectors import connect, fillCombo, quiet
from RTPlanningLib.beam_arrangement import (
    arc_angles_deg,
    equally_spaced_deg,
    target_isocenter_RAS_mm,
)
from RTPlanningLib.beam_editing import (
    add_beam,
    beam_named,
    copy_beam,
    opposed_beam,
    remove_beam,
    rename_beam,
    set_angles,
    set_isocenter,
    set_jaws,
    set_machine,
    set_meterset,
    set_weight,
    with_MU,
    with_weights,
)
from RTPlanningLib.beam_fit import BeamFit
from RTPlanningLib.mrml.beam_fit_nodes import beamFits
from RTPlanningLib.mrml.beam_model_nodes import createBeamModelNodes, highlightBeam, renameBeamNodes, showBeams
from RTPlanningLib.mrml.crosshair import crosshairPosition_RAS_mm
from RTPlanningLib.mrml.plan_copy import copyPlanNode
from RTPlanningLib.mrml.structure_reader import StructureReader
from RTPlanningLib.plan_file import DEFAULT_MACHINE
from RTPlanningLib.plan_templates import BOX_GANTRY_DEG
from RTPlanningLib.widget.beams_editor import BeamsEditor
from RTPlanningLib.widget.beams_eye_view import BeamsEye, BeamsEyeView
from RTPlanningLib.widget.beams_parameters import BeamsParameters
from RTPlanningLib.widget.beams_table import BeamsTable
from RTPlanningLib.widget.session import PlanningSession
from RTPlanningLib.widget.step import Step
from RTPlanningLib.widget.with_packages import withPackages

_ANGLES = ("gantry", "collimator", "couch")
_JAWS = {"x1": ("x", 0), "x2": ("x", 1), "y1": ("y", 0), "y2": ("y", 1)}
_NOT_OUTLINED_ROLES = ("EXTERNAL", "SUPPORT", "CONTROL")


class BeamsStep(Step):
    """Connects the widgets of ``Resources/UI/BeamsStep.ui`` with the session."""

    uiName = "BeamsStep"
    Parameters = BeamsParameters

    def __init__(self, ui: Any, session: PlanningSession) -> None:
        super().__init__(ui, session)
        self._reader = StructureReader()
        self._shownPlan: tuple = ()
        machines = available_machines()
        self.editor = BeamsEditor(session, self._reader, self._targetName, self.update)
        self.table = BeamsTable(ui.beamsTable, machines, self.onEdited, self.onSelected)
        self.beamsEye = BeamsEyeView(ui.bevLabel, self._reader, lambda: session.isRunning)
        fillCombo(ui.machineCombo, [(name, name) for name in machines], DEFAULT_MACHINE)
        fillCombo(ui.fitCombo, [(_("MLC"), "mlc"), (_("Jaws"), "jaws")], "mlc")
        senses = [(_("Clockwise"), "clockwise"), (_("Counter-clockwise"), "counterclockwise")]
        fillCombo(ui.arcSenseCombo, senses, "clockwise")
        outlines = [(_("Shown structures"), "shown"), (_("Target"), "target"), (_("None"), "none")]
        fillCombo(ui.outlineCombo, outlines, "shown")
        kinds = [(_("by weights, from the prescription"), "weights"), (_("as typed for each beam"), "MU")]
        fillCombo(ui.metersetCombo, kinds, "weights")
        for spin in (ui.marginSpin, ui.isocenterRSpin, ui.isocenterASpin, ui.isocenterSSpin):
            spin.setMRMLScene(session.scene)
        ui.boxButton.clicked.connect(self.onFourFieldBox)
        ui.spacedButton.clicked.connect(self.onEquallySpaced)
        ui.arcButton.clicked.connect(self.onArc)
        ui.addButton.clicked.connect(self.onAdd)
        ui.copyButton.clicked.connect(self.onCopy)
        ui.opposedButton.clicked.connect(self.onOpposed)
        ui.removeButton.clicked.connect(self.onRemove)
        ui.refitButton.clicked.connect(self.onRefit)
        ui.copyPlanButton.clicked.connect(self.onCopyPlan)
        ui.targetCombo.currentIndexChanged.connect(self.onTarget)
        ui.metersetCombo.currentIndexChanged.connect(self.onMeterset)
        ui.gantrySlider.valueChanged.connect(lambda *_unused: self.onAngle("gantry", ui.gantrySlider))
        ui.collimatorSlider.valueChanged.connect(lambda *_unused: self.onAngle("collimator", ui.collimatorSlider))
        ui.couchSlider.valueChanged.connect(lambda *_unused: self.onAngle("couch", ui.couchSlider))
        ui.gantrySpin.valueChanged.connect(lambda *_unused: self.onAngle("gantry", ui.gantrySpin))
        ui.collimatorSpin.valueChanged.connect(lambda *_unused: self.onAngle("collimator", ui.collimatorSpin))
        ui.couchSpin.valueChanged.connect(lambda *_unused: self.onAngle("couch", ui.couchSpin))
        for spin in (ui.isocenterRSpin, ui.isocenterASpin, ui.isocenterSSpin):
            spin.valueChanged.connect(self.onIsocenter)
        ui.isocenterTargetButton.clicked.connect(self.onIsocenterToTarget)
        ui.isocenterCrosshairButton.clicked.connect(self.onIsocenterToCrosshair)
        ui.showBeamsCheck.toggled.connect(self.onDisplayChanged)
        ui.outlineCombo.currentIndexChanged.connect(self.onDisplayChanged)
        ui.controlPointSlider.valueChanged.connect(self.onDisplayChanged)
        ui.bevButton.contentsCollapsed.connect(self.onDisplayChanged)

    def connectParameters(self) -> None:
        """Bind the settings of new beams and of the display."""
        ui = self.ui
        self._releases.append(connect(self.session.settings, {"machine": ui.machineCombo}))
        self.bind(
            {
                "fit": ui.fitCombo,
                "margin_mm": ui.marginSpin,
                "fieldCount": ui.fieldCountSpin,
                "firstGantry_deg": ui.firstGantrySpin,
                "arcStart_deg": ui.arcStartSpin,
                "arcStop_deg": ui.arcStopSpin,
                "arcSpacing_deg": ui.arcSpacingSpin,
                "arcSense": ui.arcSenseCombo,
                "allBeams": ui.allBeamsCheck,
                "showBeams": ui.showBeamsCheck,
                "outlines": ui.outlineCombo,
                "beamsEyeCollapsed": ui.bevButton,
            }
        )
        self._shownPlan = ()

    def cleanup(self) -> None:
        """Let go of the scene and stop drawing."""
        super().cleanup()
        self.beamsEye.release()
        for spin in (self.ui.marginSpin, self.ui.isocenterRSpin, self.ui.isocenterASpin, self.ui.isocenterSSpin):
            spin.setMRMLScene(None)

    # What is there

    def update(self) -> None:
        """Show the plan's beams in the table, the views and the beam's-eye view."""
        planNode, plan, delivered, fits, former = self.session.planNode, None, None, {}, {}
        try:
            if planNode is not None:
                plan = planFromNode(planNode)
                fits = beamFits(planNode, self.editor.presentTarget(plan))
                former = beamFits(planNode, changedToo=True)
                delivered = deliveredPlan(planNode) if isDoseCurrent(planNode) else None
        except PlanningError as error:
            self.session.say(str(error))
            plan = None
        self.table.show(plan, fits, delivered, self._selectedName(plan))
        self._showTargets(plan)
        self._showSelected(plan)
        self._showState(plan, fits, former)
        self._display(planNode, plan)

    def _showTargets(self, plan: Plan | None) -> None:
        segmentationNode = self.session.segmentationNode
        names = _segmentNames(segmentationNode)
        target = plan.prescription.target if plan is not None and plan.prescription is not None else None
        target = target or self.session.settings.target
        if not target and plan is None:
            # proposed where nothing is prescribed yet
            target = next((name for name in names if role_from_name(name) == "PTV"), "")
        entries = [(name, name) for name in names]
        if target and target not in names:
            entries.append((_("{name} (missing)").format(name=target), target))
        fillCombo(self.ui.targetCombo, entries, target)

    def _showSelected(self, plan: Plan | None) -> None:
        ui = self.ui
        name = self._selectedName(plan)
        beam = None if name is None else beam_named(plan, name)
        first = None if beam is None else beam.control_points[0]
        for angle in _ANGLES:
            slider, spin = self._angleWidgets(angle)
            value = 0.0 if first is None else getattr(first, f"{angle}_deg")
            with quiet(slider, spin):
                slider.setValue(round(value) % 360)
                if abs(spin.property("value") - value) > 0.05:
                    spin.setValue(value)
            for widget in (slider, spin):
                # an arc is fitted at many control points, which takes too long for a slider
                widget.setEnabled(beam is not None and beam.is_static)
        spins = (ui.isocenterRSpin, ui.isocenterASpin, ui.isocenterSSpin)
        with quiet(*spins):
            for spin, value in zip(spins, (0.0, 0.0, 0.0) if beam is None else beam.isocenter_RAS_mm):
                if abs(spin.property("value") - value) > 0.005:
                    spin.setValue(value)
        last = 0 if beam is None or beam.is_static else len(beam.control_points) - 1
        with quiet(ui.controlPointSlider):
            ui.controlPointSlider.setRange(0, last)
        ui.controlPointSlider.setVisible(last > 0)
        ui.controlPointLabel.setVisible(last > 0)
        with quiet(ui.metersetCombo):
            kind = "MU" if plan is not None and plan.has_MU else "weights"
            ui.metersetCombo.setCurrentIndex(ui.metersetCombo.findData(kind))

    def _showState(self, plan: Plan | None, fits: Mapping[str, BeamFit], former: Mapping[str, BeamFit]) -> None:
        ui = self.ui
        hasTarget = self._targetName() != "" and self.session.volumeNode is not None
        for button in (ui.boxButton, ui.spacedButton, ui.arcButton):
            button.setEnabled(hasTarget)
        ui.addButton.setEnabled(plan is not None or hasTarget)
        for widget in (
            ui.copyButton,
            ui.opposedButton,
            ui.removeButton,
            ui.copyPlanButton,
            ui.isocenterCrosshairButton,
        ):
            widget.setEnabled(plan is not None)
        for spin in (ui.isocenterRSpin, ui.isocenterASpin, ui.isocenterSSpin, ui.metersetCombo):
            spin.setEnabled(plan is not None)
        ui.isocenterTargetButton.setEnabled(plan is not None and hasTarget)
        ui.refitButton.setEnabled(bool(former) and hasTarget)
        loose = [name for name in former if name not in fits]
        text = ""
        if loose:
            text = _(
                "{names} no longer as fitted to the target: changed by other hands, or the target is another one or "
                "was contoured anew. Press Refit to fit all such beams anew."
            ).format(names=", ".join(loose))
        ui.fitLabel.setText(text)
        ui.fitLabel.setVisible(bool(text))

    def _display(self, planNode: Any, plan: Plan | None) -> None:
        """Beams in the views, those of other plans hidden; and the beam's-eye view."""
        name = self._selectedName(plan)
        isShown = bool(self.ui.showBeamsCheck.property("checked"))
        if plan is not None and not self.editor.hasPackages():
            text = _("Machines cannot be read before some packages are installed: press Show beams in the views.")
            self.beamsEye.show(None, text)
            return
        try:
            shown = (planNode.GetID(), plan, name, isShown) if plan is not None else ()
            if shown != self._shownPlan:
                for other in planNodes(self.session.scene):
                    if other is not planNode:
                        showBeams(other, False)
                if plan is not None:
                    if isShown:
                        createBeamModelNodes(planNode)
                        highlightBeam(planNode, name)
                    showBeams(planNode, isShown)
                self._shownPlan = shown
            self._showBeamsEye(planNode, plan, name)
        except PlanningError as error:
            self.session.say(str(error))

    def _showBeamsEye(self, planNode: Any, plan: Plan | None, name: str | None) -> None:
        ui = self.ui
        if plan is None or name is None or ui.bevButton.property("collapsed"):
            self.beamsEye.show(None)
            return
        volumeNode, segmentationNode = (
            planNode.GetNodeReference(REFERENCE_VOLUME),
            planNode.GetNodeReference(SEGMENTATION),
        )
        if volumeNode is None:
            raise PlanError(
                f"Plan {planNode.GetName()}: its CT is no longer in the scene; load the CT to see the beams on it."
            )
        choice = ui.outlineCombo.itemData(ui.outlineCombo.property("currentIndex"))
        names = {"shown": _shownSegments(segmentationNode), "target": [self._targetName()], "none": []}[choice]
        beam = beam_named(plan, name)
        number = min(int(ui.controlPointSlider.property("value")), len(beam.control_points) - 1)
        contours = self._reader.states(volumeNode, segmentationNode, names)
        position = plan.patient_position
        self.beamsEye.show(BeamsEye(beam, position, volumeNode, segmentationNode, tuple(names), contours, number))

    # New beams

    def onFourFieldBox(self, *_unused: object) -> None:
        """Make a four-field box."""
        self.editor.arrange(lambda: BOX_GANTRY_DEG, self._newFit(), _("Four-field box"))

    def onEquallySpaced(self, *_unused: object) -> None:
        """Make equally spaced fields."""
        count, first = self.parameters.fieldCount, self.parameters.firstGantry_deg
        name = _("{count} fields").format(count=count)
        self.editor.arrange(lambda: equally_spaced_deg(count, first), self._newFit(), name)

    def onArc(self, *_unused: object) -> None:
        """Add an arc."""
        parameters = self.parameters
        start, stop, spacing = parameters.arcStart_deg, parameters.arcStop_deg, parameters.arcSpacing_deg
        clockwise = parameters.arcSense == "clockwise"
        added = self.editor.addArc(
            lambda: arc_angles_deg(start, stop, clockwise=clockwise, spacing_deg=spacing), self._newFit()
        )
        if added is not None:
            self.onSelected(added)

    def onAdd(self, *_unused: object) -> None:
        """Add a beam like the selected one."""
        if self.session.plan is None:
            self.editor.arrange(lambda: (0.0,), self._newFit(), _("Plan"))
            return
        self._addLike(add_beam, _("Added {name}, like {like}; set its angles."))

    def onCopy(self, *_unused: object) -> None:
        """Add a copy of the selected beam."""
        self._addLike(copy_beam, _("Added {name}."))

    def onOpposed(self, *_unused: object) -> None:
        """Add the beam from the other side."""
        self._addLike(opposed_beam, _("Added {name}, opposed to {like}."))

    def onRemove(self, *_unused: object) -> None:
        """Remove the selected beam."""
        name = self._selectedName(self.session.plan)
        if name is not None:
            self.editor.edit(lambda plan: remove_beam(plan, name), said=_("Removed {name}.").format(name=name))

    def onRefit(self, *_unused: object) -> None:
        """Fit all beams anew that follow the target, or did."""
        self.editor.refit()

    def onCopyPlan(self, *_unused: object) -> None:
        """Make a copy of the plan and work on that."""
        planNode = self.session.planNode
        if planNode is None:
            return

        said = _("Made {name}; it is the plan now.")
        copy = self.session.run(
            withPackages(lambda progress: copyPlanNode(planNode)), lambda node: said.format(name=node.GetName())
        )
        if copy is not None:
            self.session.choosePlan(copy)

    # Changed by hand

    def onEdited(self, name: str, key: str, text: str) -> None:
        """A value of the table was changed."""
        if key == "fit":
            self._setFit(name, None if text == "none" else text)
        elif key == "margin":
            self._setMargin(name, text)
        elif key == "name":
            self._rename(name, text)
        elif key == "machine":
            fitted = name in self.editor.fits()
            self.editor.edit(lambda plan: set_machine(plan, name, text, keeps_aperture=not fitted), refit=[name])
        elif key in _JAWS:
            self._setJaw(name, key, text)
        elif key == "weight":
            self.editor.edit(lambda plan: set_weight(plan, name, _number(text)))
        elif key == "MU":
            self.editor.edit(lambda plan: set_meterset(plan, name, _number(text)))
        else:
            # of an arc the first angle counts
            self.editor.edit(lambda plan: set_angles(plan, name, **{key: _number(text.split(" ")[0])}), refit=[name])

    def onSelected(self, name: str) -> None:
        """Another beam was chosen."""
        self.parameters.selectedBeam = name
        self.update()

    def onAngle(self, angle: str, widget: Any) -> None:
        """A slider or its number was moved."""
        # signals of spin boxes are overloaded in Qt 5: what arrives may be a text
        value = float(widget.property("value"))
        name = self._selectedName(self.session.plan)
        if name is not None:
            self.editor.edit(lambda plan: set_angles(plan, name, **{f"{angle}_deg": value}), refit=[name])

    def onIsocenter(self, *_unused: object) -> None:
        """Coordinates of the isocentre were typed."""
        ui = self.ui
        spins = (ui.isocenterRSpin, ui.isocenterASpin, ui.isocenterSSpin)
        self._setIsocenter([float(spin.property("value")) for spin in spins])

    def onIsocenterToTarget(self, *_unused: object) -> None:
        """Put the isocentre into the target's centre."""
        try:
            self._setIsocenter(target_isocenter_RAS_mm(self.editor.target()))
        except PlanningError as error:
            self.session.say(str(error))

    def onIsocenterToCrosshair(self, *_unused: object) -> None:
        """Put the isocentre to the crosshair."""
        try:
            self._setIsocenter(crosshairPosition_RAS_mm(self.session.scene, self.session.volumeNode))
        except PlanningError as error:
            self.session.say(str(error))

    def onTarget(self, *_unused: object) -> None:
        """Another target was chosen: it is prescribed to, and beams that follow the target turn to it."""
        target = self._targetName()
        if not target:
            return
        if self.session.planNode is None:
            self.session.settings.target = target
            self.session.update()
        else:
            self.editor.aimAt(target)

    def onMeterset(self, *_unused: object) -> None:
        """Beams shall carry MU, or weights."""
        combo = self.ui.metersetCombo
        planNode = self.session.planNode
        if planNode is None:
            return
        if combo.itemData(combo.property("currentIndex")) == "MU":
            delivered = deliveredPlan(planNode) if isDoseCurrent(planNode) else None
            metersets = None if delivered is None else [beam.meterset_MU for beam in delivered.beams]
            self.editor.edit(lambda plan: with_MU(plan, metersets))
        else:
            self.editor.edit(lambda plan: with_weights(plan, plan.prescription or self.editor.prescription()))

    def onDisplayChanged(self, *_unused: object) -> None:
        """Something of the display was changed."""
        if self.session.isRunning or self.parameters is None:
            return
        if self.session.planNode is not None and not self.editor.hasPackages():
            self.session.run(withPackages(lambda progress: None), _("The beams are shown."))
        self.update()

    def _addLike(self, operation: Callable[[Plan, str], tuple[Plan, str]], said: str) -> None:
        like = self._selectedName(self.session.plan)
        if like is None:
            return
        added: list[str] = []

        def change(plan: Plan) -> Plan:
            plan, name = operation(plan, like)
            added.append(name)
            return plan

        def fits(of: dict[str, BeamFit]) -> dict[str, BeamFit]:
            if like not in of:
                return of
            plan = self.session.plan
            return {**of, operation(plan, like)[1]: of[like]}

        # a copy is fitted already
        refit = [name for name in [self._nameOf(operation, like)] if operation is opposed_beam and name]
        if self.editor.edit(change, fits=fits, refit=refit):
            self.onSelected(added[-1])
            self.session.say(said.format(name=added[-1], like=like))

    def _nameOf(self, operation: Callable[[Plan, str], tuple[Plan, str]], like: str) -> str:
        try:
            return operation(self.session.plan, like)[1]
        except PlanningError:
            # the edit that follows says why
            return ""

    def _setFit(self, name: str, kind: str | None) -> None:
        margin = self.editor.fits().get(name, BeamFit(margin_mm=self.parameters.margin_mm)).margin_mm

        def fits(of: dict[str, BeamFit]) -> dict[str, BeamFit]:
            rest = {beam: fit for beam, fit in of.items() if beam != name}
            return rest if kind is None else {**rest, name: BeamFit(kind, margin)}

        self.editor.edit(lambda plan: plan, refit=[name], fits=fits)

    def _setMargin(self, name: str, text: str) -> None:
        def fits(of: dict[str, BeamFit]) -> dict[str, BeamFit]:
            return {**of, name: replace(of[name], margin_mm=_number(text))} if name in of else of

        self.editor.edit(lambda plan: plan, refit=[name], fits=fits)

    def _rename(self, name: str, text: str) -> None:
        planNode = self.session.planNode

        def change(plan: Plan) -> Plan:
            renamed = rename_beam(plan, name, text)
            renameBeamNodes(planNode, name, text.strip())
            return renamed

        def fits(of: dict[str, BeamFit]) -> dict[str, BeamFit]:
            return {text.strip() if beam == name else beam: fit for beam, fit in of.items()}

        if self.editor.edit(change, fits=fits):
            self.onSelected(text.strip())

    def _setJaw(self, name: str, key: str, text: str) -> None:
        axis, side = _JAWS[key]
        followed = name in self.editor.fits()

        def change(plan: Plan) -> Plan:
            aperture = beam_named(plan, name).control_points[0].aperture
            jaws = list(getattr(aperture, f"jaw_{axis}_mm"))
            jaws[side] = _number(text)
            return set_jaws(plan, name, **{f"jaw_{axis}_mm": tuple(jaws)})

        said = _("{name} does not follow the target any more: its jaws were set by hand.").format(name=name)
        self.editor.edit(
            change,
            fits=lambda of: {beam: fit for beam, fit in of.items() if beam != name},
            said=said if followed else "",
        )

    def _setIsocenter(self, isocenter_RAS_mm: Sequence[float]) -> None:
        plan = self.session.plan
        name = self._selectedName(plan)
        if name is None:
            return
        one = None if self.parameters.allBeams else name
        names = [beam.name for beam in plan.beams] if one is None else [name]
        self.editor.edit(lambda plan: set_isocenter(plan, isocenter_RAS_mm, one), refit=names)

    # What is asked for

    def _selectedName(self, plan: Plan | None) -> str | None:
        if plan is None:
            return None
        names = [beam.name for beam in plan.beams]
        chosen = self.parameters.selectedBeam
        return chosen if chosen in names else names[0]

    def _newFit(self) -> BeamFit:
        return BeamFit(self.parameters.fit, self.parameters.margin_mm)

    def _targetName(self) -> str:
        combo = self.ui.targetCombo
        return str(combo.itemData(combo.property("currentIndex")) or "")

    def _angleWidgets(self, angle: str) -> tuple[Any, Any]:
        ui = self.ui
        return {
            "gantry": (ui.gantrySlider, ui.gantrySpin),
            "collimator": (ui.collimatorSlider, ui.collimatorSpin),
            "couch": (ui.couchSlider, ui.couchSpin),
        }[angle]


def _number(text: str) -> float:
    """A number that a person typed, with a comma or a point."""
    try:
        return float(str(text).strip().removesuffix("°").removesuffix("mm").strip().replace(",", "."))
    except ValueError:
        raise PlanError(_("{text!r} is not a number; type one, such as 12.5.").format(text=text)) from None


def _segmentNames(segmentationNode: Any) -> list[str]:
    if segmentationNode is None:
        return []
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]


def _shownSegments(segmentationNode: Any) -> list[str]:
    """Names of the segments that the slice views show, without those that surround everything."""
    if segmentationNode is None:
        return []
    display, segmentation = segmentationNode.GetDisplayNode(), segmentationNode.GetSegmentation()
    names = []
    for n in range(segmentation.GetNumberOfSegments()):
        name = segmentation.GetNthSegment(n).GetName()
        isShown = display is None or display.GetSegmentVisibility(segmentation.GetNthSegmentID(n))
        if isShown and role_from_name(name) not in _NOT_OUTLINED_ROLES:
            names.append(name)
    return names
