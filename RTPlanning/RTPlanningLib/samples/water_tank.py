"""A water tank: a 40 cm cube of water, the surface at A = 0, so that depth is -A for a beam from gantry 0.

The size is the common 40 x 40 x 40 cm scanning volume of beam-data tanks (AAPM TG-106, Das et al., Med. Phys. 35
(2008) 4186); the target, a 5 cm cube centred at 10 cm depth, is ours.
"""

from __future__ import annotations

from RTPlanningLib.samples.phantom import Contour, Phantom
from RTPlanningLib.samples.solids import box


def water_tank() -> Phantom:
    """Water cube with a target cube at 10 cm depth."""
    water = box((0.0, -200.0, 0.0), (400.0, 400.0, 400.0))
    return Phantom(
        name="water-tank",
        description=(
            "Cube of water of 40 cm, surface at A = 0 mm, centred at R = S = 0; target: cube of 5 cm centred at 10 cm "
            "depth. Size after the scanning tanks of AAPM TG-106 (Das et al., Med. Phys. 35 (2008) 4186). Chosen by "
            "us: the target."
        ),
        box_RAS_mm=((-220.0, -420.0, -220.0), (220.0, 20.0, 220.0)),
        spacing_mm=(2.5, 2.5, 2.5),
        materials=((water, 0.0),),
        contours=(
            Contour("External", water, "EXTERNAL", (0.75, 0.75, 0.70)),
            Contour("PTV", box((0.0, -100.0, 0.0), (50.0, 50.0, 50.0)), "PTV", (0.90, 0.20, 0.15)),
        ),
        goals=("PTV D95% >= 47.5 Gy", "PTV D2% <= 53.5 Gy"),
        density_overrides_g_cm3={"External": 1.0},
        notes=("Mass density of the water is set to 1.0 g/cm3.",),
    )
