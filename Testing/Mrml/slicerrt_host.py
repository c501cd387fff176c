"""SlicerRT's External Beam Planning, as far as its scripted plug-ins meet it, with its ways of failing.

From SlicerRT's ``ExternalBeamPlanning/Widgets`` (``qSlicerAbstractDoseEngine.cxx``,
``qSlicerScriptedDoseEngine.cxx``,
``qSlicerDoseEngineLogic.cxx``, ``qSlicerAbstractPlanOptimizer.cxx``, ``qSlicerScriptedPlanOptimizer.cxx``, their
packages' ``__init__.py.in``) and ``qSlicerExternalBeamPlanningModuleWidget.cxx`` (July 2026):

- plug-ins are created when the module is entered, by their names in ``slicer.modules``; a second one of a name is not
  taken;
- a plug-in's class is looked for in ``sys.modules["DoseEngines." + name of its file]``;
- an exception, and whatever is no text, counts as success;
- parameters are attributes of the beam, set to their defaults where they are missing when the engine is chosen;
- doses of beams are added up with the beams' weights on the reference volume's grid, and scaled to nothing.
"""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import slicer
import slicerrt_standins as standins
import vtk

from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume

HOST = "qSlicerExternalBeamPlanningModuleWidgetsPythonQt"
# what is made of the host's packages and must not outlive them
MADE_OF_THEM = ("DoseEngines.", "PlanOptimizers.", "RTPlanningLib.slicerrt.")
_ABSTRACT = """
class Abstract{0}:
    def __init__(self, {1}):
        self.{1} = {1}

    def register(self):
        import {2}
        {2}.qSlicer{3}PluginHandler().instance().register{4}(self.{1})
"""


def install(monkeypatch) -> None:
    """Put SlicerRT's nodes and packages where Slicer has them."""
    for name in ("vtkMRMLRTPlanNode", "vtkMRMLRTBeamNode", "vtkMRMLRTObjectiveNode"):
        monkeypatch.setattr(slicer, name, getattr(standins, name), raising=False)
    host = ModuleType(HOST)
    host.engines, host.optimizers = [], []
    host.qSlicerScriptedDoseEngine = ScriptedDoseEngine
    host.qSlicerScriptedPlanOptimizer = ScriptedPlanOptimizer
    host.qSlicerDoseEngineLogic = DoseEngineLogic
    host.qSlicerDoseEnginePluginHandler = _handler("registerDoseEngine", host.engines)
    host.qSlicerPlanOptimizerPluginHandler = _handler("registerPlanOptimizer", host.optimizers)
    monkeypatch.setitem(sys.modules, HOST, host)
    for package, words, listName in (
        ("DoseEngines", ("ScriptedDoseEngine", "scriptedEngine", HOST, "DoseEngine", "DoseEngine"), "doseEngineNames"),
        (
            "PlanOptimizers",
            ("ScriptedPlanOptimizer", "scriptedPlanOptimizer", HOST, "PlanOptimizer", "PlanOptimizer"),
            "planOptimizerNames",
        ),
    ):
        module = ModuleType(package)
        module.__path__ = []
        exec(_ABSTRACT.format(*words), module.__dict__)
        monkeypatch.setitem(sys.modules, package, module)
        monkeypatch.setattr(slicer.modules, listName, [], raising=False)
    if "slicer.i18n" not in sys.modules:
        i18n = ModuleType("slicer.i18n")
        i18n.tr = lambda text: text
        monkeypatch.setitem(sys.modules, "slicer.i18n", i18n)
    forget()


def forget() -> None:
    """Drop modules that were made of the host's packages, and what it set in ``slicer``."""
    for name in [name for name in sys.modules if name.startswith(MADE_OF_THEM)]:
        del sys.modules[name]
    for name in [name for name in vars(slicer) if name.startswith("RTPlanning")]:
        delattr(slicer, name)


def enter() -> None:
    """What happens when a person enters External Beam Planning."""
    for package, host_class, listName in (
        ("DoseEngines", "qSlicerScriptedDoseEngine", "doseEngineNames"),
        ("PlanOptimizers", "qSlicerScriptedPlanOptimizer", "planOptimizerNames"),
    ):
        namespace: dict = {}
        exec(f"from {package} import *\nimport {HOST} as host", namespace)
        for name in getattr(slicer.modules, listName):
            try:
                exec(
                    f"{name}Instance = host.{host_class}(None); "
                    f"{name}Instance.setPythonSource({name}.__file__.replace('\\\\', '/')); "
                    f"{name}Instance.self().register()",
                    namespace,
                )
            except Exception:
                logging.error(traceback.format_exc())


