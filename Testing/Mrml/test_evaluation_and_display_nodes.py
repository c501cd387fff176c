"""DVH tables and chart, goals, isodoses, beam models and the 3D view."""

from dataclasses import replace

import numpy as np
import pytest
from missing import missing
from sphere_engine import PEAK_GY, SLOPE_GY_PER_MM

from DoseEngineLib.errors import EvaluationError, PlanError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Aperture, Beam, ControlPoint
from RTPlanningLib.headless import load_scene, save_scene


@pytest.fixture
def logic(scene):
    """The planning logic on a fresh scene."""
    from RTPlanningLib.logic import RTPlanningLogic

    return RTPlanningLogic(scene)


@pytest.fixture
def planNode(logic, case, plan):
    """A plan node of the oblique case with its dose."""
    node = logic.createPlan(plan, *logic.loadCase(case), case.goals)
    logic.calculateDose(node)
    return node


def _column(table, name):
    column = table.GetTable().GetColumnByName(name)
    return [column.GetVariantValue(n).ToString() for n in range(column.GetNumberOfValues())]


def test_dvh_tables_metrics_and_chart(logic, planNode, case):
    from DoseEngineLib.mrml.plan_node import DOSE, SEGMENTATION, referencedNodes
    from DoseEngineLib.mrml.segmentations import segmentIDOf
    from DoseEngineLib.mrml.subject_hierarchy import hierarchyNode, studyOf
    from RTPlanningLib.mrml.dvh_nodes import DVH_TABLE

    dvhs = logic.calculateDvh(planNode)
    # the empty structure, and the couch outside the body's dose grid, have no DVH
    assert list(dvhs) == ["External", "PTV", "Rectum <1>"]
    doseNode, segmentation = planNode.GetNodeReference(DOSE), planNode.GetNodeReference(SEGMENTATION)
    metrics, chart = logic.dvhMetricsTable(planNode), logic.dvhChart(planNode)
    tables = referencedNodes(planNode, DVH_TABLE)
    hierarchy = hierarchyNode(logic.scene)
    for row, (name, table) in enumerate(zip(dvhs, tables, strict=True)):
        segment_id = segmentIDOf(segmentation, name)
        assert table.GetName() == f"{segment_id}_DvhTable"
        assert [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())] == ["Dose", "Volume"]
        assert table.GetAttribute("DoseVolumeHistogram.DVH") == "1"
        assert table.GetAttribute("DoseVolumeHistogram.SegmentID") == segment_id
        assert table.GetAttribute("DoseVolumeHistogram.TableRow") == str(row)
        assert float(table.GetAttribute("DoseVolumeHistogram.Volume (cc)")) == pytest.approx(
            case.structure(name).volume_cm3, abs=1e-5
        )
        assert table.GetNodeReference("doseVolumeRef") is doseNode
        assert table.GetNodeReference("segmentationRef") is segmentation
        assert table.GetNodeReference("dvhMetricsTableRef") is metrics
        # how SlicerRT finds them; a role with < in it would make the scene file unreadable
        role = f"DoseVolumeHistogram.{doseNode.GetID()}_{segmentation.GetID()}_{name}"
        assert metrics.GetNodeReference(role) is (None if "<" in name else table)
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(table)) == hierarchy.GetItemByDataNode(metrics)
        dose = [float(text) for text in _column(table, "Dose")]
        volume = [float(text) for text in _column(table, "Volume")]
        assert (dose[0], volume[0], volume[-1]) == (0.0, 100.0, 0.0)
        assert all(b <= a for a, b in zip(volume, volume[1:]))
        series = chart.GetNthPlotSeriesNode(row)
        assert series.GetTableNode() is table
        assert chart.GetNthNodeReference("DoseVolumeHistogram.dvhPlotSeries", row) is series
        assert (series.GetName(), series.GetXColumnName(), series.GetYColumnName()) == (name, "Dose", "Volume")
        assert series.GetColor() == pytest.approx(case.structure(name).color, abs=1e-6)
    assert chart.GetNumberOfPlotSeriesNodes() == 3
    assert chart.GetXAxisTitle() == "Dose [Gy]"
    names = [metrics.GetColumnName(n) for n in range(metrics.GetNumberOfColumns())]
    assert names[:7] == [
        "Show",
        "Structure",
        "Volume name",
        "Volume (cc)",
        "Mean dose (GY)",
        "Min dose (GY)",
        "Max dose (GY)",
    ]
    assert names[7:] == ["D98% (GY)", "D95% (GY)", "D50% (GY)", "D2% (GY)"]
    assert _column(metrics, "Structure") == list(dvhs)
    assert [float(text) for text in _column(metrics, "D95% (GY)")] == pytest.approx(
        [dvh.dose_at_volume_percent(95.0) for dvh in dvhs.values()], rel=1e-5
    )
    assert studyOf(metrics) == studyOf(chart) == studyOf(doseNode)


