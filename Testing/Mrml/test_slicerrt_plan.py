"""Plans to SlicerRT's nodes and back: exactly, and with what was edited there. SlicerRT itself is stood in for."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import slicer
import slicerrt_standins as standins
import vtk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from DoseEngineLib.errors import MachineError, PlanError, PlanningError, SchemaError
from DoseEngineLib.iec61217 import PATIENT_POSITIONS, beam_frame
from DoseEngineLib.machine import load_machine
from DoseEngineLib.mrml.plan_node import goalsOf
from DoseEngineLib.mrml.segmentations import segmentIDOf
from DoseEngineLib.mrml.subject_hierarchy import hierarchyNode
from DoseEngineLib.plan import Aperture, Beam, ControlPoint, LeafModel, Plan, Prescription
from RTPlanningLib.logic import RTPlanningLogic
from RTPlanningLib.mrml.slicerrt_conversion import CONVERTED_PLAN

MACHINES = ("generic_6mv", "generic_15mv")
SIDES = (-40.0, -20.0, -7.5, 0.1, 20.0, 40.0)
ISOCENTER = (-1.25, 30.1, 207.3)


@pytest.fixture
def slicerrt(monkeypatch):
    """SlicerRT's classes where Slicer would have them."""
    for name in ("vtkMRMLRTPlanNode", "vtkMRMLRTBeamNode", "vtkMRMLDoseVolumeHistogramNode"):
        monkeypatch.setattr(slicer, name, getattr(standins, name), raising=False)


@pytest.fixture
def loaded(scene, case):
    """The logic, with a CT and structures in its scene."""
    logic = RTPlanningLogic(scene)
    return logic, *logic.loadCase(case)


def content(scene) -> tuple[list[str], int]:
    nodes = sorted(scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes()))
    return nodes, hierarchyNode(scene).GetNumberOfItems()


def beam_nodes(rtPlanNode) -> list:
    found = vtk.vtkCollection()
    rtPlanNode.GetBeams(found)
    nodes = [found.GetItemAsObject(n) for n in range(found.GetNumberOfItems())]
    return sorted(nodes, key=lambda node: node.GetBeamNumber())


def leaves(n: int, shift: float = 0.0):
    return tuple((-10.0 - i + shift, 5.3 + i + shift) for i in range(n))


def make_plan(**changes) -> Plan:
    arc = tuple(
        ControlPoint(181.0 + 40 * n, 30.0, 5.0, Aperture((-40, 35), (-30, 32.5), leaves(5, n)), n / 2) for n in range(3)
    )
    beams = (
        Beam("Arc", arc, ISOCENTER, meterset_MU=210.7, leaf_boundaries_mm=SIDES, leaf_model=LeafModel(0.01, 0.7, 0.3)),
        Beam.open_field("Side", gantry_deg=270.0, isocenter_RAS_mm=ISOCENTER, machine=MACHINES[1], meterset_MU=60.25),
    )
    plan = Plan("Two beams", beams, Prescription(50.1, 25, "PTV", "none", (1, 2, 3)), "HFS", engine_options={"a": [1]})
    return replace(plan, **changes)


def there(loaded, plan, **kwargs):
    logic, volumeNode, segmentationNode = loaded
    return logic.toSlicerRT(logic.createPlan(plan, volumeNode, segmentationNode, **kwargs))


coordinate = st.floats(-300, 300, allow_nan=False)
opening = st.tuples(st.floats(-100, 100), st.floats(0, 90)).map(lambda p: (p[0], p[0] + p[1]))
angle = st.floats(-360, 720)


@st.composite
def random_beams(draw, name, isocenter, has_MU):
    sides = draw(st.none() | st.just(SIDES) | st.just(tuple(load_machine(MACHINES[0]).mlc.boundaries_mm)))
    pairs = len(sides or load_machine(MACHINES[0]).mlc.boundaries_mm) - 1
    with_leaves, model = draw(st.booleans()), draw(st.none() | st.just(LeafModel(0.013, 0.61, 0.2)))
    count = draw(st.sampled_from((2, 2, 4)))
    points = []
    for n in range(count):
        if n and draw(st.booleans()):
            points.append(replace(points[-1], cumulative_meterset_weight=n / (count - 1)))
            continue
        positions = (draw(opening),) * pairs if with_leaves else None
        aperture = Aperture(draw(opening), draw(opening), positions)
        points.append(ControlPoint(draw(angle), draw(angle), draw(angle), aperture, n / (count - 1)))
    amount = draw(st.floats(1e-3, 1e4))
    return Beam(name, tuple(points), isocenter, MACHINES[0], amount if has_MU else None, amount, sides, model)


