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


def open_panel(load, plan_node=None):
    """The module's widget, with a plan chosen."""
    _module, widget = load("DoseEngine")
    if plan_node is not None:
        widget.ui.planSelector.setCurrentNode(plan_node)
        events()
    return widget


def choose(combo, data) -> None:
    index = combo.findData(data)
    assert index >= 0, data
    combo.setCurrentIndex(index)


def cells(table) -> list[list[str]]:
    return [
        [table.item(row, column).text() for column in range(table.columnCount())] for row in range(table.rowCount())
    ]


def chart_curves(panel_section) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What the chart of a section draws, by the name in the legend."""
    from vtk.util.numpy_support import vtk_to_numpy

    chart = panel_section.canvas.widget.mrmlPlotViewNode().GetPlotChartNode()
    found = {}
    for number in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(number)
        table = series.GetTableNode().GetTable()
        columns = [table.GetColumnByName(name()) for name in (series.GetXColumnName, series.GetYColumnName)]
        found[series.GetName()] = tuple(vtk_to_numpy(column) for column in columns)
    return found


@pytest.fixture
def segmentation(plan_node):
    """A box around the isocentre, and the body of role EXTERNAL."""
    import slicer

    from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, SEGMENTATION, setReference
    from DoseEngineLib.mrml.segmentations import setStructures
    from DoseEngineLib.mrml.volumes import gridFromVolume
    from DoseEngineLib.plan import Structure

    volume = plan_node.GetNodeReference(REFERENCE_VOLUME)
    grid = gridFromVolume(volume)
    box, body = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    box[10:14, 10:14, 10:14] = True
    body[3:-3, 3:-3, 3:-3] = True
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Structures")
    setStructures(node, [Structure("Box", box, grid, "PTV"), Structure("Body", body, grid, "EXTERNAL")], volume)
    setReference(plan_node, SEGMENTATION, node)
    return node


def test_options_are_generated_and_go_into_the_plan(load, plan_node) -> None:
    from DoseEngineLib.engine import engine_options
    from DoseEngineLib.mrml.dose_volume import provenanceOf
    from DoseEngineLib.mrml.plan_node import DOSE, planFromNode

    widget = open_panel(load, plan_node)
    ui, form = widget.ui, widget.panel.engine.options
    assert set(form.fields) == {option.name for option in engine_options("photon-pencil-beam")}
    choose(ui.engineCombo, "photon-collapsed-cone")
    declared = {option.name: option for option in engine_options("photon-collapsed-cone")}
    assert list(form.fields) == list(declared)
    for name, field in form.fields.items():
        assert field.toolTip() == declared[name].tool_tip
        if declared[name].is_number:
            assert (field.minimum(), field.maximum()) == (declared[name].minimum, declared[name].maximum)
    assert form.automatic["pitch_mm"].isChecked()
    assert not form.fields["pitch_mm"].isEnabled()
    form.automatic["pitch_mm"].setChecked(False)
    form.fields["pitch_mm"].setValue(4.5)
    form.fields["rings"].setValue(8)
    choose(form.fields["dose_to"], "water")
    events()
    wanted = {"dose_to": "water", "pitch_mm": 4.5, "rings": 8}
    assert json.loads(widget.panel.session.settings.engineOptions) == {"photon-collapsed-cone": wanted}
    assert planFromNode(plan_node).engine_options == {}, "the plan changes when its dose is computed"
    ui.computeButton.click()
    assert ui.statusLabel.text().startswith("Dose computed"), ui.statusLabel.text()
    plan = planFromNode(plan_node)
    assert (plan.engine, plan.engine_options) == ("photon-collapsed-cone", wanted)
    provenance = provenanceOf(plan_node.GetNodeReference(DOSE))
    assert provenance["dose_to"] == "water"
    assert wanted.items() <= provenance["options"].items()
    # another engine and back: each has its own
    choose(ui.engineCombo, "photon-pencil-beam")
    assert form.values() == {}
    choose(ui.engineCombo, "photon-collapsed-cone")
    assert form.values() == wanted
    ui.resetOptionsButton.click()
    assert form.values() == {}
    assert form.fields["rings"].value() == 24


def test_a_plan_changed_by_a_script_is_followed(load, plan_node, desktop) -> None:
    from dataclasses import replace

    from DoseEngineLib.mrml.plan_node import planFromNode, setPlan

    widget = open_panel(load, plan_node)
    ui = widget.ui
    ui.spacingSpin.setValue(4.0)
    events()
    assert ui.spacingSpin.property("value") == 4.0, "what was typed stays until the plan changes"
    # four digits are shown, all of them are kept
    options = {"arc_step_deg": 2.123456}
    setPlan(plan_node, replace(planFromNode(plan_node), engine_options=options, dose_grid_spacing_mm=7.0))
    events()
    assert ui.spacingSpin.property("value") == 7.0
    assert widget.panel.engine.options.values() == options
    setPlan(plan_node, replace(planFromNode(plan_node), engine="photon-collapsed-cone", engine_options={"rings": 12}))
    events()
    assert ui.engineCombo.currentData() == "photon-collapsed-cone"
    assert widget.panel.engine.options.fields["rings"].value() == 12
    setPlan(plan_node, replace(planFromNode(plan_node), engine="of another extension", engine_options={}))
    events()
    assert "of another extension" in ui.engineLabel.text()
    assert widget.panel.session.settings.engine == "of another extension"
    desktop.scene.RemoveNode(plan_node)
    events()
    assert not ui.computeButton.isEnabled()
    assert "Choose a plan" in ui.statusLabel.text()
    assert widget.panel.dose.ui.doseLabel.text() == "none"


_WITHOUT_PACKAGES = """
import importlib.util, sys
from importlib import metadata
BLOCKED = ("numba", "jsonschema")
for name in BLOCKED:
    sys.modules[name] = None
