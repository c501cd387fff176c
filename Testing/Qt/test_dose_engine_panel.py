"""The Dose Engine panel with the real logic on a real scene."""

from __future__ import annotations

import json

import numpy as np
import pytest

from DoseEngineLib import engine as engine_registry
from DoseEngineLib.errors import Cancelled
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Beam, Plan


@pytest.fixture
def plan_node(desktop):
    """A small water cube with one 40 x 40 mm field of 100 MU."""
    import slicer

    from DoseEngineLib.mrml.plan_node import createPlanNode
    from DoseEngineLib.mrml.volumes import setVolumeFromArray

    grid = Grid.from_spacing((24, 24, 24), 6.0, (-69.0, -69.0, -69.0))
    hu = np.full(grid.shape, -1000, np.int16)
    hu[3:-3, 3:-3, 3:-3] = 0
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Water cube")
    setVolumeFromArray(volume, hu, grid)
    field = Beam.open_field("AP", jaw_x_mm=(-20.0, 20.0), jaw_y_mm=(-20.0, 20.0))
    return createPlanNode(slicer.mrmlScene, Plan("One field", (field,), dose_grid_spacing_mm=6.0), volume)


def events() -> None:
    """Turn the event loop: the panel follows nodes when events turn next."""
    import slicer

    for _turn in range(3):
        slicer.app.processEvents()


def test_without_a_plan_there_is_nothing_to_compute(load) -> None:
    module, widget = load("DoseEngine")
    assert module.parent.title == "Dose Engine"
    assert module.parent.categories == ["Radiotherapy"]
    assert "not for clinical use" in module.parent.helpText
    assert not widget.ui.computeButton.isEnabled()
    assert "Choose a plan" in widget.ui.statusLabel.text()


def test_compute_makes_a_dose(load, plan_node, picture) -> None:
    import slicer

    from DoseEngineLib.mrml.plan_node import DOSE, planFromNode

    _module, widget = load("DoseEngine")
    ui = widget.ui
    assert ui.planSelector.nodeCount() == 1
    ui.planSelector.setCurrentNode(plan_node)
    events()
    assert ui.spacingSpin.property("value") == 6.0
    ui.spacingSpin.setValue(8.0)
    ui.computeButton.click()
    assert ui.statusLabel.text().startswith("Dose computed"), ui.statusLabel.text()
    dose_node = plan_node.GetNodeReference(DOSE)
    dose = slicer.util.arrayFromVolume(dose_node)
    # 100 MU of a machine calibrated to 1 cGy/MU near the surface of a small cube
    assert 0.5 < dose.max() < 1.5
    assert planFromNode(plan_node).dose_grid_spacing_mm == 8.0
    np.testing.assert_allclose(dose_node.GetSpacing(), 8.0)
    assert json.loads(widget.panel.dose.ui.provenanceText.toPlainText())["engine"] == "photon-pencil-beam"
    assert ui.computeButton.isEnabled()
    assert not ui.cancelButton.isEnabled()
    assert picture(widget, "DoseEngine").stat().st_size > 5000


def test_cancel_leaves_the_scene_as_it_was(load, plan_node, desktop) -> None:
    from DoseEngineLib.mrml.plan_node import DOSE, planFromNode

    _module, widget = load("DoseEngine")
    ui = widget.ui
    ui.planSelector.setCurrentNode(plan_node)
    events()
    before, nodes = planFromNode(plan_node), desktop.scene.GetNumberOfNodes()
    ui.spacingSpin.setValue(4.0)
    calculate = widget.logic.calculateDose

    def cancel_on_the_way(planNode, progress):
        def report(fraction, text):
            if fraction > 0.02:
                ui.cancelButton.click()
            progress(fraction, text)

        return calculate(planNode, report)

    widget.logic.calculateDose = cancel_on_the_way
    ui.computeButton.click()
    assert ui.statusLabel.text().startswith("Cancelled")
    assert plan_node.GetNodeReference(DOSE) is None
    assert desktop.scene.GetNumberOfNodes() == nodes
    assert planFromNode(plan_node) == before
    assert not desktop.errors


def test_closing_the_scene_stops_the_work(load, plan_node, desktop) -> None:
    _module, widget = load("DoseEngine")
    ui = widget.ui
    ui.planSelector.setCurrentNode(plan_node)
    events()
    calculate = widget.logic.calculateDose

    def close_on_the_way(planNode, progress):
        def report(fraction, text):
            if fraction > 0.02 and desktop.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"):
                desktop.scene.Clear(False)
            progress(fraction, text)

        return calculate(planNode, report)

    widget.logic.calculateDose = close_on_the_way
    ui.computeButton.click()
    assert ui.planSelector.currentNode() is None
    assert not desktop.errors
    assert not ui.computeButton.isEnabled()
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    widget.cleanup()


def test_errors_are_said_in_words(load, plan_node, desktop) -> None:
    _module, widget = load("DoseEngine")
    widget.ui.planSelector.setCurrentNode(plan_node)
    events()
    desktop.scene.RemoveNode(plan_node.GetNodeReference("referenceVolumeRef"))
    widget.ui.computeButton.click()
    assert desktop.errors == [widget.ui.statusLabel.text()]
    assert "no longer in the scene" in desktop.errors[0]


def test_unavailable_engine_is_greyed_with_its_reason(load, plan_node) -> None:
    import qt

    engine_registry.register_engine("test-missing", "Needs a package", "nowhere", "Nothing", requires=("no_such_one",))
    try:
        _module, widget = load("DoseEngine")
        combo = widget.ui.engineCombo
        index = combo.findData("test-missing")
        assert not combo.model().item(index).isEnabled()
        assert "no_such_one" in combo.itemData(index, qt.Qt.ToolTipRole)
        assert combo.model().item(combo.findData("photon-pencil-beam")).isEnabled()
        assert not widget.ui.installButton.isHidden()
        combo.setCurrentIndex(index)
        assert "no_such_one" in widget.ui.engineLabel.text()
        # an engine that cannot run is refused, and the plan keeps its own
        widget.ui.planSelector.setCurrentNode(plan_node)
        events()
        combo.setCurrentIndex(index)
        widget.ui.computeButton.click()
        assert "not available here" in widget.ui.statusLabel.text()
    finally:
        engine_registry.unregister_engine("test-missing")


def test_missing_packages_are_asked_for(desktop, monkeypatch) -> None:
    from DoseEngineLib.widget import packages as panel_packages

    assert panel_packages.missingPackages(["numpy>=1.26"]) == []
    panel_packages.ensurePackages(["numpy>=1.26"], "Test")
    assert desktop.ensured == []
    panel_packages.ensurePackages(["numpy>=1.26", "no-such-package>=1.0"], "Test")
    assert desktop.ensured == [(["no-such-package>=1.0"], "Test")]


def test_one_action_at_a_time(load, plan_node) -> None:
    _module, widget = load("DoseEngine")
    action = widget.panel.action
    inner = []

    def work(progress):
        assert action.isRunning
        assert not widget.ui.computeButton.isEnabled()
        inner.append(action.run(lambda progress: "ran", "never"))
        action.cancel()
        with pytest.raises(Cancelled):
            progress(0.5, "half way")
        return "done"

    assert action.run(work, "All done") == "done"
    assert inner == [None]
    assert widget.ui.statusLabel.text() == "All done"
