"""Speed of radiographs beside plastimatch drr, and whether both show the same, in the same run.

Not collected by pytest. On a quiet machine, with plastimatch installed::

    python Testing/Benchmarks/bench_radiograph.py --json bench_radiograph.json

The volume is 256 x 256 x 150 voxels of 1.6 x 1.6 x 2.5 mm: water with noise, bone and steel balls. Pictures are
512 x 512 over 400 mm at the isocentre plane, from nine directions. Ours: the median of five warm pictures a direction,
without making the volume ready (done once a CT, reported apart). plastimatch: its exact ray trace, all of a run, and
less one of a picture of 1 x 1 pixel, which is the reading of the file. The bar is 0.3 s a picture.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numba
import numpy as np

from DoseEngineLib.geometry import Grid, lps_from_ras
from DoseEngineLib.iec61217 import BeamFrame, beam_frame
from RTPlanningLib.display.radiograph import RadiographVolume

SAD_MM, SIDE_MM, PIXELS, RUNS, BAR_S = 1000.0, 400.0, 512, 5, 0.3
ANGLES = (
    (0, 0, 0), (90, 0, 0), (180, 0, 0), (45, 0, 0), (40, 30, 0), (120, 10, 20), (215, 45, 340), (300, 90, 90),
    (10, 5, 45),
)  # fmt: skip


def volume() -> tuple[np.ndarray, Grid]:
    """CT numbers and grid."""
    rng = np.random.default_rng(0)
    grid = Grid.from_spacing((150, 256, 256), (1.6, 1.6, 2.5), (-204.0, -204.0, -186.25))
    k, j, i = np.indices(grid.shape, dtype=np.float32)
    r, a, s = i * 1.6 - 204.0, j * 1.6 - 204.0, k * 2.5 - 186.25
    hu = np.full(grid.shape, -1000.0, np.float32)
    body = (r / 180.0) ** 2 + (a / 120.0) ** 2 < 1.0
    hu[body] = rng.normal(0.0, 20.0, int(body.sum()))
    hu[(r / 20.0) ** 2 + ((a + 70.0) / 20.0) ** 2 < 1.0] = 700.0
    balls = rng.uniform((-110.0, -60.0, -110.0), (110.0, 60.0, 110.0), (8, 3))
    for ball in balls:
        hu[(r - ball[0]) ** 2 + (a - ball[1]) ** 2 + (s - ball[2]) ** 2 < 25.0] = 20000.0
    return np.rint(hu).astype(np.int16), grid


def write_mha(path: Path, hu: np.ndarray, grid: Grid) -> None:
    """Write the CT in DICOM's axes."""
    # R and A turn to L and P: rows and columns from the other end
    first = lps_from_ras(grid.index_to_ras((hu.shape[2] - 1, hu.shape[1] - 1, 0)))
    spacing = grid.spacing_mm
    header = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = {first[0]} {first[1]} {first[2]}\n"
        f"ElementSpacing = {spacing[0]} {spacing[1]} {spacing[2]}\n"
        f"DimSize = {hu.shape[2]} {hu.shape[1]} {hu.shape[0]}\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    )
    path.write_bytes(header.encode() + np.ascontiguousarray(hu[:, ::-1, ::-1]).tobytes())


def plastimatch_picture(image: Path, frame: BeamFrame, pixels: int, folder: Path) -> tuple[np.ndarray, float]:
    """Its picture, rows from the highest Y down, and the seconds of the run."""
    normal, up = lps_from_ras(frame.source_direction), lps_from_ras(frame.y_axis)
    begun = time.perf_counter()
    subprocess.run(
        [
            "plastimatch", "drr", "--nrm", " ".join(f"{v:.9f}" for v in normal),
            "--vup", " ".join(f"{v:.9f}" for v in up), "--sad", f"{SAD_MM:g}", "--sid", f"{SAD_MM:g}",
            "-r", f"{pixels} {pixels}", "-z", f"{SIDE_MM:g} {SIDE_MM:g}", "-o", "0 0 0",
            "-t", "pfm", "-i", "exact", "-O", str(folder / "drr"), str(image),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    (path,) = folder.glob("drr*.pfm")
    magic, size, _scale, data = path.read_bytes().split(b"\n", 3)
    if magic != b"Pf":
        raise ValueError(f"plastimatch wrote a picture of another kind: {magic!r}")
    columns, rows = (int(n) for n in size.split())
    picture = np.frombuffer(data, "<f4").reshape(rows, columns)
    path.unlink()
    return picture, seconds


def shift_mm(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """How far theirs lies from ours along X and Y by least squares, and the root mean square of what then differs."""
    along_y, along_x = np.gradient(ours)
    inside = np.s_[20:-20, 20:-20]
    columns = np.stack([-along_x[inside].ravel(), -along_y[inside].ravel(), ours[inside].ravel()], axis=1)
    (x, y, factor), *_ = np.linalg.lstsq(columns, theirs[inside].ravel(), rcond=None)
    left = theirs[inside].ravel() - columns @ (x, y, factor)
    pixel_mm = SIDE_MM / PIXELS
    # rows run down, Y up
    return float(x / factor * pixel_mm), float(-y / factor * pixel_mm), float(np.sqrt(np.mean((left / factor) ** 2)))


def main() -> None:
    """Run all directions, print a table, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    hu, grid = volume()
    begun = time.perf_counter()
    ready = RadiographVolume.from_hu(hu, grid)
    print(f"Made ready in {time.perf_counter() - begun:.3f} s, {numba.get_num_threads()} threads")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = shutil.which("plastimatch")
        if peer:
            write_mha(folder / "ct.mha", hu, grid)
        for angles in ANGLES:
            frame = beam_frame(*angles)
            picture = ready.radiograph(frame, SAD_MM, pixels=(PIXELS, PIXELS)).water_mm[::-1]
            runs = []
            for _ in range(RUNS):
                begun = time.perf_counter()
                ready.radiograph(frame, SAD_MM, pixels=(PIXELS, PIXELS))
                runs.append(time.perf_counter() - begun)
            row = {"gantry_collimator_couch_deg": angles, "median_s": statistics.median(runs), "fastest_s": min(runs)}
            text = f"{angles}: {row['median_s']:.3f} s (fastest {row['fastest_s']:.3f})"
            if peer:
                theirs, seconds = plastimatch_picture(folder / "ct.mha", frame, PIXELS, folder)
                _, reading = plastimatch_picture(folder / "ct.mha", frame, 1, folder)
                x, y, rest = shift_mm(picture, theirs)
                row |= {"plastimatch_s": seconds, "plastimatch_without_reading_s": seconds - reading}
                row |= {"plastimatch_shift_mm": [x, y], "rms_difference_water_mm": rest}
                text += (
                    f"; plastimatch {seconds:.2f} s, {seconds - reading:.2f} without reading; it lies "
                    f"{x:+.3f}, {y:+.3f} mm off, the rest differs by {rest:.2f} mm of water (rms)"
                )
            rows.append(row)
            print(text, flush=True)
    slowest = max(row["median_s"] for row in rows)
    print(f"Slowest {slowest:.3f} s; the bar of {BAR_S:g} s is {'met' if slowest <= BAR_S else 'MISSED'}.")
    if not shutil.which("plastimatch"):
        print("plastimatch is not installed.", file=sys.stderr)
    if arguments.json:
        figures = {"threads": numba.get_num_threads(), "machine": platform.machine(), "rows": rows}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
