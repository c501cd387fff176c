"""DICOM folders into a scene: what was exported comes back, with and without SlicerRT, and all of it or nothing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import slicer
from pydicom import dcmread

from DoseEngineLib.errors import Cancelled, CaseError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.mrml.dose_volume import DOSE_TO, DOSE_VOLUME, provenanceOf
from DoseEngineLib.mrml.plan_node import BEAM_MODEL, BEAM_NAME, referencedNodes
from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
from DoseEngineLib.mrml.subject_hierarchy import createPatient, createStudy, hierarchyNode, placeNode, studyOf
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume, setVolumeFromArray
from DoseEngineLib.plan import Aperture, Beam, ControlPoint, Plan, Prescription, Structure
from RTPlanningLib.case import Case
from RTPlanningLib.dicom.export import export_dicom
from RTPlanningLib.dicom.identity import new_uid
from RTPlanningLib.dicom.rt_dose_writer import DoseToExport
from RTPlanningLib.dicom.structure_set import read_contoured_structures
from RTPlanningLib.logic import RTPlanningLogic
from RTPlanningLib.mrml.dose_distribution_nodes import knownFractions, quantityOf

GRID = Grid.from_spacing((14, 20, 22), 5.0, (52.0, 48.0, -33.0), np.diag([-1.0, -1.0, 1.0]))
DOSE_GRID = Grid.from_spacing((12, 16, 18), 6.0, (50.0, 45.0, -32.0), np.diag([-1.0, -1.0, 1.0]))

SKIPPED = "Files that are not DICOM were skipped (1): manifest.json."
DENSITY = "PTV: its mass density is 1.05 g/cm3, as the structure set assigns it."


def dose_Gy(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.0, 22.0, DOSE_GRID.shape).astype(np.float32)


def make_case() -> Case:
    body, target = np.zeros(GRID.shape, bool), np.zeros(GRID.shape, bool)
    body[1:13, 2:18, 2:20] = True
    target[5:9, 8:13, 9:14] = True
    structures = (Structure("External", body, GRID, "EXTERNAL"), Structure("PTV", target, GRID, "PTV", (1.0, 0.0, 0.0)))
    hu = np.where(body, 7, -1000).astype(np.int16)
    return Case(
        "Box",
        hu,
        GRID,
        structures,
        patient_id="B-1",
        patient_name="Box^B",
        density_overrides_g_cm3={"PTV": 1.05},
    )


def make_plan(case: Case) -> Plan:
    isocenter = tuple(case.structure("PTV").centroid_RAS_mm())
    points = tuple(
        ControlPoint(
            30.0 + 4.0 * n,
            10.0,
            350.0,
            Aperture((-40, 45), (-30, 30), tuple((-20.0 + 5 * n, 5.0 + 6 * n) for _ in range(60))),
            n / 2,
        )
        for n in range(3)
    )
    side = Beam.open_field(
        "Side", gantry_deg=270.0, jaw_x_mm=(-20, 20), jaw_y_mm=(-20, 20), isocenter_RAS_mm=isocenter, meterset_MU=60.25
    )
    arc = Beam("Arc", points, isocenter, meterset_MU=180.5)
    return Plan("Two beams", (arc, side), Prescription(20.0, 10, "PTV", "none"), "HFS")


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A folder with CT, RTSTRUCT, RTPLAN and three RTDOSEs."""
    case = make_case()
    doses = [
        DoseToExport(dose_Gy(1), DOSE_GRID, comment="Dose to medium, test 1"),
        DoseToExport(dose_Gy(2), DOSE_GRID, beam_number=2, name="RTDOSE_beam_02"),
        DoseToExport(dose_Gy(3), DOSE_GRID, "EFFECTIVE", name="RTDOSE_EQD2", comment="EQD2, alpha/beta 3 Gy"),
    ]
    folder = tmp_path_factory.mktemp("exported") / "dicom"
    export_dicom(case, folder, plan=make_plan(case), doses=doses)
    return folder


