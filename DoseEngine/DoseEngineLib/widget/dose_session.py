"""What the sections of the Dose Engine panel share: settings, the plan chosen, and one action at a time."""

from __future__ import annotations

from typing import Any

from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, SEGMENTATION
from DoseEngineLib.widget.dose_engine_parameters import DoseEngineParameters
from DoseEngineLib.widget.panel_action import PanelAction
from DoseEngineLib.widget.scene_session import SceneSession


class DoseSession(SceneSession):
    """The state of the panel, in the scene.

    Parameters
    ----------
    logic : DoseEngineLogic
    scene : vtkMRMLScene
    action : PanelAction

    Attributes
    ----------
    settings : DoseEngineParameters
    """

    def __init__(self, logic: Any, scene: Any, action: PanelAction) -> None:
        super().__init__(logic, scene, action, "DoseEngine")
        self._node: Any = None

    def takeSettings(self, parameterNode: Any) -> None:
        """See `SceneSession`."""
        self.settings = DoseEngineParameters(parameterNode)
        self._node = parameterNode

    def watchedNodes(self) -> dict[str, Any]:
        """See `SceneSession`; settings are followed too, scripts may change them."""
        planNode = self.planNode
        structures = None if planNode is None else planNode.GetNodeReference(SEGMENTATION)
        image = None if planNode is None else planNode.GetNodeReference(REFERENCE_VOLUME)
        return {"settings": self._node, "plan": planNode, "structures": structures, "image": image}
