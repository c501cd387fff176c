"""DVHs of a clinical prostate dose against those of two other systems, Eclipse and CERR.

The comparison is Ebert's (Phys. Med. Biol. 55 (2010) N337): a point of the reference curve agrees when the evaluated
curve passes within the ellipse of 1 % of the structure's volume and 1 % of the maximum dose around it. Bar: 99.5 % of
the points of every structure, for each system. SlicerRT reports 97.6 to 99.9 % of all points on the same data; here the
points where the reference is between 0.1 % and 99.9 % of the volume are judged by themselves too, since the long flat
ends agree anyway.

Measured, in % of points (counted between 0.1 and 99.9 % of the volume; in brackets: all), and volumes in cm3:

==============  =============  =============  =================================  ==================
structure       Eclipse        CERR           volume here / Eclipse / CERR       from a mask (E, C)
==============  =============  =============  =================================  ==================
BODY            99.9 (99.9)    100.0 (100.0)  10697.2 / 10593.0 / 10698.0        99.9, 100.0
Bladder         100.0 (100.0)  100.0 (100.0)  117.49 / 116.8 / 117.67            100.0, 100.0
Femoral head L  100.0 (99.9)   100.0 (100.0)  49.40 / 49.2 / 49.38               100.0, 100.0
Femoral head R  99.6 (99.9)    100.0 (100.0)  50.34 / 50.0 / 50.36               99.6, 100.0
PTV             100.0 (100.0)  100.0 (100.0)  49.18 / 48.6 / 49.21               100.0, 100.0
Rectum          99.9 (99.9)    100.0 (100.0)  30.72 / 30.3 / 30.66               99.9, 100.0
==============  =============  =============  =================================  ==================

The points that do not agree are one and the same row of the Eclipse table, whose dose is 0.00035604 Gy between 35.558
and 35.650 Gy: a slip of the table by 10^5. CERR ends structures half a slice beyond their last contour, as is done
here, and has the same volumes to 0.2 %; Eclipse's lie between that and ending at the last contour.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from DoseEngineLib.contour_stack import ContourStack
from DoseEngineLib.dvh import Dvh, calculate_dvh
from DoseEngineLib.geometry import Grid, ras_from_lps
from DoseEngineLib.plan import Structure
from RTPlanningLib import cli
from RTPlanningLib.contouring.planar_contours import mask_from_contours

pytestmark = pytest.mark.reference

STRUCTURES = ("BODY", "Bladder", "FemoralHeadLt", "FemoralHeadRT", "PTV", "Rectum")
# least agreement with Eclipse and CERR, in % of points
BAR = 99.5
VOLUME_TOLERANCE = {"Eclipse": 0.015, "CERR": 0.002}
# masks as a CT of 1 mm pixels would give them
MASK_SPACING_MM = (1.0, 1.0, 2.5)


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "clinical" / "prostate_dvh"


@pytest.fixture(scope="module")
def dose(folder: Path) -> tuple[np.ndarray, Grid]:
    reader = vtk.vtkNrrdReader()
    reader.SetFileName(str(folder / "EclipseProstate_Dose.nrrd"))
    reader.Update()
    image = reader.GetOutput()
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    # the file's space is left-posterior-superior with axes along it
    affine = np.diag([*(np.array(image.GetSpacing()) * (-1, -1, 1)), 1.0])
    affine[:3, 3] = ras_from_lps(image.GetOrigin())
    return values, Grid(values.shape, affine)


def read_contours(folder: Path, number: int) -> list[np.ndarray]:
    """Return the closed planar contours (RAS) of the n-th structure."""
    reader = vtk.vtkXMLPolyDataReader()
    reader.SetFileName(str(folder / "EclipseProstate_Structures.seg" / f"EclipseProstate_Structures.seg_{number}.vtp"))
    reader.Update()
    surface = reader.GetOutput()
    points = vtk_to_numpy(surface.GetPoints().GetData()).astype(float)
    corners, contours = vtk.vtkIdList(), []
    for cell in range(surface.GetNumberOfCells()):
        surface.GetCellPoints(cell, corners)
        contours.append(points[[corners.GetId(n) for n in range(corners.GetNumberOfIds())]])
    return contours


def masked(name: str, contours: list[np.ndarray]) -> Structure:
    """Fill the contours on a grid with a slice on every contour plane."""
    spacing = np.array(MASK_SPACING_MM)
    points = np.concatenate(contours)
    low, high = points.min(axis=0), points.max(axis=0)
    count = np.ceil((high - low) / spacing + 4).astype(int)
    grid = Grid.from_spacing(tuple(int(n) for n in count[::-1]), spacing, low - 2 * spacing)
    return Structure(name, mask_from_contours(name, contours, grid).mask, grid)


def read_table(path: Path, column: int) -> tuple[float, np.ndarray, np.ndarray]:
    """Return volume in cm3, doses in Gy and volumes in % of the n-th structure of a DVH table."""
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    volume_cm3 = float(header[2 * column + 1].split("% of")[1].split()[0])
    points = [row[2 * column : 2 * column + 2] for row in rows]
    values = np.array([[float(d), float(v)] for d, v in points if d and v])
    return volume_cm3, values[:, 0], values[:, 1]


def agrees(dvh: Dvh, dose_Gy: np.ndarray, volume_percent: np.ndarray, maximum_Gy: float) -> np.ndarray:
    """Tell which of the reference's points are within 1 % volume / 1 % of the maximum dose of the curve."""
    curve_dose, curve_volume = dvh.curve(step_Gy=0.01, stop_Gy=maximum_Gy + 1.0)
    return np.array(
        [
            np.min(((curve_dose - d) / (0.01 * maximum_Gy)) ** 2 + (curve_volume - v) ** 2) <= 1.0
            for d, v in zip(dose_Gy, volume_percent, strict=True)
        ]
    )


