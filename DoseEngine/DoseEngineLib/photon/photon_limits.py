"""What the photon engines do not model, for panels to say before an engine, and numba, are imported."""

from __future__ import annotations

PENCIL_BEAM_DOES_NOT_MODEL: tuple[str, ...] = (
    "electronic disequilibrium at the interfaces of lung, air, bone and metal: errors of 4 to 5 per cent in and "
    "behind lung and bone, more for small fields and in air cavities",
    "loss of backscatter and side scatter at exit surfaces and edges of the body",
    "scatter from jaws and leaves; penumbra of the primary takes one distance, the mean of both jaws or the MLC's",
)

COLLAPSED_CONE_DOES_NOT_MODEL: tuple[str, ...] = (
    "electron scattering that differs from water's but for density: small fields in lung are off by +4 and -3 per "
    "cent at its interfaces",
    "scatter further than 20 cm from the field's edge",
)
