"""``rtplanning commission``: files out, exit codes, and one clear line for a user's mistake."""

from __future__ import annotations

import csv

import pytest
from beam_data_factory import as_csv, measured, true_machine, write_base
from report_page import Page

from DoseEngineLib.machine import load_machine
from RTPlanningLib import cli

WORDS = "For research and teaching, not for clinical use."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with scans of two depth doses and a penumbra, and a base machine."""
    folder = tmp_path_factory.mktemp("commission")
    curves = measured(true_machine())
    few = [c for c in curves if c.field_mm == (100.0, 100.0) and c.kind != "output_factor"]
    (folder / "scans").mkdir()
    (folder / "scans" / "beam.csv").write_text(as_csv(few), encoding="utf-8")
    write_base(folder)
    return folder


@pytest.fixture(scope="module")
def finished(folder):
    """A run of the command."""
    code = cli.main(["commission", str(folder / "scans"), "--machine", str(folder / "base.json"), "--name", "ward_6mv",
                     "--out", str(folder / "out")])  # fmt: skip
    assert code == cli.OK
    return folder / "out"


def test_the_folder_holds_machine_page_and_curves(finished):
    assert sorted(p.name for p in finished.iterdir()) == [
        "commissioning.html", "curves.csv", "manifest.json", "ward_6mv.json",
    ]  # fmt: skip
    machine = load_machine(finished / "ward_6mv.json")
    assert machine.name == "ward_6mv"
    assert "beam.csv" in machine.provenance["spectrum"]
    assert machine.source_sigma_mm == pytest.approx(1.1, abs=0.15)


def test_the_page_is_one_file_that_says_everything(finished):
    text = (finished / "commissioning.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "Commissioning of ward_6mv" in page.text
    assert "Not for clinical use" in page.text
    for word in (
        "Depth dose 10 x 10 cm",
        "Crossline profile 10 x 10 cm",
        "Focal spot",
        "not determined, kept",
        "beam.csv",
    ):
        assert word in page.text
    page.assert_one_file(pictures=4)  # three curves, and the machine


def test_the_curves_are_a_table(finished):
    with (finished / "curves.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["curve"].split(" ")[0] for row in rows} == {"Depth", "Inline", "Crossline"}
    at_depth = [r for r in rows if r["curve"].startswith("Depth") and abs(float(r["position_mm"]) - 102.0) < 1]
    assert float(at_depth[0]["measured_percent"]) == pytest.approx(99.3, abs=2.0)
    assert float(at_depth[0]["fitted_percent"]) == pytest.approx(float(at_depth[0]["measured_percent"]), abs=2.0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["commission"],
        ["commission", "scans", "--out", "out"],
        ["commission", "scans", "--machine", "generic_6mv"],
        ["commission", "scans", "--machine", "generic_6mv", "--out", "out", "--loss", "huber"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == cli.USAGE
    assert "usage: rtplanning" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("measurements", "machine", "options", "expected"),
    [
        ("nowhere", "generic_6mv", [], "There are no measurements at"),
        (
            "bad.csv",
            "generic_6mv",
            [],
            "bad.csv, line 2: 'sdd_mm' is not a condition of a curve. Did you mean 'ssd_mm'?",
        ),
        ("scans", "generic_66mv", [], "There is no machine 'generic_66mv'"),
        ("scans", "{folder}/none.json", [], "none.json"),
        ("scans", "generic_6mv", ["--name", "my linac"], "'my linac' is no name of a machine"),
        ("large.csv", "generic_6mv", [], "large.csv, line 1: Field 450 x 450 mm"),
        ("scans", "generic_6mv", ["--out", "{folder}/taken"], "taken already holds curves.csv"),
    ],
)
def test_a_users_mistake_is_one_clear_text_and_exit_code_1(measurements, machine, options, expected, folder, capsys):
    (folder / "bad.csv").write_text("kind = pdd\nsdd_mm = 1000\n", encoding="utf-8")
    text = (folder / "scans" / "beam.csv").read_text(encoding="utf-8")
    (folder / "large.csv").write_text(text.replace("= 100\n", "= 450\n", 2), encoding="utf-8")
    (folder / "taken").mkdir(exist_ok=True)
    (folder / "taken" / "curves.csv").write_text("mine", encoding="utf-8")
    arguments = ["commission", str(folder / measurements), "--machine", machine, "--out", str(folder / "not-made")]
    code = cli.main([a.format(folder=folder) for a in arguments + options])
    captured = capsys.readouterr()
    assert code == cli.FAILED
    assert captured.err.startswith("rtplanning: error: ")
    assert expected in captured.err
    assert captured.out == ""
    assert not (folder / "not-made").exists()
    assert (folder / "taken" / "curves.csv").read_text(encoding="utf-8") == "mine"


def test_the_help_shows_a_file_that_can_be_read(capsys):
    from DoseEngineLib.commissioning.measured_curve import MeasurementError
    from DoseEngineLib.commissioning.measurement_csv import parse_csv

    with pytest.raises(SystemExit) as stopped:
        cli.main(["commission", "--help"])
    assert stopped.value.code == cli.OK
    text = capsys.readouterr().out
    assert WORDS in text
    example = text.split("one after the other:\n")[1].split("writes <name>.json")[0]
    # everything is understood but that two points are no curve
    with pytest.raises(MeasurementError, match="line 1: the curve has 2 points"):
        parse_csv(example, "help")


def test_what_the_terminal_says(folder, finished, capsys):
    # a second run into the same folder replaces its own files
    arguments = ["commission", str(folder / "scans" / "beam.csv"), "--machine", str(folder / "base.json")]
    assert cli.main([*arguments, "--out", str(finished)]) == cli.OK
    out = capsys.readouterr().out
    assert "base_6mv_commissioned from base_6mv, 3 curves:" in out
    assert "Focal spot, one standard deviation: 0.7 -> " in out
    assert "gamma 1 %/1 mm" in out
    assert WORDS in out
    assert (finished / "base_6mv_commissioned.json").is_file()
    assert not (finished / "ward_6mv.json").exists()
