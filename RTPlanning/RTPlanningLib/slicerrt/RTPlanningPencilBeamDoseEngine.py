"""Our photon pencil beam as a dose engine of SlicerRT."""

from __future__ import annotations

from RTPlanningLib.slicerrt.scripted_dose_engine import ScriptedDoseEngine


class RTPlanningPencilBeamDoseEngine(ScriptedDoseEngine):
    """Photon pencil beam, with dose influence for inverse planning."""

    label = "photon-pencil-beam"
    name = "RTPlanning photon pencil beam"
    hasInfluence = True
