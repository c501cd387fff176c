"""The four structure sets of AAPM TG-119 on a water-equivalent slab phantom.

Source: G. A. Ezzell et al., "IMRT commissioning: Multiple institution planning and dosimetry comparisons, a report
from AAPM Task Group 119", Med. Phys. 36 (2009) 5359-5373, and its companion "TG-119 IMRT Commissioning Tests:
Instructions for Planning, Measurement, and Analysis" (version of 21 October 2009). The sizes and goals below marked
*published* are those given there, transcribed by hand from secondary descriptions: compare with the report before
quoting them. The Task Group's own DICOM structure sets are not used, and everything marked *ours* is a choice that
the text leaves open; doses are therefore like, not equal to, those of the report.

Multi-target
    Published: three cylinders stacked along the axis of rotation, about 4 cm in diameter and 4 cm long; goals of 50
    Gy (central), 25 Gy (superior), 12.5 Gy (inferior) to 99 %, and D10 of at most 53, 35 and 25 Gy. Ours: they touch.
Mock prostate
    Published: CTV roughly an ellipsoid of 4.0 (RL), 2.6 (AP) and 6.5 cm (SI) with a posterior concavity; PTV = CTV +
    0.6 cm; rectum a cylinder 1.5 cm in diameter that abuts the indented side, about a third of it inside the PTV on
    its widest slice; bladder roughly an ellipsoid of 5.0 (RL), 4.0 (AP), 5.0 cm (SI) at the superior side of the
    prostate; goals. Ours: the concavity is a cylinder of 3 cm radius cut 2.5 mm deep, the rectum is 10 cm long, the
    bladder touches the superior pole of the CTV.
Mock head and neck
    Published: PTV of all anterior volume from the skull base to the upper neck including the posterior neck nodes,
    retracted 0.6 cm from the skin, about 1.5 cm from the cord; parotids at its superior end; the cord 4 cm posterior
    of the isocentre (the measuring point); goals. Ours: the virtual neck (an ellipse of 13 x 12 cm), all lengths, the
    parotids' size, a gap of 5 mm between parotids and PTV.
C-shape
    Published: core a cylinder of 1 cm radius, 10 cm long; PTV an arc around it from 1.5 to 3.7 cm radius, 8 cm long;
    goals: D95 50 Gy, D10 at most 55 Gy, core D10 at most 25 Gy (the "harder" version: 10 Gy). Ours: the arc spans 220
    degrees and opens posteriorly.
Phantom
    Published: water-equivalent slabs for a chamber and film. Ours: 30 x 20 x 30 cm (RL, AP, SI), centred on the
    isocentre, air around. Its CT number is 0 HU; its mass density is set to 1 g/cm3 because Schneider's curve gives
    1.02 g/cm3 to 0 HU.
Prescription
    Published: 75.6 Gy (prostate), 50 Gy (others). Ours: 1.8 Gy (prostate) and 2 Gy a fraction.
"""

from __future__ import annotations

import numpy as np

from RTPlanningLib.samples.phantom import Contour, Phantom
from RTPlanningLib.samples.solids import (
    Solid,
    anterior_sector,
    box,
    cylinder,
    ellipsoid,
    elliptic_cylinder,
    margin_around,
)

_SOURCE = (
    "After AAPM TG-119 (Ezzell et al., Med. Phys. 36 (2009) 5359) and its planning instructions; "
    "drawn by RTPlanning from the published dimensions, not the Task Group's own structure set."
)
_CHOSEN = "Chosen by us: "
_SLABS_RAS_MM = (300.0, 200.0, 300.0)
_AIR_MM = 20.0
_SPACING_MM = (2.0, 2.0, 2.5)

_PTV_COLOR = (0.90, 0.20, 0.15)
_CTV_COLOR = (1.00, 0.60, 0.60)
_CORD_COLOR = (0.20, 0.80, 0.90)


def _on_slabs(name: str, description: str, contours: tuple[Contour, ...], goals: tuple[str, ...]) -> Phantom:
    slabs = box((0.0, 0.0, 0.0), _SLABS_RAS_MM)
    edge = tuple(size / 2 + _AIR_MM for size in _SLABS_RAS_MM)
    return Phantom(
        name=name,
        description=f"{description} Phantom: water-equivalent slabs, 30 x 20 x 30 cm. {_SOURCE}",
        box_RAS_mm=(tuple(-e for e in edge), edge),
        spacing_mm=_SPACING_MM,
        materials=((slabs, 0.0),),
        contours=(Contour("External", slabs, "EXTERNAL", (0.75, 0.75, 0.70)), *contours),
        goals=goals,
        density_overrides_g_cm3={"External": 1.0},
        notes=("Mass density of the phantom is set to 1.0 g/cm3 (water).",),
    )


