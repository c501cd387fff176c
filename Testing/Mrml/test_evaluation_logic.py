"""Evaluation in the scene: biological dose, differences, gamma, sums, accumulation, plans side by side."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from sphere_engine import PEAK_GY

from DoseEngineLib.errors import Cancelled, EvaluationError, PlanError
from RTPlanningLib.evaluation.gamma import GammaCriterion


@pytest.fixture
def planning(scene):
    """The planning logic on a fresh scene."""
    from RTPlanningLib.logic import RTPlanningLogic

    return RTPlanningLogic(scene)


@pytest.fixture
def logic(scene):
    """The evaluation logic of the same scene."""
    from RTPlanningLib.evaluation_logic import EvaluationLogic

    return EvaluationLogic(scene)


@pytest.fixture
def planNode(planning, case, plan):
    """A plan node of the oblique case with its dose."""
    node = planning.createPlan(plan, *planning.loadCase(case), case.goals)
    planning.calculateDose(node)
    return node


@pytest.fixture
def otherNode(planning, planNode, plan):
    """A second plan on the same CT, its isocentre 3 mm to the left."""
    from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, SEGMENTATION

    beams = tuple(
        replace(beam, isocenter_RAS_mm=(beam.isocenter_RAS_mm[0] - 3.0, *beam.isocenter_RAS_mm[1:]))
        for beam in plan.beams
    )
    node = planning.createPlan(
        replace(plan, name="Shifted", beams=beams),
        planNode.GetNodeReference(REFERENCE_VOLUME),
        planNode.GetNodeReference(SEGMENTATION),
        ("PTV D95% >= 10 Gy", "Couch Dmean <= 5 Gy"),
    )
    planning.calculateDose(node)
    return node


def array(node) -> np.ndarray:
    from DoseEngineLib.mrml.volumes import arrayFromVolume

    return arrayFromVolume(node)


def grid(node):
    from DoseEngineLib.mrml.volumes import gridFromVolume

    return gridFromVolume(node)


def dose_of(planNode):
    from DoseEngineLib.mrml.plan_node import DOSE

    return planNode.GetNodeReference(DOSE)


def linear_part(doseNode) -> np.ndarray:
    """Where the sphere's dose is linear, away from its peak and foot, and from the faces where it is cut off."""
    dose = array(doseNode)
    inner = np.zeros(dose.shape, bool)
    inner[2:-2, 2:-2, 2:-2] = True
    return inner & (dose > 25.0) & (dose < 50.0)


def shown_colors(volumeNode) -> np.ndarray:
    """What Slicer draws of a volume, RGBA (k, j, i, 4)."""
    from vtk.util.numpy_support import vtk_to_numpy

    connection = volumeNode.GetDisplayNode().GetImageDataConnection()
    connection.GetProducer().Update()
    image = connection.GetProducer().GetOutputDataObject(connection.GetIndex())
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(*array(volumeNode).shape, -1)


def cancel_at(limit: float):
    def progress(fraction: float, text: str) -> None:
        if fraction >= limit:
            raise Cancelled("stopped")

    return progress


def column(table, name: str) -> list[str]:
    values = table.GetTable().GetColumnByName(name)
    return [values.GetVariantValue(n).ToString() for n in range(values.GetNumberOfValues())]


def state(scene) -> list[tuple]:
    """Every node's identity, name, modification-free content that a failed run could change."""
    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    return [(node.GetID(), node.GetName(), tuple(node.GetAttributeNames() or ())) for node in nodes]


