"""Our engines and our optimizer inside SlicerRT's External Beam Planning, which is stood in for (`slicerrt_host`)."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import slicer
import slicerrt_host as host
from scipy import sparse
from vtk.util.numpy_support import vtk_to_numpy

from DoseEngineLib.calibration import CalibrationCurve
from DoseEngineLib.engine import create_engine
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.influence import patient_hash
from DoseEngineLib.mrml.ct_calibration import setCtCalibration
from DoseEngineLib.mrml.dose_volume import provenanceOf
from DoseEngineLib.mrml.patient_nodes import patientFromNodes
from DoseEngineLib.mrml.segmentations import setDensityOverrides
from DoseEngineLib.mrml.subject_hierarchy import ensureStudy, hierarchyNode
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.normalization import dose_at_points
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Aperture, Beam, Plan, Prescription, Structure
from OptimizerLib.mrml.fluence_nodes import optimizedFluence
from RTPlanningLib.case import Case
from RTPlanningLib.logic import RTPlanningLogic
from RTPlanningLib.mrml.slicerrt_nodes import beamNodes
from RTPlanningLib.slicerrt.registration import DOSE_ENGINES, PLAN_OPTIMIZERS, registerInSlicerRT

PENCIL, CONE = "RTPlanning photon pencil beam", "RTPlanning photon collapsed cone"
SPACING_MM = 6.0
CENTRE = (3.0, -3.0, 3.0)


@pytest.fixture
def slicerrt(scene, monkeypatch):
    """SlicerRT is installed, our plug-ins are registered, and External Beam Planning was entered."""
    host.install(monkeypatch)
    assert registerInSlicerRT() == (*DOSE_ENGINES, *PLAN_OPTIMIZERS)
    host.enter()
    yield
    host.forget()


@pytest.fixture
def phantom() -> Case:
    """A box of water with a target in its middle and an organ that overlaps it."""
    grid = Grid.from_spacing((20, 24, 22), SPACING_MM, tuple(c - SPACING_MM * n for c, n in zip(CENTRE, (11, 12, 10))))

    def box(k, j, i):
        mask = np.zeros(grid.shape, bool)
        mask[k, j, i] = True
        return mask

    body = box(slice(2, 18), slice(2, 22), slice(2, 20))
    structures = (
        Structure("External", body, grid, "EXTERNAL"),
        Structure("PTV", box(slice(8, 13), slice(10, 15), slice(9, 14)), grid, "PTV"),
        Structure("Organ", box(slice(8, 13), slice(14, 19), slice(9, 14)), grid, "ORGAN"),
    )
    hu = np.where(body, 0, -1000).astype(np.int16)
    return Case("Water", hu, grid, structures, "HFS")


@pytest.fixture
def loaded(scene, phantom):
    logic = RTPlanningLogic(scene)
    return logic, *logic.loadCase(phantom)


def field(name: str, **changes) -> Beam:
    leaves = changes.pop("leaves", None)
    values = {"gantry_deg": 0.0, "isocenter_RAS_mm": CENTRE, "meterset_MU": None, **changes}
    aperture = Aperture(values.pop("jaw_x_mm", (-30.0, 20.0)), values.pop("jaw_y_mm", (-25.0, 35.0)), leaves)
    return Beam.static_field(name, aperture, **values)


def box_plan(*beams: Beam, **changes) -> Plan:
    values = {"prescription": Prescription(50.0, 25, "PTV", "point"), "dose_grid_spacing_mm": SPACING_MM, **changes}
    return Plan("Box", beams, **values)


def there(loaded, plan, engine: str = PENCIL):
    """The plan as nodes of SlicerRT, an engine chosen."""
    logic, volumeNode, segmentationNode = loaded
    rtPlanNode, _ = logic.toSlicerRT(logic.createPlan(plan, volumeNode, segmentationNode))
    host.chooseEngine(rtPlanNode, engine)
    return rtPlanNode


def set_all(rtPlanNode, name: str, text: str, engine: str = PENCIL) -> None:
    for node in beamNodes(rtPlanNode):
        host.engines()[engine].setParameter(node, name, text)


def own_plan(loaded, **changes):
    """A plan that SlicerRT made, which knows nothing of ours."""
    rtPlanNode = there(loaded, box_plan(field("A", gantry_deg=30.0), field("B", gantry_deg=270.0, weight=2.0)))
    rtPlanNode.RemoveAttribute("RTPlanning.ConvertedPlan")
    return rtPlanNode


def total(rtPlanNode) -> np.ndarray:
    return arrayFromVolume(rtPlanNode.GetOutputTotalDoseVolumeNode())


def own_dose(loaded, plan: Plan) -> np.ndarray:
    """Dose of our own logic on the reference volume's grid."""
    logic, volumeNode, segmentationNode = loaded
    planNode = logic.createPlan(plan, volumeNode, segmentationNode)
    doseNode = logic.calculateDose(planNode)
    return resample(arrayFromVolume(doseNode), gridFromVolume(doseNode), gridFromVolume(volumeNode))


