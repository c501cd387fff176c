"""Anonymised exports: nothing of the patient is left, the set still holds together."""

from __future__ import annotations

import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from conftest import missing
from dicom_checkers import have_checkers, iod_complaints, set_complaints
from dicom_factory import Roi, rectangle, synthetic_ct, synthetic_structure_set, write
from pydicom.uid import UID

from DoseEngineLib.plan import Beam, Plan, Prescription
from RTPlanningLib.case import Case
from RTPlanningLib.dicom import read_case
from RTPlanningLib.dicom.anonymise import AnonymisationError, Anonymiser
from RTPlanningLib.dicom.export import DicomOptions, export_dicom
from RTPlanningLib.dicom.identity import identity_of_case
from RTPlanningLib.dicom.rt_dose import read_rt_dose
from RTPlanningLib.dicom.rt_dose_writer import DoseToExport

PATIENT = {
    "PatientName": "Müstermann^Äneas",
    "PatientID": "MRN-0815-4711",
    "PatientBirthDate": "19500203",
    "AccessionNumber": "ACC-77-42",
    "ReferringPhysicianName": "Quincy^Medea",
    "StudyDate": "20191224",
    "StudyTime": "112233",
    "StudyID": "ST-4242",
    "StudyDescription": "Imaging of Müstermann",
    "PositionReferenceIndicator": "XIPHOID MÜSTERMANN",
}
PLAN = Plan(
    "Müstermann boost",
    tuple(Beam.open_field(f"Müstermann {angle:g}", gantry_deg=angle) for angle in (0.0, 90.0)),
    Prescription(50.0, 25, "PTV", normalization="none"),
)


@pytest.fixture(scope="module")
def originals(tmp_path_factory) -> Path:
    def edit(k, dataset) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 192"
        for keyword, value in PATIENT.items():
            setattr(dataset, keyword, value)

    folder = tmp_path_factory.mktemp("originals")
    ct = synthetic_ct((8, 30, 30), edit=edit)
    ct.write(folder)
    contours = [rectangle((-30.0, 0.0), (-20.0, 8.0), 10.0 + 3.0 * k) for k in range(1, 6)]
    inner = [rectangle((-20.0, -10.0), (-10.0, 0.0), 10.0 + 3.0 * k) for k in range(1, 6)]
    rois = [
        Roi("PTV", contours, "PTV"),
        Roi("Rectum", inner),
        Roi("Ring around Mr Müstermann", contours, "CONTROL"),
        Roi("Rectum 医", inner),
    ]
    structure_set = synthetic_structure_set(rois, ct)
    structure_set.SpecificCharacterSet = "ISO_IR 192"
    write(structure_set, folder / "rs.dcm")
    return folder


@pytest.fixture(scope="module")
def case(originals) -> Case:
    return read_case(originals)


def export(case: Case, out: Path):
    grid = case.grid.with_spacing(4.0)
    dose = np.random.default_rng(2).random(grid.shape).astype(np.float32) * 53.0
    doses = [
        DoseToExport(dose, grid, comment="Dose to water, engine of Müstermann"),
        DoseToExport(
            dose,
            grid,
            "EFFECTIVE",
            name="RTDOSE_EQD2",
            comment="EQD2, alpha/beta 3 Gy, 10 in Ring around Mr Müstermann",
        ),
    ]
    return export_dicom(case, out, plan=PLAN, doses=doses, options=DicomOptions(anonymise=True))


@pytest.fixture(scope="module")
def anonymised(case, tmp_path_factory):
    return export(case, tmp_path_factory.mktemp("anonymised") / "out")


def uids(dataset: pydicom.Dataset) -> set[str]:
    found = {str(e.value) for e in dataset.iterall() if e.VR == "UI" and e.VM == 1}
    return {uid for uid in found if not uid.startswith("1.2.840.10008.")}


def test_nothing_of_the_patient_is_in_any_byte_that_was_written(originals, case, anonymised):
    words = {part for value in PATIENT.values() for part in value.replace("^", " ").split()} - {"of"}
    words |= {"MUSTERMANN", "Mustermann", "Ring", "医"}
    for path in originals.iterdir():
        words |= uids(pydicom.dcmread(path))
    # what a plain export would have said
    words |= {str(identity_of_case(case).study_instance_uid), datetime.now().strftime("%Y%m%d"), case.name}
    assert len(words) > 30
    written = list(anonymised.folder.iterdir())
    assert len(written) == 8 + 4 + 1
    for path in written:
        content = path.read_bytes()
        for word in words:
            for encoding in ("utf-8", "latin-1", "utf-16-le"):
                try:
                    encoded = word.encode(encoding)
                except UnicodeEncodeError:
                    continue
                assert encoded not in content, (path.name, word)
            assert word not in path.name


