"""The HTML report and the DVH table: complete, escaped, self-contained, the same bytes twice."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from DoseEngineLib.engine import DoseResult
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Aperture, Beam, Plan, Prescription, Structure
from RTPlanningLib.case import Case
from RTPlanningLib.evaluation.dvh import Dvh, calculate_dvhs
from RTPlanningLib.evaluation.goals import evaluate_goals
from RTPlanningLib.evaluation.plan_checks import CheckResult
from RTPlanningLib.report.dvh_csv import dvh_csv, write_dvh_csv
from RTPlanningLib.report.html_report import render_report, write_report
from RTPlanningLib.report.report_data import Picture, ReportData

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>'
SOFTWARE = {"rtplanning": "0.1.0", "numpy": "2.0"}


class Engine:
    title = "Test engine"
    version = "7.1"
    models = ("inverse square law",)
    does_not_model = ("electrons & <positrons>",)


def make_case() -> tuple[Case, DoseResult]:
    grid = Grid.from_spacing((16, 24, 24), 4.0, (-46.0, -46.0, -30.0))
    k, j, i = np.indices(grid.shape)
    radius = np.linalg.norm(grid.index_to_ras(np.stack((i, j, k), axis=-1)), axis=-1)
    structures = (
        Structure("PTV <1>", radius < 18.0, grid, "PTV", (0.8, 0.1, 0.1)),
        Structure("BODY", np.ones(grid.shape, bool), grid, "EXTERNAL"),
    )
    case = Case(
        "phantom",
        np.zeros(grid.shape, np.int16),
        grid,
        structures,
        patient_name="Doe^<script>alert(1)</script>",
        patient_id="42",
        notes=("Slice 3 & 4 were equal.",),
        goals=("PTV <1> D95% >= 95 %", "PTV <1> Max < 10 Gy", "Heart Mean < 4 Gy"),
    )
    leaves = tuple((-20.0, 20.0) for _ in range(60))
    beams = (
        Beam.open_field("AP", jaw_x_mm=(-30, 45), isocenter_RAS_mm=(1.0, -2.0, 0.0), meterset_MU=120.25),
        Beam.static_field(
            "Left",
            Aperture((-30, 30), (-25, 25), leaves),
            gantry_deg=90,
            collimator_deg=12.5,
            isocenter_RAS_mm=(1.0, -2.0, 0.0),
            meterset_MU=80.0,
        ),
    )
    plan = Plan("Box", beams, Prescription(50.0, 25, "PTV <1>", "mean"))
    total = np.clip(55.0 - 0.3 * radius, 0.0, None).astype(np.float32)
    doses = {"AP": 0.75 * total, "Left": 0.25 * total}
    provenance = {
        "engine": "test",
        "engine_version": "7.1",
        "machines": {"generic_6mv": "Generic"},
        "grid_spacing_mm": [4.0, 4.0, 4.0],
        "plan_hash": plan.hash(),
        "patient": {"calibration": "Schneider", "density_overrides_g_cm3": {"PTV <1>": 1.0}},
        "does_not_model": ["said by the engine"],
    }
    return case, DoseResult(total, grid, doses, plan, provenance=provenance)


def make_data(**more) -> ReportData:
    case, result = make_case()
    dvhs = calculate_dvhs(result.dose_Gy, result.grid, case.structures)
    goals = evaluate_goals(case.goals, dvhs, 50.0)
    options = {
        "dvh_figure": SVG,
        "slices": [("Slices through the isocentre", PNG)],
        "view_3d": PNG,
        "engine": Engine,
        "software": SOFTWARE,
        "notes": ["Said by hand."],
    }
    return ReportData.from_result(case, result, dvhs, goals, **(options | more))


class Text(HTMLParser):
    """Collects the text of a page, its tags and what they point at; complains about tags left open."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.parts: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.parts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.parts).split())


def test_a_report_says_everything():
    page = Text(render_report(make_data()))
    assert not page.open
    for expected in (
        "For research and teaching. Not for clinical use.",
        "Doe^<script>alert(1)</script> · 42",
        "50 Gy in 25 fractions of 2 Gy to PTV <1>",
        "mean of PTV <1> equals the prescription",
        "−30.0 / 45.0",
        "12.5",
        "120.2",
        "2 beams, 200.2 MU",
        "R 1.0, A −2.0, S 0.0 mm",
        "x −1.0, y 2.0, z 0.0 mm",
        "generic_6mv, 6 MV",
        "Slice 3 & 4 were equal.",
        "Said by hand.",
        "1 of 3 met, 1 not evaluated",
        "✓ passed",
        "✗ failed",
        "There is no DVH of a structure named Heart.",
        "≥ 95 %",
        "inverse square law",
        "electrons & <positrons>",
        "Test engine 7.1",
        "Schneider",
        "Patient: density overrides (g/cm³): PTV <1> 1",
        "rtplanning 0.1.0, numpy 2.0",
        make_case()[1].plan.hash(),
    ):
        assert expected in page.text, expected


def test_a_report_stands_alone():
    html = render_report(make_data())
    page = Text(html)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert len(page.sources) == 3
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "@import" not in html
    assert "url(" not in html
    # escaped, and no event handlers of its own
    assert "<script>" not in html
    assert not re.search(r"\son\w+=", html)


def test_beam_doses_are_those_to_the_target():
    data = make_data()
    means = [float(beam.target_mean) for beam in data.beams]
    assert means[0] == pytest.approx(3.0 * means[1], rel=0.01)
    target = data.structures[0]
    assert sum(means) == pytest.approx(float(target.values[1 + data.metric_names.index("Mean")]), abs=0.02)
    assert [beam.mlc for beam in data.beams] == ["no", "yes"]
    assert data.isocenters[0].beams == "all beams"


