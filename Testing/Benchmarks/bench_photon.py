"""Speed and memory of the collapsed cone, beside pyRadPlan's pencil beam in the same run, and growth with voxels.

Not collected by pytest. On a quiet machine::

    python3 -m venv peer && peer/bin/pip install pyRadPlan==0.5.0 "pydantic==2.13.*"
    python Testing/Benchmarks/bench_photon.py --peer-python peer/bin/python --json bench.json

(a) Collapsed cone: open 10 x 10 cm field, gantry 0, SSD 90 cm, water phantom of 30 cm, 2.5 mm grid (1.7 million
    voxels). Warm: the median of three runs after a first one. Compilation (in a fresh numba cache) and the first call,
    which also calibrates the machine, stand apart. Peak memory is that of the whole process, compiler included.
(b) Peer: pyRadPlan's influence matrix and dose of one beam on a 5 mm grid of TG-119, which it carries; also warm,
    median of three, in its own Python. Dose is given twice: the matrix times weights, and its forward calculation.
(c) Growth: the same field and phantom in 1, 2, 4 and 8 million voxels. Cells keep their ratio to voxels, so that twice
    the voxels is twice the work; the ideal machine needs no calibration at each grid. Warm, one run each.

(a) and (c) run in processes of their own, one after the other, and never beside the peer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENGINE = "photon-collapsed-cone"
PHANTOM_MM = 300.0
RUNS = 3
GROWTH_MILLIONS = (1, 2, 4, 8)
TIME_BAR, MEMORY_BAR_GB = 0.5, 1.5


def calculate(count: int, machine: str, **options: float) -> float:
    """Seconds for one dose of the field in count x count x count voxels of the phantom."""
    import numpy as np

    from DoseEngineLib.engine import create_engine
    from DoseEngineLib.geometry import Grid
    from DoseEngineLib.patient import Patient
    from DoseEngineLib.plan import Beam, Plan

    spacing = PHANTOM_MM / count
    first = (-PHANTOM_MM + spacing) / 2
    # anterior surface at A = 0, isocentre 10 cm deep
    grid = Grid.from_spacing((count, count, count), spacing, (first, -PHANTOM_MM + spacing / 2, first))
    patient = Patient.from_density(np.ones(grid.shape, np.float32), grid)
    beam = Beam.open_field(
        gantry_deg=0,
        jaw_x_mm=(-50, 50),
        jaw_y_mm=(-50, 50),
        isocenter_RAS_mm=(0, -100, 0),
        machine=machine,
        meterset_MU=100,
    )
    engine = create_engine(ENGINE, **options)
    start = time.perf_counter()
    result = engine.calculate_dose(patient, Plan("open field", (beam,)), grid=grid)
    seconds = time.perf_counter() - start
    depth = (np.arange(count) + 0.5) * spacing
    axis = result.dose_Gy[count // 2, ::-1, count // 2]
    at_maximum = depth[np.argmax(axis)]
    if not 5 < at_maximum < 25:
        sys.exit(f"The dose is not what it should be: its maximum on the axis lies {at_maximum:g} mm deep.")
    return seconds


def speed(machine: str) -> dict:
    """Part (a), in this process."""
    import resource

    small = {"count": 20, "machine": "ideal_6mv"}
    compiling, compiled = calculate(**small), calculate(**small)
    first = calculate(120, machine)
    runs = [calculate(120, machine) for _ in range(RUNS)]
    scale = 1 if sys.platform == "darwin" else 1024
    return {
        "machine": machine,
        "voxels": 120**3,
        "compile_s": compiling - compiled,
        "first_call_s": first,
        "warm_s": runs,
        "median_s": statistics.median(runs),
        "peak_memory_GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e9,
    }


def growth() -> list[dict]:
    """Part (c), in this process."""
    from DoseEngineLib.engine import create_engine
    from DoseEngineLib.geometry import Grid

    ratio = create_engine(ENGINE).pitch_for(Grid.from_spacing((2, 2, 2), 2.5, (0, 0, 0))) / 2.5
    calculate(20, "ideal_6mv")
    rows = []
    for millions in GROWTH_MILLIONS:
        count = round((millions * 1e6) ** (1 / 3))
        seconds = calculate(count, "ideal_6mv", pitch_mm=ratio * PHANTOM_MM / count)
        rows.append({"voxels": count**3, "seconds": seconds, "seconds_per_million": seconds / (count**3 / 1e6)})
    return rows


def in_a_child(part: str, *arguments: str, cache: str) -> object:
    """Run a part of this script in a process of its own and return what it prints."""
    command = [sys.executable, __file__, "--part", part, *arguments]
    run = subprocess.run(command, env={**os.environ, "NUMBA_CACHE_DIR": cache}, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        sys.exit(f"The part {part!r} failed; what it said stands above.")
    return json.loads(run.stdout.strip().splitlines()[-1])


def peer(python: str) -> dict:
    """Part (b): the peer's times, from its own Python."""
    script = Path(__file__).with_name("peer_pyradplan.py")
    run = subprocess.run([python, str(script)], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"The peer failed:\n{run.stderr[-2000:]}")
    found = json.loads(run.stdout.strip().splitlines()[-1])
    for key in ("matrix_s", "dose_from_matrix_s", "forward_dose_s"):
        found[f"median_{key}"] = statistics.median(found[key])
    found["median_s"] = found["median_matrix_s"] + found["median_dose_from_matrix_s"]
    found["median_with_forward_s"] = found["median_matrix_s"] + found["median_forward_dose_s"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="Python with pyRadPlan 0.5.0; without it there is no comparison")
    parser.add_argument("--machine", default="generic_6mv", help="machine of part (a) (default: %(default)s)")
    parser.add_argument("--no-growth", action="store_true", help="leave out part (c)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--part", choices=("speed", "growth"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(speed(options.machine) if options.part == "speed" else growth()))
        return

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    figures: dict = {"cpu_count": os.cpu_count(), "load_before": load, "python": platform.python_version()}
    print(f"{os.cpu_count()} cores, load {load} before the start")
    with tempfile.TemporaryDirectory() as cache:
        ours = figures["collapsed_cone"] = in_a_child("speed", "--machine", options.machine, cache=cache)
        theirs = figures["peer"] = peer(options.peer_python) if options.peer_python else None
        rows = figures["growth"] = [] if options.no_growth else in_a_child("growth", cache=cache)

    print(f"\n(a) collapsed cone, {ours['machine']}, 10 x 10 cm, 30 cm water, 2.5 mm, {ours['voxels']:,} voxels")
    line("compilation", ours["compile_s"], "s")
    line("first call, calibration included", ours["first_call_s"], "s")
    line("warm, median of " + ", ".join(f"{s:.2f}" for s in ours["warm_s"]), ours["median_s"], "s")
    line(f"peak memory (bar: {MEMORY_BAR_GB:g} GB)", ours["peak_memory_GB"], "GB")
    if theirs:
        figures["ratio"] = ours["median_s"] / theirs["median_s"]
        figures["ratio_with_forward"] = ours["median_s"] / theirs["median_with_forward_s"]
        print(
            f"\n(b) pyRadPlan {theirs['version']}, TG-119, one beam of {theirs['bixels']} bixels, 5 mm, "
            f"{theirs['voxels']:,} voxels"
        )
        line("influence matrix, median", theirs["median_matrix_s"], "s")
        line("dose: matrix times weights, median", theirs["median_dose_from_matrix_s"], "s")
        line("dose: forward calculation, median", theirs["median_forward_dose_s"], "s")
        line("peak memory", theirs["peak_memory_GB"], "GB")
        line(f"(a) over matrix and its dose (bar: {TIME_BAR:g})", figures["ratio"], "")
        line("(a) over matrix and forward dose", figures["ratio_with_forward"], "")
    else:
        print("\n(b) not run: give --peer-python")
    if rows:
        print("\n(c) growth, ideal_6mv\n    voxels       seconds   s a million")
        for row in rows:
            print(f"    {row['voxels']:>9,}  {row['seconds']:>10.2f}  {row['seconds_per_million']:>10.2f}")
    print()
    print(json.dumps(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def line(name: str, value: float, unit: str) -> None:
    """Print a figure."""
    print(f"    {name:<52}{value:>8.2f} {unit}".rstrip())


if __name__ == "__main__":
    main()
