"""What the steps of the panel share: the case and plan chosen, what is to be prescribed, and one action at a time."""

from __future__ import annotations

from typing import Annotated, Any

from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScriptedModuleNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, SEGMENTATION, planFromNode
from DoseEngineLib.plan import NORMALIZATIONS, Plan
from DoseEngineLib.widget.panel_action import PanelAction
from DoseEngineLib.widget.scene_session import SceneSession
from RTPlanningLib.plan_file import DEFAULT_MACHINE


@parameterNodeWrapper
class PlanningParameters:
    """What all steps go by.

    Attributes
    ----------
    volumeNode, segmentationNode, planNode : node or None
        The case and the plan that are worked on.
    target : str
        Structure that is prescribed to.
    prescribedDose_Gy : float
        Dose of the whole course.
    fractions : int
    normalization : str
        One of `DoseEngineLib.plan.NORMALIZATIONS`.
    goals : list of str
        Goals of a plan that is yet to be made.
    machine : str
        Machine of new beams.
    """

    volumeNode: vtkMRMLScalarVolumeNode
    segmentationNode: vtkMRMLSegmentationNode
    planNode: vtkMRMLScriptedModuleNode
    target: str = ""
    prescribedDose_Gy: Annotated[float, WithinRange(0.01, 200.0)] = 50.0
    fractions: Annotated[int, WithinRange(1, 100)] = 25
    normalization: str = NORMALIZATIONS[0]
    goals: list[str]
    machine: str = DEFAULT_MACHINE


class PlanningSession(SceneSession):
    """The state of the panel, in the scene.

    Parameters
    ----------
    logic : RTPlanningLogic
        Its pure work runs in a thread from now on, while events turn.
    scene : vtkMRMLScene
    action : PanelAction

    Attributes
    ----------
    settings : PlanningParameters
    """

    settings: PlanningParameters

    def __init__(self, logic: Any, scene: Any, action: PanelAction) -> None:
        super().__init__(logic, scene, action, "RTPlanning")

    def takeSettings(self, parameterNode: Any) -> None:
        """See `SceneSession`."""
        self.settings = PlanningParameters(parameterNode)

    def watchedNodes(self) -> dict[str, Any]:
        """See `SceneSession`."""
        planNode, chosen = self.planNode, self.segmentationNode
        # a plan keeps its structures when others are chosen
        own = None if planNode is None else planNode.GetNodeReference(SEGMENTATION)
        return {
            "plan": planNode,
            "structures": chosen,
            "structures of the plan": None if own is chosen else own,
            "ct": self.volumeNode,
        }

    # What is chosen

    @property
    def volumeNode(self) -> Any:
        """The planning CT, or None."""
        return self.settings.volumeNode

    @property
    def segmentationNode(self) -> Any:
        """The structures, or None."""
        return self.settings.segmentationNode

    @property
    def plan(self) -> Plan | None:
        """The plan of the node, as the user made it."""
        return None if self.planNode is None else planFromNode(self.planNode)

    def chooseCase(self, volumeNode: Any, segmentationNode: Any) -> None:
        """Work on this CT and these structures; a plan for another CT is put aside."""
        self.settings.volumeNode = volumeNode
        self.settings.segmentationNode = segmentationNode
        planNode = self.planNode
        if planNode is not None and planNode.GetNodeReference(REFERENCE_VOLUME) is not volumeNode:
            self.settings.planNode = None
        self.update()

    def choosePlan(self, planNode: Any) -> None:
        """Work on this plan, with its CT and structures; None: on none."""
        if planNode is not None:
            self.settings.volumeNode = planNode.GetNodeReference(REFERENCE_VOLUME)
            self.settings.segmentationNode = planNode.GetNodeReference(SEGMENTATION)
        self.settings.planNode = planNode
        self.update()

    def setPlan(self, plan: Plan) -> Any:
        """Store a plan in the plan node; where none is chosen, in a new one for the CT and structures chosen.

        Raises
        ------
        PlanningError
            No CT, or a plan that cannot be stored.
        """
        planNode = self.planNode
        if planNode is not None:
            self.logic.updatePlan(planNode, plan)
        else:
            goals = tuple(self.settings.goals)
            planNode = self.logic.createPlan(plan, self.volumeNode, self.segmentationNode, goals)
            self.settings.planNode = planNode
        self.update()
        return planNode
