"""Speed of DVHs: 20 structures on a CT of 256 x 256 x 150 voxels, beside dicompyler-core in the same run.

Not collected by pytest. On a quiet machine::

    python3 -m venv peer && peer/bin/pip install dicompyler-core "pydicom<3" scikit-image
    python Testing/Benchmarks/bench_dvh.py --peer-python peer/bin/python --json bench.json

The CT has voxels of 1.95 x 1.95 x 2.5 mm, the dose a grid of 2.5 mm over the body (3.2 million voxels). The structures
are ellipsoids from a body of 17 litres to lenses of 0.1 cm3, overlapping. Once as label maps on the CT, once as
contours on its slices. Warm: the median of five runs. Bar: 2 s on two cores.

The peer reads the same contours and dose from DICOM files; reading is not counted. It takes the dose once a dose voxel,
on contour planes only. Means and volumes stand beside ours.

With ``--clinical FOLDER`` (rtss.dcm and rtdose.dcm) it also prints the peer's figures of every structure there; the
validation tests hold those of the clinical breast plan.
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

BAR_S = 2.0
RUNS = 5
SHAPE, SPACING_MM = (150, 256, 256), (1.95, 1.95, 2.5)
ORIGIN_RAS_MM = (-248.6, -248.6, -186.25)
DOSE_SHAPE, DOSE_SPACING_MM, DOSE_ORIGIN_RAS_MM = (150, 120, 176), 2.5, (-218.75, -148.75, -186.25)
# name, centre and half axes in mm
ELLIPSOIDS = (
    ("Body", (0, 0, 0), (205, 138, 400)),
    ("Lung_L", (-70, 10, 60), (60, 75, 110)),
    ("Lung_R", (70, 10, 60), (60, 75, 110)),
    ("Heart", (-20, 20, 20), (50, 50, 55)),
    ("Liver", (60, 10, -80), (80, 70, 60)),
    ("Kidney_L", (-60, -50, -110), (28, 28, 50)),
    ("Kidney_R", (60, -50, -110), (28, 28, 50)),
    ("SpinalCord", (0, -70, 0), (7, 7, 175)),
    ("Esophagus", (0, -30, 60), (10, 9, 110)),
    ("Trachea", (0, -15, 130), (10, 9, 45)),
    ("Stomach", (-50, 20, -90), (40, 35, 45)),
    ("GTV", (40, 0, 40), (15, 15, 20)),
    ("CTV", (40, 0, 40), (22, 22, 28)),
    ("PTV", (40, 0, 40), (28, 28, 34)),
    ("Ring", (40, 0, 40), (50, 50, 55)),
    ("Brainstem", (0, -20, 160), (14, 14, 20)),
    ("OpticChiasm", (0, 30, 165), (7, 4, 3)),
    ("Lens_L", (-30, 60, 160), (3.6, 2.2, 3.2)),
    ("Lens_R", (30, 60, 160), (3.6, 2.2, 3.2)),
    ("Eye_L", (-30, 50, 160), (12, 12, 12)),
)
CORNERS = 180


def contours_of(centre, half) -> list:
    """Closed contours (RAS) of an ellipsoid on the CT's slices."""
    import numpy as np

    angle = 2.0 * np.pi * np.arange(CORNERS) / CORNERS
    contours = []
    for height in ORIGIN_RAS_MM[2] + SPACING_MM[2] * np.arange(SHAPE[0]):
        square = 1.0 - ((height - centre[2]) / half[2]) ** 2
        if square > 0.0:
            scale = np.sqrt(square)
            contours.append(
                np.column_stack(
                    (
                        centre[0] + scale * half[0] * np.cos(angle),
                        centre[1] + scale * half[1] * np.sin(angle),
                        np.full(CORNERS, height),
                    )
                )
            )
    return contours


def dose_of(points):
    """Gy at RAS points (..., 3): a Gaussian around the target."""
    import numpy as np

    return (60.0 * np.exp(-(((points - (40.0, 0.0, 40.0)) / 60.0) ** 2).sum(axis=-1))).astype(np.float32)


