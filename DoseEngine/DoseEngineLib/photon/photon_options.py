"""The options of the photon engines, apart from the engines: they can be listed where numba is not installed."""

from __future__ import annotations

from DoseEngineLib.engine_option import EngineOption

# Beyond this, leaves that belong to one end of a joined arc would shape the dose of the other.
WIDEST_ARC_STEP_DEG = 10.0
CONE_LIMITS = (4, 96)
PITCH_LIMITS_MM = (0.5, 5.0)

BEAM_OPTIONS = (
    EngineOption(
        "arc_step_deg",
        "Arc step",
        "float",
        0.0,
        0.0,
        WIDEST_ARC_STEP_DEG,
        "deg",
        "Control points of an arc within this angle are calculated from one direction, which is faster; 0 calculates "
        "every segment from its own.",
        step=0.5,
    ),
    EngineOption(
        "heterogeneity",
        "Heterogeneity correction",
        "bool",
        True,
        tool_tip="Calculate with the densities of the CT. Without it every voxel of the body is water of 1 g/cm3: for "
        "teaching, and to compare with plans of before CT; wrong in and behind lung, air, bone and metal.",
    ),
    EngineOption(
        "allow_isocenter_outside",
        "Isocentre may lie outside the image",
        "bool",
        False,
        tool_tip="Compute beams whose isocentre is outside the image (extended distances); otherwise they are refused.",
    ),
    EngineOption(
        "max_memory_GB",
        "Memory limit",
        "float",
        8.0,
        0.1,
        1024.0,
        "GB",
        "Refuse requests whose arrays would need more.",
    ),
)

PENCIL_BEAM_OPTIONS = BEAM_OPTIONS

COLLAPSED_CONE_OPTIONS = (
    EngineOption(
        "dose_to",
        "Dose to",
        "choice",
        "medium",
        tool_tip="Dose to the medium is what the transport gives; dose to water is that times the ratio of collision "
        "stopping powers of what the density stands for.",
        choices=(("medium", "Medium"), ("water", "Water")),
    ),
    EngineOption(
        "pitch_mm",
        "Cell of the calculation",
        "float",
        None,
        *PITCH_LIMITS_MM,
        "mm",
        "Width of the cells at the isocentre plane; smaller ones take longer, by the third power, and follow "
        "penumbras and small fields better.",
        automatic="0.8 of the dose grid's spacing, within 1 to 3 mm",
        step=0.1,
    ),
    EngineOption(
        "rings",
        "Rings of cones",
        "int",
        24,
        *CONE_LIMITS,
        tool_tip="Rings of equal energy for the long ranges; short ranges take half of them. Time grows with rings "
        "times azimuths.",
    ),
    EngineOption(
        "azimuths",
        "Cones in a ring",
        "int",
        8,
        *CONE_LIMITS,
        tool_tip="Directions around each ring; multiples of four keep the symmetry of square fields.",
    ),
    *BEAM_OPTIONS,
)
