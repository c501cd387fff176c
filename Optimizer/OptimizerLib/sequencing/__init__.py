"""Deliverable plans: leaf sequences of static-field IMRT, and their refinement."""

from OptimizerLib.sequencing.aperture_refinement import DeliveryLosses, RefinementResult, refine_apertures
from OptimizerLib.sequencing.delivery_limits import check_deliverable
from OptimizerLib.sequencing.delivery_problem import DeliveryProblem
from OptimizerLib.sequencing.dose_correction import CorrectedResult, refine_to_dose
from OptimizerLib.sequencing.modulated_beams import delivered_weights, sequence

__all__ = [
    "CorrectedResult",
    "DeliveryLosses",
    "DeliveryProblem",
    "RefinementResult",
    "check_deliverable",
    "delivered_weights",
    "refine_apertures",
    "refine_to_dose",
    "sequence",
]