def test_eqd2_takes_each_structures_alpha_beta(logic, planNode, case):
    from DoseEngineLib.mrml.dose_volume import DOSE_VOLUME, provenanceOf
    from DoseEngineLib.mrml.subject_hierarchy import hierarchyNode, studyOf
    from RTPlanningLib.mrml.dose_distribution_nodes import DOSE_TYPE, QUANTITY

    node = logic.createEqd2(planNode, {"Rectum <1>": 2.0, "PTV": 10.0, "Couch": 5.0}, elsewhere_Gy=3.0)
    dose = array(dose_of(planNode)).astype(float)
    from DoseEngineLib.geometry import resample

    inside = {name: resample(case.structure(name).mask, case.grid, grid(node)) for name in ("PTV", "Rectum <1>")}
    for where, ratio in (
        (inside["Rectum <1>"], 2.0),
        (inside["PTV"] & ~inside["Rectum <1>"], 10.0),
        (~inside["PTV"] & ~inside["Rectum <1>"], 3.0),
    ):
        assert where.any()
        expected = dose[where] * (dose[where] / 30 + ratio) / (2.0 + ratio)
        np.testing.assert_allclose(array(node)[where], expected, rtol=1e-5, atol=1e-5)
    assert (node.GetName(), node.GetAttribute(DOSE_VOLUME)) == (f"{planNode.GetName()}_EQD2", "1")
    assert (node.GetAttribute(DOSE_TYPE), node.GetAttribute(QUANTITY)) == ("EFFECTIVE", "EQD2")
    hierarchy = hierarchyNode(logic.scene)
    assert hierarchy.GetItemAttribute(studyOf(node), "DicomRtImport.DoseUnitName") == "GY"
    provenance = provenanceOf(node)
    assert provenance["alpha_beta_Gy"] == {"Rectum <1>": 2.0, "PTV": 10.0, "Couch": 5.0}
    assert (provenance["fractions"], provenance["alpha_beta_elsewhere_Gy"]) == (30, 3.0)
    assert any("100 % of Couch lie outside the dose grid" in note for note in provenance["notes"])
    display = node.GetDisplayNode()
    assert display.GetColorNode() is dose_of(planNode).GetDisplayNode().GetColorNode()
    # 60 Gy in 30 fractions of 2 Gy are 60 Gy EQD2
    assert display.GetWindowLevelMax() == pytest.approx(66.0)


def test_the_same_request_updates_the_same_volume(logic, planNode):
    first = logic.createEqd2(planNode, {"PTV": 10.0}, elsewhere_Gy=3.0)
    count = logic.scene.GetNumberOfNodes()
    assert logic.createEqd2(planNode, {"PTV": 10.0}, elsewhere_Gy=3.0) is first
    assert logic.scene.GetNumberOfNodes() == count
    assert logic.createEqd2(planNode, {"PTV": 8.0}, elsewhere_Gy=3.0) is not first


def test_bed_by_structure_names(logic, planNode):
    from DoseEngineLib.mrml.dose_volume import provenanceOf

    node = logic.createBed(planNode, elsewhere_Gy=10.0)
    dose = array(dose_of(planNode)).astype(float)
    # no structure of this case is named after a tissue
    assert provenanceOf(node)["alpha_beta_Gy"] == {}
    np.testing.assert_allclose(array(node), dose * (1.0 + dose / 30 / 10.0), rtol=1e-5, atol=1e-5)


def test_biological_dose_refuses_what_it_cannot_use(logic, planNode, planning, plan):
    with pytest.raises(EvaluationError, match="no structure Heart"):
        logic.createEqd2(planNode, {"Heart": 3.0}, elsewhere_Gy=3.0)
    with pytest.raises(EvaluationError, match="alpha_beta_Gy"):
        logic.createEqd2(planNode, {"PTV": 0.0}, elsewhere_Gy=3.0)
    with pytest.raises(EvaluationError, match="Overlap rule"):
        logic.createEqd2(planNode, {"PTV": 3.0}, elsewhere_Gy=3.0, overlap="last")
    planning.updatePlan(planNode, replace(plan, name="Changed"))
    with pytest.raises(PlanError, match="changed after its dose"):
        logic.createEqd2(planNode, {"PTV": 3.0}, elsewhere_Gy=3.0)


def test_dose_difference_is_symmetric_about_white(logic, planNode, otherNode):
    from DoseEngineLib.mrml.dose_volume import DOSE_VOLUME
    from DoseEngineLib.mrml.subject_hierarchy import studyOf
    from RTPlanningLib.mrml.comparison_volume import comparisonValues
    from RTPlanningLib.mrml.derived_nodes import inputsOf, statisticsOf

    node, difference = logic.createDoseDifference(planNode, otherNode, threshold_Gy=5.0, limit=2.0)
    expected = array(dose_of(otherNode)).astype(float) - array(dose_of(planNode))
    judged = array(dose_of(planNode)) >= 5.0
    values, _ = comparisonValues(node)
    np.testing.assert_array_equal(np.isnan(values), ~judged)
    np.testing.assert_allclose(values[judged], expected[judged], atol=1e-4)
    assert node.GetAttribute(DOSE_VOLUME) is None, "a difference is no dose"
    assert statisticsOf(node)["mean"] == pytest.approx(difference.statistics()["mean"])
    assert inputsOf(node) == [planNode, otherNode]
    assert studyOf(node) == studyOf(dose_of(planNode))
    display = node.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (-2.0, 2.0)
    colors = shown_colors(node).astype(int)
    red_minus_blue = colors[..., 0] - colors[..., 2]
    assert (red_minus_blue[judged & (expected > 0.5)] > 0).all()
    assert (red_minus_blue[judged & (expected < -0.5)] < 0).all()
    assert (colors[~judged][:, 3] == 0).all()
    assert (colors[judged][:, 3] == 255).all()