MLC = tuple((-25.0 + n % 3, 15.0 - n % 4) for n in range(60))


@pytest.mark.parametrize(
    ("label", "engine"), [("photon-pencil-beam", PENCIL), ("photon-collapsed-cone", CONE)], ids=["pencil", "cone"]
)
@pytest.mark.parametrize(
    "beams",
    [
        (
            field("Open", gantry_deg=20.0, couch_deg=340.0, collimator_deg=30.0),
            field("Side", gantry_deg=90.0, weight=3.0),
        ),
        (field("MLC", gantry_deg=180.0, collimator_deg=90.0, leaves=MLC, meterset_MU=80.0, machine="generic_15mv"),),
    ],
    ids=["open jaws", "MLC"],
)
def test_doses_are_those_of_our_own_logic(slicerrt, loaded, label, engine, beams):
    plan = box_plan(*beams, engine=label)
    rtPlanNode = there(loaded, plan, engine)
    assert host.calculateDose(rtPlanNode) == ""
    ours = own_dose(loaded, plan)
    assert ours.max() > 0.5
    np.testing.assert_allclose(total(rtPlanNode), ours, atol=2e-5 * ours.max())
    node = host.doseOf(beamNodes(rtPlanNode)[0])
    assert provenanceOf(node)["engine"] == label
    assert node.GetAttribute("RTPlanning.DoseTo") == ("medium" if engine == CONE else "water")


@pytest.mark.parametrize("own_leaves", [False, True], ids=["the machine's", "of another MLC"])
def test_leaves_of_a_plan_that_slicerrt_made(slicerrt, loaded, own_leaves):
    sides = (-40.0, -20.0, -10.0, 0.0, 5.0, 10.0, 20.0, 40.0)
    leaves = tuple((-20.0 + 2 * n, 15.0 - n) for n in range(7)) if own_leaves else MLC
    beam = field("A", gantry_deg=40.0, collimator_deg=25.0, leaves=leaves)
    plan = box_plan(replace(beam, leaf_boundaries_mm=sides if own_leaves else None), prescription=Prescription(50.0))
    rtPlanNode = there(loaded, plan)
    rtPlanNode.RemoveAttribute("RTPlanning.ConvertedPlan")
    assert host.calculateDose(rtPlanNode) == ""
    ours = own_dose(loaded, plan)
    np.testing.assert_allclose(total(rtPlanNode), ours, atol=2e-5 * ours.max())


@pytest.mark.parametrize("position", ["HFP", "FFS", "FFP"])
def test_patients_in_other_positions(slicerrt, loaded, position):
    """SlicerRT knows head-first supine alone; a plan made here keeps its position, in its own frame."""
    beams = (field("A", gantry_deg=30.0, couch_deg=20.0, collimator_deg=10.0), field("B", gantry_deg=80.0, weight=0.5))
    plan = box_plan(*beams, patient_position=position)
    rtPlanNode = there(loaded, plan)
    assert host.calculateDose(rtPlanNode) == ""
    ours = own_dose(loaded, plan)
    np.testing.assert_allclose(total(rtPlanNode), ours, atol=2e-5 * ours.max())


@pytest.mark.parametrize("where", ["plan", "panel"])
def test_engine_options_come_from_the_plan_and_from_the_panel(slicerrt, loaded, where):
    setDensityOverrides(loaded[2], {"Organ": 0.25})
    plan = box_plan(field("A", gantry_deg=180.0, meterset_MU=100.0))
    off = replace(plan, engine_options={"heterogeneity": False})
    rtPlanNode = there(loaded, off if where == "plan" else plan)
    if where == "panel":
        set_all(rtPlanNode, "heterogeneity", "false")
    assert host.calculateDose(rtPlanNode) == ""
    ours, corrected = own_dose(loaded, off), own_dose(loaded, plan)
    np.testing.assert_allclose(total(rtPlanNode), ours, atol=2e-5 * ours.max())
    assert np.abs(corrected - ours).max() > 0.03 * ours.max()


