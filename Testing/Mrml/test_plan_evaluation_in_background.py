"""Evaluation hands its pure work over, keeps figures with the plan, and notices what happens meanwhile."""

from __future__ import annotations

import threading

import pytest

from DoseEngineLib.errors import Cancelled, EvaluationError, PlanError


@pytest.fixture
def planned(scene, monkeypatch):
    """A logic and a plan with a dose that was not calculated: this is about what comes after."""
    import numpy as np

    from DoseEngineLib.mrml.dose_volume import setDoseVolume
    from DoseEngineLib.mrml.plan_node import DOSE, setDeliveredPlan, setReference
    from DoseEngineLib.mrml.subject_hierarchy import ensureStudy, studyForDose
    from DoseEngineLib.mrml.volumes import gridFromVolume
    from DoseEngineLib.plan import Beam, Plan, Prescription
    from RTPlanningLib.logic import RTPlanningLogic
    from RTPlanningLib.samples import load_sample

    logic = RTPlanningLogic(scene)
    volume, structures = logic.loadCase(load_sample("tg119-prostate", 6.0))
    plan = Plan("Box", (Beam.open_field(),), Prescription(75.6, 42, "PTV"))
    node = logic.createPlan(plan, volume, structures, ["PTV D95% >= 70 Gy", "PTV CI(RTOG) >= 0.1"])
    grid = gridFromVolume(volume).with_spacing(6.0)
    distance = np.linalg.norm(grid.centres_RAS_mm(), axis=-1)
    dose = np.maximum(95.0 - 0.2 * distance, 0.0).astype(np.float32)
    study = studyForDose(scene, ensureStudy(volume, "Patient", "Radiotherapy planning"))
    doseNode = setDoseVolume(scene, None, "Dose", dose, parentItem=study, provenance={}, grid=grid, reference_Gy=75.6)
    setReference(node, DOSE, doseNode)
    setDeliveredPlan(node, plan, plan)
    return logic, node


def test_pure_work_is_handed_over_and_gives_the_same(planned) -> None:
    logic, node = planned
    expected = logic.evaluatePlan(node)
    threads = []

    def elsewhere(function, progress=None):
        box = []
        thread = threading.Thread(target=lambda: box.append(function(lambda fraction, text: None)))
        thread.start()
        thread.join()
        threads.append(thread)
        return box[0]

    logic.background = elsewhere
    found = logic.evaluatePlan(node)
    # DVHs, goals, figures
    assert len(threads) == 3
    assert found.goals == expected.goals
    assert [result.passed for result in found.goals] == [True, True]
    assert found.figures == expected.figures
    assert found.dvhs.keys() == expected.dvhs.keys()
    assert all(found.dvhs[name].mean_Gy == dvh.mean_Gy for name, dvh in expected.dvhs.items())
    assert found.isodoseNode is expected.isodoseNode
    assert found.isodoseNode.GetPolyData().GetNumberOfPoints() > 100


def test_figures_stay_with_the_plan_as_long_as_they_are_its_doses(planned, scene) -> None:
    from dataclasses import replace

    import slicer.util

    from DoseEngineLib.mrml.plan_node import DOSE

    logic, node = planned
    assert logic.doseFigures(node) == ()
    figures = logic.calculateDoseFigures(node)
    assert figures[0].name == "Maximum"
    assert logic.doseFigures(node) == figures
    # again: the same table, not another one
    count = scene.GetNumberOfNodes()
    logic.calculateDoseFigures(node)
    assert scene.GetNumberOfNodes() == count
    plan = logic.planFromNode(node)
    logic.updatePlan(node, replace(plan, dose_grid_spacing_mm=4.0))
    assert logic.doseFigures(node) == ()
    logic.updatePlan(node, plan)
    assert logic.doseFigures(node) == figures
    dose = node.GetNodeReference(DOSE)
    slicer.util.updateVolumeFromArray(dose, slicer.util.arrayFromVolume(dose) * 1.01)
    assert logic.doseFigures(node) == ()


def test_progress_rises_and_a_cancel_between_isodoses_keeps_the_former(planned) -> None:
    from DoseEngineLib.mrml.plan_node import DOSE

    logic, node = planned
    reports = []
    evaluation = logic.evaluatePlan(node, lambda fraction, text: reports.append((fraction, text)))
    fractions = [fraction for fraction, _ in reports]
    assert fractions == sorted(fractions)
    assert {"DVH of PTV", "Judging the goals"} <= {text for _, text in reports}
    points = evaluation.isodoseNode.GetPolyData().GetNumberOfPoints()

    def stop(fraction: float, text: str) -> None:
        if "40" in text:
            raise Cancelled(text)

    with pytest.raises(Cancelled):
        logic.createIsodoses(node.GetNodeReference(DOSE), [20.0, 40.0], progress=stop)
    assert evaluation.isodoseNode.GetPolyData().GetNumberOfPoints() == points


def test_nodes_that_go_meanwhile_are_told(planned, scene) -> None:
    from DoseEngineLib.mrml.plan_node import DOSE

    logic, node = planned
    dose = node.GetNodeReference(DOSE)

    def losing(function, progress=None):
        scene.RemoveNode(dose)
        return function(lambda fraction, text: None)

    with pytest.raises(EvaluationError, match="removed while its isodoses"):
        logic.createIsodoses(dose, [20.0, 40.0], progress=lambda f, t: scene.RemoveNode(dose) if "40" in t else None)
    scene.AddNode(dose)
    node.SetNodeReferenceID(DOSE, dose.GetID())
    logic.background = losing
    with pytest.raises(PlanError, match="calculate the dose first"):
        logic.calculateDvh(node)
    assert logic.dvhChart(node) is None


def test_structures_that_change_while_they_are_read_are_told(planned) -> None:
    logic, node = planned
    segment = node.GetNodeReference("segmentationRef").GetSegmentation().GetSegment("Bladder")

    def edit(fraction: float, text: str) -> None:
        if text == "Reading Rectum":
            segment.SetTag("RTPlanning.Role", "OTHER")

    with pytest.raises(PlanError, match="were changed while they were read"):
        logic.evaluatePlan(node, edit)
    assert len(logic.evaluatePlan(node).dvhs) == 5