def engines() -> dict:
    """Dose engines that are registered, by their names."""
    return {engine.name: engine for engine in sys.modules[HOST].engines}


def optimizers() -> dict:
    """Plan optimizers that are registered, by their names."""
    return {optimizer.name: optimizer for optimizer in sys.modules[HOST].optimizers}


def chooseEngine(planNode, name: str) -> None:
    """What happens when a person chooses a dose engine."""
    planNode.SetDoseEngineName(name)
    for beamNode in _beams(planNode):
        engines()[name].addBeamParameterAttributesToBeamNode(beamNode)


def calculateDose(planNode) -> str:
    """What the button does without inverse planning; returns the error it shows, empty for success."""
    engine = engines()[planNode.GetDoseEngineName()]
    for beamNode in _beams(planNode):
        error = engine.calculateDose(beamNode)
        if error:
            return error
    return _accumulate(planNode)


def calculateDoseInfluenceMatrix(planNode) -> str:
    """What the button does with inverse planning; returns the error it shows."""
    engine = engines()[planNode.GetDoseEngineName()]
    for beamNode in _beams(planNode):
        if not engine.isInverse:
            return "Dose engine lacks functionality for calculating a dose influence matrix for inverse planning"
        _moveToReference(planNode)
        error = engine.call("calculateDoseInfluenceMatrixUsingEngine", beamNode)
        if error:
            return error
    return ""


def optimizePlan(planNode, objectiveNodes) -> str:
    """What the button of the optimizer does; returns the error it shows."""
    optimizer = optimizers()[planNode.GetPlanOptimizerName()]
    _moveToReference(planNode)
    doseNode = planNode.GetOutputTotalDoseVolumeNode()
    if doseNode is None:
        doseNode = planNode.GetScene().AddNewNodeByClass(
            "vtkMRMLScalarVolumeNode", f"{planNode.GetName()}_Optimization"
        )
    objectives = [{"ObjectiveNode": node} for node in objectiveNodes]
    error = optimizer.call("optimizePlanUsingOptimizer", planNode, objectives, doseNode)
    if not error:
        _takeDose(doseNode, planNode)
    return error


def doseOf(beamNode):
    """The dose that was calculated last for a beam."""
    return beamNode.GetNthNodeReference("ResultDoseRef", beamNode.GetNumberOfNodeReferences("ResultDoseRef") - 1)


class DoseEngineLogic:
    """qSlicerDoseEngineLogic, as far as Python can call it."""

    def setMRMLScene(self, scene) -> None:
        self._scene = scene

    def calculateDose(self, planNode) -> str:
        assert planNode.GetScene() is self._scene
        assert planNode.GetOutputTotalDoseVolumeNode() is not None, "Unable to access output dose volume"
        return calculateDose(planNode)

    def calculateDoseInfluenceMatrix(self, planNode) -> str:
        assert planNode.GetScene() is self._scene
        return calculateDoseInfluenceMatrix(planNode)


class _Scripted:
    """A plug-in's other half, which is C++ in SlicerRT: it has the properties that are known and no others."""

    _package: str
    _ending: str
    _properties: frozenset[str]

    def __init__(self, parent: None) -> None:
        object.__setattr__(self, "_state", SimpleNamespace(instance=None, name="", parameters={}, shown={}))

    def __setattr__(self, name: str, value) -> None:
        assert name in self._properties, f"{type(self).__name__} has no property {name}"
        assert type(value) is (str if name == "name" else bool), f"{name} cannot be {value!r}"
        object.__setattr__(self, name, value)

    def setPythonSource(self, path: str) -> bool:
        """Create the class named as the file."""
        assert path.endswith((".py", ".pyc"))
        name = Path(path).stem
        assert name.endswith(self._ending), f"{name}: class and file end with {self._ending}"
        # PyImport_AddModule: an empty module where there is none
        module = sys.modules.setdefault(f"{self._package}.{name}", ModuleType(name))
        if not hasattr(module, name):
            raise RuntimeError(f"Failed to load scripted plug-in: class {name} was not found in {path}")
        self._state.instance = getattr(module, name)(self)
        setattr(slicer, name, self._state.instance)
        return True

    def self(self):
        """The Python half."""
        return self._state.instance

    def call(self, method: str, *arguments) -> str:
        """Call the Python half as the C++ half does: only a text is an error."""
        try:
            result = getattr(self._state.instance, method)(*arguments)
        except Exception:
            traceback.print_exc()
            return ""
        return result if isinstance(result, str) else ""