def test_open_jaws_are_honoured_as_set_and_not_shaped_to_the_target(slicerrt, loaded):
    rtPlanNode = there(loaded, box_plan(field("Wide", jaw_x_mm=(-40.0, 0.0))))
    assert host.calculateDose(rtPlanNode) == ""
    before = total(rtPlanNode)
    beamNodes(rtPlanNode)[0].SetX2Jaw(40.0)
    assert host.calculateDose(rtPlanNode) == ""
    grid = gridFromVolume(rtPlanNode.GetReferenceVolumeNode())
    # 30 mm beside the axis on the side of X2, which is the patient's right at gantry 0
    beside = np.array(CENTRE) + (-30.0, 0.0, 0.0)
    doses = [dose_at_points(dose, grid, beside)[0] for dose in (before, total(rtPlanNode))]
    assert doses[0] < 5.0
    assert doses[1] > 40.0


@pytest.mark.parametrize("scale", ["0", "1"])
def test_a_plan_of_slicerrts_own_gets_the_prescribed_dose_at_the_isocentre(slicerrt, loaded, scale):
    rtPlanNode = own_plan(loaded)
    rtPlanNode.SetRxDose(12.0)
    set_all(rtPlanNode, "Scale", scale)
    assert host.calculateDose(rtPlanNode) == ""
    grid = gridFromVolume(rtPlanNode.GetReferenceVolumeNode())
    assert dose_at_points(total(rtPlanNode), grid, np.array(CENTRE))[0] == pytest.approx(12.0, rel=1e-4)


def test_prescribed_dose_to_the_target(slicerrt, loaded, phantom):
    rtPlanNode = own_plan(loaded)
    rtPlanNode.SetRxDose(20.0)
    mask = phantom.structure("PTV").mask
    set_all(rtPlanNode, "Scale", "2")
    assert host.calculateDose(rtPlanNode) == ""
    assert total(rtPlanNode)[mask].mean() == pytest.approx(20.0, rel=0.01)
    set_all(rtPlanNode, "Scale", "4")
    assert host.calculateDose(rtPlanNode) == ""
    assert np.quantile(total(rtPlanNode)[mask], 0.05) == pytest.approx(20.0, rel=0.06)
    rtPlanNode.SetTargetSegmentIDs([])
    assert "no target" in host.calculateDose(rtPlanNode)


def test_MU_at_weight_1(slicerrt, loaded):
    rtPlanNode = own_plan(loaded)
    set_all(rtPlanNode, "Scale", "5")
    set_all(rtPlanNode, "Meterset", "40")
    set_all(rtPlanNode, "Fractions", "3")
    host.engines()[PENCIL].setParameter(beamNodes(rtPlanNode)[1], "Meterset", "10.5")
    assert host.calculateDose(rtPlanNode) == ""
    beams = (
        field("A", gantry_deg=30.0, meterset_MU=40.0),
        field("B", gantry_deg=270.0, meterset_MU=21.0),
    )
    ours = own_dose(loaded, box_plan(*beams, prescription=Prescription(1.0, 3, None, "none")))
    np.testing.assert_allclose(total(rtPlanNode), ours, atol=2e-5 * ours.max())
    # the rest: a beam's dose is that of weight 1, whatever its weight
    of_b = arrayFromVolume(host.doseOf(beamNodes(rtPlanNode)[1])).max()
    beamNodes(rtPlanNode)[1].SetBeamWeight(0.0)
    assert host.calculateDose(rtPlanNode) == ""
    assert arrayFromVolume(host.doseOf(beamNodes(rtPlanNode)[1])).max() == pytest.approx(of_b, rel=1e-5)


def test_all_control_points_of_a_plan_made_here_are_calculated(slicerrt, loaded):
    beam = field("Sweep", meterset_MU=100.0)
    first, last = beam.control_points
    shut = replace(last, aperture=Aperture((-30.0, -20.0), (-25.0, 35.0)))
    plan = box_plan(replace(beam, control_points=(first, shut)))
    rtPlanNode = there(loaded, plan)
    assert host.calculateDose(rtPlanNode) == ""
    np.testing.assert_allclose(total(rtPlanNode), own_dose(loaded, plan), atol=1e-4)


def test_dose_on_a_coarser_grid_comes_to_the_reference_volumes(slicerrt, loaded, phantom):
    rtPlanNode = there(loaded, box_plan(field("A", jaw_x_mm=(-60.0, 60.0), jaw_y_mm=(-60.0, 60.0))))
    assert host.calculateDose(rtPlanNode) == ""
    fine = total(rtPlanNode)
    rtPlanNode.SetDoseGridSpacing(9.0, 7.5, 11.0)
    assert host.calculateDose(rtPlanNode) == ""
    coarse = total(rtPlanNode)
    inside = phantom.structure("PTV").mask
    np.testing.assert_allclose(coarse[inside], fine[inside], rtol=0.01)
    assert coarse[~phantom.structure("External").mask].max() < 0.6 * coarse.max()
    provenance = provenanceOf(host.doseOf(beamNodes(rtPlanNode)[0]))
    assert provenance["grid_spacing_mm"] == [9.0, 7.5, 11.0]