find, version = importlib.util.find_spec, metadata.version
def missing(name, *rest):
    return None if name in BLOCKED else find(name, *rest)
def absent(name):
    if name in BLOCKED:
        raise metadata.PackageNotFoundError(name)
    return version(name)
importlib.util.find_spec, metadata.version = missing, absent
import slicer
from pathlib import Path
from desktop_standin import installed
from RTPlanningLib.headless import HeadlessSlicer
with HeadlessSlicer() as runtime, installed(slicer, runtime.application_logic) as desktop:
    desktop.scene = runtime.scene
    _module, widget = desktop.load_module(Path(sys.argv[1]))
    ui = widget.ui
    assert "numba" in ui.engineLabel.text(), ui.engineLabel.text()
    assert not ui.installButton.isHidden()
    assert "arc_step_deg" in widget.panel.engine.options.fields, "options are known without numba"
    ui.machineSection.setProperty("collapsed", False)
    slicer.app.processEvents()
    assert "install numba" in widget.panel.machine.ui.qualityLabel.text()
    ui.installButton.click()
    asked = [str(text) for packages, _who in desktop.ensured for text in packages]
    assert asked == ["numba>=0.60", "jsonschema>=4.18"]
    # installed: the panel goes on without a restart
    importlib.util.find_spec, metadata.version = find, version
    for name in BLOCKED:
        del sys.modules[name]
    ui.installButton.click()
    assert ui.installButton.isHidden()
    assert ui.engineLabel.isHidden()
    widget.panel.machine.onCurves()
    assert "TPR20,10 0.670" in widget.panel.machine.ui.qualityLabel.text(), desktop.errors
    widget.cleanup()
    print("panel worked")