@st.composite
def random_plans(draw):
    isocenter, has_MU = draw(st.tuples(coordinate, coordinate, coordinate)), draw(st.booleans())
    names = draw(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8),
            min_size=1,
            max_size=3,
            unique=True,
        )
    )
    beams = tuple(draw(random_beams(name, isocenter, has_MU)) for name in names)
    prescription = Prescription(
        draw(st.floats(1e-3, 100)),
        draw(st.integers(1, 40)),
        draw(st.sampled_from(("PTV", "Rectum <1>", "not there"))),
        draw(st.sampled_from(("point", "mean", "D95"))),
        draw(st.none() | st.tuples(coordinate, coordinate, coordinate)),
    )
    if has_MU and draw(st.booleans()):
        prescription = None
    position = draw(st.sampled_from(PATIENT_POSITIONS))
    return Plan("Random é", beams, prescription, position, dose_grid_spacing_mm=draw(st.floats(0.5, 20)))


def test_fifty_random_plans_there_and_back_exactly(loaded, slicerrt):
    logic = loaded[0]
    tried = []

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(random_plans())
    def there_and_back(plan):
        tried.append(plan)
        rtPlanNode, _ = there(loaded, plan)
        back, notes = logic.fromSlicerRT(rtPlanNode)
        assert logic.planFromNode(back) == plan
        assert logic.planFromNode(back).hash() == plan.hash()
        assert notes == ()
        # for a scene that keeps six digits
        round_values(rtPlanNode)
        back, notes = logic.fromSlicerRT(rtPlanNode)
        assert logic.planFromNode(back) == plan
        assert notes == ()

    there_and_back()
    assert len(tried) >= 50


def round_values(rtPlanNode) -> None:
    """As a scene or a table on disk may keep them."""
    rtPlanNode.SetRxDose(float(f"{rtPlanNode.GetRxDose():.6g}"))
    rtPlanNode.SetDoseGridSpacing(*(float(f"{x:.6g}") for x in rtPlanNode.GetDoseGridSpacing()))
    for node in beam_nodes(rtPlanNode):
        for field in node._fields:
            getattr(node, f"Set{field}")(float(f"{getattr(node, f'Get{field}')():.6g}"))
        table = node.GetMultiLeafCollimatorTableNode()
        for n in range(3 if table else 0):
            column = table.GetTable().GetColumn(n)
            for row in range(column.GetNumberOfTuples()):
                column.SetValue(row, float(f"{column.GetValue(row):.6g}"))


