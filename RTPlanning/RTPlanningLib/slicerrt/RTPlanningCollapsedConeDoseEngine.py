"""Our photon collapsed cone as a dose engine of SlicerRT."""

from __future__ import annotations

from RTPlanningLib.slicerrt.scripted_dose_engine import ScriptedDoseEngine


class RTPlanningCollapsedConeDoseEngine(ScriptedDoseEngine):
    """Photon collapsed cone."""

    label = "photon-collapsed-cone"
    name = "RTPlanning photon collapsed cone"
