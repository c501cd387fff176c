"""A thorax phantom: lungs, spine with cord, heart, oesophagus, ribs and a tumour in the right lung.

Geometry is ours, of simple solids with the sizes of an adult's chest; arms are up (outside). Mass densities after
ICRP Publication 110 and ICRU Report 46 in round figures: lung 0.26, fat 0.93, muscle 1.05, bone 1.2-1.4 g/cm3,
written as the CT numbers that Schneider's curve (Phys. Med. Biol. 45 (2000) 459) turns into them. Goals: target
coverage after ICRU Report 83 (D95 of at least 95 %, D2 of at most 107 % of 60 Gy), organs after QUANTEC (Marks et
al., Int. J. Radiat. Oncol. Biol. Phys. 76 (2010) S10: lungs V20 <= 30 % and mean <= 20 Gy, heart V25 < 10 %,
oesophagus mean < 34 Gy); the cord is held to 45 Gy, the customary limit within QUANTEC's 50 Gy.
"""

from __future__ import annotations

import numpy as np

from RTPlanningLib.samples.phantom import Contour, Phantom
from RTPlanningLib.samples.solids import Solid, box, cylinder, ellipsoid, elliptic_cylinder, sphere

FAT_HU, MUSCLE_HU, SOFT_TISSUE_HU, LUNG_HU, SPONGY_BONE_HU, BONE_HU = -100, 45, 35, -749, 300, 600

_LENGTH_MM = (-150.0, 150.0)
_TUMOUR_CENTRE_RAS_MM = (80.0, 10.0, 20.0)
_TUMOUR_RADIUS_MM, _MARGIN_MM = 15.0, 7.0


def _ellipse(diameter_RA_mm: tuple[float, float]) -> Solid:
    return elliptic_cylinder((0.0, 0.0), diameter_RA_mm, _LENGTH_MM)


def _ribs() -> Solid:
    """A bony shell of 7 mm, cut into bands of 12 mm every 30 mm that fall towards the front; open at the spine."""
    shell = _ellipse((304.0, 192.0)) - _ellipse((290.0, 178.0))
    bands = Solid(lambda r, a, s: (np.mod(s + 0.3 * a, 30.0) < 12.0) & np.isfinite(r))
    spine = box((0.0, -80.0, 0.0), (50.0, 60.0, 400.0))
    return (shell & bands) - spine


def thorax() -> Phantom:
    """Chest with a 3 cm tumour in the right lung."""
    body = _ellipse((360.0, 240.0))
    inside_fat = _ellipse((330.0, 214.0))
    gtv = sphere(_TUMOUR_CENTRE_RAS_MM, _TUMOUR_RADIUS_MM)
    ptv = sphere(_TUMOUR_CENTRE_RAS_MM, _TUMOUR_RADIUS_MM + _MARGIN_MM)
    heart = ellipsoid((-25.0, 30.0, -45.0), (100.0, 90.0, 110.0))
    oesophagus = cylinder((-6.0, -32.0), 7.5, _LENGTH_MM)
    trachea = cylinder((0.0, -10.0), 9.0, (30.0, 150.0))
    vertebra = elliptic_cylinder((0.0, -62.0), (44.0, 32.0), _LENGTH_MM)
    arch = cylinder((0.0, -88.0), 15.0, _LENGTH_MM) | box((0.0, -103.0, 0.0), (8.0, 14.0, 300.0))
    canal = cylinder((0.0, -88.0), 10.0, _LENGTH_MM)
    cord = cylinder((0.0, -88.0), 5.5, _LENGTH_MM)
    lung_right = ellipsoid((80.0, 2.0, 0.0), (104.0, 136.0, 230.0))
    lung_left = ellipsoid((-80.0, 2.0, 0.0), (104.0, 136.0, 230.0)) - heart
    return Phantom(
        name="thorax",
        description=(
            "Chest of 36 x 24 x 30 cm with lungs (0.26 g/cm3), heart, oesophagus, trachea, spine with cord, ribs and a "
            "spherical tumour of 3 cm in the right lung (PTV: GTV + 7 mm). Shapes chosen by us; CT numbers for the "
            "densities of ICRP 110 / ICRU 46; goals after ICRU 83 and QUANTEC (Marks et al., IJROBP 76 (2010) S10), "
            "cord 45 Gy."
        ),
        box_RAS_mm=((-200.0, -140.0, -150.0), (200.0, 140.0, 150.0)),
        spacing_mm=(2.0, 2.0, 3.0),
        materials=(
            (body, FAT_HU),
            (inside_fat, MUSCLE_HU),
            (_ribs(), BONE_HU),
            (lung_right | lung_left, LUNG_HU),
            (heart, MUSCLE_HU),
            (oesophagus, SOFT_TISSUE_HU),
            (trachea, -1000),
            (vertebra, SPONGY_BONE_HU),
            (arch, BONE_HU),
            (canal, SOFT_TISSUE_HU),
            (gtv, SOFT_TISSUE_HU),
        ),
        contours=(
            Contour("External", body, "EXTERNAL", (0.75, 0.75, 0.70)),
            Contour("PTV", ptv, "PTV", (0.90, 0.20, 0.15)),
            Contour("GTV", gtv, "GTV", (1.00, 0.60, 0.60)),
            Contour("Lung_R", lung_right, "ORGAN", (0.25, 0.55, 0.90)),
            Contour("Lung_L", lung_left, "ORGAN", (0.30, 0.75, 0.45)),
            Contour("Lungs-GTV", (lung_right | lung_left) - gtv, "ORGAN", (0.55, 0.75, 0.85)),
            Contour("Heart", heart, "ORGAN", (0.85, 0.35, 0.60)),
            Contour("Esophagus", oesophagus, "ORGAN", (0.80, 0.60, 0.30)),
            Contour("SpinalCord", cord, "ORGAN", (0.20, 0.80, 0.90)),
        ),
        goals=(
            "PTV D95% >= 57 Gy",
            "PTV D2% <= 64.2 Gy",
            "SpinalCord Max <= 45 Gy",
            "Lungs-GTV V20Gy <= 30 %",
            "Lungs-GTV Mean <= 20 Gy",
            "Heart V25Gy <= 10 %",
            "Esophagus Mean <= 34 Gy",
        ),
    )
