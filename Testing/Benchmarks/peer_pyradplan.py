"""Time pyRadPlan's photon pencil beam on TG-119, one beam: influence matrix, dose from it, forward dose.

Run by bench_photon.py in the peer's own Python (pyRadPlan 0.5.0 in a virtual environment of its own); the last line
printed is JSON. The case is the TG-119 phantom that pyRadPlan carries, its targets and generic machine, gantry 0,
bixels and dose grid of 5 mm. Every run computes anew; the first, which warms it up, does not count.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib.metadata import version

import numpy as np
import SimpleITK
from pyRadPlan import PhotonPlan, calc_dose_forward, calc_dose_influence, generate_stf, load_tg119

RUNS = 3


def main() -> None:
    """Print the times."""
    ct, cst = load_tg119()
    plan = PhotonPlan(machine="Generic")
    plan.prop_stf = {"gantry_angles": np.zeros(1), "couch_angles": np.zeros(1), "bixel_width": 5.0}
    plan.prop_dose_calc = {"dose_grid": {"resolution": {"x": 5.0, "y": 5.0, "z": 5.0}}}
    stf = generate_stf(ct, cst, plan)
    times: dict[str, list[float]] = {"matrix_s": [], "dose_from_matrix_s": [], "forward_dose_s": []}
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        dij = calc_dose_influence(ct, cst, stf, plan)
        matrix = time.perf_counter()
        result = dij.compute_result_dose_grid(np.ones(dij.total_num_of_bixels))
        dose = time.perf_counter()
        calc_dose_forward(ct, cst, stf, plan, np.ones(dij.total_num_of_bixels))
        forward = time.perf_counter()
        for key, seconds in zip(times, (matrix - start, dose - matrix, forward - dose)):
            times[key].append(seconds)
    spacing = [float(value) for value in dij.dose_grid.resolution_vector]
    largest = float(SimpleITK.GetArrayViewFromImage(result["physical_dose"]).max())
    if spacing != [5.0, 5.0, 5.0] or not largest > 0:
        sys.exit(f"pyRadPlan did not do what was asked: dose grid {spacing} mm, largest dose {largest}")
    answer = {
        "version": version("pyRadPlan"),
        **{key: values[1:] for key, values in times.items()},
        "bixels": int(dij.total_num_of_bixels),
        "voxels": int(dij.dose_grid.num_voxels),
        "nonzeros": int(dij.physical_dose.flat[0].nnz),
        # kB on Linux
        "peak_memory_GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }
    print("\n" + json.dumps(answer))


if __name__ == "__main__":
    main()
