"""What the steps of the panel share: the case and plan chosen, what is to be prescribed, and one action at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import qt
import vtk
from slicer import vtkMRMLScalarVolumeNode, vtkMRMLScriptedModuleNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, SEGMENTATION, isPlanNode, planFromNode
from DoseEngineLib.plan import NORMALIZATIONS, Plan
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.module_parameters import SceneParameters
from DoseEngineLib.widget.panel_action import PanelAction
from RTPlanningLib.plan_file import DEFAULT_MACHINE

T = TypeVar("T")


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


class PlanningSession:
    """The state of the panel, in the scene.

    Parameters
    ----------
    logic : RTPlanningLogic
        Its pure work runs in a thread from now on, while events turn.
    scene : vtkMRMLScene
    action : PanelAction
    moduleName : str
        Owner of the parameter node.

    Attributes
    ----------
    settings : PlanningParameters
    """

    def __init__(self, logic: Any, scene: Any, action: PanelAction, moduleName: str = "RTPlanning") -> None:
        self.logic = logic
        self.scene = scene
        self.action = action
        self._moduleName = moduleName
        self._steps: list = []
        self._observed: dict[str, tuple[Any, list[int]]] = {}
        self._updatePending = self._updating = self._released = False
        logic.background = action.background
        self._parameters: SceneParameters | None = None

    def start(self, steps: list) -> None:
        """Give the steps their settings, and keep them up to date with the scene from now on."""
        self._steps = list(steps)
        self._sceneTag = self.scene.AddObserver(self.scene.NodeRemovedEvent, self._onNodeChanged)
        self._parameters = SceneParameters(self.scene, self._moduleName, self._setParameterNode)

    def release(self) -> None:
        """Let go of the scene and stop what is running; for the end of the panel."""
        self._released = True
        self.action.release()
        self._parameters.release()
        self.scene.RemoveObserver(self._sceneTag)
        self._observe({})
        for step in self._steps:
            step.cleanup()
        self._steps = []

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
    def planNode(self) -> Any:
        """The plan node, or None."""
        node = self.settings.planNode
        return node if isPlanNode(node) else None

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

    # Actions

    @property
    def isRunning(self) -> bool:
        """Whether an action is under way."""
        return self.action.isRunning

    def run(self, work: Callable[[Progress], T], done: Callable[[T], str] | str) -> T | None:
        """Run work as `PanelAction.run` does, then bring all steps up to date."""
        result = self.action.run(work, done)
        self.update()
        return result

    def say(self, text: str) -> None:
        """Show a text in the status line."""
        self.action.say(text)

    # Following the scene

    def update(self) -> None:
        """Bring every step up to date with the scene; not while an action runs, which does so at its end."""
        if self._updating or self._released or self.isRunning:
            return
        self._updating = True
        try:
            self._updatePending = False
            self._observe({"plan": self.planNode, "structures": self.segmentationNode, "ct": self.volumeNode})
            for step in self._steps:
                step.update()
        finally:
            self._updating = False

    def _setParameterNode(self, node: Any) -> None:
        self.settings = PlanningParameters(node)
        for step in self._steps:
            step.setParameterNode(node)
        self._parametersNode = node
        self.update()

    def _observe(self, nodes: dict[str, Any]) -> None:
        """Watch these nodes in place of the former ones."""
        for role in list(self._observed):
            watched, tags = self._observed[role]
            if nodes.get(role) is not watched:
                for tag in tags:
                    watched.RemoveObserver(tag)
                del self._observed[role]
        for role, node in nodes.items():
            if node is not None and role not in self._observed:
                events = [vtk.vtkCommand.ModifiedEvent]
                if role == "structures":
                    import slicer

                    events += [
                        slicer.vtkSegmentation.SegmentAdded,
                        slicer.vtkSegmentation.SegmentRemoved,
                        slicer.vtkSegmentation.SegmentModified,
                    ]
                self._observed[role] = (node, [node.AddObserver(event, self._onNodeChanged) for event in events])

    def _onNodeChanged(self, *_unused: object) -> None:
        # nodes change many times in a row: one update for all of them, when events turn next
        if not self._updatePending and not self._released:
            self._updatePending = True
            qt.QTimer.singleShot(0, self._updateIfPending)

    def _updateIfPending(self) -> None:
        if self._updatePending:
            self.update()
