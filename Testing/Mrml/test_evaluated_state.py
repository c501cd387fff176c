"""Results know what they were evaluated of: of the plan, its dose, structures and goals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import slicer.util
from oblique_grid import box

from DoseEngineLib.mrml.plan_node import SEGMENTATION, setGoals, setPlan
from DoseEngineLib.mrml.segmentation_digest import segmentationDigest
from DoseEngineLib.mrml.segmentations import setStructures
from DoseEngineLib.plan import Structure
from RTPlanningLib.evaluation_logic import EvaluationLogic
from RTPlanningLib.logic import RTPlanningLogic
from RTPlanningLib.mrml.evaluated_state import GOALS, PLAN, STRUCTURES, evaluatedState
from RTPlanningLib.mrml.goals_node import GOALS_TABLE


@pytest.fixture
def planned(scene, case, plan):
    """Logic, evaluation and a plan node with dose, DVHs, goals and checks."""
    logic, evaluation = RTPlanningLogic(scene), EvaluationLogic(scene)
    planNode = logic.createPlan(plan, *logic.loadCase(case), case.goals)
    logic.calculateDose(planNode)
    dvhs = logic.calculateDvh(planNode)
    logic.evaluateGoals(planNode, dvhs=dvhs)
    evaluation.checkPlan(planNode)
    evaluation.evaluateRadiobiology(planNode, dvhs=dvhs, samples=10)
    return logic, evaluation, planNode


def current(planned) -> dict[str, bool]:
    logic, evaluation, planNode = planned
    tables = {
        "dvh": logic.dvhMetricsTable(planNode),
        "goals": planNode.GetNodeReference(GOALS_TABLE),
        "checks": evaluation.checksTable(planNode),
        "radiobiology": evaluation.radiobiologyTable(planNode),
    }
    return {name: evaluation.isEvaluationCurrent(table, planNode) for name, table in tables.items()}


def all_are(value: bool) -> dict[str, bool]:
    return dict.fromkeys(("dvh", "goals", "checks", "radiobiology"), value)


def test_a_changed_plan_makes_all_results_stale_and_undoing_it_brings_them_back(planned, plan) -> None:
    planNode = planned[2]
    assert current(planned) == all_are(True)
    setPlan(planNode, replace(plan, dose_grid_spacing_mm=4.0))
    assert current(planned) == all_are(False)
    setPlan(planNode, plan)
    assert current(planned) == all_are(True)


def test_changed_goals_make_goals_and_checks_stale_alone(planned) -> None:
    setGoals(planned[2], ("PTV D95% >= 11 Gy",))
    assert current(planned) == {"dvh": True, "goals": False, "checks": False, "radiobiology": True}


def test_changed_structures_make_results_stale(planned, case) -> None:
    segmentationNode = planned[2].GetNodeReference(SEGMENTATION)
    before = segmentationDigest(segmentationNode)
    segmentationNode.GetSegmentation().GetSegment("PTV").SetColor(0.1, 0.2, 0.3)
    assert segmentationDigest(segmentationNode) == before
    mask = case.structure("PTV").mask.copy()
    mask[tuple(np.argwhere(mask)[0])] = False
    changed = [Structure(s.name, mask, case.grid, s.role, s.color) if s.name == "PTV" else s for s in case.structures]
    setStructures(segmentationNode, changed)
    assert segmentationDigest(segmentationNode) != before
    assert current(planned) == all_are(False)


def test_a_dose_that_was_written_over_makes_results_stale(planned) -> None:
    logic, _, planNode = planned
    doseNode = logic.doseVolume(planNode)
    slicer.util.updateVolumeFromArray(doseNode, slicer.util.arrayFromVolume(doseNode) * np.float32(1.5))
    assert current(planned) == all_are(False)


def test_results_are_current_in_the_scene_read_back(planned, tmp_path) -> None:
    logic, evaluation, _ = planned
    logic.saveScene(tmp_path / "scene.mrb")
    logic.loadScene(tmp_path / "scene.mrb")
    assert current((logic, evaluation, logic.planNodes()[0])) == all_are(True)


def test_a_segment_is_the_same_on_whatever_layer_and_crop(scene, case) -> None:
    logic = RTPlanningLogic(scene)
    small = box(case.grid, slice(5, 7), slice(8, 12), slice(9, 14))
    structures = (*case.structures, Structure("Small", small, case.grid, "ORGAN", (0.0, 1.0, 0.0)))
    digests = []
    for merged in (False, True):
        _, segmentationNode = logic.loadCase(replace(case, structures=structures))
        if merged:
            # forced together, on one image of the size of all
            segmentationNode.GetSegmentation().SeparateSegmentLabelmap("Small")
        digests.append(segmentationDigest(segmentationNode))
    assert digests[0] == digests[1]


def test_state_says_only_what_was_asked(planned) -> None:
    state = evaluatedState(planned[2], (PLAN, GOALS))
    assert set(state) == {PLAN, GOALS}
    assert STRUCTURES not in state
    assert segmentationDigest(None) == ""
