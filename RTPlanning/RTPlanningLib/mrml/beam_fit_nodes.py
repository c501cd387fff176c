"""Which beams follow their target, kept on the plan node."""

from __future__ import annotations

from collections.abc import Mapping

import slicer.util

from DoseEngineLib.mrml.plan_node import planFromNode, setPlan
from DoseEngineLib.plan import Plan, Structure
from RTPlanningLib.beam_fit import BeamFit, fits_from_json, fits_to_json

_FITS = "BeamFits"


def beamFits(planNode, target: Structure | None = None, *, changedToo: bool = False) -> dict[str, BeamFit]:
    """Return which beams of a plan node are fitted to its target; see `RTPlanningLib.beam_fit.fits_from_json`.

    Parameters
    ----------
    planNode : vtkMRMLScriptedModuleNode
    target : Structure, optional
        The target as it is now; by default its contours are not compared with those that beams were fitted to.
    changedToo : bool
        Also beams that were fitted and then changed by other hands, or fitted to another target.
    """
    text = planNode.GetParameter(_FITS)
    return fits_from_json(planFromNode(planNode), text, target=target, changed_too=changedToo)


def setPlanAndFits(
    planNode,
    plan: Plan,
    fits: Mapping[str, BeamFit],
    former: Mapping[str, BeamFit] | None = None,
    target: Structure | None = None,
) -> None:
    """Store a plan, which of its beams are fitted and which were; whoever watches the node sees one change."""
    with slicer.util.NodeModify(planNode):
        setPlan(planNode, plan)
        planNode.SetParameter(_FITS, fits_to_json(plan, fits, former, target))


def copyBeamFits(planNode, copyNode) -> None:
    """Let a copy of a plan know which beams are fitted, and to what."""
    copyNode.SetParameter(_FITS, planNode.GetParameter(_FITS))