def test_metrics_of_targets_and_organs():
    data = make_data()
    target, body = data.structures
    assert data.metric_names[-1] == "V95%[%]"
    assert float(target.values[-1]) > 90.0
    assert body.values[-1] == ""
    assert target.color == "rgb(204, 26, 26)"


def test_a_plan_without_prescription_has_a_report():
    case, result = make_case()
    bare = replace(result, plan=replace(result.plan, prescription=None), provenance={})
    dvhs = calculate_dvhs(bare.dose_Gy, bare.grid, case.structures)
    data = ReportData.from_result(case, bare, dvhs, software=SOFTWARE)
    text = Text(render_report(data)).text
    assert "none; one fraction, MU as given" in text
    assert "No goals were given." in text
    assert "Mean to target" not in text
    assert "V95%" not in "".join(data.metric_names)
    assert "The dose engine" not in text


def test_an_acceptable_goal_is_neither_met_nor_failed():
    case, result = make_case()
    dvhs = calculate_dvhs(result.dose_Gy, result.grid, case.structures)
    goals = evaluate_goals(["PTV <1> Mean >= 1000 Gy (1 Gy)"], dvhs)
    text = render_report(ReportData.from_result(case, result, dvhs, goals, software=SOFTWARE))
    assert "0 of 1 met, 1 acceptable" in Text(text).text
    assert "~ acceptable" in Text(text).text
    assert 'class="failed-row"' not in text


def test_checks_are_listed_with_what_to_do():
    assert "Checks before sign-off" not in render_report(make_data())
    checks = (
        CheckResult("Isocentre", "passed", "In <PTV>."),
        CheckResult("Monitor units", "warning", "Look at them."),
        CheckResult("Coverage", "failed", "Widen the field."),
    )
    text = render_report(replace(make_data(), checks=checks))
    assert "1 failed, 1 warning, 1 passed." in text
    assert "In &lt;PTV&gt;." in text
    assert text.index("Widen the field.") > text.index("Checks before sign-off")
    assert text.count('class="failed-row"') == render_report(make_data()).count('class="failed-row"') + 1


def test_partly_covered_structures_are_noted():
    data = make_data()
    case, result = make_case()
    dvhs = {"BODY": Dvh("BODY", 100.0, np.ones(4), 0.875)}
    partial = ReportData.from_result(case, result, dvhs, software=SOFTWARE)
    assert any("Only 87.5 % of BODY lie inside" in note for note in partial.notes)
    assert not any("lie inside" in note for note in data.notes)


def test_moving_beams_are_told_from_static_ones():
    case, result = make_case()
    first, second = result.plan.beams
    points = (
        first.control_points[0],
        replace(first.control_points[1], gantry_deg=40.0, aperture=Aperture((-50, 20), (-25, 25))),
    )
    plan = replace(result.plan, beams=(replace(first, control_points=points), second))
    data = ReportData.from_result(case, replace(result, plan=plan), {}, software=SOFTWARE)
    assert data.beams[0].gantry == "0 → 40"
    assert data.beams[0].jaw_x == "−50.0 / 45.0, moving"


def test_two_reports_have_the_same_bytes(tmp_path):
    for name in ("a.html", "b.html"):
        write_report(tmp_path / name, make_data())
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]
    write_report(tmp_path / "a.html", make_data(created="3 May 2026"))
    assert "3 May 2026" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_pictures_must_be_pictures():
    with pytest.raises(EvaluationError, match="neither PNG nor SVG"):
        Picture(b"GIF89a", "Slices")
    assert Picture(SVG, "DVH").media_type == "image/svg+xml"


def test_dvh_csv_has_slicerrts_columns(tmp_path):
    dvhs = {
        "PTV, boost": Dvh("PTV, boost", 24.0, np.full(8, 2.05)),
        "Cord": Dvh("Cord", 3.14159, np.array([0.05, 0.15, 0.25, 0.35])),
    }
    path = tmp_path / "dvh.csv"
    write_dvh_csv(path, dvhs)
    assert b"\r" not in path.read_bytes()
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == [
        "PTV, boost Dose (Gy)",
        "PTV, boost Value (% of 24.000 cc)",
        "Cord Dose (Gy)",
        "Cord Value (% of 3.142 cc)",
    ]
    assert rows[0] == ["0.000000", "100.000000", "0.000000", "100.000000"]
    assert rows[2] == ["0.200000", "100.000000", "0.200000", "50.000000"]
    assert [row[1] for row in rows[-3:]] == ["100.000000", "0.000000", "0.000000"]
    assert dvh_csv(dvhs) == path.read_text()
    with pytest.raises(EvaluationError, match="no DVH"):
        dvh_csv({})


def test_a_picture_a_beam_stands_under_the_beams_and_says_when_some_are_left_out():
    html = render_report(make_data(beam_views=[("Beam's-eye view of AP", PNG), ("Beam's-eye view of Left", PNG)]))
    page = Text(html)
    assert html.count('alt="Beam&#39;s-eye view of') == 2
    assert html.index("eye view of AP") < html.index("eye view of Left") < html.index("Isocentre of")
    assert "are shown" not in page.text
    fewer = Text(render_report(make_data(beam_views=[("Beam's-eye view of AP, control point 1", PNG)]))).text
    assert "The first 1 of 2 beams are shown." in fewer
    assert "the first control point is shown" in fewer
    assert "eye view" not in render_report(make_data())
