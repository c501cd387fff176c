"""Speed of the gamma index beside pymedphys and plastimatch in the same run.

Not collected by pytest. On a quiet machine, with the reference data beside the checkout::

    python Testing/Benchmarks/bench_gamma.py --json bench_gamma.json

The pairs are those of ``Testing/Validation/dose_pairs.py``: a clinical breast dose on a 3 mm grid, Monte Carlo against
the pencil beam on a 2.5 mm grid, and a closed form on a 3 mm grid. Gamma is searched up to 2 on all sides. Ours: the
median of five warm runs, and the first call of this process, which compiles where numba's cache is empty. pymedphys:
one run at its usual sampling (a tenth of the distance criterion). plastimatch, where it is installed: one run on the
voxels as they are, reading and writing files included.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numba

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "Testing" / "Validation"))

import dose_pairs  # noqa: E402

from RTPlanningLib.evaluation.gamma import GammaCriterion, gamma_index  # noqa: E402

RUNS = 5
BAR = 5.0


def seconds_of(pair: dose_pairs.Pair, criterion: GammaCriterion) -> tuple[float, float]:
    """First call and median of the warm ones."""
    runs = []
    for _ in range(RUNS + 1):
        begun = time.perf_counter()
        gamma_index(*pair, criterion)
        runs.append(time.perf_counter() - begun)
    return runs[0], statistics.median(runs[1:])


def compare(name: str, pair: dose_pairs.Pair, criterion: GammaCriterion) -> dict:
    """Times and pass rates of all hands on one pair."""
    first, warm = seconds_of(pair, criterion)
    ours = gamma_index(*pair, criterion)
    theirs, seconds = dose_pairs.pymedphys_gamma(pair, criterion)
    row = {
        "pair": name,
        "criterion": str(criterion),
        "grid_kji": list(pair[0].grid.shape),
        "judged_voxels": ours.judged,
        "first_call_s": first,
        "median_s": warm,
        "voxels_a_second": ours.judged / warm,
        "pass_rate_percent": ours.pass_rate_percent,
        "pymedphys_s": seconds,
        "pymedphys_pass_rate_percent": dose_pairs.pass_rate(theirs),
        "times_as_fast_as_pymedphys": seconds / warm,
    }
    if shutil.which("plastimatch"):
        with tempfile.TemporaryDirectory() as folder:
            rate, _, seconds = dose_pairs.plastimatch_gamma(pair, criterion, Path(folder))
        row |= {"plastimatch_s": seconds, "plastimatch_pass_rate_percent": rate}
    return row


def main() -> None:
    """Run all pairs, print a table, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared" / "data", help="reference data")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        sys.exit(f"There is no reference data at {arguments.data}; give its folder with --data.")
    cases = (
        ("breast, 3 mm", dose_pairs.breast_pair(arguments.data), GammaCriterion(3, 3)),
        ("breast, 3 mm", dose_pairs.breast_pair(arguments.data), GammaCriterion(2, 2)),
        ("Monte Carlo, 2.5 mm", dose_pairs.monte_carlo_pair(arguments.data), GammaCriterion(2, 2)),
        ("closed form, 3 mm", dose_pairs.synthetic_pair()[0], replace(dose_pairs.SYNTHETIC_CRITERION, max_gamma=2.0)),
    )
    rows = []
    for case in cases:
        row = compare(*case)
        rows.append(row)
        print(
            f"{row['pair']}, {row['criterion']}: {row['judged_voxels']} voxels, {row['median_s'] * 1000:.0f} ms "
            f"({row['voxels_a_second'] / 1e6:.2f} million a second), {row['pass_rate_percent']:.2f} %; "
            f"pymedphys {row['pymedphys_s']:.1f} s, {row['pymedphys_pass_rate_percent']:.2f} %, "
            f"{row['times_as_fast_as_pymedphys']:.0f} times"
            + (
                f"; plastimatch {row['plastimatch_s']:.1f} s, {row['plastimatch_pass_rate_percent']:.2f} %"
                if "plastimatch_s" in row
                else "; plastimatch is not installed"
            ),
            flush=True,
        )
    slowest = min(row["times_as_fast_as_pymedphys"] for row in rows)
    verdict = "met" if slowest >= BAR else "MISSED"
    print(f"At least {slowest:.0f} times as fast as pymedphys; the bar of {BAR:g} is {verdict}.")
    if arguments.json:
        figures = {"threads": numba.get_num_threads(), "machine": platform.machine(), "rows": rows}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
