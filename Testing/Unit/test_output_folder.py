"""The output folder: all or nothing, and nobody else's files are lost."""

from __future__ import annotations

import hashlib
import json

import pytest

from RTPlanningLib.output_folder import MANIFEST, OutputError, OutputFolder


def write(folder, *, force=False, keep=(), **files: str):
    with OutputFolder(folder, force=force, keep=keep) as output:
        for name, text in files.items():
            (output.staging / f"{name}.txt").write_text(text, encoding="utf-8")
        return output.commit()


def contents(folder) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name != MANIFEST}


def test_a_new_folder_and_its_parents_are_made(tmp_path):
    out = tmp_path / "a" / "b"
    assert write(out, dose="1", report="2") == [out / "dose.txt", out / "report.txt"]
    assert contents(out) == {"dose.txt": "1", "report.txt": "2"}
    assert sorted(json.loads((out / MANIFEST).read_text(encoding="utf-8"))["files_sha256"]) == [
        "dose.txt",
        "report.txt",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("reason", [KeyboardInterrupt, RuntimeError])
def test_a_run_that_breaks_leaves_nothing(tmp_path, exists, reason):
    out = tmp_path / "out"
    if exists:
        out.mkdir()
        (out / "mine.txt").write_text("precious", encoding="utf-8")

    def broken_run():
        with OutputFolder(out) as output:
            (output.staging / "dose.txt").write_text("half", encoding="utf-8")
            raise reason

    with pytest.raises(reason):
        broken_run()
    assert [p.name for p in tmp_path.rglob("*")] == (["out", "mine.txt"] if exists else [])


def test_running_again_replaces_its_own_files_and_removes_what_is_outdated(tmp_path):
    write(tmp_path, dose="1", old="x")
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    write(tmp_path, dose="2")
    assert contents(tmp_path) == {"dose.txt": "2", "notes.txt": "mine"}


def test_a_file_of_somebody_else_is_kept(tmp_path):
    (tmp_path / "dose.txt").write_text("mine", encoding="utf-8")
    with OutputFolder(tmp_path) as output, pytest.raises(OutputError, match=r"dose\.txt.*--force"):
        output.check(["dose.txt", "report.txt"])
    with pytest.raises(OutputError, match=r"dose\.txt"):
        write(tmp_path, dose="theirs")
    assert contents(tmp_path) == {"dose.txt": "mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["dose.txt"]


def test_a_file_changed_since_is_kept(tmp_path):
    write(tmp_path, dose="1", old="x")
    (tmp_path / "dose.txt").write_text("edited", encoding="utf-8")
    with pytest.raises(OutputError, match="changed since"):
        write(tmp_path, dose="2")
    assert contents(tmp_path) == {"dose.txt": "edited", "old.txt": "x"}


def test_an_outdated_file_changed_since_is_kept(tmp_path):
    write(tmp_path, old="x")
    (tmp_path / "old.txt").write_text("edited", encoding="utf-8")
    write(tmp_path, dose="1")
    assert contents(tmp_path) == {"dose.txt": "1", "old.txt": "edited"}


def test_force_overwrites(tmp_path):
    (tmp_path / "dose.txt").write_text("mine", encoding="utf-8")
    write(tmp_path, force=True, dose="2")
    assert contents(tmp_path) == {"dose.txt": "2"}


def test_an_input_of_the_run_may_lie_in_the_folder(tmp_path):
    plan = tmp_path / "plan.txt"
    plan.write_text("edited plan", encoding="utf-8")
    write(tmp_path, keep=[plan], plan="edited plan", dose="1")
    assert contents(tmp_path) == {"plan.txt": "edited plan", "dose.txt": "1"}
    with pytest.raises(OutputError, match="input of this run"):
        write(tmp_path, keep=[plan], plan="another plan")
    assert plan.read_text(encoding="utf-8") == "edited plan"


@pytest.mark.parametrize("manifest", ["", "[]", '{"files_sha256": 3}', '{"files_sha256": {"../evil.txt": "x"}}'])
def test_a_damaged_manifest_makes_nothing_ours(tmp_path, manifest):
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "evil.txt").write_text("safe", encoding="utf-8")
    (out / "dose.txt").write_text("mine", encoding="utf-8")
    (out / MANIFEST).write_text(manifest, encoding="utf-8")
    with pytest.raises(OutputError, match=r"dose\.txt"):
        write(out, dose="2")
    write(out, report="3")
    assert contents(out) == {"dose.txt": "mine", "report.txt": "3"}
    assert (tmp_path / "evil.txt").exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("a file", encoding="utf-8")
    with pytest.raises(OutputError, match="is a file"), OutputFolder(tmp_path / "out"):
        pass


def test_it_is_used_in_a_with_statement_only(tmp_path):
    with pytest.raises(OutputError, match="not open"):
        OutputFolder(tmp_path).commit()


def write_nested(folder, *names: str):
    with OutputFolder(folder) as output:
        for name in names:
            path = output.staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name, encoding="utf-8")
        return output.commit()


def test_files_in_folders_are_moved_and_tidied_too(tmp_path):
    out = tmp_path / "out"
    assert write_nested(out, "dicom/a.dcm", "dicom/b.dcm", "c.txt") == [
        out / "c.txt",
        out / "dicom" / "a.dcm",
        out / "dicom" / "b.dcm",
    ]
    write_nested(out, "dicom/b.dcm")
    assert sorted(path.name for path in out.rglob("*.*")) == ["b.dcm", MANIFEST]
    (out / "dicom" / "b.dcm").write_text("changed", encoding="utf-8")
    with pytest.raises(OutputError, match=r"dicom/b\.dcm"):
        write_nested(out, "dicom/b.dcm")


def test_a_link_does_not_lead_out_of_the_folder(tmp_path):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "dicom").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(OutputError, match="link out of"):
        write_nested(out, "dicom/a.dcm")
    assert list(elsewhere.iterdir()) == []
    # nor does what a manifest says
    (elsewhere / "a.dcm").write_text("theirs", encoding="utf-8")
    digest = hashlib.sha256(b"theirs").hexdigest()
    names = {"dicom/a.dcm": digest, "../elsewhere/a.dcm": digest, str(elsewhere / "a.dcm"): digest}
    (out / MANIFEST).write_text(json.dumps({"files_sha256": names}), encoding="utf-8")
    write_nested(out, "c.txt")
    assert (elsewhere / "a.dcm").read_text(encoding="utf-8") == "theirs"
