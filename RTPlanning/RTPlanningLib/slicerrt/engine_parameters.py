"""What a person sees of our engines beside a beam of SlicerRT's."""

from __future__ import annotations

from slicer.i18n import tr as _

from DoseEngineLib.engine import engine_options
from DoseEngineLib.machine import available_machines
from RTPlanningLib.mrml.slicerrt_conversion import DEFAULT_MACHINE
from RTPlanningLib.slicerrt.beam_parameters import (
    BeamParameter,
    ChoiceParameter,
    NumberParameter,
    TextParameter,
    option_parameters,
)
from RTPlanningLib.slicerrt.dose_request import AUTOMATIC


def doseParameters(label: str) -> tuple[BeamParameter, ...]:
    """Machine, dose of a beam of weight 1, and the options that an engine declares."""
    titles = {
        # in this order for ever: scenes keep the place
        AUTOMATIC: _("Automatic"),
        "isocentre": _("Prescribed dose at the isocentre"),
        "mean": _("Prescribed dose as the target's mean"),
        "D50": _("Prescribed dose as the target's median (D50%)"),
        "D95": _("Prescribed dose to 95 % of the target (D95%)"),
        "MU": _("MU as given below"),
    }
    return (
        TextParameter(
            "Machine",
            _("Machine:"),
            _(
                "Name of a machine ({names}), or path of a machine file (.json). Automatic: the machine of the plan "
                "of RTPlanning that this plan was made from, else {default}."
            ).format(names=", ".join(available_machines()), default=DEFAULT_MACHINE),
            AUTOMATIC,
        ),
        ChoiceParameter(
            "Scale",
            _("Dose:"),
            _(
                "SlicerRT adds up the doses of beams of weight 1 by the beams' weights. This says how large they are; "
                "set it alike in all beams. Automatic: as the plan of RTPlanning says that this plan was made from, "
                "the weights being its MU where it has MU; else the prescribed dose at the isocentre."
            ),
            tuple(titles.items()),
            AUTOMATIC,
        ),
        NumberParameter(
            "Meterset",
            _("MU at weight 1:"),
            _("MU of a fraction for a beam of weight 1. Only where the dose is set to MU as given below."),
            100.0,
            0.0,
            100000.0,
            10.0,
            2,
        ),
        NumberParameter(
            "Fractions",
            _("Fractions:"),
            _("Fractions of the course. Only where the dose is set to MU; a prescribed dose is that of the course."),
            1.0,
            1.0,
            100.0,
            1.0,
            0,
        ),
        *option_parameters(engine_options(label)),
    )


def bixelParameters() -> tuple[BeamParameter, ...]:
    """How fluence is divided for a dose influence."""
    return (
        NumberParameter(
            "BixelWidth",
            _("Bixel width (mm):"),
            _("Inverse planning: side of the squares, at the isocentre, whose fluence is optimized."),
            5.0,
            1.0,
            50.0,
            1.0,
            1,
        ),
        NumberParameter(
            "TargetMargin",
            _("Margin about the target (mm):"),
            _("Inverse planning: how far squares of fluence reach beyond the shadow of the targets."),
            5.0,
            0.0,
            100.0,
            1.0,
            1,
        ),
    )
