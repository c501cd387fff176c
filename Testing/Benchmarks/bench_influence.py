"""Speed and memory of the dose influence, beside pyRadPlan's in the same run, and of a head-and-neck size problem.

Not collected by pytest. On a quiet machine::

    python3 -m venv peer && peer/bin/pip install pyRadPlan==0.5.0 "pydantic==2.13.*"
    python Testing/Benchmarks/bench_influence.py --peer-python peer/bin/python --json bench.json

(a) Peer and ours on the same case: pyRadPlan's TG-119 phantom, its isocentre, its bixels (5 mm, five beams), its dose
    grid of 5 mm. Both warm: the median of three runs after a first one. pyRadPlan drops what lies further than 50 mm
    from a bixel; ours keeps all of the dose and gathers what is below the cut-off. Compared are nonzeros, and entries
    above shares of the largest of their bixel. Compilation (in a fresh numba cache) stands apart.
(b) A synthetic head and neck: elliptical neck and head, 3 mm grid, nine beams, about 3,000 bixels of 5 mm; once with
    all of the body, once with every voxel of targets and organs and one in 27 of the rest.

Each part runs in a process of its own, and never beside the peer. Peak memory is that of the whole process.
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

RUNS = 5
SHARES = (1e-2, 1e-3, 1e-4, 1e-5)
TIME_BAR = 20.0
# With it ours has just no fewer nonzeros than the peer, in all and above 1e-4 of the largest of their bixel.
CUTOFF = 2.25e-3
ENGINE = "photon-pencil-beam"


def peak_memory_GB() -> float:
    """Of this process so far."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def compiled() -> float:
    """Compile on a tiny case; seconds of it."""
    import numpy as np

    from DoseEngineLib.engine import create_engine
    from DoseEngineLib.geometry import Grid
    from DoseEngineLib.influence import BixelBeam
    from DoseEngineLib.patient import Patient
    from DoseEngineLib.plan import Beam, Plan

    grid = Grid.from_spacing((10, 10, 10), 5.0, (-22.5, -22.5, -22.5))
    patient = Patient.from_density(np.ones(grid.shape, np.float32), grid)
    plan = Plan("tiny", (Beam.open_field("1"),), dose_grid_spacing_mm=5.0)
    bixels = [BixelBeam("1", 0, 0, 0, (0, 0, 0), "generic_6mv", 5.0, [2.5, -2.5], [2.5, 2.5])]
    start = time.perf_counter()
    create_engine(ENGINE).calculate_influence(patient, plan, bixels=bixels)
    return time.perf_counter() - start