def test_the_nodes_hold_the_plan_as_slicerrt_reads_it(loaded, slicerrt):
    logic, volumeNode, segmentationNode = loaded
    rtPlanNode, notes = there(loaded, make_plan(), goals=["PTV D95% >= 10 Gy"])
    assert rtPlanNode.GetReferenceVolumeNode() is volumeNode
    assert rtPlanNode.GetSegmentationNode() is segmentationNode
    assert rtPlanNode.GetTargetSegmentIDs() == ("PTV",)
    assert rtPlanNode.GetRxDose() == 50.1
    assert rtPlanNode.GetDoseGridSpacing() == (2.5, 2.5, 2.5)
    markups = rtPlanNode.GetPoisMarkupsFiducialNode()
    assert markups.GetNthControlPointLabel(0) == "Isocenter"
    np.testing.assert_array_equal(markups.GetNthControlPointPosition(0), ISOCENTER)
    # SlicerRT writes over it
    assert rtPlanNode.GetNodeReference("outputTotalDoseVolumeRef") is None
    arc, side = beam_nodes(rtPlanNode)
    assert [arc.GetName(), side.GetName()] == ["Arc", "Side"]
    assert [arc.GetGantryAngle(), arc.GetCollimatorAngle(), arc.GetCouchAngle()] == [181.0, 30.0, 5.0]
    assert [arc.GetX1Jaw(), arc.GetX2Jaw(), arc.GetY1Jaw(), arc.GetY2Jaw()] == [-40.0, 35.0, -30.0, 32.5]
    assert [arc.GetSAD(), side.GetSAD()] == [1000.0, 1000.0]
    assert [arc.GetBeamWeight(), side.GetBeamWeight()] == [210.7, 60.25]
    assert side.GetMultiLeafCollimatorTableNode() is None
    tableNode = arc.GetMultiLeafCollimatorTableNode()
    assert tableNode.GetName() == "MLCX_BoundaryAndPosition"
    columns = [[tableNode.GetTable().GetColumn(n).GetValue(row) for row in range(6)] for n in range(3)]
    first, second = zip(*leaves(5))
    assert columns == [list(SIDES), [*first, 0.0], [*second, 0.0]]
    assert notes == (
        "Beam Arc: SlicerRT shows the first of its 3 control points, and engines of others would calculate a static "
        "field there; the others are kept, and RTPlanning's engines calculate them.",
        "SlicerRT has no MU; the beam weights there are the MU of a fraction.",
    )
    back, _ = logic.fromSlicerRT(rtPlanNode)
    assert goalsOf(back) == ("PTV D95% >= 10 Gy",)
    assert back.GetNodeReference("referenceVolumeRef") is volumeNode
    assert back.GetNodeReference("segmentationRef") is segmentationNode


@pytest.mark.parametrize("position", PATIENT_POSITIONS)
def test_beams_stand_where_they_stand_in_whatever_position(loaded, slicerrt, position):
    """SlicerRT's own frame is that of head-first supine (its table: G 45, C 30, T 20 from a run of its logic)."""
    np.testing.assert_allclose(
        beam_frame(45.0, 30.0, 20.0).source_RAS_mm(1000.0), (-664.46, 707.11, -241.84), rtol=0, atol=0.005
    )
    beam = Beam.open_field(gantry_deg=33.0, collimator_deg=17.0, couch_deg=341.0, isocenter_RAS_mm=ISOCENTER)
    rtPlanNode, notes = there(loaded, Plan("P", (beam,), patient_position=position))
    (node,) = beam_nodes(rtPlanNode)
    shown = beam_frame(node.GetGantryAngle(), node.GetCollimatorAngle(), node.GetCouchAngle(), ISOCENTER)
    np.testing.assert_allclose(shown.rotation, beam.frame(position).rotation, rtol=0, atol=1e-14)
    assert any(position in note for note in notes) == (position != "HFS")
    # turned there, turned here
    node.SetGantryAngle(node.GetGantryAngle() + 11.0)
    node.SetCouchAngle(node.GetCouchAngle() + 7.0)
    shown = beam_frame(node.GetGantryAngle(), node.GetCollimatorAngle(), node.GetCouchAngle(), ISOCENTER)
    (edited,) = loaded[0].planFromNode(loaded[0].fromSlicerRT(rtPlanNode)[0]).beams
    np.testing.assert_allclose(edited.frame(position).rotation, shown.rotation, rtol=0, atol=1e-14)


def set_leaf(node, row: int, column: int, value: float) -> None:
    node.GetMultiLeafCollimatorTableNode().GetTable().GetColumn(column).SetValue(row, value)


def points_with(plan: Plan, change) -> Plan:
    arc = plan.beams[0]
    points = tuple(change(n, point) for n, point in enumerate(arc.control_points))
    return replace(plan, beams=(replace(arc, control_points=points), *plan.beams[1:]))


def with_beam(plan: Plan, index: int, **changes) -> Plan:
    beams = list(plan.beams)
    beams[index] = replace(beams[index], **changes)
    return replace(plan, beams=tuple(beams))


def first_leaf(n, point):
    if n:
        return point
    moved = ((-33.0, point.aperture.leaf_positions_mm[0][1]), *point.aperture.leaf_positions_mm[1:])
    return replace(point, aperture=replace(point.aperture, leaf_positions_mm=moved))


