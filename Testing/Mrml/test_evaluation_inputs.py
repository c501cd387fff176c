"""Structures and doses from wherever they come: surfaces, contours without a CT, folders, runs of our own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import slicer
import vtk
from dicom_factory import Roi, rectangle, synthetic_ct, synthetic_structure_set, uid, write
from test_evaluation_workflow import GRID, RADIUS, dicom, dose_file, segmentation_file

from DoseEngineLib.closed_surface import ClosedSurface
from DoseEngineLib.contour_stack import ContourStack
from DoseEngineLib.errors import CaseError
from RTPlanningLib import cli
from RTPlanningLib.evaluation_inputs import read_dose_input, read_structures
from RTPlanningLib.evaluation_workflow import evaluate_dose

BALL_MM = 10.0
CENTRE_RAS = (4.0, -3.0, 2.0)
MIDDLE_RAS = GRID.centres_RAS_mm().mean(axis=(0, 1, 2))


def ball(radius: float = BALL_MM, centre=CENTRE_RAS, hole: bool = False):
    source = vtk.vtkSphereSource()
    source.SetCenter(*centre)
    source.SetRadius(radius)
    source.SetThetaResolution(64)
    source.SetPhiResolution(64)
    if hole:
        source.SetEndPhi(150.0)
    source.Update()
    return source.GetOutput()


def ball_volume_cm3() -> float:
    mass = vtk.vtkMassProperties()
    mass.SetInputData(ball())
    return mass.GetVolume() / 1000.0


def planar(radius: float, heights, centre=CENTRE_RAS, repeat_first: bool = True):
    """Closed lines in axial planes, as SlicerRT keeps contours."""
    points, lines = vtk.vtkPoints(), vtk.vtkCellArray()
    angles = np.linspace(0.0, 2.0 * np.pi, 120, endpoint=False)
    for z in heights:
        first = points.GetNumberOfPoints()
        for angle in angles:
            points.InsertNextPoint(centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle), z)
        corners = [*range(first, first + len(angles)), *([first] if repeat_first else [])]
        lines.InsertNextCell(len(corners), corners)
    polyData = vtk.vtkPolyData()
    polyData.SetPoints(points)
    polyData.SetLines(lines)
    return polyData


def segmentation(path: Path, kind: str, **meshes) -> Path:
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "structures")
    node.GetSegmentation().SetSourceRepresentationName(kind)
    for name, mesh in meshes.items():
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.SetColor(0.1, 0.2, 0.9)
        segment.AddRepresentation(kind, mesh)
        node.GetSegmentation().AddSegment(segment, name)
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    return path


def model(path: Path, mesh) -> Path:
    """A model as Slicer writes it: in LPS, and it says so."""
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", path.stem)
    node.SetAndObservePolyData(mesh)
    storage = scene.AddNewNodeByClass("vtkMRMLModelStorageNode")
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    return path


def plain_vtp(path: Path, mesh) -> Path:
    writer = vtk.vtkXMLPolyDataWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(mesh)
    assert writer.Write()
    return path


@pytest.fixture
def dose(scene, tmp_path) -> Path:
    return dose_file(scene, tmp_path, np.where(RADIUS < 20.0, 60.0, 10.0))


# Surfaces


@pytest.mark.parametrize("ending", ["seg.vtm", "vtp", "vtk", "stl", "obj", "ply"])
def test_surfaces_lie_where_slicer_put_them(ending, tmp_path):
    path = tmp_path / f"Ball.{ending}"
    if ending == "seg.vtm":
        segmentation(path, "Closed surface", Ball=ball())
    else:
        model(path, ball())
    found = read_structures(path)
    (structure,) = found.structures
    assert found.case is None
    assert structure.name == "Ball"
    assert isinstance(structure.outline, ClosedSurface)
    assert structure.outline.volume_cm3 == pytest.approx(ball_volume_cm3(), rel=1e-5)
    assert structure.centroid_RAS_mm() == pytest.approx(CENTRE_RAS, abs=0.05)


def test_one_surface_of_a_segmentation_is_in_its_space_and_has_its_name(tmp_path):
    path = segmentation(tmp_path / "all.seg.vtm", "Closed surface", Ball=ball())
    (structure,) = read_structures(path.with_suffix("") / "all.seg_0.vtp").structures
    assert structure.name == "Ball"
    assert structure.centroid_RAS_mm() == pytest.approx(CENTRE_RAS, abs=0.05)


def test_a_surface_without_a_space_is_taken_for_lps_and_that_is_said(tmp_path):
    found = read_structures(plain_vtp(tmp_path / "Ball.vtp", ball()))
    assert found.structures[0].centroid_RAS_mm() == pytest.approx((-4.0, 3.0, 2.0), abs=0.05)
    assert any("does not name its space" in note for note in found.notes)


def test_several_surfaces_and_a_folder_of_them(tmp_path):
    paths = [model(tmp_path / "One.vtp", ball()), model(tmp_path / "Two.vtp", ball(4.0))]
    assert [s.name for s in read_structures(paths).structures] == ["One", "Two"]
    assert [s.name for s in read_structures(tmp_path).structures] == ["One", "Two"]
    again = read_structures([paths[0], model(tmp_path / "One.stl", ball())])
    assert [s.name for s in again.structures] == ["One", "One (2)"]
    assert any("one was called One (2)" in note for note in again.notes)


def test_a_surface_with_a_hole_is_filled_by_slicer_and_that_is_said(tmp_path):
    path = segmentation(tmp_path / "s.seg.vtm", "Closed surface", Torn=ball(hole=True), Ball=ball(4.0))
    found = read_structures(path)
    torn = next(s for s in found.structures if s.name == "Torn")
    assert torn.outline is None
    assert 0.5 * ball_volume_cm3() < torn.volume_cm3 < 1.02 * ball_volume_cm3()
    assert any(note.startswith("Torn: its DVH is that of voxels") for note in found.notes)


def test_split_points_and_turned_triangles_are_no_holes(tmp_path):
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputData(ball())
    normals.SetFeatureAngle(1.0)
    normals.SplittingOn()
    normals.Update()
    split = normals.GetOutput()
    assert split.GetNumberOfPoints() > ball().GetNumberOfPoints()
    split.ReverseCell(10)
    (structure,) = read_structures(segmentation(tmp_path / "s.seg.vtm", "Closed surface", Ball=split)).structures
    assert structure.outline.volume_cm3 == pytest.approx(ball_volume_cm3(), rel=1e-5)


def test_contours_in_a_segmentation_file_are_contours(tmp_path):
    heights = np.arange(-9.0, 9.1, 3.0)
    path = segmentation(
        tmp_path / "s.seg.vtm",
        "Planar contour",
        Tube=planar(8.0, heights),
        Dot=planar(3.0, [0.0], repeat_first=False),
    )
    found = read_structures(path)
    tube, dot = found.structures
    assert isinstance(tube.outline, ContourStack)
    assert tube.outline.volume_cm3 == pytest.approx(np.pi * 64.0 * 21.0 / 1000.0, rel=1e-3)
    # a single contour is as thick as the slices of the others
    assert dot.outline.volume_cm3 == pytest.approx(np.pi * 9.0 * 3.0 / 1000.0, rel=1e-3)
    assert any("3 mm apart" in note for note in found.notes)
    bare = read_structures(path, end_caps="none")
    assert bare.structures[0].outline.volume_cm3 == pytest.approx(np.pi * 64.0 * 18.0 / 1000.0, rel=1e-3)
    assert bare.structures[1].outline.volume_cm3 == pytest.approx(dot.outline.volume_cm3)
    assert any("slice thick all the same: Dot" in note for note in bare.notes)
    with pytest.raises(CaseError, match="half or none"):
        read_structures(path, end_caps="full")


def test_nothing_that_encloses_a_volume_is_refused(tmp_path):
    disk = vtk.vtkDiskSource()
    disk.Update()
    path = segmentation(tmp_path / "s.seg.vtm", "Closed surface", Flat=disk.GetOutput())
    with pytest.raises(CaseError, match="encloses a volume"):
        read_structures(path)
    (tmp_path / "broken.vtp").write_text("no surface", encoding="utf-8")
    with pytest.raises(CaseError, match="could not be read"):
        read_structures(tmp_path / "broken.vtp")


def test_surfaces_are_evaluated_and_pairs_joined_beyond_their_own_grids(dose, tmp_path, capsys):
    # the two lie on grids that do not meet
    left, right = (ball(6.0, MIDDLE_RAS + (side, 0.0, 0.0)) for side in (-14.0, 14.0))
    path = segmentation(tmp_path / "s.seg.vtm", "Closed surface", Kidney_L=left, Kidney_R=right)
    out = tmp_path / "out"
    code = cli.main(f"evaluate {dose} --structures {path} --template teaching --prescription 60 --out {out}".split())
    said = capsys.readouterr().out
    assert code == cli.OK, said
    output = evaluate_dose(dose, tmp_path / "again", structures=path, templates=["teaching"], prescription_Gy=60.0)
    both = output.evaluation.dvhs["Kidney_L + Kidney_R"]
    each = [output.evaluation.dvhs[name] for name in ("Kidney_L", "Kidney_R")]
    assert both.volume_cm3 == pytest.approx(sum(one.volume_cm3 for one in each), rel=0.01)
    assert both.mean_Gy == pytest.approx(np.mean([one.mean_Gy for one in each]), rel=0.01)
    header, *rows = (out / "dvh.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("Kidney_L Dose (Gy),Kidney_L Value (% of ")
    assert rows[1].startswith("0.010000,100.000000")
    assert "Dose and structures, without a CT, through the largest dose" in (out / "evaluation.html").read_text("utf-8")


def test_a_structure_partly_outside_the_dose_is_said_to_be(dose, tmp_path):
    path = segmentation(tmp_path / "s.seg.vtm", "Closed surface", Edge=ball(10.0, MIDDLE_RAS + (30.0, 0.0, 0.0)))
    output = evaluate_dose(dose, tmp_path / "out", structures=path, goals=["Edge Mean < 70 Gy"])
    assert any(note.startswith("Only 50.0 % of Edge") for note in output.evaluation.notes)
    assert output.evaluation.goals[0].result.passed is None


# DICOM without a CT


def contoured(folder: Path) -> tuple[Path, Path, Path]:
    """A dose, a folder with CT and structure set, and a copy of the structure set alone."""
    dose = dicom(folder, SeriesInstanceUID=uid("dose series"))
    alone = folder / "alone" / "rs.dcm"
    alone.parent.mkdir()
    shutil.copy(folder / "ct" / "rs.dcm", alone)
    return dose, folder / "ct", alone


def test_a_structure_set_needs_no_ct(tmp_path):
    dose, with_ct, alone = contoured(tmp_path)
    by_ct = evaluate_dose(dose, tmp_path / "a", structures=with_ct)
    for n, place in enumerate((alone, alone.parent)):
        by_contours = evaluate_dose(dose, tmp_path / f"b{n}", structures=place)
        assert list(by_contours.evaluation.dvhs) == list(by_ct.evaluation.dvhs) == ["Heart", "Cord"]
        for name, dvh in by_ct.evaluation.dvhs.items():
            other = by_contours.evaluation.dvhs[name]
            assert other.sampled_from == dvh.sampled_from == "contours"
            assert other.volume_cm3 == pytest.approx(dvh.volume_cm3, rel=1e-6)
            assert other.mean_Gy == pytest.approx(dvh.mean_Gy, rel=1e-5)
        assert any("known by their contours alone" in note for note in by_contours.evaluation.notes)


def test_a_ct_of_one_slice_is_none_and_a_whole_one_may_be_left_aside(tmp_path):
    dose, with_ct, alone = contoured(tmp_path)
    assert "CT, dose and structures" in page(dose, with_ct, tmp_path / "a")
    assert "Dose and structures, without a CT" in page(dose, with_ct, tmp_path / "b", contours_only=True)
    one = synthetic_ct()
    one.slices = one.slices[:1]
    one.write(alone.parent)
    text = page(dose, alone.parent, tmp_path / "c")
    assert "The CT of alone has 1 slice." in text


def page(dose: Path, structures: Path, out: Path, **options) -> str:
    evaluate_dose(dose, out, structures=structures, target="Heart", **options)
    return (out / "evaluation.html").read_text(encoding="utf-8")


def test_end_caps_change_contours_with_a_ct_too(tmp_path):
    _, with_ct, _ = contoured(tmp_path)
    half = read_structures(with_ct).structures[0].outline
    none = read_structures(with_ct, end_caps="none").structures[0].outline
    planes = len(half.planes_mm)
    assert none.volume_cm3 / half.volume_cm3 == pytest.approx((planes - 1) / planes, rel=1e-6)


def test_contours_of_another_frame_are_refused(tmp_path):
    _, _, alone = contoured(tmp_path)
    with pytest.raises(CaseError, match="frame of reference"):
        read_structures(alone, frame_of_reference_uid=uid("another"))


def test_a_structure_on_one_slice_only_has_the_thickness_of_the_others(tmp_path):
    ct = synthetic_ct()
    x, y = (float(n) for n in ct.slices[0].ImagePositionPatient[:2])
    heights = [float(one.ImagePositionPatient[2]) for one in ct.slices]
    rois = [
        Roi("Thick", [rectangle((x + 4, x + 14), (y + 4, y + 14), z) for z in heights[1:-1]]),
        Roi("Thin", [rectangle((x + 4, x + 14), (y + 4, y + 14), heights[2])]),
    ]
    path = write(synthetic_structure_set(rois, ct), tmp_path / "rs.dcm")
    thick, thin = read_structures(path).structures
    assert thin.outline.volume_cm3 == pytest.approx(10 * 10 * 3 / 1000.0, rel=1e-6)
    assert thick.outline.volume_cm3 == pytest.approx(len(heights[1:-1]) * thin.outline.volume_cm3, rel=1e-6)


# Folders


def test_a_folder_with_one_dose_and_its_structures(scene, tmp_path, capsys):
    folder = tmp_path / "plan"
    folder.mkdir()
    dose_file(scene, folder, np.where(RADIUS < 20.0, 60.0, 10.0))
    segmentation_file(scene, folder)
    assert cli.main(f"evaluate {folder} --out {tmp_path / 'out'}".split()) == cli.OK
    capsys.readouterr()
    assert "PTV Dose (Gy)" in (tmp_path / "out" / "dvh.csv").read_text(encoding="utf-8")
    shutil.copy(folder / "dose.nrrd", folder / "dose_2.nrrd")
    with pytest.raises(CaseError, match=r"holds 2 volumes \(dose.nrrd, dose_2.nrrd\)"):
        read_dose_input(folder)
    shutil.copy(folder / "structures.seg.nrrd", folder / "more.seg.nrrd")
    with pytest.raises(CaseError, match="holds 2 segmentations"):
        read_structures(folder)


def test_a_dicom_folder_with_everything(tmp_path):
    dose, with_ct, _ = contoured(tmp_path)
    shutil.move(dose, with_ct / "rd.dcm")
    output = evaluate_dose(with_ct, tmp_path / "out")
    assert set(output.evaluation.dvhs) == {"Heart", "Cord"}


def test_doses_of_single_beams_are_no_doses_of_the_plan(tmp_path):
    dose, with_ct, _ = contoured(tmp_path)
    shutil.move(dose, with_ct / "plan.dcm")
    (tmp_path / "beam").mkdir()
    beam = dicom(tmp_path / "beam", SeriesInstanceUID=uid("beam series"), DoseSummationType="BEAM")
    shutil.move(beam, with_ct / "beam.dcm")
    assert read_dose_input(with_ct).dose.provenance["file"] == "plan.dcm"
    shutil.copy(with_ct / "plan.dcm", with_ct / "again.dcm")
    with pytest.raises(CaseError, match=r"holds 2 RT Doses \(again.dcm, plan.dcm\)"):
        read_dose_input(with_ct)


def test_a_folder_without_a_dose_or_structures_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaseError, match="holds no dose"):
        read_dose_input(tmp_path / "empty")
    with pytest.raises(CaseError, match="holds no structures"):
        read_structures(tmp_path / "empty")


def test_a_dose_file_alone_asks_for_structures(dose, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(f"evaluate {dose} --out {tmp_path / 'out'}".split())
    assert stopped.value.code == cli.USAGE
    assert "--structures or --case" in capsys.readouterr().err


def test_structures_are_left_out_as_asked(tmp_path):
    _, with_ct, alone = contoured(tmp_path)
    surfaces = segmentation(tmp_path / "s.seg.vtm", "Closed surface", Cord=ball(), Heart=ball(4.0))
    for place in (with_ct, alone, surfaces):
        found = read_structures(place, skip=["Cord"])
        assert [one.name for one in found.structures] == ["Heart"]
        assert "Cord: left out as asked." in found.notes
        with pytest.raises(CaseError, match="no structure Spleen"):
            read_structures(place, skip=["Spleen"])


def test_a_broken_contour_can_be_left_out(tmp_path, capsys):
    dose, _, alone = contoured(tmp_path)
    dataset = pydicom.dcmread(alone)
    dataset.ROIContourSequence[1].ContourSequence[0].ContourData = ["0", "0", "0", "1"]
    dataset.save_as(alone)
    arguments = f"evaluate {dose} --structures {alone} --out {tmp_path / 'out'}"
    assert cli.main(arguments.split()) == cli.FAILED
    assert "The contour is broken" in capsys.readouterr().err
    assert cli.main([*arguments.split(), "--skip", "Cord"]) == cli.OK
    assert "Cord" not in (tmp_path / "out" / "dvh.csv").read_text(encoding="utf-8")