def test_engine_is_asked_once_for_the_beams_of_a_plan(slicerrt, loaded, monkeypatch):
    from RTPlanningLib.slicerrt import beam_doses

    calls = []
    calculate = beam_doses.unit_doses
    monkeypatch.setattr(beam_doses, "unit_doses", lambda *args: calls.append(1) or calculate(*args))
    rtPlanNode = there(loaded, box_plan(field("A"), field("B", gantry_deg=90.0), field("C", gantry_deg=180.0)))
    assert host.calculateDose(rtPlanNode) == ""
    assert len(calls) == 1
    before = total(rtPlanNode)
    # again is asked anew, and a change is never passed over
    beamNodes(rtPlanNode)[2].SetGantryAngle(170.0)
    assert host.calculateDose(rtPlanNode) == ""
    assert len(calls) == 2
    assert np.abs(total(rtPlanNode) - before).max() > 1.0


def test_the_ct_and_the_body_segment_count(slicerrt, loaded, phantom):
    _, volumeNode, segmentationNode = loaded
    rtPlanNode = there(loaded, box_plan(field("A", meterset_MU=100.0)))
    assert host.calculateDose(rtPlanNode) == ""
    before = total(rtPlanNode)
    rtPlanNode.SetBodySegmentID(segmentationNode.GetSegmentation().GetSegmentIdBySegmentName("PTV"))
    assert host.calculateDose(rtPlanNode) == ""
    outside = ~phantom.structure("PTV").mask
    assert total(rtPlanNode)[outside].max() == 0.0
    rtPlanNode.SetBodySegmentID("gone")
    assert "body segment 'gone'" in host.calculateDose(rtPlanNode)
    rtPlanNode.SetBodySegmentID(None)
    slicer.util.updateVolumeFromArray(volumeNode, np.where(phantom.hu == 0, 300, -1000).astype(np.int16))
    assert host.calculateDose(rtPlanNode) == ""
    assert np.abs(total(rtPlanNode) - before).max() > 0.05


def test_the_patient_is_the_one_that_all_of_us_see(slicerrt, loaded):
    """Calibration and densities that are kept with CT and structures count here as everywhere."""
    from RTPlanningLib.slicerrt.patient_of_plan import patientData

    _, volumeNode, segmentationNode = loaded
    rtPlanNode = there(loaded, box_plan(field("A")))
    plain = patientData(rtPlanNode)
    setCtCalibration(volumeNode, CalibrationCurve("Ours", (-1000.0, 0.0, 1000.0), (0.0, 1.1, 1.6)))
    curved = patientData(rtPlanNode)
    setDensityOverrides(segmentationNode, {"Organ": 0.3})
    data = patientData(rtPlanNode, ("PTV",))
    assert len({plain.digest(), curved.digest(), data.digest()}) == 3
    patient, ours = data.patient(), patientFromNodes(volumeNode, segmentationNode)
    assert patient_hash(patient) == patient_hash(ours) != patient_hash(plain.patient())
    assert patient.provenance == ours.provenance
    assert {s.name for s in patient.structures} == {"External", "PTV", "Organ"}


def test_sad(slicerrt, loaded, caplog):
    rtPlanNode = there(loaded, box_plan(field("A"), field("B", gantry_deg=90.0)))
    first, second = beamNodes(rtPlanNode)
    first.SetSAD(2000.0)
    with caplog.at_level(logging.INFO):
        assert host.calculateDose(rtPlanNode) == ""
    assert [first.GetSAD(), second.GetSAD()] == [1000.0, 1000.0]
    assert "Beam A had SlicerRT's default SAD" in caplog.text
    second.SetSAD(1500.0)
    error = host.calculateDose(rtPlanNode)
    assert error.startswith("Beam B has SAD 1500 mm")
    assert second.GetSAD() == 1500.0


def test_machine_of_a_beam(slicerrt, loaded, tmp_path):
    from DoseEngineLib import machine as machines

    rtPlanNode = own_plan(loaded)
    set_all(rtPlanNode, "Machine", "generic_15mv")
    assert host.calculateDose(rtPlanNode) == ""
    beams = (field("A", gantry_deg=30.0), field("B", gantry_deg=270.0, weight=2.0))
    plan = box_plan(*(replace(beam, machine="generic_15mv") for beam in beams))
    ours = own_dose(loaded, plan)
    np.testing.assert_allclose(total(rtPlanNode), ours, atol=2e-5 * ours.max())
    set_all(rtPlanNode, "Machine", "generic_16mv")
    error = host.calculateDose(rtPlanNode)
    assert "generic_16mv" in error
    assert all(name in error for name in machines.available_machines())


