"""The command line: help, listings, exit codes, and one clear line in place of a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib import resources

import pytest
from one_field_plan import PLAN

from DoseEngineLib.errors import Cancelled, PatientError
from RTPlanningLib import cli
from RTPlanningLib.cli import cases
from RTPlanningLib.cli.stop_on_interrupt import REPORTS_TO_ANSWER, stop_on_interrupt


def run(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "RTPlanningLib.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )


@pytest.fixture
def plan_file(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text(PLAN, encoding="utf-8")
    return path


def test_help_is_quick_and_says_what_there_is():
    start = time.perf_counter()
    finished = run("--help")
    assert time.perf_counter() - start < 2.0  # 0.1 s on an idle machine; a heavy import alone takes more
    assert finished.returncode == cli.OK
    for word in (
        "demo",
        "run",
        "optimize",
        "evaluate",
        "export",
        "templates",
        "show",
        "cases",
        "machines",
        "engines",
        "exercises",
        "examples:",
        "not for clinical use",
    ):
        assert word in finished.stdout


@pytest.mark.parametrize(
    "command",
    ["demo", "run", "optimize", "evaluate", "export", "templates", "show", "cases", "machines", "engines", "exercises"],
)
def test_every_command_has_help_with_an_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main([command, "--help"])
    assert stopped.value.code == cli.OK
    assert f"rtplanning {command}" in capsys.readouterr().out.split("example")[1]


def test_the_help_of_run_shows_a_plan_file_that_works():
    from RTPlanningLib.plan_file import parse_plan_file
    from RTPlanningLib.samples import load_sample

    help_text = run("run", "--help").stdout
    text = help_text.split("a plan file (plan.toml):")[1].replace("\n  ", "\n")
    plan = parse_plan_file(text).build(load_sample("tg119-prostate", spacing_mm=5.0))
    assert [beam.name for beam in plan.beams] == ["AP", "PA"]


def test_the_help_of_optimize_shows_a_plan_file_that_works():
    from RTPlanningLib.plan_file import parse_plan_file
    from RTPlanningLib.samples import load_sample

    help_text = run("optimize", "--help").stdout
    text = help_text.split("a plan file (plan.toml):")[1].replace("\n  ", "\n")
    request = parse_plan_file(text)
    assert len(request.build(load_sample("tg119-cshape", spacing_mm=5.0)).beams) == 9
    assert len(request.optimization.goals.rows) == 3


def test_the_first_interrupt_ends_the_search_and_the_next_cancels():
    class State:
        stopped = False

        def stop(self):
            self.stopped = True

    before = signal.getsignal(signal.SIGINT)
    reports = []
    with stop_on_interrupt(lambda fraction, text: reports.append(text)) as (progress, callback):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        first, second = State(), State()
        callback(first)
        signal.raise_signal(signal.SIGINT)
        progress(0.5, "Iteration 1")
        callback(second)
        assert (first.stopped, second.stopped) == (False, True)
        for number in range(9):
            progress(0.6, f"Leaves {number}")
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_after_the_search_cancels():
    with stop_on_interrupt(lambda fraction, text: None) as (progress, callback):
        callback(None)
        signal.raise_signal(signal.SIGINT)
        for _ in range(REPORTS_TO_ANSWER):
            progress(0.7, "Leaves")
        with pytest.raises(KeyboardInterrupt):
            progress(0.7, "Leaves")


def test_help_and_errors_import_nothing_heavy():
    code = (
        "import sys; from RTPlanningLib import cli; cli.main(['show']) if 0 else cli.main([]); "
        "print(sorted({'numpy', 'numba', 'vtk', 'slicer', 'matplotlib', 'rich', 'pydicom'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert finished.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["plan"],
        ["run"],
        ["run", "plan.toml", "--ct", "folder"],
        ["run", "plan.toml", "--out", "folder"],
        ["run", "plan.toml", "--case", "thorax", "--ct", "folder", "--out", "folder"],
        ["run", "plan.toml", "--case", "thorax", "--seg", "x.seg.nrrd", "--out", "folder"],
        ["run", "plan.toml", "--case", "thorax", "--ct-series", "1.2", "--out", "folder"],
        ["demo", "--spacing", "fine"],
        ["demo", "--spac", "5"],
        ["show"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    try:
        code = cli.main(arguments)
    except SystemExit as stopped:
        code = stopped.code
    captured = capsys.readouterr()
    assert code == cli.USAGE
    assert "usage: rtplanning" in captured.err
    assert captured.out == ""


def test_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == cli.OK
    assert capsys.readouterr().out.startswith("rtplanning ")


def test_listings(capsys):
    assert cli.main(["machines"]) == cli.OK
    assert "generic_6mv" in capsys.readouterr().out
    assert cli.main(["cases"]) == cli.OK
    assert cli.DEFAULT_CASE in capsys.readouterr().out
    assert cli.main(["engines"]) == cli.OK
    assert "photon-pencil-beam" in capsys.readouterr().out
    assert cli.main(["exercises"]) == cli.OK
    assert "four-field-box" in capsys.readouterr().out


def test_an_exercise_of_ones_own_is_checked(tmp_path, capsys):
    shipped = resources.files("RTPlanningLib.exercises").joinpath("four-field-box.json").read_text(encoding="utf-8")
    file = tmp_path / "mine.json"
    file.write_text(shipped, encoding="utf-8")
    assert cli.main(["exercises", str(file)]) == cli.OK
    assert "can be used: Four-field box, 4 steps on tg119-prostate" in capsys.readouterr().out
    file.write_text(shipped.replace('"dose_current"', '"dose_curent"'), encoding="utf-8")
    assert cli.main(["exercises", str(file)]) == cli.FAILED
    assert "mine.json, steps/3/checks/0/check: 'dose_curent' is not one of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "{plan}", "--ct", "{folder}/nowhere", "--out", "{folder}/out"], "nowhere"),
        (["run", "{plan}", "--ct", "{folder}/empty", "--out", "{folder}/out"], "CT"),
        (["run", "{folder}/none.toml", "--case", "water-tank", "--out", "{folder}/out"], "none.toml"),
        (["run", "{folder}/bad.toml", "--case", "water-tank", "--out", "{folder}/out"], 'Did you mean "gantry"?'),
        (["run", "{plan}", "--case", "water-tonk", "--out", "{folder}/out"], "water-tank"),
        (["run", "{plan}", "--case", "water-tank", "--out", "{plan}"], "is a file"),
        (["run", "{plan}", "--case", "water-tank", "--out", "{folder}/taken"], "report.html"),
        (["demo", "--case", "tg119", "--out", "{folder}/out"], "tg119-prostate"),
        (["demo", "--spacing", "0.1", "--out", "{folder}/out"], "0.5..20"),
        (["show", "{folder}/none.mrb"], "none.mrb"),
        (["show", "{plan}"], "plan.toml"),
    ],
)
def test_a_users_mistake_is_one_clear_text_and_exit_code_1(arguments, expected, plan_file, tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "report.html").write_text("mine", encoding="utf-8")
    (tmp_path / "bad.toml").write_text(PLAN.replace("gantry", "gantri"), encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    code = cli.main([argument.format(plan=plan_file, folder=tmp_path) for argument in arguments])
    captured = capfd.readouterr()
    assert code == cli.FAILED
    assert captured.err.startswith("rtplanning: error: ")
    assert expected in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_a_scene_without_a_plan_is_said(tmp_path, capsys):
    from RTPlanningLib.headless import HeadlessSlicer
    from RTPlanningLib.mrml.scene_file import saveScene

    with HeadlessSlicer() as runtime:
        saveScene(runtime.scene, tmp_path / "empty.mrb")
    assert cli.main(["show", str(tmp_path / "empty.mrb")]) == cli.FAILED
    assert "empty.mrb holds no RTPlanning plan" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (PatientError("The CT is odd; repair it."), cli.FAILED, "rtplanning: error: The CT is odd; repair it."),
        (OSError(28, "No space left on device", "dose.nrrd"), cli.FAILED, "dose.nrrd: No space left on device"),
        (MemoryError(), cli.FAILED, "coarser dose grid"),
        (RuntimeError("boom"), cli.FAILED, "internal error: RuntimeError: boom"),
        (KeyboardInterrupt(), cli.INTERRUPTED, "cancelled"),
        (Cancelled("stop"), cli.INTERRUPTED, "cancelled"),
    ],
)
def test_every_error_has_its_exit_code_and_text(error, code, expected, monkeypatch, capsys):
    def broken(options):
        raise error

    monkeypatch.setattr(cases, "list_cases", broken)
    assert cli.main(["cases"]) == code
    captured = capsys.readouterr()
    assert expected in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("arguments", [["--debug", "cases"], ["cases", "--debug"]])
def test_debug_shows_the_traceback(arguments, monkeypatch):
    def broken(options):
        raise PatientError("odd")

    monkeypatch.setattr(cases, "list_cases", broken)
    with pytest.raises(PatientError):
        cli.main(arguments)


def test_without_slicer_core_the_text_says_what_to_install(plan_file, tmp_path):
    code = (
        "import sys; sys.modules['slicer'] = None\n"
        "from RTPlanningLib import cli\n"
        f"sys.exit(cli.main(['run', {str(plan_file)!r}, '--case', 'water-tank', '--out', {str(tmp_path / 'out')!r}]))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == cli.FAILED
    assert 'pip install "rtplanning[headless]"' in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (tmp_path / "out").exists()


def test_a_reader_that_goes_away_is_no_error():
    # `rtplanning cases | head -1`
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "RTPlanningLib.cli", "cases"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    _, errors = process.communicate(timeout=60)
    assert errors == b""
    assert process.returncode == cli.FAILED


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, cli.INTERRUPTED), (signal.SIGTERM, cli.TERMINATED)], ids=["Ctrl-C", "terminate"]
)
def test_a_stopped_run_leaves_nothing(sent, code, plan_file, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "RTPlanningLib.cli", "run", str(plan_file), "--case", "water-tank"]
        + ["--out", str(tmp_path / "result")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # a job in the background of a script is born deaf to Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not any(path.is_dir() for path in tmp_path.iterdir()) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [path.name[:8] for path in tmp_path.iterdir() if path.is_dir()] == [".result-"]
    process.send_signal(sent)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == code
    assert output == b""
    assert b"Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["plan.toml"]
