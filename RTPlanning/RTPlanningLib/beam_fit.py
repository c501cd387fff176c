"""Beams that follow their target: which, with what margin, and the fit made anew when angles change.

A plan knows apertures, not how they came about. Which beams are fitted is kept beside it, each with a digest of what
was fitted: a beam whose aperture, angles, isocentre or machine someone changed otherwise no longer counts as fitted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from weakref import WeakKeyDictionary

import numpy as np

from DoseEngineLib.aperture import fit_jaws, fit_mlc
from DoseEngineLib.errors import PlanError, SchemaError
from DoseEngineLib.machine import load_beam_machine
from DoseEngineLib.plan import Beam, Plan, Structure, beam_to_dict
from DoseEngineLib.progress import Progress, silent

FITS = ("mlc", "jaws")
LARGEST_MARGIN_MM = 100.0
_SCHEMA_VERSION = 1
_contours: WeakKeyDictionary[Structure, str] = WeakKeyDictionary()


@dataclass(frozen=True)
class BeamFit:
    """What of a beam is fitted to its target.

    Attributes
    ----------
    kind : {"mlc", "jaws"}
    margin_mm : float
        Around the target's beam's-eye view at the isocentre plane.
    """

    kind: str = "mlc"
    margin_mm: float = 7.0

    def __post_init__(self) -> None:
        if self.kind not in FITS:
            raise PlanError(f"A beam can be fitted by {' or '.join(FITS)}; got {self.kind!r}.")
        if not 0.0 <= self.margin_mm <= LARGEST_MARGIN_MM:
            raise PlanError(
                f"A margin around the target must be 0..{LARGEST_MARGIN_MM:g} mm; got {self.margin_mm}. Type another."
            )


def fit_beam(
    beam: Beam, fit: BeamFit, target: Structure, patient_position: str, progress: Progress | None = None
) -> Beam:
    """Return a beam with MLC or jaws fitted to the target at every control point.

    Raises
    ------
    PlanError
        An empty target, or one that the machine cannot cover; see `DoseEngineLib.aperture`.
    """
    progress = progress or silent
    machine = load_beam_machine(beam)
    fit_aperture = fit_mlc if fit.kind == "mlc" else fit_jaws
    fitted: dict[tuple[float, float, float], object] = {}
    points = []
    for number, point in enumerate(beam.control_points):
        progress(number / len(beam.control_points), f"Fitting {beam.name} to {target.name}")
        angles = (point.gantry_deg, point.collimator_deg, point.couch_deg)
        if angles not in fitted:
            frame = beam.frame(patient_position, number)
            try:
                fitted[angles] = fit_aperture(target, frame, machine, fit.margin_mm)
            except PlanError as error:
                raise PlanError(f"Beam {beam.name}: {error}") from error
        points.append(replace(point, aperture=fitted[angles]))
    return replace(beam, control_points=tuple(points))


def fit_plan(
    plan: Plan,
    fits: Mapping[str, BeamFit],
    target: Structure,
    names: Iterable[str] | None = None,
    progress: Progress | None = None,
) -> Plan:
    """Return a plan with its fitted beams fitted anew, all of them or those named."""
    names = set(fits if names is None else names)
    beams = tuple(
        fit_beam(beam, fits[beam.name], target, plan.patient_position, progress)
        if beam.name in fits and beam.name in names
        else beam
        for beam in plan.beams
    )
    return replace(plan, beams=beams)


def contours_of(target: Structure) -> str:
    """Return a digest of a structure's mask and its place: another one, other contours."""
    digest = _contours.get(target)
    if digest is None:
        text = hashlib.sha256(target.grid.affine.tobytes())
        if not target.is_empty:
            _, part = target.grid.crop(target.mask)
            text.update(str([(axis.start, axis.stop) for axis in part]).encode())
            text.update(np.packbits(target.mask[part]).tobytes())
        digest = _contours[target] = text.hexdigest()[:16]
    return digest


def fits_to_json(
    plan: Plan,
    fits: Mapping[str, BeamFit],
    former: Mapping[str, BeamFit] | None = None,
    target: Structure | None = None,
) -> str:
    """Write which of a plan's beams are fitted, for `fits_from_json`.

    Parameters
    ----------
    plan : Plan
    fits : mapping of beam name to BeamFit
    former : mapping of beam name to BeamFit, optional
        Of beams that were fitted and are no longer; they are kept as such.
    target : Structure, optional
        What the fitted ones are fitted to.
    """
    every = {**(former or {}), **fits}
    digests = _digests(plan, every)
    beams = {
        name: {"fit": fit.kind, "margin_mm": fit.margin_mm, "of": digests[name] if name in fits else ""}
        for name, fit in every.items()
        if name in digests
    }
    data = {"schema_version": _SCHEMA_VERSION, "contours": contours_of(target) if target else "", "beams": beams}
    return json.dumps(data, sort_keys=True, ensure_ascii=False)


def fits_from_json(
    plan: Plan, text: str | None, *, target: Structure | None = None, changed_too: bool = False
) -> dict[str, BeamFit]:
    """Return the fits, by beam name, of those beams that still are as they were fitted.

    Parameters
    ----------
    plan : Plan
    text : str or None
        From `fits_to_json`.
    target : Structure, optional
        The target as it is now: a beam that was fitted to other contours no longer counts as fitted. By default
        contours are not compared.
    changed_too : bool
        Also those of beams that were changed since, or whose target is another one now.

    Raises
    ------
    SchemaError
        A text of a newer version, or damaged.
    """
    if not text:
        return {}
    try:
        data = json.loads(text)
        version = data["schema_version"]
        if version == _SCHEMA_VERSION:
            digests = _digests(plan, data["beams"])
            if target is not None and data["contours"] not in ("", contours_of(target)) and not changed_too:
                return {}
            return {
                name: BeamFit(entry["fit"], float(entry["margin_mm"]))
                for name, entry in data["beams"].items()
                if name in digests and (changed_too or digests[name] == entry["of"])
            }
    except (ValueError, TypeError, KeyError, AttributeError, PlanError) as error:
        raise SchemaError(
            f"Plan {plan.name}: what is stored of its fitted beams is damaged ({error}); fit its beams again."
        ) from error
    raise SchemaError(
        f"Plan {plan.name}: its fitted beams are stored with schema version {version}; this version of RTPlanning "
        f"reads {_SCHEMA_VERSION}. Update RTPlanning; what is stored was left as it is."
    )


def _digests(plan: Plan, names: Iterable[str]) -> dict[str, str]:
    """What a fit depends on and made, by beam: not its name, MU or weight."""
    target = plan.prescription.target if plan.prescription is not None else None
    names = set(names)
    return {beam.name: _digest(beam, plan.patient_position, target) for beam in plan.beams if beam.name in names}


# A beam of many control points takes hundredths of a second, and panels ask at every change of theirs.
@lru_cache(maxsize=128)
def _digest(beam: Beam, patient_position: str, target: str | None) -> str:
    values = beam_to_dict(beam)
    for other in ("name", "meterset_MU", "weight"):
        del values[other]
    text = json.dumps([values, patient_position, target], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