def test_studies_in_another_unit_are_refused(slicerrt, loaded):
    rtPlanNode = there(loaded, box_plan(field("A")))
    study = ensureStudy(loaded[1], "Patient", "Study")
    hierarchy = hierarchyNode(loaded[1].GetScene())
    hierarchy.SetItemAttribute(study, "DicomRtImport.DoseUnitName", "RELATIVE")
    assert "one unit a study" in host.calculateDose(rtPlanNode)
    assert hierarchy.GetItemAttribute(study, "DicomRtImport.DoseUnitName") == "RELATIVE"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda plan: plan.SetIonPlanFlag(True), "ion plan"),
        (lambda plan: plan.SetDoseGridSpacing(0.1, 5.0, 5.0), "0.5"),
        (lambda plan: plan.SetRxDose(0.0), "0.0 Gy must be positive"),
        (lambda plan: plan.SetIsocenterPosition([900.0, 0.0, 0.0]), "lies outside the image"),
        (lambda plan: beamNodes(plan)[0].SetX1Jaw(90.0), "closed beyond itself"),
        (lambda plan: beamNodes(plan)[1].SetName("A"), "beam names must be unique"),
        (lambda plan: beamNodes(plan)[0].SetBeamWeight(-1.0), "negative"),
        (lambda plan: [node.SetBeamWeight(0.0) for node in beamNodes(plan)], "every beam weight is zero"),
        (lambda plan: set_all(plan, "Scale", "17"), "choice 17"),
        (lambda plan: set_all(plan, "arc_step_deg", "99"), "not in 0..10"),
        (lambda plan: set_all(plan, "arc_step_deg", "many"), "no number"),
        (lambda plan: set_all(plan, "allow_isocenter_outside", "maybe"), "neither true nor false"),
        (lambda plan: set_all(plan, "Machine", "/not/there.json"), "cannot be read"),
        (
            lambda plan: host.engines()[PENCIL].setParameter(beamNodes(plan)[0], "arc_step_deg", "2"),
            "differ in their engine options",
        ),
    ],
)
def test_errors_are_told_as_texts_and_nothing_is_left(slicerrt, loaded, change, words):
    rtPlanNode = own_plan(loaded)
    change(rtPlanNode)
    error = host.calculateDose(rtPlanNode)
    assert words in error, error
    assert host.doseOf(beamNodes(rtPlanNode)[0]) is None
    assert rtPlanNode.GetOutputTotalDoseVolumeNode() is None


def test_what_nobody_expected_is_no_success(slicerrt, loaded, monkeypatch, caplog):
    from RTPlanningLib.slicerrt import beam_doses

    def fail(*args):
        raise ZeroDivisionError("by nothing")

    rtPlanNode = there(loaded, box_plan(field("A")))
    monkeypatch.setattr(beam_doses, "unit_doses", fail)
    assert "ZeroDivisionError: by nothing" in host.calculateDose(rtPlanNode)
    assert "Traceback" in caplog.text


def test_weights_of_a_plan_with_MU_are_MU_already(slicerrt, loaded):
    rtPlanNode = there(loaded, box_plan(field("A", meterset_MU=100.0)))
    set_all(rtPlanNode, "Scale", "5")
    assert "its beam weights are these MU" in host.calculateDose(rtPlanNode)


def test_parameters_that_were_never_set_have_their_defaults(slicerrt, loaded):
    rtPlanNode = there(loaded, box_plan(field("A")))
    assert host.calculateDose(rtPlanNode) == ""
    before = total(rtPlanNode)
    node = beamNodes(rtPlanNode)[0]
    names = [name for name in node.GetAttributeNames() if name.startswith(PENCIL)]
    assert len(names) > 5
    for name in names:
        node.RemoveAttribute(name)
    assert host.calculateDose(rtPlanNode) == ""
    np.testing.assert_array_equal(total(rtPlanNode), before)


def test_engines_say_what_they_can(slicerrt):
    pencil, cone = host.engines()[PENCIL], host.engines()[CONE]
    assert (pencil.isInverse, cone.isInverse) == (True, False)
    assert pencil.supportsBodySegment
    assert not pencil.canDoIonPlan
    assert pencil.call("updateBeamParametersForIonPlan", True) == ""
    assert host.optimizers()["RTPlanning"].availableObjectives()["DVH at most"] == {
        "Dose_Gy": "30.0",
        "Volume_percent": "20.0",
    }
    # entered again, nothing is there twice
    assert registerInSlicerRT() == (*DOSE_ENGINES, *PLAN_OPTIMIZERS)
    host.enter()
    assert slicer.modules.doseEngineNames == list(DOSE_ENGINES)
    assert sorted(host.engines()) == sorted((PENCIL, CONE))