@pytest.fixture
def folder(exported, tmp_path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(exported, tmp_path / "dicom"))


@pytest.fixture
def logic(scene):
    """The planning logic on a fresh scene."""
    return RTPlanningLogic(scene)


def change(file: Path, work, name: str | None = None) -> None:
    dataset = dcmread(file)
    work(dataset)
    dataset.save_as(file.with_name(name or file.name))


def content(scene) -> tuple[list[str], int]:
    nodes = sorted(scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes()))
    return nodes, hierarchyNode(scene).GetNumberOfItems()


def check_imported(logic, imported) -> None:
    """Everything is as it was exported."""
    case, plan = make_case(), make_plan(make_case())
    read = logic.caseFromNodes(imported.volumeNode, imported.segmentationNode)
    np.testing.assert_array_equal(read.hu, case.hu)
    assert [(s.name, s.role) for s in read.structures] == [(s.name, s.role) for s in case.structures]
    for before, after in zip(case.structures, read.structures, strict=True):
        dice = 2.0 * np.count_nonzero(before.mask & after.mask) / (before.mask.sum() + after.mask.sum())
        assert dice >= 0.995
    assert read.density_overrides_g_cm3 == {"PTV": 1.05}
    (planNode,) = imported.planNodes
    back = logic.planFromNode(planNode)
    assert (back.name, back.patient_position, back.prescription) == (plan.name, "HFS", plan.prescription)
    for ours, theirs in zip(plan.beams, back.beams, strict=True):
        assert (theirs.name, theirs.meterset_MU) == (ours.name, ours.meterset_MU)
        np.testing.assert_allclose(theirs.isocenter_RAS_mm, ours.isocenter_RAS_mm, rtol=0, atol=1e-6)
        assert theirs.control_points == ours.control_points
    assert len(referencedNodes(planNode, BEAM_MODEL)) == 2
    whole, effective, beam = imported.doseNodes
    for node, seed in ((whole, 1), (beam, 2), (effective, 3)):
        assert gridFromVolume(node).is_same_as(DOSE_GRID, 1e-6)
        np.testing.assert_allclose(arrayFromVolume(node), dose_Gy(seed), rtol=0, atol=1e-6)
        assert node.GetAttribute(DOSE_VOLUME) == "1"
        assert knownFractions(node) == 10
        hierarchy = hierarchyNode(node.GetScene())
        study = studyOf(node)
        assert study == studyOf(imported.volumeNode) == studyOf(planNode)
        assert hierarchy.GetItemAttribute(study, "DicomRtImport.DoseUnitName") == "GY"
        assert hierarchy.GetItemAttribute(study, "DicomRtImport.DoseUnitValue") == "1.0"
    assert whole.GetAttribute(DOSE_TO) == "medium"
    assert [quantityOf(node) for node in (whole, beam, effective)] == ["physical dose", "physical dose", "EQD2"]
    assert beam.GetAttribute(BEAM_NAME) == "Side"
    assert provenanceOf(whole)["file"] == "RTDOSE.dcm"


def test_what_was_exported_comes_back(logic, exported):
    imported = logic.importDicom(exported)
    check_imported(logic, imported)
    assert imported.notes == (SKIPPED, DENSITY)
    assert [node.GetName() for node in imported.doseNodes] == [
        "Two beams_RTDOSE",
        "Two beams_RTDOSE_EQD2",
        "Two beams_Side_RTDOSE_beam_02",
    ]


def test_a_ct_alone_and_what_was_chosen(logic, folder):
    chosen = logic.importDicom(folder, plan_uids=(), dose_uids=[dcmread(folder / "RTDOSE.dcm").SOPInstanceUID])
    assert chosen.planNodes == ()
    assert [node.GetName() for node in chosen.doseNodes] == ["RTDOSE"]
    assert knownFractions(chosen.doseNodes[0]) is None
    with pytest.raises(CaseError, match=r"no plan 1\.2\.3 in .*there are"):
        logic.importDicom(folder, plan_uids=["1.2.3"])
    for file in folder.glob("RT*.dcm"):
        file.unlink()
    alone = logic.importDicom(folder)
    assert (alone.planNodes, alone.doseNodes) == ((), ())
    assert alone.segmentationNode.GetSegmentation().GetNumberOfSegments() == 0
    assert any("no structure set" in note for note in alone.notes)


