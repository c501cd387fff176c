"""Settings of the step Beams."""

from __future__ import annotations

from typing import Annotated

from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper


@parameterNodeWrapper
class BeamsParameters:
    """Settings of the step.

    Attributes
    ----------
    fit : {"mlc", "jaws"}
        Of new beams, with ``margin_mm``.
    fieldCount, firstGantry_deg
        Of equally spaced fields.
    arcStart_deg, arcStop_deg, arcSpacing_deg, arcSense
        Of a new arc; "clockwise" or "counterclockwise".
    selectedBeam : str
    allBeams : bool
        The isocentre is that of all beams.
    showBeams : bool
    outlines : {"shown", "target", "none"}
        Structures outlined in the beam's-eye view.
    beamsEyeCollapsed : bool
    """

    fit: str = "mlc"
    margin_mm: Annotated[float, WithinRange(0.0, 100.0)] = 7.0
    fieldCount: Annotated[int, WithinRange(1, 36)] = 5
    firstGantry_deg: Annotated[float, WithinRange(0.0, 359.9)] = 0.0
    arcStart_deg: Annotated[float, WithinRange(0.0, 359.9)] = 181.0
    arcStop_deg: Annotated[float, WithinRange(0.0, 359.9)] = 179.0
    arcSpacing_deg: Annotated[float, WithinRange(1.0, 10.0)] = 4.0
    arcSense: str = "clockwise"
    selectedBeam: str = ""
    allBeams: bool = True
    showBeams: bool = True
    outlines: str = "shown"
    beamsEyeCollapsed: bool = False