def test_dose_difference_in_percent_of_the_prescription_and_in_a_structure(logic, planNode, otherNode):
    from RTPlanningLib.mrml.derived_nodes import statisticsOf

    node, difference = logic.createDoseDifference(
        planNode, otherNode, "percent", normalization="prescription", structureName="PTV"
    )
    absolute = logic.createDoseDifference(planNode, otherNode, structureName="PTV")[1]
    np.testing.assert_allclose(difference.values, absolute.values / 60.0 * 100.0, atol=1e-4)
    assert statisticsOf(node)["structure"] == "PTV"
    local = logic.createDoseDifference(planNode, otherNode, "local", threshold_Gy=10.0)[1]
    assert local.unit == "%"
    from DoseEngineLib.mrml.plan_node import SEGMENTATION

    segmentation = planNode.GetNodeReference(SEGMENTATION)
    doses = dose_of(planNode), dose_of(otherNode)
    masked = logic.createDoseDifference(*doses, structureName="PTV", segmentationNode=segmentation)[1]
    np.testing.assert_array_equal(masked.values, absolute.values)
    with pytest.raises(EvaluationError, match="choose a segmentation or a plan"):
        logic.createDoseDifference(*doses, structureName="PTV")
    with pytest.raises(EvaluationError, match="the segmentation has: External"):
        logic.createDoseDifference(*doses, structureName="Heart", segmentationNode=segmentation)
    with pytest.raises(EvaluationError, match="no prescription"):
        logic.createDoseDifference(dose_of(planNode), otherNode, "percent", normalization="prescription")
    with pytest.raises(EvaluationError, match="no dose volume"):
        logic.createDoseDifference(planNode, node)
    with pytest.raises(EvaluationError, match="no structure Heart"):
        logic.createDoseDifference(planNode, otherNode, structureName="Heart")


def test_gamma_volume_is_parted_at_one(logic, planNode, otherNode):
    from RTPlanningLib.mrml.comparison_volume import comparisonValues
    from RTPlanningLib.mrml.derived_nodes import statisticsOf
    from RTPlanningLib.mrml.gamma_node import GAMMA_VOLUME, PASS_RATE

    criterion = GammaCriterion(1.0, 1.0, threshold_percent=30.0)
    node, result = logic.createGamma(planNode, otherNode, criterion)
    assert 0.0 < result.pass_rate_percent < 100.0
    assert float(node.GetAttribute(PASS_RATE)) == pytest.approx(result.pass_rate_percent, abs=1e-3)
    assert node.GetAttribute(GAMMA_VOLUME) == "1"
    assert statisticsOf(node)["judged_voxels"] == result.judged
    gamma, _ = comparisonValues(node)
    colors = shown_colors(node).astype(int)
    judged = ~np.isnan(gamma)
    # failing colours are yellow to red, passing ones blue to green
    is_warm = colors[..., 0] > colors[..., 1]
    np.testing.assert_array_equal(is_warm[judged], gamma[judged] > 1.0)
    assert (colors[~judged][:, 3] == 0).all()
    assert node is logic.createGamma(planNode, otherNode, criterion)[0]
    masked, inPtv = logic.createGamma(planNode, otherNode, criterion, structureName="PTV")
    assert masked is not node
    assert inPtv.judged < result.judged


def test_gamma_is_red_just_above_one_and_not_at_one(scene):
    import slicer.util

    from RTPlanningLib.mrml.map_color_tables import showGamma

    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Gamma")
    values = np.array([[[-1.0, 0.0, 0.99999, 1.0, 1.00001, 2.0, 5.0]]], np.float32)
    slicer.util.updateVolumeFromArray(node, values)
    showGamma(node, -1.0)
    colors = shown_colors(node).astype(int)[0, 0]
    assert (colors[:, 0] > colors[:, 1]).tolist()[1:] == [False, False, False, True, True, True]
    assert (colors[:, 3] > 0).tolist() == [False, True, True, True, True, True, True]