def test_several_plans_and_what_is_left_out_is_said(logic, folder):
    def another(dataset):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = new_uid()
        dataset.RTPlanName = dataset.RTPlanLabel = "Boost"

    def setup_beam(dataset):
        another(dataset)
        dataset.RTPlanName = dataset.RTPlanLabel = "With picture"
        dataset.BeamSequence[1].TreatmentDeliveryType = "SETUP"
        dataset.BeamSequence[1].BeamName = "kV"

    def elsewhere(dataset):
        another(dataset)
        dataset.FrameOfReferenceUID = "1.2.3"

    def ions(dataset):
        another(dataset)
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.8"

    def relative(dataset):
        another(dataset)
        dataset.DoseUnits = "RELATIVE"

    change(folder / "RTPLAN.dcm", another, "RTPLAN_2.dcm")
    change(folder / "RTPLAN.dcm", setup_beam, "RTPLAN_3.dcm")
    change(folder / "RTPLAN.dcm", elsewhere, "RTPLAN_4.dcm")
    change(folder / "RTPLAN.dcm", ions, "RTPLAN_5.dcm")
    change(folder / "RTDOSE.dcm", relative, "RTDOSE_2.dcm")
    change(folder / "RTDOSE.dcm", elsewhere, "RTDOSE_3.dcm")

    def on_other_structures(dataset):
        dataset.ReferencedStructureSetSequence[0].ReferencedSOPInstanceUID = "1.2.3.9"

    change(folder / "RTPLAN_2.dcm", on_other_structures)
    imported = logic.importDicom(folder)
    assert [node.GetName() for node in imported.planNodes] == ["Two beams", "Boost", "With picture"]
    assert len(imported.doseNodes) == 3
    said = "\n".join(imported.notes)
    for words in ("With picture: ", "kV", "RTPLAN_4.dcm was left out", "ion plan", "RTDOSE_2.dcm was left out"):
        assert words in said
    assert "RTDOSE_3.dcm was left out" in said
    assert "Boost was made on another structure set (1.2.3.9)" in said
    uid = dcmread(folder / "RTPLAN_5.dcm").SOPInstanceUID
    with pytest.raises(CaseError, match="ion plan"):
        logic.importDicom(folder, plan_uids=[uid])
    shutil.copy(folder / "RTPLAN_2.dcm", folder / "copy.dcm")
    change(folder / "copy.dcm", lambda dataset: setattr(dataset, "RTPlanName", "Other"))
    with pytest.raises(CaseError, match="Two different plans have the same SOP Instance UID"):
        logic.importDicom(folder)


