"""What a person sets in the Dose Engine panel, kept on the scene's parameter node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScriptedModuleNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

DEFAULT_ENGINE = "photon-pencil-beam"
DEFAULT_MACHINE = "generic_6mv"


@parameterNodeWrapper
class DoseEngineParameters:
    """All settings of the panel.

    Attributes
    ----------
    planNode : node or None
    engine : str
        Label of the engine that the next dose is to be computed with.
    engineOptions : str
        Of each engine, by label, the options that are not at their default: JSON; see `optionsOf`.
    spacing_mm : float
        Of the dose grid.
    shownPlan : str
        The plan whose engine, options and grid the three settings above were taken from last.
    statisticsOf : str
        Beam whose dose is described; empty: the whole plan.
    planName, volumeNode, segmentationNode, beamSource, sourcePlanNode, newMachine, fieldX_mm, fieldY_mm, angles,
    meterset_MU, isocenter, isocenterR_mm, isocenterA_mm, isocenterS_mm
        Of the form that makes a simple plan. ``beamSource`` is "open" or "plan"; ``isocenter`` "body", "typed" or
        "plan".
    machine, machineFiles, curveEngine, ssd_mm, profileSide_mm, chart
        Of the machine viewer. ``ssd_mm`` 0: the machine's source-axis distance; ``chart`` is "depth", "profiles" or
        "output".
    measurements, baseMachine, machineName, fit..., centreProfiles, robust, machineFile
        Of the commissioning form.
    ...Collapsed : bool
        Sections of the panel.
    """

    planNode: vtkMRMLScriptedModuleNode
    engine: str = DEFAULT_ENGINE
    engineOptions: str = "{}"
    spacing_mm: Annotated[float, WithinRange(0.5, 20.0)] = 2.5
    shownPlan: str = ""
    statisticsOf: str = ""

    planName: str = "Simple plan"
    volumeNode: vtkMRMLScalarVolumeNode
    segmentationNode: vtkMRMLSegmentationNode
    beamSource: str = "open"
    sourcePlanNode: vtkMRMLScriptedModuleNode
    newMachine: str = DEFAULT_MACHINE
    fieldX_mm: Annotated[float, WithinRange(5.0, 400.0)] = 100.0
    fieldY_mm: Annotated[float, WithinRange(5.0, 400.0)] = 100.0
    angles: str = "0"
    meterset_MU: Annotated[float, WithinRange(0.1, 10000.0)] = 100.0
    isocenter: str = "body"
    isocenterR_mm: Annotated[float, WithinRange(-2000.0, 2000.0)] = 0.0
    isocenterA_mm: Annotated[float, WithinRange(-2000.0, 2000.0)] = 0.0
    isocenterS_mm: Annotated[float, WithinRange(-2000.0, 2000.0)] = 0.0

    machine: str = DEFAULT_MACHINE
    machineFiles: list[str]
    curveEngine: str = DEFAULT_ENGINE
    ssd_mm: Annotated[float, WithinRange(0.0, 2000.0)] = 0.0
    profileSide_mm: Annotated[float, WithinRange(10.0, 400.0)] = 100.0
    chart: str = "depth"

    measurements: str = ""
    baseMachine: str = DEFAULT_MACHINE
    machineName: str = ""
    fitSpectrum: bool = True
    fitOffAxis: bool = True
    fitPenumbra: bool = True
    fitHeadScatter: bool = True
    fitContamination: bool = True
    centreProfiles: bool = False
    robust: bool = False
    machineFile: str = ""

    inputCollapsed: bool = False
    resultCollapsed: bool = False
    newPlanCollapsed: bool = True
    machineCollapsed: bool = True
    commissioningCollapsed: bool = True


def optionsOf(parameters: DoseEngineParameters, engine: str) -> dict[str, Any]:
    """Return the options set for an engine; a text that is no such JSON, as a script may leave it, counts as none."""
    return _stored(parameters).get(engine, {})


def setOptionsOf(parameters: DoseEngineParameters, engine: str, options: Mapping[str, Any]) -> None:
    """Keep the options of an engine beside those of the others."""
    kept = {**_stored(parameters), engine: dict(options)}
    parameters.engineOptions = json.dumps({label: kept[label] for label in sorted(kept) if kept[label]}, sort_keys=True)


def _stored(parameters: DoseEngineParameters) -> dict[str, dict[str, Any]]:
    try:
        stored = json.loads(parameters.engineOptions)
    except ValueError:
        return {}
    if not isinstance(stored, dict):
        return {}
    return {label: options for label, options in stored.items() if isinstance(options, dict)}
