"""DICOM in and out: ``read_case``, ``read_rt_plan``, ``read_structure_set``, ``export_dicom`` and more.

The names are resolved on first use, so that importing the package loads no pydicom.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from RTPlanningLib.dicom.case_reader import read_case as read_case
    from RTPlanningLib.dicom.ct_series import CtSeries as CtSeries
    from RTPlanningLib.dicom.ct_series import read_ct_series as read_ct_series
    from RTPlanningLib.dicom.export import DicomExport as DicomExport
    from RTPlanningLib.dicom.export import DicomOptions as DicomOptions
    from RTPlanningLib.dicom.export import export_dicom as export_dicom
    from RTPlanningLib.dicom.folder import list_series as list_series
    from RTPlanningLib.dicom.folder import scan_folder as scan_folder
    from RTPlanningLib.dicom.planning_folder import PlanningFolder as PlanningFolder
    from RTPlanningLib.dicom.planning_folder import read_planning_folder as read_planning_folder
    from RTPlanningLib.dicom.rt_dose_writer import DoseToExport as DoseToExport
    from RTPlanningLib.dicom.rt_plan_reader import RtPlan as RtPlan
    from RTPlanningLib.dicom.rt_plan_reader import read_rt_plan as read_rt_plan
    from RTPlanningLib.dicom.rt_plan_writer import rt_plan_dataset as rt_plan_dataset
    from RTPlanningLib.dicom.structure_set import read_structure_set as read_structure_set

_HOME = {
    "read_case": "case_reader",
    "CtSeries": "ct_series",
    "read_ct_series": "ct_series",
    "DicomExport": "export",
    "DicomOptions": "export",
    "DoseToExport": "rt_dose_writer",
    "export_dicom": "export",
    "list_series": "folder",
    "scan_folder": "folder",
    "PlanningFolder": "planning_folder",
    "read_planning_folder": "planning_folder",
    "RtPlan": "rt_plan_reader",
    "read_rt_plan": "rt_plan_reader",
    "rt_plan_dataset": "rt_plan_writer",
    "read_structure_set": "structure_set",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
