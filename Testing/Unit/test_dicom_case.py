"""A case from a DICOM folder: what is there, which is chosen, what must be asked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dicom_factory import SERIES, Roi, SyntheticCt, rectangle, synthetic_ct, synthetic_structure_set, uid, write
from pydicom.dataset import FileDataset
from pydicom.fileset import FileSet

from DoseEngineLib.errors import Cancelled, CaseError
from RTPlanningLib.case import Case
from RTPlanningLib.dicom import list_series, read_case, scan_folder

SECOND = uid("second series")


def structure_set(ct: SyntheticCt, series: str = SERIES, instance: str = "rs", label: str = "TEST") -> FileDataset:
    roi = Roi("Target", [rectangle((-25, -5), (-20, 0), z) for z in (13.0, 16.0)], "PTV")
    return synthetic_structure_set([roi], ct, referenced_series=series, instance=uid(instance), label=label)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A CT and its structure set."""
    ct = synthetic_ct()
    ct.write(tmp_path / "images")
    write(structure_set(ct), tmp_path / "plan" / "rs.dcm")
    return tmp_path


def add_second_ct(folder: Path) -> SyntheticCt:
    ct = synthetic_ct((4, 24, 32), series=SECOND, description="second", seed=1)
    ct.write(folder / "second")
    return ct


def test_a_nested_folder_with_other_files(folder: Path) -> None:
    (folder / "readme.txt").write_text("not DICOM")
    (folder / "images" / ".hidden").write_bytes(b"")
    case = read_case(folder)
    assert isinstance(case, Case)
    assert case.name == folder.name
    assert case.hu.shape == case.grid.shape == (6, 24, 32)
    assert case.structure("Target").role == "PTV"
    assert (case.patient_id, case.series_instance_uid) == ("PHANTOM", SERIES)
    assert case.notes == ("Files that are not DICOM were skipped (2): images/.hidden, readme.txt.",)


def test_the_names_of_the_files_do_not_matter(folder: Path) -> None:
    expected = read_case(folder)
    random = np.random.default_rng(1)
    paths = sorted((folder / "images").iterdir())
    for path, number in zip(paths, random.permutation(len(paths)), strict=True):
        path.rename(folder / f"IM{number}")
    shuffled = read_case(folder)
    assert np.array_equal(shuffled.hu, expected.hu)
    assert shuffled.grid.is_same_as(expected.grid, 1e-9)
    assert np.array_equal(shuffled.structure("Target").mask, expected.structure("Target").mask)


def test_list_series(folder: Path) -> None:
    add_second_ct(folder)
    found = list_series(folder)
    assert {(s.modality, s.series_instance_uid, s.description, s.count) for s in found} >= {
        ("CT", SERIES, "synthetic", 6),
        ("CT", SECOND, "second", 4),
    }
    assert [s.modality for s in found] == ["CT", "CT", "RTSTRUCT"]
    assert f'CT series {SECOND}, "second", 4 files' in map(str, found)


def test_the_structure_set_decides_between_two_cts(folder: Path) -> None:
    add_second_ct(folder)
    case = read_case(folder)
    assert case.series_instance_uid == SERIES
    assert "Of 2 CT series, 'synthetic'" in case.notes[0]


def test_two_cts_without_a_structure_set_are_listed(folder: Path) -> None:
    add_second_ct(folder)
    (folder / "plan" / "rs.dcm").unlink()
    with pytest.raises(CaseError, match="2 CT series") as caught:
        read_case(folder)
    text = str(caught.value)
    assert f"{SERIES}  synthetic  6 images" in text
    assert f"{SECOND}  second  4 images" in text
    assert "ct_series_uid" in text
    case = read_case(folder, ct_series_uid=SECOND)
    assert case.grid.shape[0] == 4
    assert case.structures == ()
    assert "no structure set" in case.notes[0]


def test_choosing_the_ct_the_structure_set_was_not_drawn_on_is_refused(folder: Path) -> None:
    add_second_ct(folder)
    with pytest.raises(CaseError, match="was drawn on series"):
        read_case(folder, ct_series_uid=SECOND)


def test_unknown_uids_list_those_there_are(folder: Path) -> None:
    with pytest.raises(CaseError, match=r"no CT series 1\.2\.3") as caught:
        read_case(folder, ct_series_uid="1.2.3")
    assert SERIES in str(caught.value)
    with pytest.raises(CaseError, match=r"no structure set 1\.2\.3") as caught:
        read_case(folder, structure_set_uid="1.2.3")
    assert uid("rs") in str(caught.value)