def influence_matrix(beamNode) -> sparse.csc_array:
    data = beamNode.GetDoseInfluenceMatrixFieldData()
    arrays = [np.array(vtk_to_numpy(data.GetArray(n))) for n in range(3)]
    dims = beamNode.GetDoseGridDim()
    return sparse.csc_array(tuple(arrays), shape=(int(np.prod(dims)), arrays[2].size - 1))


def test_influence_is_the_pencil_beams_and_its_dose_the_forward_engines(slicerrt, loaded, phantom):
    plan = box_plan(field("A", gantry_deg=30.0, couch_deg=10.0), field("B", gantry_deg=200.0))
    rtPlanNode = there(loaded, plan)
    assert host.calculateDoseInfluenceMatrix(rtPlanNode) == ""
    patient = Patient.from_hu(phantom.hu, phantom.grid, structures=phantom.structures)
    engine = create_engine("photon-pencil-beam")
    dose = np.zeros(phantom.grid.shape)
    bixels, weights = [], []
    for number, node in enumerate(beamNodes(rtPlanNode)):
        assert node.GetDoseGridDim() == phantom.grid.shape[::-1]
        assert node.GetDoseGridSpacing() == (SPACING_MM,) * 3
        matrix = influence_matrix(node)
        alone = replace(plan, beams=(plan.beams[number],))
        ours = engine.calculate_influence(patient, alone, target="PTV", grid=phantom.grid)
        full = np.zeros((phantom.grid.size, ours.bixels))
        full[ours.voxels] = 25 * ours.matrix.toarray()
        # entries below the cut-off are gathered by their place in the grid; all others are alike
        np.testing.assert_allclose(matrix.toarray(), full, atol=2e-3 * full.max())
        rng = np.random.default_rng(number)
        weights.append(rng.uniform(5.0, 10.0, ours.bixels))
        bixels += ours.beams
        dose += (matrix @ weights[-1]).reshape(phantom.grid.shape)
    forward, _ = engine.calculate_fluence_dose(patient, plan, bixels, np.concatenate(weights), phantom.grid)
    np.testing.assert_allclose(dose, forward, atol=0.01 * forward.max())
    inside = phantom.structure("PTV").mask
    np.testing.assert_allclose(dose[inside], forward[inside], rtol=0.01)


def test_influence_on_the_plans_dose_grid_is_where_slicerrt_looks_for_it(slicerrt, loaded, phantom):
    """SlicerRT's optimizers take the reference volume's first voxel and axes, and the beam's sizes and spacing."""
    from RTPlanningLib.slicerrt.beam_influence import influenceOf

    rtPlanNode = there(loaded, box_plan(field("A")))
    rtPlanNode.SetDoseGridSpacing(8.0, 9.0, 7.0)
    assert host.calculateDoseInfluenceMatrix(rtPlanNode) == ""
    (node,) = beamNodes(rtPlanNode)
    spacing, dims = np.array(node.GetDoseGridSpacing()), node.GetDoseGridDim()
    affine = phantom.grid.affine @ np.diag([*(spacing / phantom.grid.spacing_mm), 1.0])
    assert (spacing == (8.0, 9.0, 7.0)).all()
    there_grid = Grid(dims[::-1], affine)
    dose = np.asarray(influence_matrix(node).sum(axis=1)).reshape(there_grid.shape)
    middle = np.average(there_grid.centres_RAS_mm().reshape(-1, 3), axis=0, weights=dose.ravel())
    bixels = influenceOf(node).beams[0]
    # at gantry 0 collimator X runs to the patient's left, Y to the head
    assert middle[0] == pytest.approx(CENTRE[0] - bixels.x_mm.mean(), abs=0.5)
    assert middle[2] == pytest.approx(CENTRE[2] + bixels.y_mm.mean(), abs=0.5)
    # beam from the front: depth dose falls backwards
    profile = dose_at_points(dose, there_grid, np.array(CENTRE) + np.array([[0, y, 0] for y in (30.0, 0.0, -30.0)]))
    assert profile[0] > profile[1] > profile[2] > 0.3 * profile[0]


def objective(scene, segmentationNode, kind: str, structure: str, penalty: str = "10", overlap: str = "0", **values):
    node = scene.AddNode(slicer.vtkMRMLRTObjectiveNode())
    node.SetName(kind)
    segmentID = segmentationNode.GetSegmentation().GetSegmentIdBySegmentName(structure)
    node.SetSegmentationAndSegmentID(segmentationNode, segmentID)
    attributes = {"penalty": penalty, "overlapPriority": overlap, "isConstraint": "false"}
    for name, value in {**attributes, **values}.items():
        node.SetAttribute(name, str(value))
    return node


