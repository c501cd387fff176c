"""Damaged and hostile DICOM files: every reader reads them or says what is wrong, and does neither crash nor hang.

``RTPLANNING_MUTATIONS`` sets how many files of each kind are tried (60 by default).
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_mutations import damaged_bytes, hostile_elements
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement

from DoseEngineLib.errors import CaseError, PlanningError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Beam, Plan, Prescription, Structure
from RTPlanningLib.case import Case
from RTPlanningLib.dicom import DoseToExport, export_dicom, read_case, scan_folder
from RTPlanningLib.dicom.rt_dose import read_rt_dose
from RTPlanningLib.dicom.rt_plan_reader import read_rt_plan
from RTPlanningLib.dicom.structure_set import read_contoured_structures

EXAMPLES = int(os.environ.get("RTPLANNING_MUTATIONS", "60"))
LONGEST_S = 5.0
GRID = Grid.from_spacing((4, 16, 18), 3.0, (20.0, 20.0, -6.0), np.diag((-1.0, -1.0, 1.0)))


@pytest.fixture(scope="session")
def sound(tmp_path_factory) -> Path:
    """A small set of our own: four CT images, structures, a plan, a dose."""
    body = np.zeros(GRID.shape, bool)
    body[:, 2:14, 2:16] = True
    hole = body.copy()
    hole[:, 6:9, 6:10] = False
    structures = (Structure("BODY", body, GRID, "EXTERNAL"), Structure("PTV", hole, GRID, "PTV"))
    plan = Plan("Box", (Beam.open_field("AP"),), Prescription(50.0, 25, "PTV", normalization="none"))
    case = Case("hostile", np.zeros(GRID.shape, np.int16), GRID, structures)
    out = tmp_path_factory.mktemp("sound") / "out"
    export_dicom(case, out, plan=plan, doses=[DoseToExport(np.ones(GRID.shape, np.float32), GRID)])
    return out


def judge(read: Callable[[], object], path: Path) -> None:
    """Let a reader read; it may refuse in words that name the file (or those it does not fit), in its time."""
    # of the processor: others may be at work on the machine
    start = time.process_time()
    try:
        with warnings.catch_warnings():
            # pydicom warns of values it does not like
            warnings.simplefilter("ignore")
            read()
    except PlanningError as error:
        words = str(error)
        note(words[:200])
        assert len(words) > 20
        assert any(name in words for name in (path.name, str(path.parent), "CT_0001.dcm", "CT_0003.dcm")), words
    assert time.process_time() - start < LONGEST_S


FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
KINDS = (damaged_bytes, hostile_elements)


@pytest.fixture(params=KINDS, ids=("damaged", "hostile"))
def mutation(request):
    return request.param


def try_readers(content: bytes, folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(content)
    before = sorted(folder.rglob("*"))
    judge(lambda: scan_folder(folder), path)
    kind = name.lower()
    if kind.startswith(("ct", "rtstruct")):
        judge(lambda: read_case(folder), path)
    if kind.startswith("rtstruct"):
        judge(lambda: read_contoured_structures(path), path)
    elif kind.startswith("rtdose"):
        judge(lambda: read_rt_dose(path, allow_beams=True, allow_effective=True), path)
    elif kind.startswith("rtplan"):
        judge(lambda: read_rt_plan(path), path)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["CT_0002.dcm", "RTSTRUCT.dcm", "RTPLAN.dcm", "RTDOSE.dcm"])
@FUZZ
@given(data=st.data())
def test_mutated_files_are_read_or_refused_in_words(sound, tmp_path_factory, mutation, name, data):
    folder = tmp_path_factory.mktemp("mutated")
    for path in sound.glob("*.dcm"):
        (folder / path.name).write_bytes(path.read_bytes())
    try_readers(data.draw(mutation((sound / name).read_bytes())), folder, name)


@pytest.mark.reference
@pytest.mark.parametrize(
    "file",
    ["clinical/thorax_imrt/RTPLAN_Hashed.dcm", "clinical/breast_imrt_rtdose/rtdose.dcm", "plans/RP_FiF.dcm"],
)
@settings(FUZZ, max_examples=max(EXAMPLES // 5, 1))
@given(data=st.data())
def test_mutated_clinical_files_are_read_or_refused_in_words(shared_data, tmp_path_factory, mutation, file, data):
    source = shared_data / file
    folder = tmp_path_factory.mktemp("mutated")
    name = "rtdose.dcm" if "rtdose.dcm" in file else "rtplan.dcm"
    try_readers(data.draw(mutation(source.read_bytes())), folder, name)


# What is worth a test of its own


def spoil(sound: Path, folder: Path, name: str, change: Callable[[pydicom.Dataset], None]) -> Path:
    """A copy of the sound set with one file changed."""
    for path in sound.glob("*.dcm"):
        (folder / path.name).write_bytes(path.read_bytes())
    dataset = pydicom.dcmread(sound / name)
    change(dataset)
    dataset.save_as(folder / name)
    return folder / name


def test_two_different_images_of_one_uid_are_refused(sound, tmp_path):
    other = pydicom.dcmread(sound / "CT_0001.dcm").SOPInstanceUID
    spoil(sound, tmp_path, "CT_0002.dcm", lambda dataset: setattr(dataset, "SOPInstanceUID", other))
    with pytest.raises(CaseError, match=r"same SOP Instance UID .*CT_0001\.dcm and .*CT_0002\.dcm"):
        read_case(tmp_path)


def test_two_different_structure_sets_of_one_uid_are_refused(sound, tmp_path):
    spoil(sound, tmp_path, "RTSTRUCT.dcm", lambda dataset: setattr(dataset, "StructureSetLabel", "other"))
    (tmp_path / "second.dcm").write_bytes((sound / "RTSTRUCT.dcm").read_bytes())
    with pytest.raises(CaseError, match=r"same SOP Instance UID .*RTSTRUCT\.dcm and .*second\.dcm"):
        read_case(tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("uid", ["../../outside", "/etc/passwd", "..\\..\\outside", "1.2.3/../../x", "1.2.3\x00x"])
def test_a_uid_that_is_a_path_leads_nowhere(sound, tmp_path, uid):
    inside = tmp_path / "deep" / "in"
    inside.mkdir(parents=True)
    for name in ("CT_0001.dcm", "CT_0002.dcm", "CT_0003.dcm", "CT_0004.dcm", "RTSTRUCT.dcm"):
        dataset = pydicom.dcmread(sound / name)
        for element in dataset.iterall():
            if element.keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "ReferencedFrameOfReferenceUID"):
                element._value = uid
        dataset.save_as(inside / name)
    out = tmp_path / "deep" / "out"
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(PlanningError):
        export_dicom(read_case(inside), out)
    assert sorted(path for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["CT_0002.dcm", "RTSTRUCT.dcm", "RTPLAN.dcm", "RTDOSE.dcm"])
def test_a_file_cut_anywhere_is_refused_or_as_good_as_whole(sound, tmp_path, name):
    content = (sound / name).read_bytes()
    read = {
        "RTPLAN.dcm": read_rt_plan,
        "RTDOSE.dcm": read_rt_dose,
        "RTSTRUCT.dcm": lambda path: read_case(path.parent),
        "CT_0002.dcm": lambda path: read_case(path.parent),
    }[name]
    for path in sound.glob("CT*.dcm"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / name
    for length in np.linspace(0, len(content) - 2, 25).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(PlanningError):
            read(path)


def test_numbers_of_pixels_that_are_absurd_take_no_memory(sound, tmp_path):
    def grow(dataset) -> None:
        dataset.Rows = dataset.Columns = 65535
        dataset.NumberOfFrames = 2**31 - 1

    path = spoil(sound, tmp_path, "RTDOSE.dcm", grow)
    with pytest.raises(CaseError, match="RTDOSE"):
        read_rt_dose(path)
    spoil(sound, tmp_path, "CT_0002.dcm", lambda d: (setattr(d, "Rows", 65535), setattr(d, "Columns", 65535)))
    with pytest.raises(CaseError, match="CT_0002"):
        read_case(tmp_path)


def test_a_sequence_that_is_none_is_named(sound, tmp_path):
    def spoilt(dataset) -> None:
        dataset[0x30060039] = DataElement(0x30060039, "DS", "1\\2\\3")

    spoil(sound, tmp_path, "RTSTRUCT.dcm", spoilt)
    with pytest.raises(CaseError, match=r"RTSTRUCT\.dcm.*ROIContourSequence \(3006,0039\) is malformed"):
        read_case(tmp_path)
