"""Time pyRadPlan's influence matrix on TG-119, five beams, and write down the case so that others compute the same.

Run by bench_influence.py in the peer's own Python (pyRadPlan 0.5.0 in a virtual environment of its own); the last line
printed is JSON. The case is the TG-119 phantom that pyRadPlan carries, its generic machine, beams at 0, 72, 144, 216
and 288 degrees, bixels and dose grid of 5 mm. The first run warms up and does not count.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib.metadata import version

import numpy as np
import SimpleITK
from pyRadPlan import PhotonPlan, calc_dose_influence, generate_stf, load_tg119

RUNS = 3
SHARES = (1e-2, 1e-3, 1e-4, 1e-5)


def main(case: str) -> None:
    """Print the times; write CT, isocentre and bixels to ``case`` (.npz, DICOM LPS, mm)."""
    ct, cst = load_tg119()
    plan = PhotonPlan(machine="Generic")
    angles = np.array([0.0, 72.0, 144.0, 216.0, 288.0])
    plan.prop_stf = {"gantry_angles": angles, "couch_angles": np.zeros(5), "bixel_width": 5.0}
    plan.prop_dose_calc = {"dose_grid": {"resolution": {"x": 5.0, "y": 5.0, "z": 5.0}}}
    stf = generate_stf(ct, cst, plan)
    seconds = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        dij = calc_dose_influence(ct, cst, stf, plan)
        seconds.append(time.perf_counter() - start)
    matrix = dij.physical_dose.flat[0]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    grid, image = dij.dose_grid, ct.cube_hu
    if [float(value) for value in grid.resolution_vector] != [5.0, 5.0, 5.0]:
        sys.exit(f"pyRadPlan's dose grid is not what was asked: {grid.resolution_vector}")
    beams = {}
    for number, beam in enumerate(stf.beams):
        positions = np.array([ray.ray_pos_bev for ray in beam.rays])
        # beam's eye view: x across, z along the table
        beams[f"x_{number}"], beams[f"z_{number}"] = positions[:, 0], positions[:, 2]
    np.savez(
        case,
        hu=SimpleITK.GetArrayFromImage(image).astype(np.float32),
        spacing_mm=image.GetSpacing(),
        origin_LPS_mm=image.GetOrigin(),
        direction_LPS=np.array(image.GetDirection()).reshape(3, 3),
        body=np.any([SimpleITK.GetArrayFromImage(v.mask) > 0 for v in cst.vois], axis=0),
        isocenter_LPS_mm=stf.beams[0].iso_center,
        gantry_deg=angles,
        grid_x_mm=grid.x,
        grid_y_mm=grid.y,
        grid_z_mm=grid.z,
        **beams,
    )
    # the largest entry of each bixel, and how many lie above shares of it
    largest = np.maximum.reduceat(matrix.data, matrix.indptr[:-1])
    of = matrix.data / np.repeat(largest, np.diff(matrix.indptr))
    answer = {
        "version": version("pyRadPlan"),
        "seconds": seconds[1:],
        "first_call_s": seconds[0],
        "bixels": int(matrix.shape[1]),
        "voxels": int(matrix.shape[0]),
        "nonzeros": int(matrix.nnz),
        "above": {str(share): int(np.count_nonzero(of > share)) for share in SHARES},
        "peak_memory_GB": peak,
    }
    print("\n" + json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