def test_several_structure_sets(folder: Path) -> None:
    write(structure_set(synthetic_ct(), instance="rs2", label="SECOND"), folder / "rs2.dcm")
    with pytest.raises(CaseError, match="2 structure sets") as caught:
        read_case(folder)
    text = str(caught.value)
    assert f"{uid('rs')}  TEST  rs.dcm" in text
    assert f"{uid('rs2')}  SECOND  rs2.dcm" in text
    assert "structure_set_uid" in text
    case = read_case(folder, structure_set_uid=uid("rs2"))
    assert "SECOND" in case.description
    by_series = read_case(folder, structure_set_uid=uid("rtstruct series", uid("rs")))
    assert "TEST" in by_series.description


def test_the_given_ct_decides_between_two_structure_sets(folder: Path) -> None:
    second = add_second_ct(folder)
    write(structure_set(second, SECOND, "rs2", "SECOND"), folder / "rs2.dcm")
    with pytest.raises(CaseError, match="2 structure sets"):
        read_case(folder)
    case = read_case(folder, ct_series_uid=SECOND)
    assert "'SECOND'" in case.notes[0]
    assert case.structure("Target").mask.shape[0] == 4


def test_copies_are_harmless_but_look_alikes_are_not(folder: Path) -> None:
    content = (folder / "plan" / "rs.dcm").read_bytes()
    (folder / "copy.dcm").write_bytes(content)
    assert "copy of the structure set" in read_case(folder).notes[0]
    (folder / "copy.dcm").write_bytes(content.replace(b"Target", b"Tarmac"))
    with pytest.raises(CaseError, match="Two different structure sets have the same SOP Instance UID"):
        read_case(folder)


def test_a_structure_set_of_another_study_is_refused(tmp_path: Path) -> None:
    synthetic_ct().write(tmp_path)
    write(structure_set(synthetic_ct(series=SECOND), SECOND), tmp_path / "rs.dcm")
    with pytest.raises(CaseError, match="was drawn on series"):
        read_case(tmp_path)


def test_scout_views_are_no_ct(folder: Path) -> None:
    def scout(k: int, dataset: FileDataset) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    synthetic_ct((1, 24, 32), series=SECOND, edit=scout).write(folder / "scout")
    assert read_case(folder).series_instance_uid == SERIES
    synthetic_ct((1, 24, 32), edit=lambda k, d: (scout(k, d), setattr(d, "SOPInstanceUID", uid("s")))).write(
        folder / "own"
    )
    assert "Localizer (scout) images of the CT series were left out (1)" in read_case(folder).notes[0]


def test_no_ct_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="no DICOM files"):
        read_case(tmp_path)
    write(structure_set(synthetic_ct()), tmp_path / "rs.dcm")
    with pytest.raises(CaseError, match=r'RTSTRUCT series .* "TEST", 1 file'):
        read_case(tmp_path)


def test_folder_that_is_not_there_or_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="There is no folder"):
        read_case(tmp_path / "gone")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CaseError, match="is a file; give the folder"):
        list_series(tmp_path / "file")


def test_damaged_files_are_named(folder: Path) -> None:
    victim = folder / "images" / "ct_003.dcm"
    content = victim.read_bytes()
    victim.write_bytes(content[:-100])
    with pytest.raises(CaseError, match=r"ct_003\.dcm: the file is cut short"):
        read_case(folder)
    for damaged in (b"", b"garbage" * 100, content[:140], content[:400]):
        victim.write_bytes(damaged)
        with pytest.raises(CaseError, match=r"ct_003\.dcm"):
            read_case(folder)


def test_files_without_preamble_are_read(folder: Path) -> None:
    expected = read_case(folder)
    for path in (folder / "images").iterdir():
        path.write_bytes(path.read_bytes()[132:])
        path.rename(path.with_suffix(""))
    assert np.array_equal(read_case(folder).hu, expected.hu)


def test_patient_position_and_skipped_structures_are_passed_on(folder: Path) -> None:
    case = read_case(folder, patient_position="FFS", skip_rois=["Target"])
    assert case.patient_position == "FFS"
    assert case.structures == ()


def test_progress_grows_to_one_and_may_cancel(folder: Path) -> None:
    seen: list[float] = []
    read_case(folder, progress=lambda fraction, text: seen.append(fraction))
    assert seen == sorted(seen)
    assert seen[-1] == 1.0

    def stop(fraction: float, text: str) -> None:
        if fraction > 0.3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        read_case(folder, progress=stop)


def test_dicomdir_is_passed_over(folder: Path) -> None:
    index = FileSet()
    for path in sorted((folder / "images").iterdir()):
        index.add(path)
    index.write(folder / "media")
    found = scan_folder(folder / "media")
    assert len(found.files) == 6
    assert found.notes == ()


def test_importing_the_package_loads_no_pydicom() -> None:
    code = "import sys, RTPlanningLib.dicom; assert 'pydicom' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
