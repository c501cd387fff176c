"""Which structures a dose is judged in, and how their contours are read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_structure_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the arguments that say which structures are meant; ``default`` says in words which without them."""
    organs = parser.add_mutually_exclusive_group()
    organs.add_argument(
        "--structures",
        metavar="DIR|FILE",
        nargs="+",
        type=Path,
        help="a DICOM folder, an RTSTRUCT, a segmentation (.seg.nrrd, .seg.vtm), or surfaces (.vtp, .vtk, .stl, ...); "
        f"by default {default}",
    )
    organs.add_argument("--case", metavar="NAME", help="a built-in case in their place; see: rtplanning cases")
    parser.add_argument(
        "--contours-only", action="store_true", help="take an RTSTRUCT by its contours, whatever CT lies beside it"
    )
    parser.add_argument(
        "--end-caps",
        choices=("half", "none"),
        default="half",
        help="how far contours reach beyond the first and last: half a slice, or not at all (default: %(default)s)",
    )
    parser.add_argument(
        "--skip", metavar="NAME", nargs="+", action="extend", default=[], help="leave these structures out"
    )


def structures_asked(options: argparse.Namespace) -> dict[str, Any]:
    """Return what these arguments say, by the names of the workflows' parameters."""
    paths = options.structures
    return {
        # a place to look at, or several files of surfaces
        "structures": paths[0] if paths is not None and len(paths) == 1 else paths,
        "case": options.case,
        "contours_only": options.contours_only,
        "end_caps": options.end_caps,
        "skip": options.skip,
    }