class ScriptedDoseEngine(_Scripted):
    """qSlicerScriptedDoseEngine."""

    _package, _ending = "DoseEngines", "Engine"
    _properties = frozenset(("name", "isInverse", "canDoIonPlan", "supportsBodySegment"))
    isInverse = canDoIonPlan = supportsBodySegment = False
    name = "UnnamedScriptedEngine"

    # parameters of a beam

    def addBeamParameterSpinBox(self, tab, name, label, toolTip, minimum, maximum, default, step, precision) -> None:
        assert all(type(value) is float for value in (minimum, maximum, default, step))
        assert type(precision) is int
        assert minimum <= default <= maximum
        # what the spin box can show is what it gives back
        assert round(default, precision) == default
        self._add(tab, name, label, toolTip, _qt_text(default))

    def addBeamParameterComboBox(self, tab, name, label, toolTip, options, default) -> None:
        assert all(type(option) is str for option in options)
        assert type(default) is int
        assert 0 <= default < len(options)
        self._add(tab, name, label, toolTip, str(default))

    def addBeamParameterCheckBox(self, tab, name, label, toolTip, default, dependent=()) -> None:
        assert type(default) is bool
        self._add(tab, name, label, toolTip, "true" if default else "false")

    def addBeamParameterLineEdit(self, tab, name, label, toolTip, default) -> None:
        self._add(tab, name, label, toolTip, default)

    def _add(self, *texts: str) -> None:
        assert all(type(text) is str for text in texts)
        tab, name, label, toolTip, default = texts
        assert tab
        assert label
        assert toolTip
        assert name.isidentifier()
        assert name not in self._state.parameters, f"{name} twice"
        self._state.parameters[name], self._state.shown[name] = default, label

    def addBeamParameterAttributesToBeamNode(self, beamNode) -> None:
        for name, default in self._state.parameters.items():
            if beamNode.GetAttribute(self._attribute(name)) is None:
                beamNode.SetAttribute(self._attribute(name), default)

    def parameter(self, beamNode, name: str) -> str:
        value = beamNode.GetAttribute(self._attribute(name))
        return "" if value is None else value

    def setParameter(self, beamNode, name: str, text: str) -> None:
        """What a person does on the panel."""
        assert name in self._state.parameters, f"there is no parameter {name}"
        beamNode.SetAttribute(self._attribute(name), text)

    def _attribute(self, name: str) -> str:
        return f"{self.name}.{name}"

    # doses

    def calculateDose(self, beamNode) -> str:
        planNode = beamNode.GetParentPlanNode()
        if planNode is None:
            return f"Unable to access parent node for beam {beamNode.GetName()}"
        if planNode.GetReferenceVolumeNode() is None:
            return "Unable to access reference volume"
        _moveToReference(planNode)
        doseNode = slicer.vtkMRMLScalarVolumeNode()
        beamNode.GetScene().AddNode(doseNode)
        doseNode.SetName(f"{beamNode.GetName()}_Dose")
        error = self.call("calculateDoseUsingEngine", beamNode, doseNode)
        if not error:
            _replaceDose(doseNode, beamNode)
        return error


class ScriptedPlanOptimizer(_Scripted):
    """qSlicerScriptedPlanOptimizer; ``said`` is what it told of its progress."""

    _package, _ending = "PlanOptimizers", "PlanOptimizer"
    _properties = frozenset(("name",))
    name = "UnnamedScriptedOptimizer"

    def progressInfoUpdated(self, text: str) -> None:
        assert type(text) is str
        self._state.shown[text] = text

    @property
    def said(self) -> list[str]:
        return list(self._state.shown)

    def availableObjectives(self) -> dict[str, dict[str, str]]:
        """Objective -> parameter -> the text of its default, as the table shows it."""
        found = self._state.instance.setAvailableObjectives()
        return {name: {p: repr(info["default"]) for p, info in params.items()} for name, params in found.items()}


