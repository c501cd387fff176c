"""``rtplanning validate``: files out, exit codes, and one clear line for a user's mistake."""

from __future__ import annotations

import csv

import pytest
from reference_factory import write_reference

from RTPlanningLib import cli
from RTPlanningLib.validation import photons
from RTPlanningLib.validation.monte_carlo import calculate, load_reference

WORDS = "For research and teaching, not for clinical use."
PENCIL = "photon-pencil-beam"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with two references, our own pencil beam 1.5 % too low, and one of a name that says nothing."""
    folder = tmp_path_factory.mktemp("validate")
    references = folder / "references"
    references.mkdir()
    for name, field_cm in (("w05", 5.0), ("l05", 5.0)):
        write_reference(references, name, field_cm)
        dose = calculate(load_reference(references, name), PENCIL) / 1.015
        write_reference(references, name, field_cm, dose3d=dose)
    write_reference(references, "spare")
    return folder


@pytest.fixture(scope="module")
def finished(folder):
    """A run of the command over the whole folder."""
    code = cli.main(
        ["validate", "photons", "--reference", str(folder / "references"), "--engine", PENCIL, "--out",
         str(folder / "out")]
    )  # fmt: skip
    assert code == cli.OK
    return folder / "out"


def rows_of(folder):
    with (folder / "validation.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_folder_holds_page_and_table(finished):
    assert sorted(p.name for p in finished.iterdir()) == ["manifest.json", "validation.csv", "validation.html"]
    text = (finished / "validation.html").read_text(encoding="utf-8")
    for word in ("Not for clinical use", "lung slab, 6 MV, 5 x 5 cm", "water, 6 MV, 5 x 5 cm", "spare", "Followill"):
        assert word in text
    assert "collapsed" not in text


def test_the_table_holds_the_deviation_that_was_put_in(finished):
    raw = [r for r in rows_of(finished) if r["figure"] == "axis, largest deviation"]
    assert {r["case"]: float(r["value"]) for r in raw} == {
        "w05": pytest.approx(1.5, abs=0.02),
        "l05": pytest.approx(1.5, abs=0.02),
    }
    # 1 % of noise allowed leaves 0.5 %, within the bar of 1 %
    judged = [r for r in rows_of(finished) if r["figure"] == "axis, largest deviation beyond 2 sigma"]
    assert [(float(r["value"]), r["reached"]) for r in judged] == [(pytest.approx(0.5, abs=0.02), "yes")] * 2
    gamma = [r for r in rows_of(finished) if r["figure"].startswith("gamma")]
    assert [(r["figure"], r["value"]) for r in gamma] == [
        ("gamma 3 %/2 mm, pass rate", "100.0000"),
        ("gamma 2 %/1 mm, pass rate", "100.0000"),
    ]


def test_one_case_without_pymedphys_and_what_the_terminal_says(folder, finished, capsys, monkeypatch):
    """A second run into the same folder replaces its own files; without pymedphys it says so."""
    monkeypatch.setattr(photons, "gamma_available", lambda: False)
    code = cli.main(
        ["validate", "photons", "--reference", str(folder / "references"), "--engine", PENCIL, "--case", "w05",
         "--out", str(finished)]
    )  # fmt: skip
    out = capsys.readouterr().out
    assert code == cli.OK
    assert 'pip install "rtplanning[validate]"' in out
    assert f"{PENCIL}, w05: axis within 1.5" in out
    assert "bars reached" in out
    assert "generic_6mv, Penumbra" in out
    assert WORDS in out
    assert not [r for r in rows_of(finished) if r["figure"].startswith("gamma")]
    assert "rtplanning[validate]" in (finished / "validation.html").read_text(encoding="utf-8")


def test_a_case_without_bars_is_not_said_to_reach_them(folder, capsys):
    references = folder / "unjudged"
    references.mkdir()
    write_reference(references, "l05_15MV", 5.0)
    code = cli.main(
        [
            "validate",
            "photons",
            "--reference",
            str(references),
            "--engine",
            PENCIL,
            "--out",
            str(folder / "unjudged-out"),
        ]
    )
    assert code == cli.OK
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "l05_15MV" in line]
    assert line.endswith("no bar is set")
    judged = [r for r in rows_of(folder / "unjudged-out") if r["against"] == "Monte Carlo"]
    assert {r["reached"] for r in judged} == {""}
    assert 'class="verdict open">no bar' in (folder / "unjudged-out" / "validation.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate"],
        ["validate", "photons", "--out", "out"],
        ["validate", "photons", "--reference", "egsnrc"],
        ["validate", "protons", "--reference", "egsnrc", "--out", "out"],
        ["validate", "photons", "--reference", "egsnrc", "--out", "out", "--scale", "1.01"],
        ["validate", "imrt", "--reference", "egsnrc", "--out", "out"],
        ["validate", "imrt", "--engine", PENCIL, "--out", "out"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == cli.USAGE
    assert "usage: rtplanning" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reference", "options", "expected"),
    [
        ("nowhere", [], "There is no folder"),
        ("empty", [], "holds no reference dose"),
        ("broken", [], "w10.npz cannot be read as a reference dose"),
        ("references", ["--case", "w77"], "holds no reference w77; choose of: l05, w05."),
        ("references", ["--case", "spare"], "holds no reference spare"),
        ("references", ["--engine", "photon-magic"], "There is no dose engine 'photon-magic'"),
        ("references", ["--engine", PENCIL, "--out", "{folder}/taken"], "taken already holds validation.csv"),
    ],
)
def test_a_users_mistake_is_one_clear_text_and_exit_code_1(reference, options, expected, folder, capsys):
    for name in ("empty", "broken", "taken"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "broken" / "w10.npz").write_bytes(b"not a reference")
    (folder / "taken" / "validation.csv").write_text("mine", encoding="utf-8")
    arguments = ["validate", "photons", "--reference", str(folder / reference), "--out", str(folder / "not-made")]
    code = cli.main([*arguments, *(option.format(folder=folder) for option in options)])
    captured = capsys.readouterr()
    assert code == cli.FAILED
    assert captured.err.startswith("rtplanning: error: ")
    assert expected in captured.err
    assert captured.out == ""
    assert not (folder / "not-made").exists()
    assert (folder / "taken" / "validation.csv").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["thorax", "tg119-cube"])
def test_a_case_that_is_not_of_tg119_is_one_clear_text(name, tmp_path, capsys):
    code = cli.main(["validate", "imrt", "--case", name, "--out", str(tmp_path / "out")])
    captured = capsys.readouterr()
    assert code == cli.FAILED
    assert captured.err.startswith(f"rtplanning: error: TG-119 has no case '{name}'; choose of: tg119-multitarget, ")
    assert not (tmp_path / "out").exists()


def test_the_help_says_what_a_reference_folder_is(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["validate", "--help"])
    assert stopped.value.code == cli.OK
    text = capsys.readouterr().out
    assert WORDS in text
    assert "w10 water, l03 lung slab, b03 bone slab" in text