def same_case(case: str, cutoff: float) -> dict:
    """Part (a), ours, in this process."""
    import numpy as np

    from DoseEngineLib.engine import create_engine
    from DoseEngineLib.geometry import Grid
    from DoseEngineLib.influence import BixelBeam
    from DoseEngineLib.patient import Patient
    from DoseEngineLib.plan import Beam, Plan

    compile_s = compiled()
    with np.load(case) as stored:
        data = dict(stored)
    to_ras = np.diag([-1.0, -1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = to_ras @ (data["direction_LPS"] * data["spacing_mm"])
    affine[:3, 3] = to_ras @ data["origin_LPS_mm"]
    patient = Patient.from_hu(data["hu"], Grid(data["hu"].shape, affine), body=data["body"])
    axes = [data[f"grid_{axis}_mm"] for axis in "xyz"]
    dose_affine = np.diag([*(float(axis[1] - axis[0]) for axis in axes), 1.0])
    dose_affine[:3, 3] = [axis[0] for axis in axes]
    dose_affine = np.block([[to_ras, np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]]) @ dose_affine
    grid = Grid(tuple(axis.size for axis in axes[::-1]), dose_affine)
    isocenter = tuple(to_ras @ data["isocenter_LPS_mm"])
    beams, bixels = [], []
    for number, gantry in enumerate(data["gantry_deg"]):
        name = f"Gantry {gantry:g}"
        beams.append(Beam.open_field(name, gantry_deg=gantry, isocenter_RAS_mm=isocenter))
        # its bixels are centred on multiples of their width, ours lie between them
        x, y = data[f"x_{number}"], data[f"z_{number}"]
        bixels.append(BixelBeam(name, gantry, 0.0, 0.0, isocenter, "generic_6mv", 5.0, x, y, (2.5, 2.5)))
    plan = Plan("TG-119", tuple(beams))
    engine = create_engine(ENGINE)
    before = peak_memory_GB()
    seconds = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        influence = engine.calculate_influence(patient, plan, bixels=bixels, grid=grid, cutoff=cutoff)
        seconds.append(time.perf_counter() - start)
    peak = peak_memory_GB()
    matrix = influence.matrix
    largest = np.maximum.reduceat(matrix.data, matrix.indptr[:-1])
    of = matrix.data / np.repeat(largest, np.diff(matrix.indptr))
    return {
        "compile_s": compile_s,
        "seconds": seconds[1:],
        "bixels": int(matrix.shape[1]),
        "voxels": int(matrix.shape[0]),
        "nonzeros": int(matrix.nnz),
        "above": {str(share): int(np.count_nonzero(of > share)) for share in SHARES},
        "cutoff_error": influence.cutoff_error,
        "stages_s": influence.provenance["cost"]["seconds"],
        "memory_before_GB": before,
        "peak_memory_GB": peak,
    }


def head_and_neck(every: int, cutoff: float) -> dict:
    """Part (b), in this process."""
    import numpy as np

    from DoseEngineLib.engine import create_engine
    from DoseEngineLib.geometry import Grid
    from DoseEngineLib.patient import Patient
    from DoseEngineLib.plan import Beam, Plan, Prescription, Structure

    compile_s = compiled()
    grid = Grid.from_spacing((90, 80, 70), 3.0, (-103.5, -118.5, -133.5))
    r, a, s = np.moveaxis(grid.centres_RAS_mm(), -1, 0)
    head = (r / 75) ** 2 + ((a - 10) / 95) ** 2 + ((s - 60) / 90) ** 2 <= 1
    neck = ((r / 65) ** 2 + (a / 65) ** 2 <= 1) & (s < 60)
    shoulders = ((r / 102) ** 2 + (a / 80) ** 2 <= 1) & (s < -80)
    body = head | neck | shoulders
    density = np.where(body, 1.0, 0.0).astype(np.float32)
    airway = (r**2 + (a - 15) ** 2 <= 9.0**2) & (s < 60)
    spine = r**2 + (a + 35) ** 2 <= 14.0**2
    density[airway] = 0.001
    density[spine & body] = 1.4
    high = ((r - 12) / 22) ** 2 + ((a - 5) / 22) ** 2 + ((s - 10) / 40) ** 2 <= 1
    nodes = ((((np.abs(r) - 30) / 11) ** 2 + ((a + 5) / 22) ** 2 <= 1) & (np.abs(s + 10) < 45)) & body
    parotids = ((np.abs(r) - 55) / 11) ** 2 + ((a + 5) / 18) ** 2 + ((s - 45) / 25) ** 2 <= 1
    cord = (r**2 + (a + 35) ** 2 <= 6.0**2) & body
    structures = (
        Structure("PTV", (high | nodes) & body, grid, "PTV"),
        Structure("Parotids", parotids & body, grid),
        Structure("SpinalCord", cord, grid),
    )
    patient = Patient.from_density(density, grid, body=body, structures=structures)
    beams = tuple(
        Beam.open_field(f"Gantry {g:g}", gantry_deg=g, isocenter_RAS_mm=(0, 0, -10)) for g in range(0, 360, 40)
    )
    plan = Plan("Head and neck", beams, Prescription(70, 35, "PTV", "none"), dose_grid_spacing_mm=3.0)
    chosen = {}
    if every > 1:
        chosen = {"structures": [structure.name for structure in structures], "normal_tissue_every": every}
    engine = create_engine(ENGINE)
    before = peak_memory_GB()
    start = time.perf_counter()
    influence = engine.calculate_influence(patient, plan, cutoff=cutoff, **chosen)
    seconds = time.perf_counter() - start
    return {
        "compile_s": compile_s,
        "seconds": seconds,
        "voxels": int(influence.matrix.shape[0]),
        "bixels": int(influence.matrix.shape[1]),
        "nonzeros": int(influence.matrix.nnz),
        "memory_before_GB": before,
        "peak_memory_GB": peak_memory_GB(),
        "needed_GB": influence.provenance["cost"]["needed_GB"],
        "cutoff_error": influence.cutoff_error,
    }


def in_a_child(part: str, *arguments: str, cache: str) -> dict:
    """Run a part of this script in a process of its own and return what it prints."""
    command = [sys.executable, __file__, "--part", part, *arguments]
    run = subprocess.run(command, env={**os.environ, "NUMBA_CACHE_DIR": cache}, stdout=subprocess.PIPE, text=True)
    if run.returncode:
        sys.exit(f"The part {part!r} failed; what it said stands above.")
    return json.loads(run.stdout.strip().splitlines()[-1])


def peer(python: str, case: str) -> dict:
    """The peer's times, from its own Python; it writes the case."""
    script = Path(__file__).with_name("peer_pyradplan_influence.py")
    run = subprocess.run([python, str(script), case], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"The peer failed:\n{run.stderr[-2000:]}")
    return json.loads(run.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", help="Python with pyRadPlan 0.5.0; without it part (a) is left out")
    parser.add_argument("--cutoff", type=float, default=CUTOFF, help="ours, in both parts (default: %(default)s)")
    parser.add_argument("--no-head-and-neck", action="store_true", help="leave out part (b)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--part", choices=("same", "head"), help=argparse.SUPPRESS)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--every", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "same":
        print(json.dumps(same_case(options.case, options.cutoff)))
        return
    if options.part == "head":
        print(json.dumps(head_and_neck(options.every, options.cutoff)))
        return

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    figures: dict = {"cpu_count": os.cpu_count(), "load_before": load, "python": platform.python_version()}
    print(f"{os.cpu_count()} cores, load {load} before the start")
    cutoff = ("--cutoff", str(options.cutoff))
    with tempfile.TemporaryDirectory() as folder:
        cache = str(Path(folder) / "numba")
        if options.peer_python:
            case = str(Path(folder) / "case.npz")
            theirs = figures["peer"] = peer(options.peer_python, case)
            ours = figures["influence"] = in_a_child("same", "--case", case, *cutoff, cache=cache)
            figures["ratio"] = statistics.median(theirs["seconds"]) / statistics.median(ours["seconds"])
            report_same(theirs, ours, figures["ratio"])
        else:
            print("\n(a) not run: give --peer-python")
        if not options.no_head_and_neck:
            for every in (1, 3):
                found = in_a_child("head", "--every", str(every), *cutoff, cache=cache)
                figures[f"head_and_neck_{every}"] = found
                report_head(found, every)
    print()
    print(json.dumps(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def report_same(theirs: dict, ours: dict, ratio: float) -> None:
    """Print part (a)."""
    print(f"\n(a) TG-119, five beams, {theirs['bixels']:,} bixels, 5 mm; pyRadPlan {theirs['version']} | ours")
    print(f"    {'median of ' + str(len(theirs['seconds'])) + ' and ' + str(len(ours['seconds'])):<40}", end="")
    print(f"{statistics.median(theirs['seconds']):>14.2f} s {statistics.median(ours['seconds']):>14.2f} s")
    for name in ("nonzeros", *(f"above {share:g} of a bixel's largest" for share in SHARES)):
        pair = (theirs, ours) if name == "nonzeros" else (theirs["above"], ours["above"])
        key = name if name == "nonzeros" else str(float(name.split()[1]))
        print(f"    {name:<40}{pair[0][key]:>16,} {pair[1][key]:>16,}")
    print(f"    {'peak memory':<40}{theirs['peak_memory_GB']:>13.2f} GB {ours['peak_memory_GB']:>13.2f} GB")
    print(f"    {'ours: compilation, once':<40}{'':>16}{ours['compile_s']:>15.1f} s")
    print(f"    times faster (bar: {TIME_BAR:g}): {ratio:.1f}; ours by stage: {ours['stages_s']}")
    print(f"    ours, what the cut-off does: {ours['cutoff_error']}")


def report_head(found: dict, every: int) -> None:
    """Print a row of part (b)."""
    what = "all of the body" if every == 1 else f"structures, and one voxel in {every**3} of the rest"
    print(f"\n(b) head and neck, {what}: {found['voxels']:,} voxels, {found['bixels']:,} bixels")
    print(
        f"    {found['nonzeros']:,} nonzeros in {found['seconds']:.2f} s (compilation {found['compile_s']:.1f} s apart)"
    )
    print(f"    peak memory {found['peak_memory_GB']:.2f} GB; {found['cutoff_error']}")


if __name__ == "__main__":
    main()
