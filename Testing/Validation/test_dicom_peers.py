"""Exported DICOM objects as other programs read them: plastimatch (CT, structures, dose) and pymedphys (dose)."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from conftest import missing
from scipy import ndimage

from DoseEngineLib.dvh import calculate_dvh
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Beam, Plan, Prescription, Structure
from RTPlanningLib.case import Case
from RTPlanningLib.dicom import DoseToExport, export_dicom, read_case
from RTPlanningLib.dicom.rt_dose import read_rt_dose

GRID = Grid.from_spacing((14, 40, 44), (1.5, 1.2, 3.0), (20.3, 31.7, -12.9), np.diag((-1.0, -1.0, 1.0)))
PLAN = Plan("Box", (Beam.open_field("AP"),), Prescription(60.0, 30, "PTV", normalization="none"))


def ball(offset, radius_mm: float) -> np.ndarray:
    centre = (np.array(GRID.shape[::-1]) - 1) / 2 + offset
    return np.linalg.norm(GRID.centres_RAS_mm() - GRID.index_to_ras(centre), axis=-1) <= radius_mm


def structures() -> tuple[Structure, ...]:
    """A body with a hole and an island in it, two pieces, a thin shell, one voxel."""
    voxel = np.zeros(GRID.shape, bool)
    voxel[3, 4, 5] = True
    shell = ball((0, 0, 0), 15.0)
    return (
        Structure("BODY", ball((0, 0, 0), 17.0) & ~ball((1, 2, 0), 10.0) | ball((1, 2, 0), 5.0), GRID, "EXTERNAL"),
        Structure("PTV", ball((-8, 0, 0), 6.0) | ball((8, 3, 0), 6.5), GRID, "PTV"),
        Structure("Shell", shell & ~ndimage.binary_erosion(shell), GRID),
        Structure("Marker", voxel, GRID),
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[Case, np.ndarray, Path]:
    hu = np.random.default_rng(1).integers(-1000, 3000, GRID.shape).astype(np.int16)
    case = Case("peers", hu, GRID, structures())
    r, a, s = np.moveaxis(GRID.centres_RAS_mm() - GRID.index_to_ras((20.0, 18.0, 6.0)), -1, 0)
    dose = (60.0 * np.exp(-(r**2 + a**2 + s**2) / (2 * 15.0**2))).astype(np.float32)
    folder = tmp_path_factory.mktemp("peers") / "out"
    export_dicom(case, folder, plan=PLAN, doses=[DoseToExport(dose, GRID)])
    return case, dose, folder


def nrrd(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values (k, j, i), origin and spacing (LPS) of a volume file of plastimatch's (axial)."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkIOImage import vtkNrrdReader

    reader = vtkNrrdReader()
    reader.SetFileName(str(path))
    reader.Update()
    image = reader.GetOutput()
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    return values, np.array(image.GetOrigin()), np.array(image.GetSpacing())


def test_plastimatch_reads_the_same_ct_structures_and_dose(exported, tmp_path):
    if shutil.which("plastimatch") is None:
        missing("plastimatch is missing; install it (apt install plastimatch).")
    case, dose, folder = exported
    ran = subprocess.run(
        ["plastimatch", "convert", "--input", str(folder), "--output-img", str(tmp_path / "ct.nrrd"),
         "--output-dose-img", str(tmp_path / "dose.nrrd"), "--output-prefix", str(tmp_path / "masks"),
         "--prefix-format", "nrrd"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    values, origin, spacing = nrrd(tmp_path / "ct.nrrd")
    np.testing.assert_array_equal(values, case.hu)
    # LPS and RAS differ in the sign of the first two
    np.testing.assert_allclose(origin, GRID.origin_RAS_mm * (-1, -1, 1), atol=1e-4)
    np.testing.assert_allclose(spacing, GRID.spacing_mm, atol=1e-5)
    read_dose, origin, spacing = nrrd(tmp_path / "dose.nrrd")
    np.testing.assert_allclose(read_dose, dose, atol=1e-6 * dose.max(), rtol=0)
    np.testing.assert_allclose(origin, GRID.origin_RAS_mm * (-1, -1, 1), atol=1e-4)
    np.testing.assert_allclose(spacing, GRID.spacing_mm, atol=1e-5)
    ours = {structure.name: structure for structure in read_case(folder).structures}
    for structure in case.structures:
        mask = nrrd(tmp_path / "masks" / f"{structure.name}.nrrd")[0] > 0
        # plastimatch fills contour by contour; holes and islands are there all the same
        np.testing.assert_array_equal(mask, structure.mask, err_msg=structure.name)
        if structure.name == "Marker":
            continue
        theirs = calculate_dvh(read_dose, GRID, Structure(structure.name, mask, GRID))
        voxels = calculate_dvh(dose, GRID, replace(ours[structure.name], outline=None))
        contours = calculate_dvh(dose, GRID, ours[structure.name])
        # contours run smoothly where voxels have steps, which for structures of a few voxels is another shape
        for own, tolerance in ((voxels, 1e-6), (contours, 0.01)):
            assert own.volume_cm3 == pytest.approx(theirs.volume_cm3, rel=2e-4)
            assert own.mean_Gy == pytest.approx(theirs.mean_Gy, rel=tolerance)
            assert own.dose_at_volume_percent(50.0) == pytest.approx(theirs.dose_at_volume_percent(50.0), rel=tolerance)


def test_pymedphys_reads_the_same_dose(exported):
    try:
        from pymedphys import dicom as pymedphys_dicom
    except ImportError as error:
        missing(f'pymedphys cannot be imported ({error}): pip install ".[test]" brings it.')
    _, dose, folder = exported
    dataset = pydicom.dcmread(folder / "RTDOSE.dcm")
    (z, y, x), values = pymedphys_dicom.zyx_and_dose_from_dataset(dataset)
    np.testing.assert_allclose(values, dose, atol=1e-6 * dose.max(), rtol=0)
    centres = GRID.centres_RAS_mm() * (-1.0, -1.0, 1.0)
    np.testing.assert_allclose(x, centres[0, 0, :, 0], atol=1e-6)
    np.testing.assert_allclose(y, centres[0, :, 0, 1], atol=1e-6)
    np.testing.assert_allclose(z, centres[:, 0, 0, 2], atol=1e-6)


def test_pydicom_reads_the_dose_as_we_do(exported):
    _, dose, folder = exported
    dataset = pydicom.dcmread(folder / "RTDOSE.dcm")
    read = read_rt_dose(folder / "RTDOSE.dcm").dose
    np.testing.assert_array_equal(
        (dataset.pixel_array.astype(float) * float(dataset.DoseGridScaling)).astype(np.float32), read.dose_Gy
    )
    np.testing.assert_allclose(read.dose_Gy, dose, atol=1e-6 * dose.max(), rtol=0)
