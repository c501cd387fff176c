"""Which case is meant: a DICOM folder, a volume file with its segmentation, or a built-in one."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from DoseEngineLib.progress import Progress

if TYPE_CHECKING:
    from RTPlanningLib.case import Case
    from RTPlanningLib.plan_file import PlanRequest


def add_case_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which case is meant; one is required."""
    add_source_arguments(parser.add_mutually_exclusive_group(required=True))
    add_series_arguments(parser)


def add_source_arguments(group: Any) -> None:
    """Add where a case comes from: a folder, a file, or a built-in case."""
    group.add_argument("--ct", metavar="DIR|FILE", type=Path, help="a DICOM folder, or a volume file (NRRD, NIfTI)")
    group.add_argument("--case", metavar="NAME", help="a built-in case in place of --ct; see: rtplanning cases")


def add_series_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what goes with the place of a case: segmentation, CT series, structure set."""
    parser.add_argument("--seg", metavar="FILE", type=Path, help="segmentation (.seg.nrrd) of a volume file")
    add_uid_arguments(parser)


def add_uid_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which of the series and structure sets of a DICOM folder are meant."""
    parser.add_argument("--ct-series", metavar="UID", help="CT series, where the DICOM folder holds several")
    parser.add_argument("--structure-set", metavar="UID", help="structure set, where the DICOM folder holds several")


def check_case_arguments(options: argparse.Namespace) -> None:
    """Stop with the usage where arguments of a case do not go together."""
    if options.seg and (options.case or options.ct.is_dir()):
        options.parser.error(
            "--seg goes with a volume file at --ct; a DICOM folder or a built-in case has its own structures"
        )
    if (options.ct_series or options.structure_set) and (options.case or options.ct.is_file()):
        options.parser.error("--ct-series and --structure-set go with a DICOM folder at --ct")


def read_request(options: argparse.Namespace, plan_file: Path) -> PlanRequest:
    """Read a plan file; series named on the command line count before the file's."""
    from RTPlanningLib.plan_file import read_plan_file

    request = read_plan_file(plan_file)
    return replace(
        request,
        ct_series_uid=options.ct_series or request.ct_series_uid,
        structure_set_uid=options.structure_set or request.structure_set_uid,
    )


def read_case(options: argparse.Namespace, request: PlanRequest, progress: Progress) -> Case:
    """Read the case that is meant."""
    from RTPlanningLib.workflow import read_case_from

    progress(0.0, "Reading the case")
    return read_case_from(
        ct=options.ct, segmentation=options.seg, sample=options.case, request=request, progress=progress
    )