EDITS = {
    "gantry of an arc": (
        lambda node, beams: beams[0].SetGantryAngle(190.0),
        lambda plan: points_with(plan, lambda n, p: p if n else replace(p, gantry_deg=190.0)),
        ("gantry angle 190 degrees at its first control point",),
    ),
    "collimator": (
        lambda node, beams: beams[0].SetCollimatorAngle(45.0),
        lambda plan: points_with(plan, lambda n, p: replace(p, collimator_deg=45.0)),
        ("collimator angle 45 degrees.",),
    ),
    "jaw": (
        lambda node, beams: beams[0].SetX2Jaw(20.0),
        lambda plan: points_with(plan, lambda n, p: replace(p, aperture=replace(p.aperture, jaw_x_mm=(-40.0, 20.0)))),
        ("X jaws -40, 20 mm.",),
    ),
    "leaf": (
        lambda node, beams: set_leaf(beams[0], 0, 1, -33.0),
        lambda plan: points_with(plan, first_leaf),
        ("leaf positions at its first control point",),
    ),
    "leaf boundary": (
        lambda node, beams: set_leaf(beams[0], 1, 0, -19.0),
        lambda plan: with_beam(plan, 0, leaf_boundaries_mm=(-40.0, -19.0, *SIDES[2:])),
        ("leaf boundaries",),
    ),
    "MU": (
        lambda node, beams: beams[1].SetBeamWeight(61.0),
        lambda plan: with_beam(plan, 1, meterset_MU=61.0),
        ("beam Side: 61 MU",),
    ),
    "SAD is the machine's": (
        lambda node, beams: beams[1].SetSAD(1500.0),
        lambda plan: plan,
        ("SAD 1500 mm. It is the machine's, 1000 mm, that is used",),
    ),
    "name of a beam": (
        lambda node, beams: beams[1].SetName("Left"),
        lambda plan: with_beam(plan, 1, name="Left"),
        ("beam Side: renamed Left",),
    ),
    "name": (
        lambda node, beams: node.SetName("Boost"),
        lambda plan: replace(plan, name="Boost"),
        ("Boost, was Two beams",),
    ),
    "isocentre": (
        lambda node, beams: node.SetIsocenterPosition([1.0, 2.0, 3.0]),
        lambda plan: replace(plan, beams=tuple(replace(b, isocenter_RAS_mm=(1.0, 2.0, 3.0)) for b in plan.beams)),
        ("isocentre 1, 2, 3 mm",),
    ),
    "prescription": (
        lambda node, beams: node.SetRxDose(60.0),
        lambda plan: replace(plan, prescription=replace(plan.prescription, dose_Gy=60.0)),
        ("prescribed dose 60 Gy",),
    ),
    "target": (
        lambda node, beams: node.SetTargetSegmentIDs(
            [segmentIDOf(node.GetSegmentationNode(), name) for name in ("Rectum <1>", "PTV")]
        ),
        lambda plan: replace(plan, prescription=replace(plan.prescription, target="Rectum <1>")),
        ("2 targets; the prescription is that of Rectum <1>", "target Rectum <1>"),
    ),
    "dose grid": (
        lambda node, beams: node.SetDoseGridSpacing(3.0, 3.0, 4.0),
        lambda plan: replace(plan, dose_grid_spacing_mm=3.0),
        ("spacing 3, 3, 4 mm", "the finest"),
    ),
    "beam removed": (
        lambda node, beams: node.RemoveBeam(beams[0]),
        lambda plan: replace(plan, beams=plan.beams[1:]),
        ("Removed in SlicerRT: beam Arc",),
    ),
}


@pytest.mark.parametrize("what", EDITS)
def test_what_was_edited_in_slicerrt_wins_and_is_noted(loaded, slicerrt, what):
    edit, expected, texts = EDITS[what]
    rtPlanNode, _ = there(loaded, make_plan())
    edit(rtPlanNode, beam_nodes(rtPlanNode))
    planNode, notes = loaded[0].fromSlicerRT(rtPlanNode)
    assert loaded[0].planFromNode(planNode) == expected(make_plan())
    assert len(notes) == len(texts)
    assert all(text in note for text, note in zip(texts, notes, strict=True))


def add_beam(scene, rtPlanNode, name: str, **values):
    node = standins.vtkMRMLRTBeamNode()
    node.SetName(name)
    for field, value in values.items():
        getattr(node, f"Set{field}")(value)
    rtPlanNode.AddBeam(scene.AddNode(node))
    return node