def multi_target() -> Phantom:
    """Three stacked cylindrical targets with three dose levels."""
    targets = (
        ("PTV_Central", (-20.0, 20.0), _PTV_COLOR),
        ("PTV_Superior", (20.0, 60.0), (0.95, 0.60, 0.10)),
        ("PTV_Inferior", (-60.0, -20.0), (0.95, 0.85, 0.20)),
    )
    return _on_slabs(
        "tg119-multitarget",
        "Three cylinders of 4 cm diameter and 4 cm length stacked along S, for 50, 25 and 12.5 Gy (published). "
        f"{_CHOSEN}they touch.",
        tuple(Contour(name, cylinder((0.0, 0.0), 20.0, s_range), "PTV", color) for name, s_range, color in targets),
        (
            "PTV_Central D99% >= 50 Gy",
            "PTV_Central D10% <= 53 Gy",
            "PTV_Superior D99% >= 25 Gy",
            "PTV_Superior D10% <= 35 Gy",
            "PTV_Inferior D99% >= 12.5 Gy",
            "PTV_Inferior D10% <= 25 Gy",
        ),
    )


_PROSTATE_DIAMETER_MM = np.array((40.0, 26.0, 65.0))
_CONCAVITY_DEPTH_MM = 2.5
_CONCAVITY_RADIUS_MM = 30.0
_RECTUM_RADIUS_MM = 7.5


def _concavity() -> tuple[tuple[float, float], Solid]:
    axis = (0.0, -(_PROSTATE_DIAMETER_MM[1] / 2 - _CONCAVITY_DEPTH_MM) - _CONCAVITY_RADIUS_MM)
    return axis, cylinder(axis, _CONCAVITY_RADIUS_MM, (-100.0, 100.0))


def prostate_ctv() -> Solid:
    """The mock prostate: an ellipsoid with a posterior concavity."""
    return ellipsoid((0.0, 0.0, 0.0), tuple(_PROSTATE_DIAMETER_MM)) - _concavity()[1]


def _prostate_surface_RAS_mm() -> np.ndarray:
    """Points on the surface of the mock prostate, at most 0.5 mm apart."""
    polar, azimuth = np.meshgrid(np.linspace(0, np.pi, 220), np.linspace(0, 2 * np.pi, 260, endpoint=False))
    unit = np.stack((np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)), axis=-1)
    outer = (unit * _PROSTATE_DIAMETER_MM / 2).reshape(-1, 3)
    (axis_r, axis_a), hollow = _concavity()
    outer = outer[~hollow(*outer.T)]
    angle, s = np.meshgrid(np.radians(np.arange(-30.0, 30.0, 0.75)), np.arange(-32.5, 32.51, 0.4))
    inner = np.stack(
        (axis_r + _CONCAVITY_RADIUS_MM * np.sin(angle), axis_a + _CONCAVITY_RADIUS_MM * np.cos(angle), s), axis=-1
    ).reshape(-1, 3)
    inner = inner[ellipsoid((0.0, 0.0, 0.0), tuple(_PROSTATE_DIAMETER_MM))(*inner.T)]
    return np.concatenate((outer, inner))


def prostate() -> Phantom:
    """Mock prostate with rectum and bladder."""
    ctv = prostate_ctv()
    ptv = margin_around(ctv, _prostate_surface_RAS_mm(), 6.0)
    rectum_a = -(_PROSTATE_DIAMETER_MM[1] / 2 - _CONCAVITY_DEPTH_MM) - _RECTUM_RADIUS_MM
    return _on_slabs(
        "tg119-prostate",
        "CTV: ellipsoid of 4.0 x 2.6 x 6.5 cm (RL, AP, SI) with a posterior concavity; PTV: CTV + 0.6 cm; rectum: "
        "cylinder of 1.5 cm diameter abutting the concavity; bladder: ellipsoid of 5.0 x 4.0 x 5.0 cm at the superior "
        f"side (published). {_CHOSEN}concavity of 3 cm radius cut 2.5 mm deep, rectum 10 cm long, bladder touching "
        "the CTV's superior pole.",
        (
            Contour("PTV", ptv, "PTV", _PTV_COLOR),
            Contour("CTV", ctv, "CTV", _CTV_COLOR),
            Contour("Rectum", cylinder((0.0, rectum_a), _RECTUM_RADIUS_MM, (-67.5, 32.5)), "ORGAN", (0.60, 0.40, 0.20)),
            Contour("Bladder", ellipsoid((0.0, 0.0, 57.5), (50.0, 40.0, 50.0)), "ORGAN", (0.95, 0.80, 0.20)),
        ),
        (
            "PTV D95% >= 75.6 Gy",
            "PTV D5% <= 83 Gy",
            "Rectum D30% <= 70 Gy",
            "Rectum D10% <= 75 Gy",
            "Bladder D30% <= 70 Gy",
            "Bladder D10% <= 75 Gy",
        ),
    )