def test_plan_sum_is_a_dose(logic, planNode, otherNode):
    from DoseEngineLib.mrml.dose_volume import DOSE_VOLUME, provenanceOf
    from RTPlanningLib.evaluation_logic import DosePart
    from RTPlanningLib.mrml.dose_distribution_nodes import FRACTIONS

    node, total = logic.createPlanSum([DosePart(planNode, fractions=20), DosePart(otherNode, fractions=10)], "first")
    expected = array(dose_of(planNode)) * (20 / 30) + array(dose_of(otherNode)) * (10 / 30)
    np.testing.assert_allclose(array(node), expected, rtol=1e-5, atol=1e-4)
    assert (node.GetAttribute(DOSE_VOLUME), node.GetAttribute(FRACTIONS)) == ("1", "30")
    assert [p["delivered_fractions"] for p in provenanceOf(node)["parts"]] == [20, 10]
    assert total.fractions == 30
    again, _ = logic.createPlanSum([DosePart(node), DosePart(dose_of(planNode))], "first", name="Twice")
    assert again.GetAttribute(FRACTIONS) == "60"


def test_doses_of_different_quantities_do_not_mix(logic, planNode):
    from RTPlanningLib.evaluation_logic import DosePart

    eqd2 = logic.createEqd2(planNode, {"PTV": 10.0}, elsewhere_Gy=3.0)
    for attempt in (
        lambda: logic.createPlanSum([DosePart(planNode), DosePart(eqd2)]),
        lambda: logic.createDoseDifference(planNode, eqd2),
        lambda: logic.createGamma(planNode, eqd2),
    ):
        with pytest.raises(EvaluationError, match="different quantities"):
            attempt()
    total, _ = logic.createPlanSum([DosePart(eqd2), DosePart(eqd2)], "first")
    assert total.GetAttribute("RTPlanning.DoseQuantity") == "EQD2"
    with pytest.raises(EvaluationError, match="is not known"):
        logic.createPlanSum([DosePart(eqd2, fractions=5)])


def test_subtraction_is_negative_where_less(logic, planNode, otherNode):
    from DoseEngineLib.mrml.dose_volume import DOSE_VOLUME
    from RTPlanningLib.evaluation_logic import DosePart

    node, _ = logic.createPlanSubtraction(DosePart(planNode), DosePart(otherNode))
    expected = array(dose_of(planNode)).astype(float) - array(dose_of(otherNode))
    np.testing.assert_allclose(array(node), expected, atol=1e-4)
    assert array(node).min() < 0.0
    assert node.GetAttribute(DOSE_VOLUME) is None
    display = node.GetDisplayNode()
    assert display.GetWindowLevelMin() == -display.GetWindowLevelMax()
    assert (shown_colors(node)[..., 3] == 255).all()


def test_accumulation_through_a_linear_transform(logic, planNode, otherNode):
    """A shift that brings the other plan's sphere back onto the first one's."""
    import slicer.util

    from RTPlanningLib.evaluation_logic import DosePart

    shift = np.eye(4)
    shift[0, 3] = 3.0
    transform = logic.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Shift")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    node, _ = logic.createAccumulatedDose(
        [DosePart(planNode, fractions=10), DosePart(otherNode, fractions=20, transformNode=transform)]
    )
    middle = linear_part(dose_of(planNode))
    np.testing.assert_allclose(array(node)[middle], array(dose_of(planNode))[middle], atol=0.25)
    wrong = 10 / 30 * array(dose_of(planNode)) + 20 / 30 * array(dose_of(otherNode))
    assert np.abs(array(node) - wrong)[middle].max() > 1.0
    dose_of(otherNode).SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(EvaluationError, match="moved twice"):
        logic.createAccumulatedDose([DosePart(planNode), DosePart(otherNode, transformNode=transform)])