def test_a_beam_added_in_slicerrt_comes_along(loaded, slicerrt, scene):
    rtPlanNode, _ = there(loaded, make_plan())
    add_beam(scene, rtPlanNode, "New", GantryAngle=30.0, BeamWeight=12.0, SAD=1000.0)
    planNode, notes = loaded[0].fromSlicerRT(rtPlanNode)
    plan = loaded[0].planFromNode(planNode)
    assert plan.beams[:2] == make_plan().beams
    jaws = {"jaw_x_mm": (-100.0, 100.0), "jaw_y_mm": (-100.0, 100.0)}
    assert plan.beams[2] == Beam.open_field(
        "New", gantry_deg=30.0, isocenter_RAS_mm=ISOCENTER, meterset_MU=12.0, **jaws
    )
    assert notes == ("Added in SlicerRT: beam New, taken for one of generic_6mv.",)


def test_a_plan_of_slicerrt_is_read_as_it_stands(loaded, slicerrt, scene):
    logic, volumeNode, segmentationNode = loaded
    rtPlanNode = standins.vtkMRMLRTPlanNode()
    rtPlanNode.SetName("Theirs")
    rtPlanNode = scene.AddNode(rtPlanNode)
    rtPlanNode.SetAndObserveReferenceVolumeNode(volumeNode)
    rtPlanNode.SetAndObserveSegmentationNode(segmentationNode)
    rtPlanNode.SetTargetSegmentIDs(["PTV"])
    rtPlanNode.SetRxDose(2.0)
    with pytest.raises(PlanError, match="isocentre"):
        logic.fromSlicerRT(rtPlanNode)
    rtPlanNode.SetIsocenterSpecification(rtPlanNode.ArbitraryPoint)
    rtPlanNode.SetIsocenterPosition(list(ISOCENTER))
    add_beam(scene, rtPlanNode, "A", GantryAngle=90.0, BeamWeight=2.0)
    planNode, notes = logic.fromSlicerRT(rtPlanNode, machine="generic_15mv")
    jaws = {"jaw_x_mm": (-100.0, 100.0), "jaw_y_mm": (-100.0, 100.0)}
    beam = Beam.open_field(
        "A", gantry_deg=90.0, isocenter_RAS_mm=ISOCENTER, machine="generic_15mv", meterset_MU=None, weight=2.0, **jaws
    )
    assert logic.planFromNode(planNode) == Plan(
        "Theirs", (beam,), Prescription(2.0, 1, "PTV", "point"), dose_grid_spacing_mm=5.0
    )
    assert len(notes) == 4
    assert "SAD 2000 mm" in notes[-1]
    rtPlanNode.SetIonPlanFlag(True)
    with pytest.raises(PlanError, match="ion plan"):
        logic.fromSlicerRT(rtPlanNode)


def test_dvhs_go_to_slicerrts_dvh_module(loaded, slicerrt, scene, plan):
    logic, volumeNode, segmentationNode = loaded
    planNode = logic.createPlan(plan, volumeNode, segmentationNode)
    with pytest.raises(PlanError, match="dose"):
        logic.dvhToSlicerRT(planNode)
    doseNode = logic.calculateDose(planNode)
    node = logic.dvhToSlicerRT(planNode, ["PTV"])
    assert node.IsA("vtkMRMLDoseVolumeHistogramNode")
    assert node.GetNodeReference("doseVolumeRef") is doseNode
    assert node.GetNodeReference("segmentationRef") is segmentationNode
    metrics = node.GetNodeReference("dvhMetricsTableRef")
    assert metrics is logic.dvhMetricsTable(planNode)
    assert node.GetNodeReference("chartRef") is logic.dvhChart(planNode)
    # and from there, as SlicerRT looks for it, to the table
    role = f"DoseVolumeHistogram.{doseNode.GetID()}_{segmentationNode.GetID()}_PTV"
    assert metrics.GetNodeReference(role).GetName() == "PTV_DvhTable"