def test_a_failed_or_cancelled_import_leaves_nothing(logic, scene, folder, monkeypatch):
    before = content(scene)

    def cancel(fraction, text):
        if text.startswith("Dose"):
            raise Cancelled

    with pytest.raises(Cancelled):
        logic.importDicom(folder, progress=cancel)
    assert content(scene) == before
    import RTPlanningLib.mrml.dicom_import as dicom_import

    with monkeypatch.context() as broken:
        broken.setattr(dicom_import, "setQuantity", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            logic.importDicom(folder)
    assert content(scene) == before
    data = (folder / "RTDOSE.dcm").read_bytes()
    (folder / "RTDOSE.dcm").write_bytes(data[: len(data) // 2])
    with pytest.raises(CaseError, match=r"RTDOSE\.dcm"):
        logic.importDicom(folder)
    assert content(scene) == before
    with pytest.raises(CaseError, match="no folder"):
        logic.importDicom(folder / "nowhere")


class SlicerRt:
    """SlicerRT's plug-in as far as it is known: files in, loadables, one node each into the current scene."""

    factor = 1.0
    fails = False
    loaded: list[str]

    def examineForImport(self, fileLists):
        assert all(isinstance(file, str) for files in fileLists for file in files)
        return [SimpleNamespace(files=list(files), selected=True) for files in fileLists]

    def load(self, loadable) -> bool:
        (file,) = loadable.files
        scene = slicer.mrmlScene
        dataset = dcmread(file)
        assert dataset.Modality in ("RTSTRUCT", "RTDOSE")
        self.loaded.append(Path(file).name)
        if dataset.Modality == "RTSTRUCT":
            node = slicer.vtkMRMLSegmentationNode()
            node.SetName("1: RTSTRUCT: Box")
            node.SetAttribute("SlicerRT", "1")
            node = scene.AddNode(node)
            node.GetSegmentation().AddEmptySegment("PTV", "PTV")
            return not self.fails
        node = slicer.vtkMRMLScalarVolumeNode()
        node.SetName(f"2: RTDOSE: {Path(file).stem}")
        node.SetAttribute("SlicerRT", "1")
        node.SetAttribute("DicomRtImport.DoseVolume", "1")
        values = dataset.pixel_array * float(dataset.DoseGridScaling) * self.factor
        setVolumeFromArray(node, values.astype(np.float32), DOSE_GRID)
        scene.AddNode(node)
        # one of its own where it does not know the patient
        study = createStudy(scene, createPatient(scene, "No name"), "No study description")
        placeNode(node, study)
        return not self.fails


@pytest.fixture
def slicerRt(scene, monkeypatch):
    """A Slicer with SlicerRT."""
    plugin = type("Plugin", (SlicerRt,), {"loaded": []})
    monkeypatch.setattr(slicer.modules, "dicomPlugins", {"DicomRtImportExportPlugin": plugin}, raising=False)
    return plugin


def test_through_slicer_rt(logic, exported, slicerRt):
    imported = logic.importDicom(exported)
    check_imported(logic, imported)
    assert slicerRt.loaded == ["RTSTRUCT.dcm", "RTDOSE.dcm", "RTDOSE_EQD2.dcm", "RTDOSE_beam_02.dcm"]
    assert imported.notes == (SKIPPED, DENSITY)
    assert all(node.GetAttribute("SlicerRT") for node in (imported.segmentationNode, *imported.doseNodes))
    assert logic.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    hierarchy = hierarchyNode(logic.scene)
    assert not hierarchy.GetItemByName("No name")
    assert not hierarchy.GetItemByName("No study description")
    slicerRt.loaded.clear()
    logic.importDicom(exported, throughSlicerRT=False)
    assert slicerRt.loaded == []


def test_where_slicer_rt_fails_its_nodes_go(logic, exported, slicerRt, scene):
    slicerRt.fails = True
    imported = logic.importDicom(exported)
    check_imported(logic, imported)
    assert len([note for note in imported.notes if "SlicerRT could not load" in note]) == 4
    volumes = [scene.GetNthNodeByClass(n, "vtkMRMLScalarVolumeNode") for n in range(4)]
    assert not any(node.GetAttribute("SlicerRT") for node in volumes)


def test_where_slicer_rt_differs_the_file_counts(logic, exported, slicerRt):
    slicerRt.factor = 1.01
    imported = logic.importDicom(exported)
    check_imported(logic, imported)
    assert len([note for note in imported.notes if "reads RTDOSE" in note]) == 3


def test_an_imported_plan_goes_on(logic, exported, sphere_engine):
    imported = logic.importDicom(exported)
    (planNode,) = imported.planNodes
    planned = arrayFromVolume(imported.doseNodes[0])
    plan = logic.planFromNode(planNode)
    logic.updatePlan(planNode, replace(plan, engine=sphere_engine, dose_grid_spacing_mm=6.0))
    doseNode = logic.calculateDose(planNode)
    assert doseNode not in imported.doseNodes
    np.testing.assert_array_equal(arrayFromVolume(imported.doseNodes[0]), planned)
    assert logic.calculateDvh(planNode)["PTV"].mean_Gy > 0.0


def test_a_clinical_folder(logic, shared_data):
    imported = logic.importDicom(shared_data / "clinical" / "thorax_imrt")
    (planNode,) = imported.planNodes
    plan = logic.planFromNode(planNode)
    assert len(plan.beams) == 7
    assert plan.prescription.target == "PTV4140"
    assert imported.doseNodes == ()
    assert gridFromVolume(imported.volumeNode).shape[0] > 100
    assert "PTV4140" in imported.segmentationNode.GetSegmentation().GetSegmentIDs()
    said = "\n".join(imported.notes)
    for words in ("Left out, set-up beams", "calculated with generic_6mv", "taken to be PTV4140, the only PTV"):
        assert words in said


def check_without_ct(logic, folder, dose_file):
    imported = logic.importDicom(folder)
    assert (imported.volumeNode, imported.planNodes) == (None, ())
    assert imported.notes[0].startswith("There is no CT: ")
    assert any("cannot be calculated without a CT" in note and " MU" in note for note in imported.notes)
    dataset = dcmread(folder / dose_file)
    expected = (dataset.pixel_array * float(dataset.DoseGridScaling)).astype(np.float32)
    node = next(n for n in imported.doseNodes if provenanceOf(n)["file"] == dose_file)
    np.testing.assert_array_equal(np.sort(arrayFromVolume(node), axis=None), np.sort(expected, axis=None))
    i, j, k = 3, 5, 7
    spacing_mm = [float(value) for value in dataset.PixelSpacing]
    position = np.array(dataset.ImagePositionPatient, float)
    position += [i * spacing_mm[1], j * spacing_mm[0], float(dataset.GridFrameOffsetVector[k])]
    at = np.linalg.inv(gridFromVolume(node).affine) @ [-position[0], -position[1], position[2], 1.0]
    column, row, slice_ = np.rint(at[:3]).astype(int)
    np.testing.assert_allclose(at[:3], [column, row, slice_], atol=1e-3)
    assert arrayFromVolume(node)[slice_, row, column] == expected[k, j, i]
    assert studyOf(node) == studyOf(imported.segmentationNode) != 0
    return imported, structuresFromSegmentation(imported.segmentationNode, gridFromVolume(node))


def test_doses_and_structures_without_a_ct(logic, folder):
    for file in list(folder.rglob("*.dcm")):
        if dcmread(file, stop_before_pixels=True).Modality == "CT":
            file.unlink()
    _, structures = check_without_ct(logic, folder, "RTDOSE.dcm")
    assert [structure.name for structure in structures] == ["External", "PTV"]
    written = dcmread(next(folder.glob("RTSTRUCT*.dcm"))).ROIContourSequence[1].ContourSequence
    area_mm2 = 0.0
    for contour in written:
        x, y = np.array(contour.ContourData, float).reshape(-1, 3)[:, :2].T
        area_mm2 += abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2
    assert len(written) == 4
    # slices are 5 mm apart
    assert structures[1].outline.volume_cm3 == pytest.approx(area_mm2 * 5.0 / 1000.0, rel=1e-4)


def test_the_breast_set_whose_ct_is_one_slice(logic, shared_data):
    folder = shared_data / "clinical" / "breast_imrt_rtdose"
    imported, structures = check_without_ct(logic, folder, "rtdose.dcm")
    read, _ = read_contoured_structures(folder / "rtss.dcm")
    assert "has 1 CT slice," in imported.notes[0]
    assert [s.name for s in structures] == [s.name for s in read]
    for structure, drawn in zip(structures, read, strict=True):
        assert structure.outline.volume_cm3 == pytest.approx(drawn.outline.volume_cm3, rel=1e-4)
