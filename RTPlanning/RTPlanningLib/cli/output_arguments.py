"""Where results go, and whether DICOM objects are among them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from RTPlanningLib.dicom.export import DicomOptions


def add_output_arguments(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add the folder for the results; required without a default."""
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=default and Path(default),
        required=default is None,
        help="folder for the results" + (" (default: %(default)s)" if default else ""),
    )
    parser.add_argument("--force", action="store_true", help="overwrite files in the folder that are not our own")


def add_dicom_argument(parser: argparse.ArgumentParser) -> None:
    """Add whether DICOM objects are written too."""
    parser.add_argument(
        "--dicom",
        action="store_true",
        help="write structures, plan and dose as DICOM objects too, into the folder's dicom/; see: rtplanning export",
    )


def dicom_options(options: argparse.Namespace) -> DicomOptions | None:
    """Return how DICOM objects are written, or None where they are not asked for."""
    if not options.dicom:
        return None
    from RTPlanningLib.dicom.export import DicomOptions

    return DicomOptions()