def test_dvh_again_replaces_the_former_one(logic, planNode):
    logic.calculateDvh(planNode)
    count = logic.scene.GetNumberOfNodes()
    logic.calculateDvh(planNode)
    assert logic.scene.GetNumberOfNodes() == count
    assert list(logic.calculateDvh(planNode, ["PTV"])) == ["PTV"]
    # two tables, two series and the notes less
    assert logic.scene.GetNumberOfNodes() == count - 5
    with pytest.raises(EvaluationError, match="no structure Heart"):
        logic.calculateDvh(planNode, ["Heart"])
    with pytest.raises(EvaluationError, match="is empty"):
        logic.calculateDvh(planNode, ["Não contornado"])


def test_what_has_no_dvh_is_said(logic, planNode):
    from DoseEngineLib.mrml.subject_hierarchy import hierarchyNode
    from RTPlanningLib.mrml.dvh_nodes import NOTES_TABLE

    dvhs = logic.calculateDvh(planNode)
    notes = logic.dvhNotes(planNode)
    assert {"Couch", "Não contornado"} <= set(notes)
    assert "lies outside the dose grid" in notes["Couch"]
    assert "is empty" in notes["Não contornado"]
    partly = [name for name, dvh in dvhs.items() if dvh.covered_fraction < 1.0]
    assert set(notes) == {"Couch", "Não contornado", *partly}
    table = planNode.GetNodeReference(NOTES_TABLE)
    assert _column(table, "Structure") == list(notes)
    hierarchy = hierarchyNode(logic.scene)
    parent = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(table))
    assert parent == hierarchy.GetItemByDataNode(logic.dvhMetricsTable(planNode))
    for known in (dvhs, None):
        (result,) = logic.evaluateGoals(planNode, ["Couch Dmean <= 5 Gy"], known)
        assert result.passed is None
        assert "lies outside the dose grid" in result.note
    logic.calculateDvh(planNode, ["PTV"])
    assert logic.dvhNotes(planNode) == {}


def test_dvh_with_volume_metrics(logic, planNode):
    from DoseEngineLib.mrml.plan_node import DOSE, SEGMENTATION
    from RTPlanningLib.mrml.dvh_nodes import createDvhNodes

    dvhs = logic.calculateDvh(planNode)
    metrics, _ = createDvhNodes(
        planNode, planNode.GetNodeReference(DOSE), planNode.GetNodeReference(SEGMENTATION), dvhs, (), (20.0,)
    )
    names = [metrics.GetColumnName(n) for n in range(metrics.GetNumberOfColumns())]
    assert names[7:] == ["V20 (cc)", "V20 (%)"]
    assert [float(text) for text in _column(metrics, "V20 (cc)")] == pytest.approx(
        [dvh.volume_cm3_at_dose(20.0) for dvh in dvhs.values()], rel=1e-5
    )