@pytest.fixture
def inverse(slicerrt, loaded):
    """A plan with dose influences, and a maker of objectives."""
    logic, _, segmentationNode = loaded
    rtPlanNode = there(loaded, box_plan(*(field(f"G{g:g}", gantry_deg=g) for g in (0.0, 120.0, 240.0))))
    rtPlanNode.SetPlanOptimizerName("RTPlanning")
    assert host.calculateDoseInfluenceMatrix(rtPlanNode) == ""

    def make(*args, **values):
        return objective(logic.scene, segmentationNode, *args, **values)

    return rtPlanNode, make


def test_optimizer_lowers_the_objectives_and_writes_their_dose(inverse, loaded, phantom):
    rtPlanNode, make = inverse
    nodes = [
        make("Uniform dose", "PTV", penalty="100", Dose_Gy=40.0),
        make("Mean dose at most", "Organ", penalty="5", overlap="50", Dose_Gy=8.0),
        make("Fall-off from the target", "External", overlap="50", Near_Gy=40.0, Far_Gy=15.0, Reach_mm=30.0),
    ]
    doseNode = loaded[0].scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Optimized")
    rtPlanNode.SetAndObserveOutputTotalDoseVolumeNode(doseNode)
    assert host.optimizePlan(rtPlanNode, nodes) == ""
    dose = arrayFromVolume(doseNode)
    provenance = provenanceOf(doseNode)
    assert provenance["objective"] < 0.5 * provenance["objective_at_start"]
    assert dose[phantom.structure("PTV").mask].mean() == pytest.approx(40.0, rel=0.03)
    # the dose is that of the fluence on SlicerRT's own matrices
    planNode = rtPlanNode.GetNodeReference("RTPlanning.fluencePlanRef")
    kept = optimizedFluence(planNode)
    matrices = [influence_matrix(node) for node in beamNodes(rtPlanNode)]
    again = (sparse.hstack(matrices) @ kept.weights_MU).reshape(phantom.grid.shape)
    np.testing.assert_allclose(dose, again, atol=1e-4 * dose.max())
    said = host.optimizers()["RTPlanning"].said
    assert len(said) > 3
    # optimized again with the organ forgotten, the same plan node keeps the new fluence
    assert host.optimizePlan(rtPlanNode, [nodes[0], nodes[2]]) == ""
    assert rtPlanNode.GetNodeReference("RTPlanning.fluencePlanRef") is planNode
    assert not np.array_equal(optimizedFluence(planNode).weights_MU, kept.weights_MU)
    organ = phantom.structure("Organ").mask & ~phantom.structure("PTV").mask
    assert arrayFromVolume(doseNode)[organ].mean() > dose[organ].mean()


def test_voxels_of_two_structures_are_those_of_the_lower_number(inverse, phantom):
    from RTPlanningLib.mrml.slicerrt_nodes import readObjective
    from RTPlanningLib.slicerrt.objectives_table import without_overlaps

    _, make = inverse
    ptv, organ = phantom.structure("PTV").mask, phantom.structure("Organ").mask
    lines = [readObjective(make("Uniform dose", "PTV")), readObjective(make("Maximum dose", "Organ", overlap="50"))]
    left = {s.name: s.mask for s in without_overlaps(phantom.structures, lines)}
    np.testing.assert_array_equal(left["Organ"], organ & ~ptv)
    np.testing.assert_array_equal(left["PTV"], ptv)
    assert (left["Organ"] != organ).any()


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "no objectives"),
        ([("Squared Deviation", "PTV", {})], "no such objective; choose one of: Uniform dose"),
        ([("Uniform dose", "PTV", {"Dose_Gy": "much"})], "Dose_Gy must be a number; got 'much'"),
        ([("Uniform dose", "PTV", {"penalty": "x"})], "penalty (p) must be a number"),
        ([("Uniform dose", "PTV", {}), ("Maximum dose", "PTV", {"overlap": "3"})], "priorities 0 and 3"),
        ([("Uniform dose", "External", {}), ("Maximum dose", "Organ", {"overlap": "3"})], "All of Organ lies in"),
        ([("DVH at most", "PTV", {"Volume_percent": "120"})], "no more than 100 %"),
    ],
)
def test_objectives_that_cannot_be_are_told(inverse, lines, words):
    rtPlanNode, make = inverse
    error = host.optimizePlan(rtPlanNode, [make(kind, structure, **values) for kind, structure, values in lines])
    assert words in error, error
    assert rtPlanNode.GetNodeReference("RTPlanning.fluencePlanRef") is None


def test_dose_influences_of_something_else_are_not_used(inverse):
    rtPlanNode, make = inverse
    node = make("Uniform dose", "PTV", Dose_Gy=40.0)
    beamNodes(rtPlanNode)[1].SetGantryAngle(100.0)
    error = host.optimizePlan(rtPlanNode, [node])
    assert error.startswith("Beam G120: ")
    assert "inverse planning switched on" in error
    beamNodes(rtPlanNode)[1].SetGantryAngle(120.0)
    rtPlanNode.SetDoseGridSpacing(7.0, 7.0, 7.0)
    assert "dose grid spacing of the plan was changed" in host.optimizePlan(rtPlanNode, [node])