def measure() -> dict:
    """Time both kinds of structures; volumes in cm3 and means in Gy."""
    import numpy as np

    from DoseEngineLib.contour_stack import ContourStack
    from DoseEngineLib.dvh import calculate_dvhs
    from DoseEngineLib.geometry import Grid
    from DoseEngineLib.plan import Structure

    ct = Grid.from_spacing(SHAPE, SPACING_MM, ORIGIN_RAS_MM)
    dose_grid = Grid.from_spacing(DOSE_SHAPE, DOSE_SPACING_MM, DOSE_ORIGIN_RAS_MM)
    dose = dose_of(dose_grid.centres_RAS_mm())
    axes = [ORIGIN_RAS_MM[n] + SPACING_MM[n] * np.arange(SHAPE[2 - n]) for n in range(3)]
    masks, stacks = [], []
    for name, centre, half in ELLIPSOIDS:
        r, a, s = (((axes[n] - centre[n]) / half[n]) ** 2 for n in range(3))
        masks.append(Structure(name, s[:, None, None] + a[:, None] + r <= 1.0, ct))
        stacks.append((name, tuple(contours_of(centre, half))))
    results = {}
    kinds = {
        "label maps": lambda: masks,
        # made anew each time: a stack keeps its planes once it has sorted them
        "contours": lambda: [ContourStack(name, contours, SPACING_MM[2]) for name, contours in stacks],
    }
    for kind, structures in kinds.items():
        wall, cpu = [], []
        for _ in range(RUNS + 1):
            start, start_cpu = time.perf_counter(), time.process_time()
            dvhs = calculate_dvhs(dose, dose_grid, structures())
            wall.append(time.perf_counter() - start)
            cpu.append(time.process_time() - start_cpu)
        results[kind] = {
            "wall_s": statistics.median(wall[1:]),
            "cpu_s": statistics.median(cpu[1:]),
            "samples": sum(dvh.dose_samples_Gy.size for dvh in dvhs.values()),
            "dvhs": {
                name: {"volume_cm3": dvh.volume_cm3, "mean_Gy": dvh.mean_Gy, "covered": dvh.covered_fraction}
                for name, dvh in dvhs.items()
            },
        }
    return results


def write_dicom(folder: Path) -> None:
    """Write the contours and the dose as the least RTSTRUCT and RTDOSE that the peer reads."""
    import numpy as np
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, RTDoseStorage, RTStructureSetStorage, generate_uid

    from DoseEngineLib.geometry import Grid

    def new(storage, modality: str) -> Dataset:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = storage, generate_uid(), modality
        return dataset

    structures = new(RTStructureSetStorage, "RTSTRUCT")
    structures.StructureSetROISequence, structures.ROIContourSequence = [], []
    structures.RTROIObservationsSequence = []
    for number, (name, centre, half) in enumerate(ELLIPSOIDS, start=1):
        roi, drawn, seen = Dataset(), Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        drawn.ReferencedROINumber, drawn.ROIDisplayColor, drawn.ContourSequence = number, [255, 0, 0], []
        seen.ObservationNumber = seen.ReferencedROINumber = number
        seen.RTROIInterpretedType = "ORGAN"
        for points in contours_of(centre, half):
            contour = Dataset()
            contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            contour.ContourData = [f"{value:.4f}" for value in (points * (-1.0, -1.0, 1.0)).ravel()]
            drawn.ContourSequence.append(contour)
        structures.StructureSetROISequence.append(roi)
        structures.ROIContourSequence.append(drawn)
        structures.RTROIObservationsSequence.append(seen)
    structures.save_as(folder / "rtss.dcm", enforce_file_format=True)

    grid = Grid.from_spacing(DOSE_SHAPE, DOSE_SPACING_MM, DOSE_ORIGIN_RAS_MM)
    # rows and columns run to posterior and left in DICOM
    values = dose_of(grid.centres_RAS_mm())[:, ::-1, ::-1]
    dose = new(RTDoseStorage, "RTDOSE")
    scaling = float(values.max()) / 60_000.0
    dose.DoseGridScaling, dose.DoseUnits = f"{scaling:.8g}", "GY"
    dose.DoseType, dose.DoseSummationType = "PHYSICAL", "PLAN"
    dose.NumberOfFrames, dose.Rows, dose.Columns = DOSE_SHAPE
    dose.ImageOrientationPatient, dose.PixelSpacing = [1, 0, 0, 0, 1, 0], [DOSE_SPACING_MM] * 2
    upper = np.array(DOSE_ORIGIN_RAS_MM) + DOSE_SPACING_MM * (np.array(DOSE_SHAPE[::-1]) - 1)
    dose.ImagePositionPatient = [-upper[0], -upper[1], DOSE_ORIGIN_RAS_MM[2]]
    dose.GridFrameOffsetVector = [DOSE_SPACING_MM * n for n in range(DOSE_SHAPE[0])]
    dose.SamplesPerPixel, dose.PhotometricInterpretation, dose.PixelRepresentation = 1, "MONOCHROME2", 0
    dose.BitsAllocated = dose.BitsStored = 16
    dose.HighBit = 15
    dose.PixelData = np.round(values / scaling).astype("<u2").tobytes()
    dose.save_as(folder / "rtdose.dcm", enforce_file_format=True)


