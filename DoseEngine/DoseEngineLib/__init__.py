"""Dose calculation for radiotherapy: patient, plan and machine in, dose out."""

from DoseEngineLib.kernel_cache import drop_stale_kernels

drop_stale_kernels(__path__[0])