@pytest.mark.parametrize("source", ["contours", "mask"])
@pytest.mark.parametrize("number", range(len(STRUCTURES)), ids=STRUCTURES)
def test_dvh_agrees_with_eclipse_and_cerr(
    folder: Path, dose: tuple[np.ndarray, Grid], number: int, source: str
) -> None:
    name = STRUCTURES[number]
    contours = read_contours(folder, number)
    dvh = calculate_dvh(*dose, ContourStack(name, tuple(contours)) if source == "contours" else masked(name, contours))
    for system in ("Eclipse", "CERR"):
        volume, doses, volumes = read_table(folder / f"EclipseProstate_DvhTable_{system}.csv", number)
        near = agrees(dvh, doses, volumes, float(dose[0].max()))
        counted = (volumes > 0.1) & (volumes < 99.9)
        percent, all_percent = 100.0 * near[counted].mean(), 100.0 * near.mean()
        print(
            f"{name} {system} from {source}: volume {dvh.volume_cm3:.2f} against {volume:.2f} cm3, "
            f"{percent:.1f} % of points, {all_percent:.1f} % of all"
        )
        assert percent >= BAR
        assert all_percent >= BAR
        # but for the slip of the Eclipse table, every point agrees
        slips = np.flatnonzero(np.diff(doses) < 0.0) + 1
        assert len(slips) == (1 if system == "Eclipse" else 0)
        assert np.delete(near, slips).mean() == 1.0
        assert dvh.volume_cm3 == pytest.approx(
            volume, rel=VOLUME_TOLERANCE[system] + (0.01 if source == "mask" else 0.0)
        )


def test_the_command_line_gives_curves_that_meet_the_bar(folder: Path, tmp_path: Path) -> None:
    assert cli.main(["evaluate", str(folder), "--out", str(tmp_path / "out")]) == cli.OK
    maximum = 47.07
    for number, name in enumerate(STRUCTURES):
        volume_cm3, dose_Gy, volume_percent = read_table(tmp_path / "out" / "dvh.csv", number)
        for system in ("Eclipse", "CERR"):
            volume, doses, volumes = read_table(folder / f"EclipseProstate_DvhTable_{system}.csv", number)
            # point against point, with nothing between two rows of either table
            near = [
                np.min(((dose_Gy - d) / (0.01 * maximum)) ** 2 + (volume_percent - v) ** 2) <= 1.0
                for d, v in zip(doses, volumes, strict=True)
            ]
            print(f"{name} {system}: {100.0 * np.mean(near):.2f} % of {len(near)} points")
            assert 100.0 * np.mean(near) >= BAR
            assert volume_cm3 == pytest.approx(volume, rel=VOLUME_TOLERANCE[system])