@pytest.mark.parametrize("toParent", [True, False])
def test_accumulation_through_a_grid_transform(logic, planNode, otherNode, toParent):
    """The same shift as a displacement grid, given in either direction."""
    import slicer
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    from RTPlanningLib.evaluation_logic import DosePart

    low, high = grid(dose_of(planNode)).bounds_RAS_mm

    def transform_over(margin_mm: float):
        size = np.ceil((high - low + 2 * margin_mm) / 10.0).astype(int) + 1
        image = vtk.vtkImageData()
        image.SetDimensions(*map(int, size))
        image.SetSpacing(10.0, 10.0, 10.0)
        image.SetOrigin(*(low - margin_mm))
        vectors = np.zeros((int(size.prod()), 3))
        vectors[:, 0] = 3.0 if toParent else -3.0
        image.GetPointData().SetScalars(numpy_to_vtk(vectors, deep=True))
        warp = slicer.vtkOrientedGridTransform()
        warp.SetDisplacementGridData(image)
        node = logic.scene.AddNewNodeByClass("vtkMRMLGridTransformNode", f"Warp {margin_mm:g}")
        if toParent:
            node.SetAndObserveTransformToParent(warp)
        else:
            node.SetAndObserveTransformFromParent(warp)
        return node

    parts = [DosePart(planNode, fractions=10), DosePart(otherNode, fractions=20, transformNode=transform_over(20.0))]
    node, total = logic.createAccumulatedDose(parts)
    middle = linear_part(dose_of(planNode))
    np.testing.assert_allclose(array(node)[middle], array(dose_of(planNode))[middle], atol=0.25)
    assert total.provenance["parts"][1]["transform"]["kind"] == "displacement field"
    before = state(logic.scene)
    small = transform_over(-20.0)
    with pytest.raises(EvaluationError, match="does not cover"):
        logic.createAccumulatedDose([parts[0], replace(parts[1], transformNode=small)])
    logic.scene.RemoveNode(small)
    assert state(logic.scene) == before


def test_an_outdated_comparison_is_known(logic, planning, planNode, otherNode):
    import slicer.util

    from RTPlanningLib.evaluation_logic import DosePart

    gamma, _ = logic.createGamma(planNode, otherNode)
    transform = logic.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Shift")
    total, _ = logic.createAccumulatedDose([DosePart(planNode), DosePart(otherNode, transformNode=transform)])
    assert logic.isCurrent(gamma)
    assert logic.isCurrent(total)
    # the same dose calculated once more changes nothing
    planning.calculateDose(otherNode)
    assert logic.isCurrent(gamma)
    shift = np.eye(4)
    shift[0, 3] = 1.0
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(shift))
    assert not logic.isCurrent(total)
    slicer.util.updateVolumeFromArray(dose_of(otherNode), array(dose_of(otherNode)) * np.float32(1.1))
    assert not logic.isCurrent(gamma)
    logic.createGamma(planNode, otherNode)
    assert logic.isCurrent(gamma)
    logic.scene.RemoveNode(otherNode)
    assert not logic.isCurrent(gamma)


def test_failed_and_cancelled_runs_leave_the_scene(logic, planNode, otherNode):
    from RTPlanningLib.evaluation_logic import DosePart

    before = state(logic.scene)
    for attempt in (
        lambda progress: logic.createEqd2(planNode, {"PTV": 10.0}, elsewhere_Gy=3.0, progress=progress),
        lambda progress: logic.createDoseDifference(planNode, otherNode, progress=progress),
        lambda progress: logic.createGamma(planNode, otherNode, progress=progress),
        lambda progress: logic.createPlanSum([DosePart(planNode), DosePart(otherNode)], progress=progress),
        lambda progress: logic.createPlanSubtraction(DosePart(planNode), DosePart(otherNode), progress=progress),
        lambda progress: logic.createAccumulatedDose([DosePart(planNode), DosePart(otherNode)], progress=progress),
        lambda progress: logic.comparePlans([planNode, otherNode], progress=progress),
        lambda progress: logic.evaluateRadiobiology(planNode, samples=20, progress=progress),
    ):
        with pytest.raises(Cancelled):
            attempt(cancel_at(1.0))
        assert state(logic.scene) == before
    with pytest.raises(EvaluationError, match="at least two plans"):
        logic.comparePlans([planNode])
    with pytest.raises(EvaluationError, match="different names"):
        logic.comparePlans([planNode, planNode])
    with pytest.raises(EvaluationError, match="Couch lies outside the dose grid"):
        logic.comparePlans([planNode, otherNode], ["PTV", "Couch"])
    assert state(logic.scene) == before


