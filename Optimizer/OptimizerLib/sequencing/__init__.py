"""Deliverable plans: leaf sequences of static-field IMRT, and their refinement."""

from OptimizerLib.sequencing.aperture_refinement import DeliveryLosses, RefinementResult, refine_apertures
from OptimizerLib.sequencing.delivery_limits import check_deliverable
from OptimizerLib.sequencing.modulated_beams import delivered_weights, sequence

__all__ = [
    "DeliveryLosses",
    "RefinementResult",
    "check_deliverable",
    "delivered_weights",
    "refine_apertures",
    "sequence",
]
