"""dicom3tools' checkers of single objects (dciodvfy) and of sets of them (dcentvfy), for tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.uid import RTDoseStorage


def have_checkers() -> bool:
    """Whether dicom3tools is installed."""
    return shutil.which("dciodvfy") is not None and shutil.which("dcentvfy") is not None


def iod_complaints(path: Path, scratch: Path) -> list[str]:
    """Return what dciodvfy finds wrong with a file: its errors, and that it ended in any way but the usual."""
    ran = subprocess.run(
        ["dciodvfy", "-new", str(checkable(path, scratch))], capture_output=True, text=True, timeout=60, check=False
    )
    lines = (ran.stdout + ran.stderr).splitlines()
    # the last thing it says of an object it could read is which one it is
    recognised = [line for line in lines if line in ("CTImage", "RTStructureSet", "RTPlan", "RTDose")]
    complaints = [line for line in lines if line.startswith(("Error", "Abort")) or "Assertion" in line]
    return complaints if recognised else [*complaints, f"not recognised: {lines}"]


def set_complaints(paths: Sequence[Path], scratch: Path) -> list[str]:
    """Return what dcentvfy finds inconsistent between files of one patient."""
    names = scratch / "files.txt"
    names.write_text("\n".join(str(checkable(path, scratch)) for path in paths) + "\n")
    ran = subprocess.run(["dcentvfy", "-f", str(names)], capture_output=True, text=True, timeout=120, check=False)
    lines = (ran.stdout + ran.stderr).strip().splitlines()
    return lines if lines or ran.returncode == 0 else [f"exit code {ran.returncode}"]


def checkable(path: Path, scratch: Path) -> Path:
    """Return the file, or for a dose of 32 bits a twin with the upper 16 of them.

    dicom3tools ends with a failed assertion (attrothr.cc, bitsallocated <= bytesinword*8u) on any pixels of 32 bits,
    those of commercial systems too. In the twin nothing but the pixels and their number of bits differs.
    """
    dataset = pydicom.dcmread(path)
    if dataset.SOPClassUID != RTDoseStorage or dataset.BitsAllocated != 32:
        return path
    values = dataset.pixel_array >> 16
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData = values.astype("<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    twin = scratch / f"{path.stem}_16_bits.dcm"
    dataset.save_as(twin)
    return twin
