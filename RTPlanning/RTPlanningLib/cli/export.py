"""``rtplanning export``: write a result, or a case, as DICOM objects: CT, RTSTRUCT, RTPLAN, RTDOSE."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from RTPlanningLib.cli.case_arguments import add_series_arguments, add_source_arguments, check_case_arguments
from RTPlanningLib.cli.command_parser import NOTICE, add_command
from RTPlanningLib.cli.output_arguments import add_output_arguments
from RTPlanningLib.cli.printed_output import print_columns, print_notes, size_text
from RTPlanningLib.cli.progress_bar import progress_bar


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "export",
        export,
        "write a result, or a case, as DICOM objects: CT, RTSTRUCT, RTPLAN, RTDOSE",
        """\
examples:
  rtplanning export rtplanning-demo --out dicom
  rtplanning export result --beams --eqd2 3 PTV=10 --out dicom       (alpha/beta 3 Gy, 10 Gy in the PTV)
  rtplanning export result --anonymise --out to-give-away
  rtplanning export --case tg119-prostate --out dicom
  rtplanning export --ct dicom-in/ --anonymise --out to-give-away

A CT that came from DICOM is referred to and not written again, unless --with-ct or --anonymise is given.
--anonymise follows the basic profile of DICOM PS3.15 with shifted dates; which patient, date and UID became which is
not kept anywhere. It needs: pip install "rtplanning[anonymise]".""",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("result", metavar="RESULT", nargs="?", type=Path, help="folder of a result, or a scene.mrb")
    add_source_arguments(what)
    add_series_arguments(parser)
    parser.add_argument("--plan", metavar="NAME", help="the plan, where a scene holds several")
    parser.add_argument("--beams", action="store_true", help="the dose of every beam too")
    parser.add_argument(
        "--eqd2",
        metavar="GY|NAME=GY",
        nargs="+",
        help="the EQD2 too, with this alpha/beta, and other ones in structures",
    )
    parser.add_argument("--with-ct", action="store_true", help="write a CT that came from DICOM too, as a new series")
    parser.add_argument("--anonymise", action="store_true", help="take out what tells who the patient is")
    parser.add_argument(
        "--resample-oblique", action="store_true", help="interpolate a dose whose grid is oblique to the patient's axes"
    )
    add_output_arguments(parser)


def export(options: argparse.Namespace) -> None:
    """Write a result, or a case, as DICOM objects: CT, RTSTRUCT, RTPLAN, RTDOSE."""
    if options.result is None:
        check_case_arguments(options)
        if options.plan or options.beams or options.eqd2:
            options.parser.error("--plan, --beams and --eqd2 go with a RESULT; a case alone has no plan and no dose")
    elif options.seg or options.ct_series or options.structure_set:
        options.parser.error("--seg, --ct-series and --structure-set go with --ct; a RESULT has its own case")
    from DoseEngineLib.progress import part
    from RTPlanningLib.dicom.export import DicomOptions, export_dicom
    from RTPlanningLib.workflow import export_scene, read_case_from

    elsewhere, named = _eqd2_of_export(options)
    wanted = DicomOptions(
        beams=options.beams,
        eqd2_elsewhere_Gy=elsewhere,
        eqd2_Gy=named,
        with_ct=True if options.with_ct else None,
        anonymise=options.anonymise,
        resample_oblique=options.resample_oblique,
    )
    with progress_bar() as progress:
        if options.result is not None:
            written = export_scene(
                options.result,
                options.out,
                plan_name=options.plan,
                options=wanted,
                force=options.force,
                progress=progress,
            )
        else:
            case = read_case_from(
                ct=options.ct,
                segmentation=options.seg,
                sample=options.case,
                ct_series_uid=options.ct_series,
                structure_set_uid=options.structure_set,
                progress=part(progress, 0.0, 0.5),
            )
            written = export_dicom(
                case, options.out, options=wanted, force=options.force, progress=part(progress, 0.5, 1.0)
            )
            written = replace(written, notes=(*case.notes, *written.notes))
    print_notes(written.notes)
    images = [path for path in written.files if path.name.startswith("CT_")]
    print(f"Written to {written.folder}:")
    rows = [(f"  {path.name}", size_text(path.stat().st_size)) for path in written.files if path not in images]
    if images:
        rows.insert(0, (f"  {len(images)} CT images", size_text(sum(path.stat().st_size for path in images))))
    print_columns(rows)
    print(NOTICE)


def _eqd2_of_export(options: argparse.Namespace) -> tuple[float | None, dict[str, float]]:
    elsewhere, named = [], {}
    for text in options.eqd2 or ():
        name, equals, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            options.parser.error(f"--eqd2 takes alpha/beta in Gy, and NAME=GY for a structure; got {text!r}")
        if equals:
            named[name] = value
        else:
            elsewhere.append(value)
    if options.eqd2 and len(elsewhere) != 1:
        options.parser.error("--eqd2 takes one alpha/beta for all that is not named, as in --eqd2 3 PTV=10")
    return (elsewhere[0] if elsewhere else None), named
