"""What our scripted dose engines of SlicerRT share."""

from __future__ import annotations

from DoseEngines import AbstractScriptedDoseEngine
from slicer.i18n import tr as _

from DoseEngineLib.widget.packages import DOSE_PACKAGES, ensurePackages
from RTPlanningLib.slicerrt.answered import answered
from RTPlanningLib.slicerrt.beam_doses import BeamDoses
from RTPlanningLib.slicerrt.beam_influence import BeamInfluences
from RTPlanningLib.slicerrt.engine_parameters import bixelParameters, doseParameters


class ScriptedDoseEngine(AbstractScriptedDoseEngine):
    """One of our engines as SlicerRT calls it. Subclasses say which, by ``label``, ``name`` and ``hasInfluence``."""

    label: str
    name: str
    hasInfluence = False

    def __init__(self, scriptedEngine) -> None:
        scriptedEngine.name = self.name
        scriptedEngine.isInverse = self.hasInfluence
        scriptedEngine.canDoIonPlan = False
        scriptedEngine.supportsBodySegment = True
        AbstractScriptedDoseEngine.__init__(self, scriptedEngine)
        parameters = (*doseParameters(self.label), *(bixelParameters() if self.hasInfluence else ()))
        self._doses = BeamDoses(self.label, parameters)
        self._influences = BeamInfluences(self._doses)

    def defineBeamParameters(self) -> None:
        """Show our parameters on the panel of a beam."""
        for parameter in self._doses.parameters:
            parameter.define(self.scriptedEngine, self.name)

    def updateBeamParametersForIonPlan(self, isIonPlanActive: bool) -> None:
        """Nothing changes: plans of ions are refused."""

    @answered
    def calculateDoseUsingEngine(self, beamNode, resultDoseVolumeNode) -> None:
        """Write the dose of a beam of weight 1 into the volume; see `BeamDoses.calculate`."""
        ensurePackages(DOSE_PACKAGES, _("dose calculation"))
        self._doses.calculate(self.scriptedEngine, beamNode, resultDoseVolumeNode)

    @answered
    def calculateDoseInfluenceMatrixUsingEngine(self, beamNode) -> None:
        """Give the beam its dose influence; see `BeamInfluences.calculate`."""
        ensurePackages(DOSE_PACKAGES, _("dose calculation"))
        self._influences.calculate(self.scriptedEngine, beamNode)
