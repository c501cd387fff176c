"""The settings of the step Structures, on the module's parameter node."""

from __future__ import annotations

from typing import Annotated

from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from RTPlanningLib.contouring.margins import Margins

DIRECTIONS = ("left", "right", "anterior", "posterior", "superior", "inferior")

_Margin = Annotated[float, WithinRange(-100.0, 100.0)]
_Thickness = Annotated[float, WithinRange(0.0, 50.0)]
_Outer = Annotated[float, WithinRange(-100.0, 200.0)]


@parameterNodeWrapper
class StructuresParameters:
    """What a person chose; every tool reads those that it needs.

    Attributes
    ----------
    tool : str
        Of `RTPlanningLib.widget.contouring_tools.TOOLS`.
    structure, other : str
        Names of structures.
    uniform : bool
        The margin to the left counts in all directions.
    left_mm, right_mm, anterior_mm, posterior_mm, superior_mm, inferior_mm : float
    operation : str
        Of `RTPlanningLib.contouring.boolean.OPERATIONS`.
    side : {"outside", "inside"}
        What a crop keeps.
    distance_mm : float
    ringInner_mm, ringOuter_mm : float
    wallInside_mm, wallOutside_mm : float
    preset : str
        Of `RTPlanningLib.contouring.threshold.threshold_presets`.
    low_HU, high_HU : float
    bodyThreshold_HU : float
    keepAllParts : bool
    insideBody : bool
    skin_mm : float
    axis : {"", "k", "j", "i"}
    parts : {"largest", "large"}
    minimum_cm3 : float
    cutAtImage : bool
    resultName, resultRole : str
        Empty: as the tool proposes.
    editorCollapsed : bool
    """

    tool: str = "target"
    structure: str = ""
    other: str = ""
    uniform: bool = True
    left_mm: _Margin = 5.0
    right_mm: _Margin = 5.0
    anterior_mm: _Margin = 5.0
    posterior_mm: _Margin = 5.0
    superior_mm: _Margin = 5.0
    inferior_mm: _Margin = 5.0
    operation: str = "union"
    side: str = "outside"
    distance_mm: _Margin = 0.0
    ringInner_mm: _Outer = 5.0
    ringOuter_mm: _Outer = 20.0
    wallInside_mm: _Thickness = 3.0
    wallOutside_mm: _Thickness = 0.0
    preset: str = "lung"
    low_HU: Annotated[float, WithinRange(-1100.0, 30000.0)] = -950.0
    high_HU: Annotated[float, WithinRange(-1100.0, 32000.0)] = -120.0
    bodyThreshold_HU: Annotated[float, WithinRange(-1000.0, 1000.0)] = -350.0
    keepAllParts: bool = False
    insideBody: bool = True
    skin_mm: _Thickness = 0.0
    axis: str = ""
    parts: str = "largest"
    minimum_cm3: Annotated[float, WithinRange(0.001, 1000.0)] = 1.0
    cutAtImage: bool = False
    resultName: str = ""
    resultRole: str = ""
    editorCollapsed: bool = True


def marginsOf(parameters: StructuresParameters) -> Margins:
    """Return the margins that are set."""
    if parameters.uniform:
        return Margins.uniform(parameters.left_mm)
    return Margins(**{f"{direction}_mm": getattr(parameters, f"{direction}_mm") for direction in DIRECTIONS})