def head_and_neck() -> Phantom:
    """Mock head and neck: a horseshoe around the cord, parotids at its superior end."""
    cord_a, cord_radius, gap = -40.0, 5.5, 15.0
    length = (-60.0, 60.0)
    neck_a = -10.0
    # the virtual neck measures 130 x 120 mm; retracted 6 mm from its skin
    inside_skin = elliptic_cylinder((0.0, neck_a), (130.0 - 12.0, 120.0 - 12.0), length)
    around_cord = cylinder((0.0, cord_a), cord_radius + gap, length)
    anterior = box((0.0, 50.0, 0.0), (200.0, 210.0, 200.0))  # A >= -55
    parotid_size, parotid_gap = np.array((22.0, 34.0, 44.0)), 5.0
    parotids, kept_free = [], []
    for name, side, color in (("Parotid_L", -1.0, (0.30, 0.75, 0.30)), ("Parotid_R", 1.0, (0.20, 0.55, 0.85))):
        centre = (side * 47.0, -8.0, 40.0)
        parotids.append(Contour(name, ellipsoid(centre, tuple(parotid_size)), "ORGAN", color))
        kept_free.append(ellipsoid(centre, tuple(parotid_size + 2 * parotid_gap)))
    ptv = (inside_skin & anterior) - around_cord - kept_free[0] - kept_free[1]
    return _on_slabs(
        "tg119-headneck",
        "PTV: all anterior volume and the posterior nodes of a neck, 0.6 cm inside its skin and 1.5 cm from the cord; "
        "parotids at its superior end; cord 4 cm posterior of the isocentre (published). "
        f"{_CHOSEN}a neck of 13 x 12 cm, 12 cm long, cord of 1.1 cm diameter, parotids as ellipsoids of "
        "2.2 x 3.4 x 4.4 cm with 5 mm between them and the PTV.",
        (
            Contour("PTV", ptv, "PTV", _PTV_COLOR),
            Contour("SpinalCord", cylinder((0.0, cord_a), cord_radius, (-75.0, 75.0)), "ORGAN", _CORD_COLOR),
            *parotids,
        ),
        (
            "PTV D90% >= 50 Gy",
            "PTV D99% >= 46.5 Gy",
            "PTV D20% <= 55 Gy",
            "SpinalCord Max <= 40 Gy",
            "Parotid_L D50% <= 20 Gy",
            "Parotid_R D50% <= 20 Gy",
        ),
    )


def c_shape() -> Phantom:
    """C-shaped target around a central core, the easier version."""
    arc = cylinder((0.0, 0.0), 37.0, (-40.0, 40.0)) & anterior_sector((0.0, 0.0), 220.0)
    # the inner face belongs to the target, so only points inside 15 mm are cut away
    ptv = arc - cylinder((0.0, 0.0), 15.0 - 1e-6, (-40.0, 40.0))
    return _on_slabs(
        "tg119-cshape",
        "Core: cylinder of 1 cm radius, 10 cm long; PTV: arc around it from 1.5 to 3.7 cm radius, 8 cm long; goals of "
        "the easier version; the harder one asks for Core D10% <= 10 Gy (published). "
        f"{_CHOSEN}the arc spans 220 degrees and opens posteriorly.",
        (
            Contour("PTV", ptv, "PTV", _PTV_COLOR),
            Contour("Core", cylinder((0.0, 0.0), 10.0, (-50.0, 50.0)), "AVOIDANCE", _CORD_COLOR),
        ),
        ("PTV D95% >= 50 Gy", "PTV D10% <= 55 Gy", "Core D10% <= 25 Gy"),
    )