def test_goals_are_judged_and_listed(logic, planNode):
    from RTPlanningLib.mrml.goals_node import GOALS_TABLE

    results = logic.evaluateGoals(planNode)
    assert [result.goal.structure for result in results] == ["PTV", "Rectum <1>"]
    assert all(result.passed for result in results)
    table = planNode.GetNodeReference(GOALS_TABLE)
    assert _column(table, "Result") == ["passed", "passed"]
    (result,) = logic.evaluateGoals(planNode, ["PTV D95% >= 59 Gy"])
    assert not result.passed
    assert planNode.GetNodeReference(GOALS_TABLE) is table
    assert _column(table, "Result") == ["failed"]
    (result,) = logic.evaluateGoals(planNode, ["PTV D95% >= 59 Gy (1 Gy)"])
    assert result.acceptable
    assert _column(table, "Result") == ["acceptable"]
    (result,) = logic.evaluateGoals(planNode, ["PTV CI(RTOG, 5Gy) > 0.1"])
    assert result.passed, result.note
    logic.setGoals(planNode, ["PTV D50% > 1 Gy"])
    with pytest.raises(EvaluationError):
        logic.setGoals(planNode, ["nonsense"])
    assert len(logic.evaluateGoals(planNode)) == 1


def test_a_dose_of_another_plan_is_not_evaluated(logic, planNode, plan):
    logic.updatePlan(planNode, replace(plan, beams=plan.beams[:1]))
    for evaluate in (logic.calculateDvh, logic.evaluateGoals):
        with pytest.raises(PlanError, match="calculate the dose again"):
            evaluate(planNode)
    logic.updatePlan(planNode, plan)
    assert logic.evaluateGoals(planNode)


def test_isodose_model_is_what_slicerrt_reads(logic, planNode, plan, tmp_path):
    from vtk.util.numpy_support import vtk_to_numpy

    from DoseEngineLib.mrml.plan_node import DOSE
    from DoseEngineLib.mrml.subject_hierarchy import hierarchyNode

    doseNode = planNode.GetNodeReference(DOSE)
    model = logic.createIsodoses(doseNode, levels_percent=(50.0, 75.0), reference_Gy=60.0)
    loaded = load_scene(save_scene(logic.scene, tmp_path / "scene.mrb"))
    for scene in (logic.scene, loaded):
        model = scene.GetFirstNodeByName(f"{doseNode.GetName()}_IsodoseLevels")
        assert model.GetAttribute("DicomRtImport.IsodoseModel") == "1"
        table = scene.GetFirstNodeByName(f"{doseNode.GetName()}_IsodoseColorTable")
        assert [table.GetColorName(n) for n in range(table.GetNumberOfColors())] == ["30", "45"]
        assert model.GetDisplayNode().GetColorNode() is table
        hierarchy = hierarchyNode(scene)
        parent = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(model))
        assert hierarchy.GetItemName(parent) == doseNode.GetName()
        data = model.GetPolyData()
        levels = vtk_to_numpy(data.GetPointData().GetArray("isolevels"))
        assert set(np.unique(levels)) == {30.0, 45.0}
        radius = np.linalg.norm(vtk_to_numpy(data.GetPoints().GetData()) - plan.beams[0].isocenter_RAS_mm, axis=1)
        inside = radius[levels == 45.0]
        np.testing.assert_allclose(inside, (PEAK_GY - 45.0) / SLOPE_GY_PER_MM, atol=0.2)
    count = logic.scene.GetNumberOfNodes()
    again = logic.createIsodoses(doseNode, levels_Gy=[20.0])
    assert logic.scene.GetNumberOfNodes() == count
    assert again.GetPolyData().GetNumberOfPoints() > 0


