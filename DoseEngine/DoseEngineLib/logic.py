"""The dose engine's logic: from a plan node to dose volume nodes, in desktop Slicer and headless alike."""

from __future__ import annotations

from DoseEngineLib.background import Background, at_once
from DoseEngineLib.calibration import CalibrationCurve
from DoseEngineLib.engine import DoseResult, create_engine
from DoseEngineLib.errors import EngineError, PlanError
from DoseEngineLib.mrml.dose_volume import setDoseVolume, storableDose
from DoseEngineLib.mrml.patient_nodes import readPatient
from DoseEngineLib.mrml.plan_node import (
    BEAM_DOSE,
    BEAM_NAME,
    DOSE,
    REFERENCE_VOLUME,
    SEGMENTATION,
    beamNode,
    inputsOfDose,
    planFromNode,
    referencedNode,
    setBeamNodes,
    setDeliveredPlan,
    setReference,
)
from DoseEngineLib.mrml.subject_hierarchy import ensureStudy, placeNode, studyForDose
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress, part


class DoseEngineLogic:
    """Calculates the dose of plan nodes.

    Parameters
    ----------
    scene : vtkMRMLScene

    Attributes
    ----------
    lastResult : DoseResult or None
        Result of the last successful `calculateDose`.
    background : Background
        Runs the pure work; a panel sets it so that its events turn meanwhile.
    """

    def __init__(self, scene) -> None:
        self.scene = scene
        self.background: Background = at_once
        self.lastResult: DoseResult | None = None

    def calculateDose(self, planNode, progress: Progress | None = None, *, calibration: CalibrationCurve | None = None):
        """Calculate a plan's dose and store it: a dose volume for the plan and one for each beam.

        A former dose of the plan is overwritten in place. When the calculation fails or is cancelled the scene stays as
        it was.

        Parameters
        ----------
        planNode : vtkMRMLScriptedModuleNode
            Made by `DoseEngineLib.mrml.plan_node.createPlanNode`.
        progress : callable, optional
            ``progress(fraction, text)``; it may raise `Cancelled`.
        calibration : CalibrationCurve, optional
            CT numbers to mass density; by default Schneider (2000).

        Returns
        -------
        vtkMRMLScalarVolumeNode
            The plan's dose in Gy for the whole course.

        Raises
        ------
        PlanningError
            One of its subclasses, saying what is wrong with plan, CT, structures or machine.
        """
        plan = planFromNode(planNode)
        volumeNode = referencedNode(planNode, REFERENCE_VOLUME, "CT volume")
        segmentationNode = referencedNode(planNode, SEGMENTATION, "segmentation", optional=True)
        step = part(progress, 0.0, 1.0)
        step(0.0, "Reading CT and structures")
        inputs = inputsOfDose(planNode, plan)
        makePatient = readPatient(volumeNode, segmentationNode, calibration, part(progress, 0.0, 0.05))

        def calculate(report: Progress) -> DoseResult:
            engine = create_engine(plan.engine, **plan.engine_options)
            result = engine.calculate_dose(makePatient(), plan, progress=report)
            _checkResult(plan, result)
            return result

        result = self.background(calculate, part(progress, 0.05, 0.95))
        for node, what in ((planNode, f"Plan {plan.name}"), (volumeNode, "The CT")):
            if node.GetScene() is not self.scene:
                raise PlanError(f"{what} was removed while the dose was calculated; the dose was dropped.")
        # the last call that can cancel: from here on the scene changes
        step(1.0, "Dose calculated")
        doseNode = self._store(planNode, volumeNode, result)
        setDeliveredPlan(planNode, plan, result.plan, inputs)
        self.lastResult = result
        return doseNode

    def _store(self, planNode, volumeNode, result: DoseResult):
        study = studyForDose(self.scene, ensureStudy(volumeNode, "Patient", "Radiotherapy planning"))
        prescription = result.plan.prescription
        common = {
            "grid": result.grid,
            "reference_Gy": prescription.dose_Gy if prescription else float(result.dose_Gy.max()),
            "dose_to": result.dose_to,
        }
        doseNode = setDoseVolume(
            self.scene,
            planNode.GetNodeReference(DOSE),
            f"{planNode.GetName()}_Dose",
            result.dose_Gy,
            parentItem=study,
            provenance=result.provenance,
            **common,
        )
        setReference(planNode, DOSE, doseNode)
        beamDoses = []
        for beam in result.plan.beams:
            node = setDoseVolume(
                self.scene,
                beamNode(planNode, BEAM_DOSE, beam.name),
                f"{planNode.GetName()}_{beam.name}_Dose",
                result.beam_doses_Gy[beam.name],
                parentItem=placeNode(doseNode),
                provenance={**result.provenance, "beam": beam.name},
                **common,
            )
            node.SetAttribute(BEAM_NAME, beam.name)
            beamDoses.append(node)
        setBeamNodes(planNode, BEAM_DOSE, beamDoses)
        return doseNode


def _checkResult(plan: Plan, result: DoseResult) -> None:
    names = [beam.name for beam in plan.beams]
    if sorted(result.beam_doses_Gy) != sorted(names):
        raise EngineError(f"Engine {plan.engine} gave doses for {sorted(result.beam_doses_Gy)}, not for {names}.")
    for name, dose in [(f"plan {plan.name}", result.dose_Gy), *result.beam_doses_Gy.items()]:
        if dose.shape != result.grid.shape:
            raise EngineError(
                f"Engine {plan.engine}: the dose of {name} has shape {dose.shape}, not {result.grid.shape}."
            )
        storableDose(dose, f"The dose of {name}")