"""


def test_the_panel_works_without_numba_and_after_it_was_installed(desktop) -> None:
    import os
    import subprocess
    import sys
    from pathlib import Path

    repository = Path(__file__).resolve().parents[2]
    paths = [repository / "Testing" / "Qt", *(repository / name for name in ("DoseEngine", "Optimizer", "RTPlanning"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    module = repository / "DoseEngine" / "DoseEngine.py"
    command = [sys.executable, "-c", _WITHOUT_PACKAGES, str(module)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert "panel worked" in run.stdout, run.stderr


def test_what_can_be_fitted_is_what_the_fit_knows(desktop) -> None:
    from DoseEngineLib.commissioning.fit import STAGES
    from DoseEngineLib.widget.commissioning_section import FIT_STAGES
    from DoseEngineLib.widget.dose_engine_parameters import DoseEngineParameters

    assert tuple(FIT_STAGES) == STAGES
    assert set(FIT_STAGES.values()) <= set(DoseEngineParameters.__annotations__)


def test_an_engine_says_what_it_does_not_model(load) -> None:
    widget = open_panel(load)
    choose(widget.ui.engineCombo, "photon-pencil-beam")
    assert "electronic disequilibrium" in widget.ui.limitsLabel.text()
    choose(widget.ui.engineCombo, "photon-collapsed-cone")
    assert "small fields in lung" in widget.ui.limitsLabel.text()


def test_statistics_are_those_of_the_dose(load, plan_node, segmentation, desktop, picture) -> None:
    import slicer

    from DoseEngineLib.dose_statistics import dose_statistics
    from DoseEngineLib.mrml.plan_node import BEAM_DOSE, DOSE, REFERENCE_VOLUME, beamNode, planFromNode, setPlan
    from DoseEngineLib.mrml.segmentations import structuresFromSegmentation
    from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume

    plan = planFromNode(plan_node)
    side = Beam.open_field("Side", gantry_deg=90.0, jaw_x_mm=(-20.0, 20.0), jaw_y_mm=(-20.0, 20.0), meterset_MU=40.0)
    setPlan(plan_node, Plan(plan.name, (*plan.beams, side), dose_grid_spacing_mm=6.0))
    widget = open_panel(load, plan_node)
    ui, shown = widget.ui, widget.panel.dose.ui
    assert not shown.statisticsButton.isEnabled()
    ui.computeButton.click()
    structures = structuresFromSegmentation(segmentation, gridFromVolume(plan_node.GetNodeReference(REFERENCE_VOLUME)))

    def expected(node):
        return dose_statistics(arrayFromVolume(node), gridFromVolume(node), structures)

    for chosen, node in (("", plan_node.GetNodeReference(DOSE)), ("Side", beamNode(plan_node, BEAM_DOSE, "Side"))):
        choose(shown.statisticsCombo, chosen)
        events()
        right = expected(node)
        rows = {row[0]: row[1:] for row in cells(shown.structureTable)}
        assert list(rows) == ["Box", "Body"]
        for found in right.structures:
            doses = (found.mean_Gy, found.d2_Gy, found.d50_Gy, found.d98_Gy, found.max_Gy)
            assert rows[found.name][:6] == [f"{found.volume_cm3:.1f}", *(f"{dose:.3f}" for dose in doses)]
        assert f"Maximum {right.maximum.dose_Gy:.3f} Gy" in shown.maximumLabel.text()
        assert "Body" in shown.maximumLabel.text()
    picture(widget, "DoseEngine-statistics")
    events()
    assert picture(widget, "DoseEngine-statistics").stat().st_size > 5000
    beams = cells(shown.beamTable)
    assert [row[:2] for row in beams] == [["AP", "100.0"], ["Side", "40.0"]]
    assert float(beams[1][2]) == pytest.approx(right.maximum.dose_Gy, abs=1e-3)
    slice_node = slicer.vtkMRMLSliceNode()
    slice_node.SetLayoutName("Red")
    slice_node = desktop.scene.AddNode(slice_node)
    shown.jumpButton.click()
    place = np.array(right.maximum.position_RAS_mm)
    assert slice_node.GetSliceToRAS().GetElement(2, 3) == pytest.approx(place[2])
    # another contour: what was calculated does not hold any more
    segmentation.GetSegmentation().RemoveSegment("Box")
    events()
    assert cells(shown.structureTable) == []
    assert not shown.jumpButton.isEnabled()
    shown.statisticsButton.click()
    assert [row[0] for row in cells(shown.structureTable)] == ["Body"]
    assert "statistics are ready" in ui.statusLabel.text()


def test_provenance_can_be_read(load, plan_node) -> None:
    widget = open_panel(load, plan_node)
    widget.ui.computeButton.click()
    rows = dict(cells(widget.panel.dose.ui.provenanceTable))
    assert rows["Machine generic_6mv"] == "Generic 6 MV linac, 120-leaf MLC"
    assert rows["Normalization"] == "MU as planned"
    assert "electronic disequilibrium" in rows["The engine does not model"]


def test_a_simple_plan_is_made_and_computed(load, plan_node, desktop, picture) -> None:
    from DoseEngineLib.mrml.plan_node import DOSE, REFERENCE_VOLUME, SEGMENTATION, planFromNode, planNodes

    widget = open_panel(load)
    ui, form = widget.ui, widget.panel.newPlan.ui
    ui.newPlanSection.setProperty("collapsed", False)
    assert not form.makePlanButton.isEnabled()
    volume = plan_node.GetNodeReference(REFERENCE_VOLUME)
    form.volumeSelector.setCurrentNode(volume)
    assert form.makePlanButton.isEnabled()
    form.planNameEdit.setText("Opposed")
    form.anglesEdit.setText("0, 180")
    form.fieldXSpin.setValue(60.0)
    form.fieldYSpin.setValue(80.0)
    form.metersetSpin.setValue(50.0)
    choose(form.newMachineCombo, "generic_10mv")
    assert picture(widget, "DoseEngine-new-plan").stat().st_size > 5000
    form.makePlanButton.click()
    assert ui.statusLabel.text() == "Plan made: Opposed", desktop.errors
    node = ui.planSelector.currentNode()
    plan = planFromNode(node)
    assert [beam.name for beam in plan.beams] == ["Gantry 0", "Gantry 180"]
    assert plan.beams[0].control_points[0].aperture.jaw_y_mm == (-40.0, 40.0)
    assert {(beam.machine, beam.meterset_MU) for beam in plan.beams} == {("generic_10mv", 50.0)}
    # the centre of the cube
    np.testing.assert_allclose(plan.beams[0].isocenter_RAS_mm, (0.0, 0.0, 0.0), atol=1e-6)
    assert node.GetNodeReference(SEGMENTATION) is None
    ui.spacingSpin.setValue(8.0)
    ui.computeButton.click()
    assert node.GetNodeReference(DOSE) is not None
    # typed isocentre
    choose(form.isocenterCombo, "typed")
    assert form.isocenterASpin.isEnabled()
    form.isocenterASpin.setValue(12.0)
    form.makePlanButton.click()
    assert planFromNode(ui.planSelector.currentNode()).beams[0].isocenter_RAS_mm == (0.0, 12.0, 0.0)
    assert len(planNodes(desktop.scene)) == 3
    # what cannot be made is said
    for text, says in (("north", "north"), ("0, 0", "must differ")):
        form.anglesEdit.setText(text)
        form.makePlanButton.click()
        assert says in desktop.errors[-1]
    assert len(planNodes(desktop.scene)) == 3


def test_beams_of_a_plan_go_onto_another_ct(load, plan_node, desktop) -> None:
    import slicer

    from DoseEngineLib.mrml.plan_node import DOSE, REFERENCE_VOLUME, planFromNode
    from DoseEngineLib.mrml.volumes import setVolumeFromArray

    grid = Grid.from_spacing((20, 20, 20), 6.0, (100.0, 0.0, 0.0))
    other = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Other CT")
    setVolumeFromArray(other, np.zeros(grid.shape, np.int16), grid)
    widget = open_panel(load, plan_node)
    widget.ui.computeButton.click()
    form = widget.panel.newPlan.ui
    form.volumeSelector.setCurrentNode(other)
    choose(form.beamSourceCombo, "plan")
    assert not form.anglesEdit.isEnabled()
    form.makePlanButton.click()
    assert "Choose the plan" in desktop.errors[-1]
    form.sourcePlanSelector.setCurrentNode(plan_node)
    form.makePlanButton.click()
    events()
    node = widget.ui.planSelector.currentNode()
    assert node is not plan_node, desktop.errors
    assert node.GetNodeReference(REFERENCE_VOLUME) is other
    moved, source = planFromNode(node), planFromNode(plan_node)
    np.testing.assert_allclose(moved.beams[0].isocenter_RAS_mm, (157.0, 57.0, 57.0))
    assert moved.beams[0].control_points == source.beams[0].control_points
    assert moved.beams[0].meterset_MU == 100.0
    assert widget.panel.dose.ui.doseLabel.text() == "none"
    widget.ui.computeButton.click()
    assert node.GetNodeReference(DOSE) is not plan_node.GetNodeReference(DOSE)


def test_the_machine_viewer(load, plan_node, desktop, picture, tmp_path) -> None:
    from DoseEngineLib.machine_curves import CurveConditions, machine_curves
    from DoseEngineLib.mrml.plan_node import planFromNode

    widget = open_panel(load, plan_node)
    section, ui = widget.panel.machine, widget.panel.machine.ui
    widget.ui.inputSection.setProperty("collapsed", True)
    widget.ui.resultSection.setProperty("collapsed", True)
    widget.ui.machineSection.setProperty("collapsed", False)
    events()
    assert "TPR20,10 0.670" in ui.qualityLabel.text()
    curves = machine_curves("generic_6mv")
    drawn = chart_curves(section)
    assert list(drawn) == [curve.name for curve in curves.depth_doses]
    np.testing.assert_allclose(drawn["10 x 10 cm"][1], curves.depth_doses[1].value)
    picture(widget, "DoseEngine-machine")
    events()
    assert picture(widget, "DoseEngine-machine").stat().st_size > 5000
    rows = cells(ui.factTable)
    assert any(row[2].startswith("1 cGy/MU in water at SSD 100 cm") for row in rows)
    assert any("Sheikh-Bagheri" in row[2] for row in rows)
    choose(ui.chartCombo, "profiles")
    assert list(chart_curves(section)) == [curve.name for curve in curves.profiles]
    choose(ui.chartCombo, "output")
    np.testing.assert_allclose(chart_curves(section)["computed"][1], curves.output_factors.value)
    # other conditions are computed when asked for
    ui.profileSideSpin.setValue(200.0)
    assert "Compute curves" in ui.qualityLabel.text()
    assert section.canvas.widget.isHidden()
    ui.curvesButton.click()
    choose(ui.chartCombo, "profiles")
    wide = machine_curves("generic_6mv", CurveConditions(profile_side_mm=200.0)).profiles
    np.testing.assert_allclose(chart_curves(section)[wide[0].name][0], wide[0].position_mm)
    # the machine of the plan
    choose(ui.machineCombo, "generic_10mv")
    events()
    assert "TPR20,10 0.732" in ui.qualityLabel.text()
    ui.useMachineButton.click()
    assert planFromNode(plan_node).beams[0].machine == "generic_10mv"
    # a file, and one that is none
    ui.machinePathEdit.setCurrentPath(str(tmp_path / "none.json"))
    ui.addMachineButton.click()
    assert "cannot be read" in desktop.errors[-1]
    assert list(widget.panel.session.settings.machineFiles) == []
    # charts do not pile up, and go with the panel
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") == 1
    widget.cleanup()
    for kind in ("vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode", "vtkMRMLPlotViewNode"):
        assert desktop.scene.GetNumberOfNodesByClass(kind) == 0, kind


def test_a_machine_is_fitted_and_saved(load, desktop, picture, tmp_path) -> None:
    from beam_data_factory import as_csv, base_data, measured, write_base

    from DoseEngineLib.machine import load_machine, machine_from_json

    base = write_base(tmp_path)
    # all of it is the base's but for the focal spot
    data = base_data()
    data["source"] = {"sigma_mm": 1.1}
    machine = machine_from_json(json.dumps(data), "measured")
    few = [c for c in measured(machine) if c.field_mm == (100.0, 100.0) and c.kind == "profile"]
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "beam.csv").write_text(as_csv(few), encoding="utf-8")
    widget = open_panel(load)
    section, ui, settings = widget.panel.commissioning, widget.panel.commissioning.ui, widget.panel.session.settings
    for frame in (widget.ui.inputSection, widget.ui.resultSection):
        frame.setProperty("collapsed", True)
    widget.ui.commissioningSection.setProperty("collapsed", False)
    ui.readButton.click()
    assert "Choose the folder" in desktop.errors[-1]
    widget.panel.machine.ui.machinePathEdit.setCurrentPath(str(base))
    widget.panel.machine.ui.addMachineButton.click()
    events()
    choose(ui.baseCombo, str(base))
    ui.measurementsEdit.setCurrentPath(str(tmp_path / "scans"))
    ui.readButton.click()
    assert "2 curves read" in widget.ui.statusLabel.text(), desktop.errors
    before = cells(ui.curveTable)
    assert list(chart_curves(section)) == ["measured", "base machine"]
    assert not ui.saveMachineButton.isEnabled()
    for check in (ui.spectrumCheck, ui.offAxisCheck, ui.headScatterCheck, ui.contaminationCheck):
        check.setChecked(False)
    ui.penumbraCheck.setChecked(False)
    ui.fitButton.click()
    assert "Choose what is to be fitted" in desktop.errors[-1]
    ui.penumbraCheck.setChecked(True)
    ui.machineNameEdit.setText("no name!")
    ui.fitButton.click()
    assert "is no name of a machine" in desktop.errors[-1]
    ui.machineNameEdit.setText("ward_6mv")
    ui.fitButton.click()
    assert widget.ui.statusLabel.text().startswith("ward_6mv fitted to 2 curves"), desktop.errors
    parameters = {row[0]: row for row in cells(ui.parameterTable)}
    spot = parameters["Focal spot, one standard deviation"]
    # the measured machine's spot is 1.1 mm, the base's 0.7 mm
    assert float(spot[1]) == 0.7
    assert float(spot[2]) == pytest.approx(1.1, abs=0.1)
    assert list(parameters) == ["Focal spot, one standard deviation"], "what was not to be fitted is not listed"
    after = cells(ui.curveTable)
    assert [row[1] for row in after] == [row[1] for row in before]
    assert all(float(row[2].split()[0]) < float(row[1].split()[0]) for row in after), "closer than the base"
    ui.curveCombo.setCurrentIndex(1)
    assert list(chart_curves(section)) == ["measured", "base machine", "fitted machine"]
    picture(widget, "DoseEngine-commissioning")
    events()
    assert picture(widget, "DoseEngine-commissioning").stat().st_size > 5000
    ui.saveMachineButton.click()
    assert "ends with .json" in desktop.errors[-1]
    target = tmp_path / "ward.json"
    ui.machineFileEdit.setCurrentPath(str(target))
    ui.saveMachineButton.click()
    assert load_machine(target).source_sigma_mm == pytest.approx(float(spot[2]), rel=1e-3)
    assert list(settings.machineFiles) == [str(base), str(target)]
    assert settings.machine == str(target)
    # an existing file is asked about
    desktop.answer = False
    target.write_text("mine", encoding="utf-8")
    ui.saveMachineButton.click()
    assert target.read_text(encoding="utf-8") == "mine"
    assert len(desktop.confirmations) == 1


def test_the_panel_stays_alive_and_cancels_within_a_second(load, plan_node, desktop, heartbeat) -> None:
    import time

    import qt

    from DoseEngineLib.engine import create_engine
    from DoseEngineLib.geometry import Grid
    from DoseEngineLib.mrml.plan_node import DOSE
    from DoseEngineLib.patient import Patient

    # compile first: that is once in a lifetime of the installation
    small = Grid.from_spacing((12, 12, 12), 5.0, (-27.5, -27.5, -27.5))
    phantom = Patient.from_density(np.ones(small.shape, np.float32), small, body=np.ones(small.shape, bool))
    coarse = create_engine("photon-collapsed-cone", rings=4, azimuths=4, pitch_mm=5.0)
    coarse.calculate_dose(phantom, Plan("P", (Beam.open_field("AP"),), dose_grid_spacing_mm=5.0))
    widget = open_panel(load, plan_node)
    ui = widget.ui
    choose(ui.engineCombo, "photon-collapsed-cone")
    ui.spacingSpin.setValue(3.0)
    with heartbeat() as beat:
        ui.computeButton.click()
    assert ui.statusLabel.text().startswith("Dose computed"), ui.statusLabel.text()
    assert beat.turns > 3
    assert beat.longest_cpu_s < 0.2, beat.where
    dose_node = plan_node.GetNodeReference(DOSE)
    former = dose_node.GetImageData().GetMTime()
    # a long calculation, cancelled by a click on the way
    form = widget.panel.engine.options
    form.fields["azimuths"].setValue(32)
    ui.spacingSpin.setValue(2.0)
    clicked = []

    def click() -> None:
        clicked.append(time.perf_counter())
        ui.cancelButton.click()

    qt.QTimer.singleShot(1000, click)
    ui.computeButton.click()
    assert clicked, "the calculation was over before it could be cancelled"
    assert time.perf_counter() - clicked[0] < 1.0
    assert ui.statusLabel.text().startswith("Cancelled")
    assert plan_node.GetNodeReference(DOSE).GetImageData().GetMTime() == former


def test_settings_come_back_with_the_scene(load, plan_node, desktop, tmp_path) -> None:
    widget = open_panel(load, plan_node)
    ui, form = widget.ui, widget.panel.newPlan.ui
    choose(ui.engineCombo, "photon-collapsed-cone")
    widget.panel.engine.options.fields["rings"].setValue(30)
    ui.spacingSpin.setValue(3.5)
    form.anglesEdit.setText("10, 20")
    choose(form.isocenterCombo, "typed")
    widget.panel.machine.ui.profileSideSpin.setValue(150.0)
    widget.panel.commissioning.ui.offAxisCheck.setChecked(False)
    ui.newPlanSection.setProperty("collapsed", False)
    events()
    scene = desktop.scene
    path = tmp_path / "scene.mrml"
    scene.SetURL(str(path))
    scene.SetRootDirectory(str(tmp_path))
    assert scene.Commit()
    scene.Clear(False)
    events()
    assert ui.planSelector.currentNode() is None
    assert form.anglesEdit.text() == "0"
    assert ui.engineCombo.currentData() == "photon-pencil-beam"
    assert ui.newPlanSection.property("collapsed")
    scene.SetURL(str(path))
    # the return value tells that a transform was saved without a file
    scene.Connect()
    events()
    assert ui.planSelector.currentNode().GetName() == "One field"
    assert ui.engineCombo.currentData() == "photon-collapsed-cone"
    assert widget.panel.engine.options.fields["rings"].value() == 30
    assert ui.spacingSpin.property("value") == 3.5
    assert form.anglesEdit.text() == "10, 20"
    assert form.isocenterASpin.isEnabled()
    assert widget.panel.machine.ui.profileSideSpin.property("value") == 150.0
    assert not widget.panel.commissioning.ui.offAxisCheck.isChecked()
    assert not ui.newPlanSection.property("collapsed")
    # a module that is reloaded shows them, too
    widget.cleanup()
    again = open_panel(load)
    assert again.ui.planSelector.currentNode().GetName() == "One field"
    assert again.panel.newPlan.ui.anglesEdit.text() == "10, 20"
    again.cleanup()


def test_a_plan_removed_in_mid_work_is_let_go(load, plan_node, desktop) -> None:
    import qt

    from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME

    widget = open_panel(load, plan_node)
    ui = widget.ui
    volume = plan_node.GetNodeReference(REFERENCE_VOLUME)
    choose(ui.engineCombo, "photon-collapsed-cone")
    ui.spacingSpin.setValue(3.0)
    qt.QTimer.singleShot(50, lambda: desktop.scene.RemoveNode(plan_node))
    ui.computeButton.click()
    events()
    assert "removed" in ui.statusLabel.text() or "Choose a plan" in ui.statusLabel.text()
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 1
    assert volume.GetScene() is desktop.scene
    assert not ui.computeButton.isEnabled()


def test_a_module_reloaded_in_mid_work_leaves_nothing(load, plan_node, desktop) -> None:
    import qt

    from DoseEngineLib.mrml.plan_node import DOSE

    widget = open_panel(load, plan_node)
    choose(widget.ui.engineCombo, "photon-collapsed-cone")
    widget.ui.spacingSpin.setValue(3.0)
    qt.QTimer.singleShot(50, widget.cleanup)
    widget.ui.computeButton.click()
    assert plan_node.GetNodeReference(DOSE) is None
    again = open_panel(load, plan_node)
    again.ui.computeButton.click()
    assert plan_node.GetNodeReference(DOSE) is not None, again.ui.statusLabel.text()
    again.cleanup()
