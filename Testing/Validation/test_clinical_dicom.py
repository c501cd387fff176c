"""Clinical DICOM: a thorax case read whole, its volumes against independent sums and the clinic's own."""

from __future__ import annotations

import csv
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pydicom
import pytest

from DoseEngineLib.errors import CaseError
from RTPlanningLib.case import Case
from RTPlanningLib.dicom import list_series, read_case

pytestmark = pytest.mark.reference

# RTSTRUCT name -> name in the clinic's DVH table
CLINICAL_NAMES = {
    "GTVp": "gtv",
    "CTVp": "ctv",
    "PTV4140": "PTV_41.4",
    "HEART": "heart",
    "LIVER": "liver",
    "LUNG_L": "lt lung",
    "LUNG_R": "rt lung",
    "LUNGS": "common lung",
    "SPINALCORD": "cord",
}


@pytest.fixture(scope="module")
def thorax_folder(shared_data: Path) -> Path:
    return shared_data / "clinical" / "thorax_imrt"


@pytest.fixture(scope="module")
def thorax(thorax_folder: Path) -> Case:
    return read_case(thorax_folder)


def test_the_thorax_case_is_read_within_15_seconds(thorax_folder: Path) -> None:
    start = time.perf_counter()
    case = read_case(thorax_folder)
    assert time.perf_counter() - start < 15.0
    assert case.hu.shape == (105, 512, 512)
    assert case.hu.dtype == np.int16
    assert case.patient_position == "HFS"
    assert case.grid.spacing_mm == pytest.approx((1.26953125, 1.26953125, 4.0))
    assert [s.name for s in case.structures] == [
        "LUNGS",
        "LUNG_R",
        "LUNG_L",
        "HEART",
        "SPINALCORD",
        "GTVp",
        "CTVp",
        "PTV4140",
        "LIVER",
    ]
    assert case.structure("PTV4140").role == "PTV"


def test_each_slice_lies_where_its_file_says(thorax_folder: Path, thorax: Case) -> None:
    for path in sorted(thorax_folder.glob("CT_*.dcm"))[::13]:
        dataset = pydicom.dcmread(path)
        lps = np.array(dataset.ImagePositionPatient, float)
        index = thorax.grid.ras_to_index(lps * (-1, -1, 1))
        assert np.abs(index - np.rint(index)).max() * 4.0 < 0.1
        k = int(np.rint(index[2]))
        assert np.array_equal(thorax.hu[k], dataset.pixel_array.astype(int) - 1024)


def shoelace_volumes_cm3(path: Path, slice_mm: float) -> dict[str, float]:
    """Volume of each structure as the sum over slices of its contours' areas, holes taken off by nesting."""
    dataset = pydicom.dcmread(path)
    names = {roi.ROINumber: roi.ROIName for roi in dataset.StructureSetROISequence}
    volumes = {}
    for roi in dataset.ROIContourSequence:
        planes = defaultdict(list)
        for contour in roi.ContourSequence:
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            planes[round(points[0, 2], 2)].append(points[:, :2])
        total = 0.0
        for contours in planes.values():
            for one in contours:
                x, y = one.T
                area = 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
                # nesting depth of a vertex by the crossings of a ray: odd means this contour bounds a hole
                depth = sum(_crossings(one[0], other) % 2 for other in contours if other is not one)
                total += -area if depth % 2 else area
        volumes[names[roi.ReferencedROINumber]] = total * slice_mm / 1000.0
    return volumes


def _crossings(point: np.ndarray, polygon: np.ndarray) -> int:
    a, b = polygon, np.roll(polygon, -1, axis=0)
    spans = (a[:, 1] > point[1]) != (b[:, 1] > point[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        x = a[:, 0] + (point[1] - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
    return int(np.count_nonzero(spans & (x > point[0])))


def test_volumes_agree_with_the_contours_areas(thorax_folder: Path, thorax: Case) -> None:
    expected = shoelace_volumes_cm3(thorax_folder / "RTSTRUCT.dcm", 4.0)
    assert set(expected) == set(CLINICAL_NAMES)
    for structure in thorax.structures:
        assert structure.volume_cm3 == pytest.approx(expected[structure.name], rel=0.01), structure.name


def test_volumes_agree_with_the_clinics(thorax_folder: Path, thorax: Case) -> None:
    with open(thorax_folder / "dvh_clinical.csv", newline="") as stream:
        clinical = {row["ROI"]: float(row["Volume (mL)"]) for row in csv.DictReader(stream)}
    for name, theirs in CLINICAL_NAMES.items():
        # the cord is 10 voxels wide and its outermost slices count differently between systems
        tolerance = 0.02 if name == "SPINALCORD" else 0.01
        assert thorax.structure(name).volume_cm3 == pytest.approx(clinical[theirs], rel=tolerance), name


def test_organs_hold_the_ct_numbers_of_their_tissue(thorax: Case) -> None:
    for name, low, high in (("LUNG_L", -900, -550), ("LUNG_R", -900, -550), ("HEART", -20, 150), ("LIVER", 0, 150)):
        median = float(np.median(thorax.hu[thorax.structure(name).mask]))
        assert low < median < high, (name, median)
    # left is -R
    assert thorax.structure("LUNG_L").centroid_RAS_mm()[0] < thorax.structure("LUNG_R").centroid_RAS_mm()[0]
    assert thorax.structure("LIVER").centroid_RAS_mm()[2] < thorax.structure("LUNGS").centroid_RAS_mm()[2]


def test_the_folder_is_listed(thorax_folder: Path) -> None:
    found = {series.modality: series.count for series in list_series(thorax_folder)}
    assert found == {"CT": 105, "RTPLAN": 1, "RTSTRUCT": 1}


def test_a_ct_of_one_slice_is_refused_in_words(shared_data: Path) -> None:
    with pytest.raises(CaseError, match=r"has 1 slice .*Export the whole series"):
        read_case(shared_data / "clinical" / "breast_imrt_rtdose")


def test_a_folder_of_plans_only_says_so(shared_data: Path) -> None:
    with pytest.raises(CaseError, match="no CT series") as caught:
        read_case(shared_data / "plans")
    assert "RTPLAN series" in str(caught.value)
