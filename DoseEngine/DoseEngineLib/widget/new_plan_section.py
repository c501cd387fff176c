"""A plan made in a moment: open fields on an image, or the beams of a plan that is in the scene."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.errors import PlanError
from DoseEngineLib.mrml.patient_nodes import readPatient
from DoseEngineLib.mrml.plan_node import createPlanNode, deliveredPlan, isDoseCurrent, isPlanNode, planFromNode
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress, part
from DoseEngineLib.simple_plan import angles_from_text, body_centre_RAS_mm, open_field_plan, plan_on_other_image
from DoseEngineLib.widget.connectors import fillCombo
from DoseEngineLib.widget.dose_session import DoseSession
from DoseEngineLib.widget.machine_list import fillMachines
from DoseEngineLib.widget.packages import DOSE_PACKAGES, ensurePackages
from DoseEngineLib.widget.section import Section


class NewPlanSection(Section):
    """Connects the widgets of ``NewPlanSection.ui``.

    Parameters
    ----------
    ui : object
    session : DoseSession
    frame : ctkCollapsibleButton
    """

    def __init__(self, ui: Any, session: DoseSession, frame: Any) -> None:
        super().__init__(ui, session)
        self._frame = frame
        fillCombo(ui.beamSourceCombo, [(_("Open fields"), "open"), (_("Beams of a plan"), "plan")], "open")
        fillCombo(
            ui.isocenterCombo,
            [(_("Centre of the body"), "body"), (_("As typed"), "typed"), (_("Where that plan has it"), "plan")],
            "body",
        )
        self._coordinates = (ui.isocenterRSpin, ui.isocenterASpin, ui.isocenterSSpin)
        for spin in (ui.fieldXSpin, ui.fieldYSpin, *self._coordinates):
            spin.setMRMLScene(session.scene)
        ui.makePlanButton.clicked.connect(self.onMakePlan)

    def coupled(self) -> Mapping[str, Any]:
        """Return the widget of each setting."""
        ui = self.ui
        fillMachines(ui.newMachineCombo, self.parameters.machineFiles, self.parameters.newMachine)
        return {
            "planName": ui.planNameEdit,
            "volumeNode": ui.volumeSelector,
            "segmentationNode": ui.segmentationSelector,
            "beamSource": ui.beamSourceCombo,
            "sourcePlanNode": ui.sourcePlanSelector,
            "newMachine": ui.newMachineCombo,
            "fieldX_mm": ui.fieldXSpin,
            "fieldY_mm": ui.fieldYSpin,
            "angles": ui.anglesEdit,
            "meterset_MU": ui.metersetSpin,
            "isocenter": ui.isocenterCombo,
            "isocenterR_mm": ui.isocenterRSpin,
            "isocenterA_mm": ui.isocenterASpin,
            "isocenterS_mm": ui.isocenterSSpin,
            "newPlanCollapsed": self._frame,
        }

    def handlers(self) -> Sequence[tuple[Any, Callable[..., None]]]:
        """Return what follows a choice."""
        ui = self.ui
        return [
            (ui.beamSourceCombo.currentIndexChanged, self.onFormChanged),
            (ui.isocenterCombo.currentIndexChanged, self.onFormChanged),
            (ui.volumeSelector.currentNodeChanged, self.onFormChanged),
        ]

    def update(self) -> None:
        """Show what can be chosen."""
        ui, settings = self.ui, self.parameters
        fillMachines(ui.newMachineCombo, settings.machineFiles, settings.newMachine)
        opened = settings.beamSource == "open"
        for widget in (ui.newMachineCombo, ui.fieldXSpin, ui.fieldYSpin, ui.anglesEdit, ui.metersetSpin):
            widget.setEnabled(opened)
        ui.sourcePlanSelector.setEnabled(not opened)
        for spin in self._coordinates:
            spin.setEnabled(settings.isocenter == "typed")
        ui.makePlanButton.setEnabled(settings.volumeNode is not None)

    def onFormChanged(self, *_unused: object) -> None:
        """Grey what does not count for the choice."""
        if self.session.isFree:
            self.update()

    def onMakePlan(self, *_unused: object) -> None:
        """Make the plan that the form describes, and choose it."""
        settings = self.parameters
        volumeNode, segmentationNode = settings.volumeNode, settings.segmentationNode

        def work(progress: Progress) -> Any:
            ensurePackages(DOSE_PACKAGES, _("Dose Engine"))
            makePlan = self._planMaker()
            if settings.isocenter == "body":
                progress(0.0, _("Reading CT and structures"))
                makePatient = readPatient(volumeNode, segmentationNode, progress=part(progress, 0.0, 0.3))
                isocenter = self.session.background(
                    lambda report: body_centre_RAS_mm(makePatient()), part(progress, 0.3, 0.9)
                )
            elif settings.isocenter == "typed":
                isocenter = tuple(
                    float(v) for v in (settings.isocenterR_mm, settings.isocenterA_mm, settings.isocenterS_mm)
                )
            else:
                isocenter = None
            plan = self.session.background(lambda report: makePlan(isocenter), part(progress, 0.9, 1.0))
            if volumeNode.GetScene() is not self.session.scene:
                raise PlanError(_("The CT was removed meanwhile; choose another one."))
            progress(1.0, _("Plan made"))
            return createPlanNode(self.session.scene, plan, volumeNode, segmentationNode)

        node = self.session.action.run(work, lambda node: _("Plan made: {name}").format(name=node.GetName()))
        if node is not None:
            settings.planNode = node
        self.session.update()

    def _planMaker(self) -> Any:
        """Return what makes the plan of an isocentre; it touches no node."""
        settings = self.parameters
        name = settings.planName.strip() or _("Simple plan")
        if settings.beamSource == "plan":
            source = settings.sourcePlanNode
            if not isPlanNode(source):
                raise PlanError(_("Choose the plan whose beams are to be taken over."))
            plan = planFromNode(source)
            delivered = deliveredPlan(source) if isDoseCurrent(source) else None
            return lambda isocenter: plan_on_other_image(plan, name, isocenter, delivered)
        if settings.isocenter == "plan":
            raise PlanError(_("Open fields need an isocentre: choose the centre of the body, or type one."))
        angles = angles_from_text(settings.angles)
        fields = {
            "field_mm": (float(settings.fieldX_mm), float(settings.fieldY_mm)),
            "meterset_MU": float(settings.meterset_MU),
            "machine": settings.newMachine,
        }

        def make(isocenter: tuple[float, float, float]) -> Plan:
            return open_field_plan(name, angles, isocenter, **fields)

        return make