def _handler(register: str, registered: list) -> type:
    def add(self, plugIn) -> bool:
        if plugIn.name in [other.name for other in registered]:
            return False
        plugIn.call("defineBeamParameters") if isinstance(plugIn, ScriptedDoseEngine) else None
        registered.append(plugIn)
        return True

    def byName(self, name: str):
        return next((plugIn for plugIn in registered if plugIn.name == name), None)

    return type("Handler", (), {"instance": lambda self: self, register: add, "doseEngineByName": byName})


def _beams(planNode) -> list:
    found = vtk.vtkCollection()
    planNode.GetBeams(found)
    return [found.GetItemAsObject(n) for n in range(found.GetNumberOfItems())]


def _hierarchy(node):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())


def _moveToReference(planNode) -> None:
    """The plan goes to the branch of its reference volume."""
    hierarchy = _hierarchy(planNode)
    item = hierarchy.GetItemByDataNode(planNode.GetReferenceVolumeNode())
    if item:
        hierarchy.SetItemParent(planNode.GetPlanSubjectHierarchyItemID(), hierarchy.GetItemParent(item))


def _replaceDose(doseNode, beamNode) -> None:
    scene = beamNode.GetScene()
    for n in range(beamNode.GetNumberOfNodeReferences("ResultDoseRef")):
        node = beamNode.GetNthNodeReference("ResultDoseRef", n)
        if node is not None:
            # its item goes with it, by what the desktop has and slicer-core has not
            hierarchy = _hierarchy(beamNode)
            hierarchy.RemoveItem(hierarchy.GetItemByDataNode(node), False, False)
            scene.RemoveNode(node)
    beamNode.AddNodeReferenceID("ResultDoseRef", doseNode.GetID())
    _takeDose(doseNode, beamNode)


def _takeDose(doseNode, owner) -> None:
    """The volume is a dose below its beam or plan; a study without a unit gets one, in a spelling not read later."""
    assert doseNode.GetImageData() is not None, "success was told, and there is no dose"
    doseNode.SetAttribute("DicomRtImport.DoseVolume", "1")
    hierarchy = _hierarchy(owner)
    item = hierarchy.GetItemByDataNode(owner)
    hierarchy.CreateItem(item, doseNode)
    study = hierarchy.GetItemAncestorAtLevel(item, "Study")
    assert study, "there is no study above the plan, and no unit"
    if not hierarchy.GetItemAttribute(study, "DicomRtImport.DoseUnitName"):
        hierarchy.SetItemAttribute(study, "DicomRtImport.DoseUnitName", "Gy")
    assert hierarchy.GetItemAttribute(study, "DicomRtImport.DoseUnitName") == "GY", "SlicerRT reads no other spelling"
    assert hierarchy.GetItemAttribute(study, "DicomRtImport.DoseUnitValue") == "1.0"


def _accumulate(planNode) -> str:
    reference = gridFromVolume(planNode.GetReferenceVolumeNode())
    total = np.zeros(reference.shape, np.float32)
    for beamNode in _beams(planNode):
        doseNode = doseOf(beamNode)
        assert gridFromVolume(doseNode).is_same_as(reference), "beam doses are on the reference volume's grid"
        dose = arrayFromVolume(doseNode)
        assert dose.min() >= 0.0
        total += np.float32(beamNode.GetBeamWeight()) * dose
    output = planNode.GetOutputTotalDoseVolumeNode()
    if output is None:
        output = planNode.GetScene().AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"{planNode.GetName()}_TotalDose")
        planNode.SetAndObserveOutputTotalDoseVolumeNode(output)
    slicer.util.updateVolumeFromArray(output, total)
    matrix = vtk.vtkMatrix4x4()
    planNode.GetReferenceVolumeNode().GetIJKToRASMatrix(matrix)
    output.SetIJKToRASMatrix(matrix)
    return ""


def _qt_text(value: float) -> str:
    """QVariant(double).toString()."""
    return repr(value).removesuffix(".0")