def test_without_slicerrt_the_plan_stays_and_the_text_says_what_to_do(loaded, scene, capfd):
    logic, volumeNode, segmentationNode = loaded
    planNode = logic.createPlan(make_plan(), volumeNode, segmentationNode)
    before = content(scene)
    with pytest.raises(PlanError, match=r"SlicerRT is not installed here.*Extensions Manager"):
        logic.toSlicerRT(planNode)
    with pytest.raises(PlanError, match="SlicerRT is not installed here"):
        logic.dvhToSlicerRT(planNode)
    with pytest.raises(PlanError, match="not a plan of SlicerRT"):
        logic.fromSlicerRT(planNode)
    with pytest.raises(PlanError, match="not a plan of SlicerRT"):
        logic.fromSlicerRT(None)
    assert content(scene) == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("plan", "error", "text"),
    [
        (with_beam(make_plan(), 1, isocenter_RAS_mm=(0, 0, 0)), PlanError, "2 isocentres.*one by one"),
        (with_beam(make_plan(), 1, machine="nobody's"), MachineError, "nobody's"),
    ],
)
def test_what_cannot_be_converted_adds_nothing(loaded, slicerrt, scene, plan, error, text):
    logic, volumeNode, segmentationNode = loaded
    planNode = logic.createPlan(plan, volumeNode, segmentationNode)
    before = content(scene)
    with pytest.raises(error, match=text):
        logic.toSlicerRT(planNode)
    assert content(scene) == before


def test_a_failure_half_way_leaves_nothing_behind(loaded, slicerrt, scene, monkeypatch):
    logic, volumeNode, segmentationNode = loaded
    planNode = logic.createPlan(make_plan(), volumeNode, segmentationNode)
    before = content(scene)

    def refuse(self, node):
        raise RuntimeError("second beam")

    monkeypatch.setattr(standins.vtkMRMLRTPlanNode, "AddBeam", refuse)
    with pytest.raises(RuntimeError, match="second beam"):
        logic.toSlicerRT(planNode)
    assert content(scene) == before


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda node, beams: beams[1].SetName("Arc"), "unique"),
        (lambda node, beams: beams[0].SetX1Jaw(99.0), "closed beyond itself"),
        (lambda node, beams: node.SetTargetSegmentIDs(["gone"]), "'gone' is not in its segmentation"),
        (lambda node, beams: beams[0].GetMultiLeafCollimatorTableNode().SetName("MLCY_BoundaryAndPosition"), "MLCX"),
        (lambda node, beams: beams[0].GetMultiLeafCollimatorTableNode().RemoveColumn(2), "number columns"),
        (lambda node, beams: [node.RemoveBeam(beam) for beam in beams], "add at least one beam"),
        (lambda node, beams: node.SetAndObserveReferenceVolumeNode(None), "no reference volume"),
    ],
)
def test_edits_that_make_no_plan_are_refused(loaded, slicerrt, scene, edit, text):
    rtPlanNode, _ = there(loaded, make_plan())
    edit(rtPlanNode, beam_nodes(rtPlanNode))
    before = content(scene)
    with pytest.raises(PlanningError, match=text):
        loaded[0].fromSlicerRT(rtPlanNode)
    assert content(scene) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("written"),
        lambda data: data.update(schema_version=2),
        lambda data: data["written"].pop("beams"),
    ],
)
def test_damaged_or_newer_attributes_are_refused(loaded, slicerrt, change):
    rtPlanNode, _ = there(loaded, make_plan())
    data = json.loads(rtPlanNode.GetAttribute(CONVERTED_PLAN))
    change(data)
    rtPlanNode.SetAttribute(CONVERTED_PLAN, json.dumps(data))
    with pytest.raises(SchemaError):
        loaded[0].fromSlicerRT(rtPlanNode)


def test_the_stand_ins_refuse_what_slicerrt_has_not(loaded, slicerrt, scene):
    rtPlanNode, _ = there(loaded, make_plan())
    (arc, _) = beam_nodes(rtPlanNode)
    with pytest.raises(AssertionError, match="not known to have"):
        arc.SetMeterset(3.0)
    with pytest.raises(AssertionError, match="not known to have"):
        rtPlanNode.GetNumberOfPlans()
    with pytest.raises(AssertionError, match="double"):
        arc.SetX1Jaw("3")
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", "Leaves")
    with pytest.raises(AssertionError):
        arc.SetAndObserveMultiLeafCollimatorTableNode(table)