def test_isodose_levels_must_make_sense(logic, planNode):
    from DoseEngineLib.mrml.plan_node import DOSE

    doseNode = planNode.GetNodeReference(DOSE)
    with pytest.raises(EvaluationError, match="reference dose"):
        logic.createIsodoses(doseNode, levels_percent=[50.0])
    with pytest.raises(EvaluationError, match="not both"):
        logic.createIsodoses(doseNode, [1.0], levels_percent=[50.0])
    with pytest.raises(EvaluationError, match="positive"):
        logic.createIsodoses(doseNode, [-1.0])
    with pytest.raises(PlanError, match="calculate the dose first"):
        logic.createIsodoses(None)


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("spacing_mm", [1.5, 2.5])
def test_isodose_surface_of_a_sphere(left_handed, spacing_mm):
    from oblique_grid import directions
    from vtk.util.numpy_support import vtk_to_numpy

    from RTPlanningLib.display.isodose_surface import isodose_surface

    grid = Grid.from_spacing((40, 44, 48), spacing_mm, (10.0, -20.0, 30.0), directions(left_handed=left_handed))
    centre = grid.index_to_ras((23.3, 21.7, 19.1))
    distance = np.linalg.norm(grid.centres_RAS_mm() - centre, axis=-1)
    surface = isodose_surface(np.maximum(60.0 - distance, 0.0), grid, [35.0, 45.0, 500.0])
    points = vtk_to_numpy(surface.GetPoints().GetData())
    normals = vtk_to_numpy(surface.GetPointData().GetNormals())
    levels = vtk_to_numpy(surface.GetPointData().GetArray("isolevels"))
    for level in (35.0, 45.0):
        radius = np.linalg.norm(points[levels == level] - centre, axis=1)
        np.testing.assert_allclose(radius, 60.0 - level, atol=0.2)
    outward = (points - centre) / np.linalg.norm(points - centre, axis=1)[:, None]
    assert ((outward * normals).sum(axis=1) > 0.8).all()
    assert not (levels == 500.0).any()


def test_isodose_surface_refuses_bad_input():
    from RTPlanningLib.display.isodose_surface import isodose_surface

    grid = Grid.from_spacing((3, 3, 3), 1.0)
    for dose, levels in ((np.zeros((3, 3, 3)), []), (np.zeros((2, 3, 3)), [1.0]), (np.full((3, 3, 3), np.nan), [1.0])):
        with pytest.raises(EvaluationError):
            isodose_surface(dose, grid, levels)
    assert isodose_surface(np.zeros((3, 3, 3)), grid, [1.0]).GetNumberOfPoints() == 0


# Beams


def test_beam_models_reach_from_the_source_through_the_aperture_beyond_the_patient(logic, planNode, plan, case):
    import slicer.util
    from vtk.util.numpy_support import vtk_to_numpy

    from DoseEngineLib.machine import load_machine

    models = logic.createBeamModels(planNode)
    sad = load_machine(plan.beams[0].machine).sad_mm
    for beam, model in zip(plan.beams, models, strict=True):
        frame = beam.frame(plan.patient_position)
        points = vtk_to_numpy(model.GetPolyData().GetPoints().GetData()).astype(float)
        matrix = slicer.util.arrayFromTransformMatrix(model.GetParentTransformNode())
        world = points @ matrix[:3, :3].T + matrix[:3, 3]
        np.testing.assert_allclose(world[0], frame.source_RAS_mm(sad), atol=1e-3)
        projected = frame.project(world[1:], sad)
        assert projected.min(axis=0) == pytest.approx((-20.0, -50.0), abs=1e-3)
        assert projected.max(axis=0) == pytest.approx((30.0, 50.0), abs=1e-3)
        assert points[:, 2].min() < frame.to_beam(case.grid.corners_RAS_mm)[:, 2].min()
    count = logic.scene.GetNumberOfNodes()
    assert logic.createBeamModels(planNode) == models
    assert logic.scene.GetNumberOfNodes() == count


def test_aperture_outlines():
    from RTPlanningLib.display.beam_model import aperture_outline

    (square,) = aperture_outline(Aperture((-10.0, 20.0), (-5.0, 5.0)))
    assert {tuple(p) for p in square} == {(-10.0, -5.0), (20.0, -5.0), (20.0, 5.0), (-10.0, 5.0)}
    # leaves of 10 mm: the lower pair outside the jaws, one closed, two that meet, one apart from them
    boundaries = tuple(float(y) for y in range(-30, 31, 10))
    leaves = ((-9.0, 9.0), (0.0, 0.0), (-5.0, 5.0), (0.0, 40.0), (-40.0, -6.0), (-6.0, 6.0))
    outlines = aperture_outline(Aperture((-30.0, 30.0), (-20.0, 25.0), leaves), boundaries)
    areas = []
    for outline in outlines:
        x, y = outline.T
        areas.append(0.5 * float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))
    assert areas == pytest.approx([10 * 10 + 30 * 10, 24 * 10, 12 * 5])
    assert aperture_outline(Aperture((0.0, 0.0), (-5.0, 5.0))) == []
    with pytest.raises(PlanError, match="no MLC"):
        aperture_outline(Aperture(leaf_positions_mm=leaves))
    with pytest.raises(PlanError, match="6 leaf pairs, the machine 2"):
        aperture_outline(Aperture(leaf_positions_mm=leaves), (-1.0, 0.0, 1.0))


