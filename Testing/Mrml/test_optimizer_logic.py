"""Optimizing a plan node: MU and doses in the scene, and a scene left alone when it goes wrong."""

import numpy as np
import pytest

from DoseEngineLib.errors import Cancelled
from DoseEngineLib.plan import Beam, Plan, Prescription
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import MeanDose, SquaredDeviation, SquaredOverdose
from RTPlanningLib.samples import load_sample

GANTRIES = (0.0, 90.0, 180.0, 270.0)
OBJECTIVES = (SquaredDeviation("PTV", 50.0, 10.0), SquaredOverdose("Core", 30.0, 1.0), MeanDose("External", 0.5))


@pytest.fixture(scope="module")
def case():
    """The C-shape, coarse."""
    return load_sample("tg119-cshape", 5.0)


@pytest.fixture
def planNode(scene, case):
    """A four-field box of open fields around the C-shape, dose calculated."""
    import slicer

    from DoseEngineLib.logic import DoseEngineLogic
    from DoseEngineLib.mrml.plan_node import createPlanNode
    from DoseEngineLib.mrml.segmentations import setDensityOverrides, setStructures
    from DoseEngineLib.mrml.volumes import setVolumeFromArray

    volumeNode = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    setVolumeFromArray(volumeNode, case.hu, case.grid)
    segmentationNode = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Structures")
    setStructures(segmentationNode, case.structures, volumeNode)
    setDensityOverrides(segmentationNode, case.density_overrides_g_cm3)
    assert slicer.mrmlScene is scene
    beams = tuple(
        Beam.open_field(f"G{g:g}", gantry_deg=g, jaw_x_mm=(-42.0, 42.0), jaw_y_mm=(-45.0, 45.0), meterset_MU=None)
        for g in GANTRIES
    )
    plan = Plan("Box", beams, Prescription(50.0, 25, "PTV", "mean"), dose_grid_spacing_mm=8.0)
    node = createPlanNode(scene, plan, volumeNode, segmentationNode)
    DoseEngineLogic(scene).calculateDose(node)
    return node


def dose_of(planNode):
    from DoseEngineLib.mrml.plan_node import DOSE
    from DoseEngineLib.mrml.volumes import arrayFromVolume

    return np.array(arrayFromVolume(planNode.GetNodeReference(DOSE)))


def test_the_plan_gets_the_optimized_MU_and_its_dose(scene, planNode):
    from DoseEngineLib.mrml.plan_node import BEAM_DOSE, beamNode, deliveredPlan, isDoseCurrent, planFromNode
    from DoseEngineLib.mrml.volumes import arrayFromVolume
    from OptimizerLib.logic import OptimizerLogic

    before = [beam.meterset_MU for beam in deliveredPlan(planNode).beams]
    beam_doses = {f"G{g:g}": np.array(arrayFromVolume(beamNode(planNode, BEAM_DOSE, f"G{g:g}"))) for g in GANTRIES}
    steps = []
    solution = OptimizerLogic(scene).optimizeBeamWeights(
        planNode, OBJECTIVES, lambda fraction, text: steps.append(fraction)
    )
    assert solution.converged
    assert solution.value < solution.history[0]
    plan = planFromNode(planNode)
    assert plan.has_MU
    np.testing.assert_allclose([b.meterset_MU for b in plan.beams], np.multiply(before, solution.weights), rtol=1e-9)
    assert plan.prescription == Prescription(50.0, 25, "PTV", "mean")
    assert isDoseCurrent(planNode)
    expected = sum(w * beam_doses[b.name] for w, b in zip(solution.weights, plan.beams, strict=True))
    np.testing.assert_allclose(dose_of(planNode), expected, atol=1e-3)
    assert steps == sorted(steps)
    assert steps[-1] == 1.0


@pytest.mark.parametrize("stop_at", [0.1, 0.6])
def test_a_cancelled_optimization_leaves_plan_and_dose(scene, planNode, stop_at):
    from DoseEngineLib.mrml.plan_node import isDoseCurrent, planFromNode
    from OptimizerLib.logic import OptimizerLogic

    plan, dose = planFromNode(planNode), dose_of(planNode)
    nodes = scene.GetNumberOfNodes()

    def cancel(fraction, text):
        if fraction >= stop_at:
            raise Cancelled("stopped by the user")

    with pytest.raises(Cancelled):
        OptimizerLogic(scene).optimizeBeamWeights(planNode, OBJECTIVES, cancel)
    assert planFromNode(planNode) == plan
    np.testing.assert_array_equal(dose_of(planNode), dose)
    assert isDoseCurrent(planNode)
    assert scene.GetNumberOfNodes() == nodes


def test_a_plan_without_a_current_dose_is_refused(scene, planNode):
    from DoseEngineLib.mrml.plan_node import planFromNode, setPlan
    from OptimizerLib.logic import OptimizerLogic

    plan = planFromNode(planNode)
    setPlan(planNode, plan.with_metersets([50.0, 50.0, 50.0, 50.0]))
    with pytest.raises(OptimizationError, match="calculate the dose, then optimize"):
        OptimizerLogic(scene).optimizeBeamWeights(planNode, OBJECTIVES)


def test_an_objective_of_no_segment_lists_the_segments(scene, planNode):
    from OptimizerLib.logic import OptimizerLogic

    with pytest.raises(OptimizationError, match=r"'Heart'.*External, PTV, Core"):
        OptimizerLogic(scene).optimizeBeamWeights(planNode, [MeanDose("Heart")])


def test_a_missing_beam_dose_is_named(scene, planNode):
    from DoseEngineLib.mrml.plan_node import BEAM_DOSE, beamNode
    from OptimizerLib.logic import OptimizerLogic

    scene.RemoveNode(beamNode(planNode, BEAM_DOSE, "G90"))
    with pytest.raises(OptimizationError, match="dose of beam G90 is not in the scene"):
        OptimizerLogic(scene).optimizeBeamWeights(planNode, OBJECTIVES)
