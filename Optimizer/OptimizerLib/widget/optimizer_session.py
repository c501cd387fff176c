"""What the parts of the Plan Optimizer panel share: settings, the plan and its structures, one action at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from slicer.i18n import tr as _

from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, SEGMENTATION
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.packages import withPackages
from DoseEngineLib.widget.panel_action import PanelAction
from DoseEngineLib.widget.scene_session import SceneSession
from OptimizerLib.mrml.pareto_nodes import PARETO_PLANS
from OptimizerLib.widget.optimizer_parameters import MODULE, OptimizerParameters

T = TypeVar("T")


class OptimizerSession(SceneSession):
    """The state of the panel, in the scene.

    Parameters
    ----------
    logic : OptimizationLogic
    scene : vtkMRMLScene
    action : PanelAction

    Attributes
    ----------
    settings : OptimizerParameters
    """

    def __init__(self, logic: Any, scene: Any, action: PanelAction) -> None:
        super().__init__(logic, scene, action, MODULE)
        self._standing: tuple[Any, str] = (None, "")
        self._isEnding = False

    def takeSettings(self, parameterNode: Any) -> None:
        """See `SceneSession`."""
        self.settings = OptimizerParameters(parameterNode)

    def watchedNodes(self) -> dict[str, Any]:
        """See `SceneSession`."""
        planNode = self.planNode
        image = None if planNode is None else planNode.GetNodeReference(REFERENCE_VOLUME)
        tradeOffs = None if planNode is None else planNode.GetNodeReference(PARETO_PLANS)
        return {"plan": planNode, "structures": self.segmentationNode, "image": image, "trade-offs": tradeOffs}

    @property
    def segmentationNode(self) -> Any:
        """The structures of the chosen plan, or None."""
        planNode = self.planNode
        return None if planNode is None else planNode.GetNodeReference(SEGMENTATION)

    def run(self, work: Callable[[Progress], T], done: Callable[[T], str] | str) -> T | None:
        """Run work as `PanelAction.run` does, once what it needs is installed; then bring all parts up to date."""
        self._isEnding = True
        try:
            return super().run(withPackages(work, _("Plan Optimizer")), done)
        finally:
            self._isEnding = False

    def sayStanding(self, text: str) -> None:
        """Say how things stand with the chosen plan where that is news; how an action ended stays to be read."""
        standing = (self.planNode, text)
        if standing != self._standing and not self._isEnding:
            self.say(text)
        self._standing = standing