def test_plans_side_by_side(logic, planNode, otherNode, case):
    import slicer

    from DoseEngineLib.mrml.subject_hierarchy import hierarchyNode
    from RTPlanningLib.mrml.derived_nodes import statisticsOf

    comparison = logic.comparePlans([planNode, otherNode])
    names = [planNode.GetName(), otherNode.GetName()]
    chart = comparison.chartNode
    series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    structures = ["External", "PTV", "Rectum <1>"]
    assert [s.GetName() for s in series] == [f"{structure} ({name})" for name in names for structure in structures]
    styles = slicer.vtkMRMLPlotSeriesNode
    assert [s.GetLineStyle() for s in series] == [styles.LineStyleSolid] * 3 + [styles.LineStyleDash] * 3
    assert series[1].GetColor() == series[4].GetColor() == pytest.approx(case.structure("PTV").color)
    assert chart.GetTitle() == f"solid: {names[0]}   dashed: {names[1]}"
    for place, name in enumerate(names):
        table = series[3 * place].GetTableNode()
        dose = np.array([float(v) for v in column(table, "Dose (Gy)")])
        volume = np.array([float(v) for v in column(table, "PTV")])
        dvh = comparison.dvhs[name].dvhs["PTV"]
        np.testing.assert_allclose(volume, [dvh.volume_percent_at_dose(float(np.float32(d))) for d in dose], atol=1e-4)
        hierarchy = hierarchyNode(logic.scene)
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(table)) == hierarchy.GetItemByDataNode(chart)
    # nothing is left out without a word
    assert set(comparison.dvhs[names[0]].left_out) == {"Não contornado", "Couch"}
    table = comparison.tableNode
    titles = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
    assert titles == [
        "Structure",
        "Metric",
        "Goal",
        names[0],
        f"{names[0]}: result",
        names[1],
        f"{names[1]}: result",
        "Best",
        "Note",
    ]
    assert column(table, "Structure") == ["PTV", "Rectum <1>", "Couch"]
    assert column(table, f"{names[0]}: result") == ["passed", "passed", "not asked"]
    assert column(table, f"{names[1]}: result") == ["passed", "not asked", "not evaluated"]
    assert "lies outside the dose grid" in column(table, "Note")[2]
    assert any("Couch" in note for note in statisticsOf(table)["notes"][names[0]])
    assert float(column(table, names[0])[0].split()[0]) == pytest.approx(
        comparison.dvhs[names[0]].dvhs["PTV"].dose_at_volume_percent(95.0), rel=1e-4
    )
    count = logic.scene.GetNumberOfNodes()
    assert logic.comparePlans([planNode, otherNode]).tableNode is table
    assert logic.scene.GetNumberOfNodes() == count
    only = logic.comparePlans([planNode, otherNode], ["PTV"], ["PTV Dmean >= 1 Gy"])
    assert only.chartNode.GetNumberOfPlotSeriesNodes() == 2
    assert only.goals.counts() == {name: {"passed": 1} for name in names}


def test_a_structure_partly_outside_the_dose_is_named(logic, planNode, otherNode, case):
    from DoseEngineLib.geometry import Grid
    from DoseEngineLib.mrml.volumes import setVolumeFromArray

    ptv = case.structure("PTV")
    for node in (planNode, otherNode):
        doseNode = dose_of(node)
        whole = grid(doseNode)
        # the lower slices of the dose, up to the middle of the target
        slices = round(whole.ras_to_index(ptv.centroid_RAS_mm())[2])
        setVolumeFromArray(doseNode, array(doseNode)[:slices], Grid((slices, *whole.shape[1:]), whole.affine))
    comparison = logic.comparePlans([planNode, otherNode])
    ofPlan = comparison.dvhs[planNode.GetName()]
    covered = ofPlan.dvhs["PTV"].covered_fraction
    assert 0.3 < covered < 0.7
    assert ofPlan.notes["PTV"].startswith(f"Only {100 * covered:.1f} % of the structure lie inside the dose grid")
    row = column(comparison.tableNode, "Structure").index("PTV")
    assert column(comparison.tableNode, f"{planNode.GetName()}: result")[row] == "not evaluated"
    assert "lie inside the dose grid" in column(comparison.tableNode, "Note")[row]
    results = logic.evaluateRadiobiology(planNode, tcpSets={"PTV": "nsclc_logistic"}, samples=20)
    (tcp,) = [r for r in results if r.quantity == "TCP"]
    assert tcp.probability is None
    assert "lie inside the dose grid" in tcp.note