def measure_peer(folder: Path, fine: bool) -> dict:
    """What the peer's own Python runs: DVHs of every structure of a folder; with ``fine`` also its finer volumes."""
    from dicompylercore import dicomparser, dvhcalc

    structures, dose = str(folder / "rtss.dcm"), str(folder / "rtdose.dcm")
    rois = dicomparser.DicomParser(structures).GetStructures()
    dvhs, seconds = {}, 0.0
    for number, roi in rois.items():
        if roi["empty"]:
            continue
        parsed = dicomparser.DicomParser(structures).ds, dicomparser.DicomParser(dose).ds
        start = time.perf_counter()
        dvh = dvhcalc.get_dvh(*parsed, number)
        seconds += time.perf_counter() - start
        row = {"volume_cm3": float(dvh.volume), "mean_Gy": float(dvh.mean)}
        if fine and dvh.volume:
            row |= {f"D{p}%": dvh.statistic(f"D{p}").value for p in (98, 95, 50, 2)}
            row |= {f"V{d}Gy": dvh.volume_constraint(d, "Gy").value for d in (1, 5, 10)}
            if dvh.volume < 1000.0:
                finer = dvhcalc.get_dvh(*parsed, number, use_structure_extents=True, interpolation_resolution=0.3125)
                row["fine volume_cm3"] = float(finer.volume)
        dvhs[roi["name"]] = row
    return {"wall_s": seconds, "dvhs": dvhs}


def run_peer(python: str, folder: Path, *, fine: bool = False) -> dict:
    """Run `measure_peer` in the peer's Python."""
    answer = subprocess.run(
        [python, "-W", "ignore", __file__, "--as-peer", str(folder), *(["--fine"] if fine else [])],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        sys.exit(f"The peer failed:\n{answer.stderr[-2000:]}")
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="Python that has dicompyler-core")
    parser.add_argument("--clinical", type=Path, help="folder with rtss.dcm and rtdose.dcm for the peer's figures")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--as-peer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--fine", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.as_peer:
        print(json.dumps(measure_peer(arguments.as_peer, arguments.fine)))
        return

    results = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    results |= measure()
    for kind in ("label maps", "contours"):
        one = results[kind]
        verdict = "within" if one["wall_s"] < BAR_S else "ABOVE"
        print(
            f"20 structures from {kind}: {one['wall_s']:.2f} s ({one['cpu_s']:.2f} s of CPU, "
            f"{one['samples'] / 1e6:.1f} million samples), {verdict} the bar of {BAR_S:g} s"
        )
    if arguments.peer_python:
        with tempfile.TemporaryDirectory() as name:
            write_dicom(Path(name))
            results["dicompyler-core"] = run_peer(arguments.peer_python, Path(name))
        print(f"dicompyler-core, once a dose voxel: {results['dicompyler-core']['wall_s']:.2f} s")
        print(
            f"{'structure':12} {'volume cm3: ours':>17} {'peer':>10} {'exact':>10}   {'mean Gy: ours':>13} {'peer':>8}"
        )
        for name, _, half in ELLIPSOIDS:
            ours, peer = results["contours"]["dvhs"][name], results["dicompyler-core"]["dvhs"][name]
            exact = 4.0 / 3.0 * 3.141592653589793 * half[0] * half[1] * half[2] / 1000.0
            print(
                f"{name:12} {ours['volume_cm3']:17.3f} {peer['volume_cm3']:10.3f} "
                f"{exact if name != 'Body' else float('nan'):10.3f}   {ours['mean_Gy']:13.3f} {peer['mean_Gy']:8.3f}"
            )
        if arguments.clinical:
            results["clinical"] = run_peer(arguments.peer_python, arguments.clinical, fine=True)
            for name, row in results["clinical"]["dvhs"].items():
                print(name, {key: round(value, 4) for key, value in row.items()})
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
