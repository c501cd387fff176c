"""3D Slicer's scene and logics without the application, on PyPI's ``slicer-core``.

The logic classes of the house take a scene and run unchanged here and in desktop Slicer; only scripts, tests and the
command line need this file.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

from DoseEngineLib.errors import PlanningError

# A scene can neither read nor write nodes whose classes are not registered, and says so only in its log.
_LOGICS_THAT_REGISTER_NODES = (
    "vtkSlicerMarkupsLogic",
    "vtkSlicerSequencesLogic",
    "vtkSlicerVolumeRenderingLogic",
    "vtkSlicerCropVolumeLogic",
    "vtkSlicerSceneViewsModuleLogic",
)


class HeadlessError(PlanningError):
    """Slicer's headless runtime is not installed, or this is desktop Slicer already."""


def _import_slicer():
    try:
        slicer = importlib.import_module("slicer")
        importlib.import_module("slicer.util")
    except ImportError as error:
        raise _missing(str(error)) from error
    if not hasattr(slicer, "vtkMRMLScene"):
        raise _missing(f"the package slicer at {slicer.__file__} is another one")
    # desktop Slicer has a Qt application; a second scene and application logic beside it would confuse both
    if hasattr(slicer, "app"):
        raise HeadlessError(
            "This is desktop 3D Slicer, which has a scene already: use slicer.mrmlScene, "
            "for example RTPlanningLogic(slicer.mrmlScene), instead of the headless runtime."
        )
    return slicer


def _missing(reason: str) -> HeadlessError:
    return HeadlessError(
        f"This needs 3D Slicer's headless runtime slicer-core, which cannot be imported here ({reason}). "
        'Install it with: pip install "rtplanning[headless]"'
    )


def _keep_one_rule_of_a_kind(slicer) -> None:
    """Take away the rules of conversion that a logic has registered again.

    They belong to the whole process, and the search for a way from one representation to another goes through all of
    them: with those of a hundred logics it takes seconds.
    """
    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    there = set()
    for rule in factory.GetConverterRules():
        if rule.GetClassName() in there:
            factory.UnregisterConverterRule(rule)
        there.add(rule.GetClassName())


class HeadlessSlicer:
    """A fresh MRML scene with Slicer's application, color, segmentation, markups and further logics.

    As a context manager it makes its scene the current one (``slicer.mrmlScene``), and at the end empties it and puts
    the former one back::

        with HeadlessSlicer() as slicer_:
            logic = RTPlanningLogic(slicer_.scene)

    Attributes
    ----------
    scene : vtkMRMLScene
    application_logic : vtkSlicerApplicationLogic
    segmentations_logic : vtkSlicerSegmentationsModuleLogic

    Raises
    ------
    HeadlessError
        slicer-core is not installed, or this is desktop Slicer.
    """

    def __init__(self) -> None:
        slicer = self._slicer = _import_slicer()
        self._former = (getattr(slicer, "mrmlScene", None), getattr(slicer, "modules", None))
        self.scene = slicer.vtkMRMLScene()
        slicer.mrmlScene = self.scene
        self.application_logic = slicer.vtkSlicerApplicationLogic()
        self.application_logic.SetMRMLScene(self.scene)
        color_logic = self.application_logic.GetColorLogic()
        color_logic.SetMRMLScene(self.scene)
        color_logic.AddDefaultColorNodes()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        # without this logic every segment operation logs errors
        self.segmentations_logic = slicer.vtkSlicerSegmentationsModuleLogic()
        self.segmentations_logic.SetMRMLScene(self.scene)
        self.segmentations_logic.SetMRMLApplicationLogic(self.application_logic)
        self.application_logic.SetModuleLogic("Segmentations", self.segmentations_logic)
        _keep_one_rule_of_a_kind(slicer)
        segmentations_logic = self.segmentations_logic
        slicer.modules = SimpleNamespace(segmentations=SimpleNamespace(logic=lambda: segmentations_logic))
        self._other_logics = [self._start_logic(name) for name in _LOGICS_THAT_REGISTER_NODES]
        self.scene.RegisterNodeClass(slicer.vtkMRMLColorLegendDisplayNode())
        self.subject_hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)

    def _start_logic(self, class_name: str):
        logic = getattr(self._slicer, class_name)()
        logic.SetMRMLApplicationLogic(self.application_logic)
        logic.SetMRMLScene(self.scene)
        return logic

    def __enter__(self) -> HeadlessSlicer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Empty the scene and make the former one current again; closing twice does nothing."""
        if self.scene is None:
            return
        slicer = self._slicer
        self.scene.Clear(True)
        if slicer.mrmlScene is self.scene:
            slicer.mrmlScene, slicer.modules = self._former
        self._other_logics = []
        self.scene = self.application_logic = self.segmentations_logic = self.subject_hierarchy = None


_running: HeadlessSlicer | None = None


def start():
    """Start Slicer's headless runtime once for this process and return its scene (later calls: the same scene).

    Raises
    ------
    HeadlessError
        slicer-core is not installed, or this is desktop Slicer.
    """
    global _running
    if _running is None or _running.scene is None:
        _running = HeadlessSlicer()
    return _running.scene


def save_scene(scene, path: str | Path) -> Path:
    """Write a scene with all its data to an ``.mrb`` file; see `RTPlanningLib.mrml.scene_file.saveScene`."""
    from RTPlanningLib.mrml.scene_file import saveScene

    return saveScene(scene, path)


def load_scene(path: str | Path):
    """Load an ``.mrb`` file into the process's headless scene, replacing what it held, and return the scene.

    Raises
    ------
    HeadlessError
        slicer-core is not installed, or this is desktop Slicer.
    CaseError
        The file is missing or damaged.
    """
    from RTPlanningLib.mrml.scene_file import loadScene

    scene = start()
    loadScene(scene, path)
    return scene