def test_radiobiology_table(logic, planNode):
    from RTPlanningLib.radiobiology.parameters import load_parameters
    from RTPlanningLib.radiobiology.radiobiology_file import radiobiology_csv, radiobiology_json

    chosen = next(name for name, entry in load_parameters().ntcp.items() if entry.tissue.lower().startswith("rectum"))
    results = logic.evaluateRadiobiology(
        planNode, ntcpSets={"Rectum <1>": chosen}, tcpSets={"PTV": "nsclc_logistic"}, samples=50
    )
    table = logic.scene.GetFirstNodeByName(f"{planNode.GetName()}_Radiobiology")
    by_structure = {r.structure: r for r in results}
    # neither the body nor what supports it is a tissue; the empty organ is said to be empty
    assert set(by_structure) == {"PTV", "Rectum <1>", "Não contornado"}
    rectum = by_structure["Rectum <1>"]
    assert rectum.set_id == chosen
    assert 0.0 <= rectum.low <= rectum.probability <= rectum.high <= 1.0
    row = column(table, "Structure").index("Rectum <1>")
    assert column(table, "Probability (%)")[row] == f"{100 * rectum.probability:.3g}"
    assert " to " in column(table, "95 % band (%)")[row]
    assert by_structure["PTV"].quantity == "TCP"
    assert "is empty" in by_structure["Não contornado"].note
    lines = list(csv.DictReader(StringIO(radiobiology_csv(results))))
    assert [line["structure"] for line in lines] == [r.structure for r in results]
    assert float(lines[results.index(rectum)]["probability"]) == pytest.approx(rectum.probability, rel=1e-5)
    stored = json.loads(radiobiology_json(results))["results"]
    assert stored[results.index(rectum)]["probability"] == rectum.probability
    with pytest.raises(EvaluationError, match="no DVH of Couch"):
        logic.evaluateRadiobiology(planNode, tcpSets={"Couch": "nsclc_logistic"}, samples=50)


def test_dvhs_of_plans_as_files(logic, planNode, otherNode):
    from RTPlanningLib.evaluation.dvh_comparison_file import dvh_comparison_csv, dvh_comparison_json

    comparison = logic.comparePlans([planNode, otherNode])
    dvhs = {plan: dict(ofPlan.dvhs) for plan, ofPlan in comparison.dvhs.items()}
    rows = list(csv.reader(StringIO(dvh_comparison_csv(dvhs, 1.0))))
    assert rows[0][0] == "Dose (Gy)"
    assert len(rows[0]) == 7
    place = 1 + list(dvhs[planNode.GetName()]).index("PTV")
    assert rows[0][place].startswith(f"{planNode.GetName()}: PTV (% of ")
    ptv = dvhs[planNode.GetName()]["PTV"]
    assert [float(row[place]) for row in rows[1:]] == pytest.approx(
        [ptv.volume_percent_at_dose(float(row[0])) for row in rows[1:]], abs=1e-5
    )
    notes = {plan: ofPlan.notes for plan, ofPlan in comparison.dvhs.items()}
    content = json.loads(dvh_comparison_json(dvhs, notes, 1.0))
    stored = content["plans"][planNode.GetName()]
    assert stored["structures"]["PTV"]["mean_Gy"] == ptv.mean_Gy
    assert "outside the dose grid" in stored["notes"]["Couch"]
    assert len(content["dose_Gy"]) == len(stored["structures"]["PTV"]["volume_percent"])


def test_comparison_as_files_and_pictures(logic, planNode, otherNode):
    comparison = logic.comparePlans([planNode, otherNode])
    files = comparison.files()
    assert list(files) == ["plans_dvh.csv", "plans_dvh.json", "plans_goals.csv", "plans_goals.json"]
    assert json.loads(files["plans_goals.json"])["plans"] == [planNode.GetName(), otherNode.GetName()]
    assert "PTV,D95%" in files["plans_goals.csv"]
    gamma, _ = logic.createGamma(planNode, otherNode, GammaCriterion(1.0, 1.0, threshold_percent=30.0))
    difference, _ = logic.createDoseDifference(planNode, otherNode, "percent", normalization=60, threshold_Gy=5.0)
    bars = [logic.drawComparison(node).axes[-1] for node in (gamma, difference)]
    assert [bar.get_ylabel() for bar in bars] == ["Gamma 1 %, 1 mm, global", "Dose difference (% of 60 Gy)"]
    assert bars[1].get_ylim()[1] == pytest.approx(difference.GetDisplayNode().GetWindowLevelMax())
    with pytest.raises(EvaluationError, match="neither a dose difference nor gamma"):
        logic.drawComparison(dose_of(planNode))