def test_the_set_still_holds_together(case, anonymised, tmp_path):
    datasets = {path.name: pydicom.dcmread(path) for path in anonymised.files}
    own = {str(d.SOPInstanceUID) for d in datasets.values()}
    own |= {str(d.StudyInstanceUID) for d in datasets.values()}
    for keyword in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "StudyDate", "StudyTime"):
        assert len({str(d.get(keyword)) for d in datasets.values()}) == 1, keyword
    for name, dataset in datasets.items():
        referenced = {str(e.value) for e in dataset.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
        assert referenced <= own, name
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
        assert dataset.PatientIdentityRemoved == "YES"
        assert [code.CodeValue for code in dataset.DeidentificationMethodCodeSequence] == ["113100", "113105", "113107"]
        assert all(UID(str(e.value)).is_valid for e in dataset.iterall() if e.VR == "UI" and e.VM == 1)
    read = read_case(anonymised.folder)
    np.testing.assert_array_equal(read.hu, case.hu)
    assert [s.name for s in read.structures] == ["PTV", "Rectum", "ROI 3", "ROI 4"]
    for before, after in zip(case.structures, read.structures, strict=True):
        np.testing.assert_array_equal(before.mask, after.mask)
        assert before.role == after.role
    assert any("Ring around Mr Müstermann is ROI 3" in note for note in anonymised.notes)
    eqd2 = read_rt_dose(anonymised.folder / "RTDOSE_EQD2.dcm", allow_effective=True)
    assert eqd2.comment == "EQD2, alpha/beta 3 Gy and others"
    assert read_rt_dose(anonymised.folder / "RTDOSE.dcm").comment == "Dose to water"
    assert [beam.BeamName for beam in datasets["RTPLAN.dcm"].BeamSequence] == ["Beam 1", "Beam 2"]


def test_dates_are_shifted_alike_and_times_with_them(anonymised):
    shifts = set()
    for path in anonymised.files:
        dataset = pydicom.dcmread(path)
        moved = datetime.strptime(dataset.StudyDate + dataset.StudyTime, "%Y%m%d%H%M%S")
        shifts.add(datetime(2019, 12, 24, 11, 22, 33) - moved)
        if dataset.Modality == "RTPLAN":
            made = datetime.strptime(dataset.RTPlanDate + dataset.RTPlanTime, "%Y%m%d%H%M%S")
            # objects say they were made at noon of the day of the CT: else the day of export would tell the shift
            shifts.add(datetime(2019, 12, 24, 12) - made)
        assert dataset.PatientBirthDate == ""
    assert len(shifts) == 1
    assert 365 <= shifts.pop().days <= 3650


def test_every_export_is_another_patient(case, anonymised, tmp_path):
    again = export(case, tmp_path / "out")
    one, other = (pydicom.dcmread(e.folder / "RTPLAN.dcm") for e in (anonymised, again))
    assert one.PatientID != other.PatientID
    assert one.StudyDate != other.StudyDate
    assert not uids(one) & uids(other) - {"1.2.826.0.1.3680043.8.498.1"}


def test_what_the_profile_leaves_alone_is_checked(case):
    dataset = identity_of_case(case).new_dataset("1.2.840.10008.5.1.4.1.1.2", "CT", "x")
    dataset.RescaleType = "of Müstermann"
    with pytest.raises(AnonymisationError, match="RescaleType"):
        Anonymiser().anonymise(dataset)


def test_private_nested_and_unusual_elements():
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.PatientName = "Müstermann^Äneas"
    block = dataset.private_block(0x0099, "SECRET", create=True)
    block.add_new(1, "LO", "Müstermann")
    dataset.add_new((0x5000, 0x3000), "OW", b"abcd")
    inner = pydicom.Dataset()
    inner.ScheduledProcedureStepStartDate, inner.ScheduledProcedureStepStartTime = "20200229", "2359"
    inner.add_new((0x0008, 0x0021), "DA", "29 February")
    inner.add_new((0x0008, 0x0031), "TM", "1200")
    inner.AcquisitionDateTime = "20200229235959.123456"
    inner.ReferencedSOPInstanceUID = "1.2.3"
    inner.private_block(0x0099, "SECRET", create=True).add_new(1, "LO", "Müstermann")
    # a sequence that the profile does not list
    dataset.BeamSequence = [inner]
    dataset.ReferencedPatientSequence = [pydicom.Dataset()]
    anonymiser = Anonymiser()
    anonymiser.anonymise(dataset)
    (item,) = dataset.BeamSequence
    assert (0x5000, 0x3000) not in dataset
    assert not any(element.tag.is_private for element in dataset.iterall())
    assert "ReferencedPatientSequence" not in dataset
    start = datetime.strptime(item.ScheduledProcedureStepStartDate + item.ScheduledProcedureStepStartTime, "%Y%m%d%H%M")
    acquired = datetime.strptime(str(item.AcquisitionDateTime), "%Y%m%d%H%M%S")
    assert abs((acquired - start).total_seconds() - 59) <= 60
    assert item.SeriesDate in ("", None)
    assert item.ReferencedSOPInstanceUID != "1.2.3"


def test_a_missing_package_is_said_and_nothing_is_written(case, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "dicomanonymizer.simpledicomanonymizer", None)
    with pytest.raises(AnonymisationError, match=r"pip install .rtplanning\[anonymise\]"):
        export(case, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_phantom_can_be_anonymised_too(case, tmp_path):
    phantom = replace(
        case, dicom=None, patient_name="", patient_id="", study_instance_uid="", series_instance_uid="",
        frame_of_reference_uid="", name="prostate",
    )  # fmt: skip
    read = read_case(export(phantom, tmp_path / "out").folder)
    assert read.patient_name.startswith("ANON")


def test_dicom3tools_finds_the_anonymised_set_right(anonymised, tmp_path):
    if not have_checkers():
        missing("dciodvfy and dcentvfy are missing; install dicom3tools (apt install dicom3tools).")
    for path in [*anonymised.files[:1], *(path for path in anonymised.files if path.name.startswith("RT"))]:
        assert iod_complaints(path, tmp_path) == [], path.name
    assert set_complaints(anonymised.files, tmp_path) == []