def test_inverse_planning_without_heterogeneities(slicerrt, loaded, phantom):
    setDensityOverrides(loaded[2], {"Organ": 0.25})
    rtPlanNode = there(loaded, box_plan(field("A")))
    rtPlanNode.SetPlanOptimizerName("RTPlanning")
    sums = []
    for text in ("true", "false"):
        set_all(rtPlanNode, "heterogeneity", text)
        assert host.calculateDoseInfluenceMatrix(rtPlanNode) == ""
        dose = influence_matrix(beamNodes(rtPlanNode)[0]).sum(axis=1).reshape(phantom.grid.shape)
        sums.append(dose[phantom.structure("PTV").mask].mean())
    # water stops more than a light organ before the target
    assert sums[1] < 0.98 * sums[0]
    node = objective(loaded[0].scene, loaded[2], "Uniform dose", "PTV", Dose_Gy=40.0)
    assert host.optimizePlan(rtPlanNode, [node]) == ""
    # the light organ's density is another patient
    setDensityOverrides(loaded[2], {})
    assert "the patient" in host.optimizePlan(rtPlanNode, [node])


def test_beams_without_dose_influence_are_told(slicerrt, loaded):
    rtPlanNode = there(loaded, box_plan(field("A")))
    rtPlanNode.SetPlanOptimizerName("RTPlanning")
    node = objective(loaded[0].scene, loaded[2], "Uniform dose", "PTV")
    assert "Beam A has no dose influence of RTPlanning" in host.optimizePlan(rtPlanNode, [node])


def test_without_slicerrt_nothing_happens(repository, tmp_path):
    """Our modules start where SlicerRT is missing, without a word."""
    script = tmp_path / "start.py"
    script.write_text(
        "import sys, types\n"
        "slicer = types.ModuleType('slicer')\n"
        "slicer.modules = types.SimpleNamespace()\n"
        "sys.modules['slicer'] = slicer\n"
        "from RTPlanningLib.slicerrt.registration import registerInSlicerRT\n"
        "assert registerInSlicerRT() == ()\n"
        "assert vars(slicer.modules) == {}, vars(slicer.modules)\n"
        "heavy = [n for n in ('numpy', 'numba', 'scipy', 'vtk', 'qt') if n in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    run = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_missing_packages_are_asked_for_when_they_are_needed(slicerrt, loaded, monkeypatch):
    from DoseEngineLib.widget.packages import DOSE_PACKAGES

    asked = []
    for name in ("scripted_dose_engine", "RTPlanningPlanOptimizer"):
        module = sys.modules[f"RTPlanningLib.slicerrt.{name}"]
        monkeypatch.setattr(module, "ensurePackages", lambda packages, requester: asked.append(packages))
    rtPlanNode = there(loaded, box_plan(field("A")))
    rtPlanNode.SetPlanOptimizerName("RTPlanning")
    assert asked == []
    assert host.calculateDose(rtPlanNode) == ""
    assert host.calculateDoseInfluenceMatrix(rtPlanNode) == ""
    assert host.optimizePlan(rtPlanNode, []) != ""
    assert asked == [DOSE_PACKAGES] * 3


def test_engines_are_offered_before_the_desktop_has_their_packages(repository):
    script = (
        "import sys\n"
        "for name in ('numba', 'jsonschema', 'pydicom', 'matplotlib', 'jinja2'): sys.modules[name] = None\n"
        "import pytest, slicer\n"
        "from RTPlanningLib.headless import HeadlessSlicer\n"
        "with HeadlessSlicer(), pytest.MonkeyPatch.context() as patch:\n"
        "    import slicerrt_host as host\n"
        "    host.install(patch)\n"
        "    from RTPlanningLib.slicerrt.registration import registerInSlicerRT\n"
        "    registerInSlicerRT()\n"
        "    host.enter()\n"
        "    print(len(host.engines()), len(host.optimizers()['RTPlanning'].availableObjectives()))\n"
    )
    folder = repository / "Testing" / "Mrml"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder)
    assert (run.stdout.strip(), run.stderr) == ("2 10", "")


def test_a_broken_slicerrt_does_not_stop_slicer(monkeypatch, scene, caplog, tmp_path):
    package = tmp_path / "DoseEngines"
    package.mkdir()
    (package / "__init__.py").write_text("import something_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert registerInSlicerRT() == ()
    assert "DoseEngines cannot be imported" in caplog.text