def test_everything_survives_saving(logic, planNode, otherNode, tmp_path):
    from RTPlanningLib.evaluation_logic import DosePart, EvaluationLogic
    from RTPlanningLib.headless import HeadlessSlicer
    from RTPlanningLib.mrml.comparison_volume import comparisonValues
    from RTPlanningLib.mrml.derived_nodes import inputsOf, statisticsOf
    from RTPlanningLib.mrml.scene_file import loadScene, saveScene

    eqd2 = logic.createEqd2(planNode, {"PTV": 10.0}, elsewhere_Gy=3.0)
    gamma, result = logic.createGamma(planNode, otherNode, GammaCriterion(1.0, 1.0, threshold_percent=30.0))
    difference, _ = logic.createDoseDifference(planNode, otherNode, threshold_Gy=5.0, limit=2.0)
    logic.createPlanSum([DosePart(planNode), DosePart(otherNode)], "first")
    chart = logic.comparePlans([planNode, otherNode]).chartNode
    names = {key: node.GetName() for key, node in (("gamma", gamma), ("difference", difference), ("eqd2", eqd2))}
    chartName, values = chart.GetName(), {key: array(logic.scene.GetFirstNodeByName(n)) for key, n in names.items()}
    plan, other = planNode.GetName(), otherNode.GetName()
    saveScene(logic.scene, tmp_path / "evaluated.mrb")
    with HeadlessSlicer() as again:
        loadScene(again.scene, tmp_path / "evaluated.mrb")
        for key, name in names.items():
            node = again.scene.GetFirstNodeByName(name)
            np.testing.assert_allclose(array(node), values[key], atol=1e-5)
        node = again.scene.GetFirstNodeByName(names["gamma"])
        assert statisticsOf(node)["pass_rate_percent"] == pytest.approx(result.pass_rate_percent)
        assert [n.GetName() for n in inputsOf(node)] == [plan, other]
        gamma_values, _ = comparisonValues(node)
        np.testing.assert_array_equal(np.isnan(gamma_values), np.isnan(result.gamma))
        colors = shown_colors(node).astype(int)
        judged = ~np.isnan(gamma_values)
        np.testing.assert_array_equal((colors[..., 0] > colors[..., 1])[judged], gamma_values[judged] > 1.0)
        display = again.scene.GetFirstNodeByName(names["difference"]).GetDisplayNode()
        assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (-2.0, 2.0)
        assert again.scene.GetFirstNodeByName(chartName).GetNumberOfPlotSeriesNodes() == 6
        # an equal request finds what was made before saving
        reopened = EvaluationLogic(again.scene)
        assert reopened.isCurrent(node)
        planAgain = again.scene.GetFirstNodeByName(plan)
        assert reopened.createEqd2(planAgain, {"PTV": 10.0}, elsewhere_Gy=3.0).GetName() == names["eqd2"]
        assert float(array(dose_of(planAgain)).max()) <= PEAK_GY


# Checks


def test_checks_are_a_table_that_is_made_again(scene, logic, planning, planNode, plan):
    table, results = logic.checkPlan(planNode)
    assert table.GetName() == f"{planNode.GetName()}_Checks"
    assert table.GetNumberOfRows() == len(results) == 13
    found = {result.name: result for result in results}
    assert found["Density overrides"].verdict in ("passed", "warning")
    # with a dose every check has an answer
    assert found["Prescription reached"].verdict != "not applicable"
    columns = [table.GetTable().GetColumnName(n) for n in range(3)]
    assert columns == ["Check", "Result", "Text"]
    assert table.GetCellText(0, 0) == results[0].name
    far = tuple(replace(beam, isocenter_RAS_mm=(900.0, 0.0, 0.0)) for beam in plan.beams)
    planning.updatePlan(planNode, replace(plan, beams=far))
    again, changed = logic.checkPlan(planNode)
    assert again is table
    verdicts = {result.name: result.verdict for result in changed}
    assert verdicts["Isocentre in the target"] == "failed"
    # the dose is that of the plan as it was
    assert verdicts["Prescription reached"] == "not applicable"


def test_a_plan_of_another_scene_is_not_checked(logic):
    with pytest.raises(EvaluationError, match="no dose to evaluate"):
        logic.checkPlan(None)
