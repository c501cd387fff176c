"""The RTPlanning module when Slicer has started: with SlicerRT beside it and without."""

from __future__ import annotations

import sys
from types import ModuleType

import slicer


def test_without_slicerrt_slicer_starts_in_silence(desktop, load, capfd, caplog):
    load("RTPlanning")
    capfd.readouterr()
    slicer.app.startupCompleted.emit()
    assert tuple(capfd.readouterr()) == ("", "")
    assert caplog.text == ""
    assert desktop.errors == desktop.messages == []
    assert not hasattr(slicer.modules, "doseEngineNames")


def test_with_slicerrt_the_engines_are_offered_once(desktop, load, monkeypatch):
    for package, base in (("DoseEngines", "ScriptedDoseEngine"), ("PlanOptimizers", "ScriptedPlanOptimizer")):
        module = ModuleType(package)
        module.__path__ = []
        setattr(module, f"Abstract{base}", type(f"Abstract{base}", (), {}))
        monkeypatch.setitem(sys.modules, package, module)
    load("RTPlanning")
    for _ in range(2):
        slicer.app.startupCompleted.emit()
    names = ["RTPlanningPencilBeamDoseEngine", "RTPlanningCollapsedConeDoseEngine"]
    assert slicer.modules.doseEngineNames == names
    assert slicer.modules.planOptimizerNames == ["RTPlanningPlanOptimizer"]
    for name in names:
        module = getattr(sys.modules["DoseEngines"], name)
        assert module is sys.modules[f"DoseEngines.{name}"]
        assert module.__file__.endswith(f"{name}.py")
        assert hasattr(module, name)
    for name in [
        name for name in sys.modules if name.startswith(("DoseEngines.", "PlanOptimizers.", "RTPlanningLib.slicerrt."))
    ]:
        del sys.modules[name]