def test_a_dynamic_beam_shows_its_envelope_and_a_closed_one_is_refused():
    from RTPlanningLib.display.beam_model import beam_model, beam_outline

    def point(left, right, weight):
        return ControlPoint(
            aperture=Aperture((-50, 50), (-10, 10), ((left, right), (left, right))), cumulative_meterset_weight=weight
        )

    boundaries = (-10.0, 0.0, 10.0)
    sliding = Beam("Sliding", (point(-40, -40, 0.0), point(-30, -10, 0.5), point(20, 35, 1.0)), (0.0, 0.0, 0.0))
    (outline,) = beam_outline(sliding, boundaries)
    assert (outline[:, 0].min(), outline[:, 0].max()) == (-30.0, 35.0)
    closed = Beam("Closed", (point(0, 0, 0.0), point(0, 0, 1.0)), (0.0, 0.0, 0.0))
    with pytest.raises(PlanError, match="Beam Closed is closed"):
        beam_model(closed, 1000.0, 100.0, boundaries)


# The 3D view


@pytest.fixture
def rendering():
    """The 3D view, where this machine can draw."""
    from RTPlanningLib.display import view3d

    try:
        view3d.offscreenWindow()
    except view3d.RenderingError as error:
        missing(str(error))
    return view3d


def test_3d_view_shows_the_plan_and_repeats(logic, planNode, rendering, tmp_path):
    from DoseEngineLib.mrml.plan_node import DOSE

    nodes = logic.scene.GetNumberOfNodes()
    plain = rendering.renderPlan(planNode, (320, 240))
    assert plain.shape == (240, 320, 3)
    assert plain.dtype == np.uint8
    assert (plain[:5, :5] == 255).all()
    ptv = (plain[..., 0] > 120) & (plain[..., 1] < 110) & (plain[..., 2] < 110)
    assert np.count_nonzero(ptv) > 50
    # the PTV is at the middle of the patient, so at that of the picture
    row, column = np.argwhere(ptv).mean(axis=0)
    assert abs(row - 120) < 25
    assert abs(column - 160) < 25
    assert logic.scene.GetNumberOfNodes() == nodes
    logic.createBeamModels(planNode)
    with_beams = rendering.renderPlan(planNode, (320, 240))
    assert np.count_nonzero((with_beams != plain).any(axis=2)) > 1000
    logic.createIsodoses(planNode.GetNodeReference(DOSE), [30.0])
    with_isodoses = rendering.renderPlan(planNode, (320, 240))
    assert (with_isodoses != with_beams).any()
    np.testing.assert_array_equal(rendering.renderPlan(planNode, (320, 240)), with_isodoses)
    first = rendering.writePng(with_isodoses, tmp_path / "a.png").read_bytes()
    assert first == rendering.writePng(with_isodoses, tmp_path / "b.png").read_bytes()
    assert first[:4] == b"\x89PNG"
    with pytest.raises(rendering.RenderingError, match="view direction"):
        rendering.renderPlan(planNode, view_direction_RAS=(0, 0, 0))


def test_3d_view_without_opengl_is_refused(monkeypatch):
    import vtk

    from RTPlanningLib.display import view3d

    class LastResort:
        def GetClassName(self):
            return "vtkOSOpenGLRenderWindow"

    monkeypatch.setattr(vtk, "vtkRenderWindow", LastResort)
    monkeypatch.setattr(view3d, "_OSMESA", ("libno-such-library.so",))
    with pytest.raises(view3d.RenderingError, match="libegl1"):
        view3d.offscreenWindow()
