"""The step Structures, used as a person would: choose a structure, run a tool, undo, rename, draw by hand."""

from __future__ import annotations

import numpy as np
import pytest
from planning_steps import choose, make_step

from DoseEngineLib.contour_stack import ContourStack
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.case import Case

GRID = Grid.from_spacing((24, 40, 40), (2.0, 2.0, 3.0), (-39.0, -39.0, -34.5))


def box(k, j, i) -> np.ndarray:
    mask = np.zeros(GRID.shape, bool)
    mask[slice(*k), slice(*j), slice(*i)] = True
    return mask


def small_case(body: bool = True) -> Case:
    hu = np.full(GRID.shape, -1000, np.int16)
    inside = box((0, 24), (4, 36), (4, 36))
    hu[inside] = 10
    hu[10:12, 20:24, 8:12] = 600
    corners = np.array([(14.5, 14.5), (21.5, 14.5), (21.5, 21.5), (14.5, 21.5)])
    contours = tuple(GRID.index_to_ras(np.column_stack((corners, np.full(4, float(k))))) for k in range(9, 14))
    structures = [
        Structure(
            "CTV",
            box((9, 14), (15, 22), (15, 22)),
            GRID,
            "CTV",
            (1.0, 0.5, 0.0),
            ContourStack("CTV", contours, 3.0),
        ),
        Structure("cord", box((2, 22), (28, 31), (19, 22)), GRID, "ORGAN", (0.5, 0.25, 0.0)),
    ]
    if body:
        structures.insert(0, Structure("External", inside, GRID, "EXTERNAL", (0.2, 0.8, 0.4)))
    return Case(name="Box", hu=hu, grid=GRID, structures=tuple(structures))


@pytest.fixture
def panel(desktop):
    """The step with a small case."""
    from RTPlanningLib.widget.structures_step import StructuresStep

    made = make_step(desktop, StructuresStep)
    made.session.chooseCase(*made.logic.loadCase(small_case()))
    desktop.slicer.app.processEvents()
    yield made
    made.session.release()


def names(panel):
    segmentation = panel.session.segmentationNode.GetSegmentation()
    return [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())]


def structures(panel):
    from DoseEngineLib.mrml.segmentations import structuresFromSegmentation

    return {s.name: s for s in structuresFromSegmentation(panel.session.segmentationNode, GRID)}


def cells(panel, row):
    table = panel.ui.structuresTable
    return [table.item(row, column).text() for column in (1, 3, 4)] + [table.cellWidget(row, 2).currentText()]


def test_a_ptv_in_four_actions(panel, picture):
    """Choose the CTV, a margin, press Apply: the PTV is there, in the body, and Undo takes it back."""
    ui = panel.ui
    choose(ui.structureCombo, "CTV")
    ui.leftSpin.setValue(7.0)
    assert ui.resultEdit.placeholderText() == "PTV"
    assert "PTV is a new structure" in ui.resultHintLabel.text()
    picture(panel, "structures_step_target")
    ui.applyButton.click()
    assert names(panel) == ["External", "CTV", "cord", "PTV"]
    assert panel.statusLabel.text().startswith("PTV: ")
    made = structures(panel)["PTV"]
    assert made.role == "PTV"
    from RTPlanningLib.contouring.margins import Margins
    from RTPlanningLib.contouring.planning_target import planning_target

    wanted = planning_target(structures(panel)["CTV"], Margins.uniform(7.0), body=structures(panel)["External"])
    np.testing.assert_array_equal(made.mask, wanted.structure.mask)
    ui.undoButton.click()
    assert names(panel) == ["External", "CTV", "cord"]
    ui.redoButton.click()
    assert names(panel) == ["External", "CTV", "cord", "PTV"]
    ui.redoButton.click()
    assert panel.statusLabel.text() == "There is nothing to do again."


def test_the_table_tells_names_roles_volumes_and_hints(panel, desktop):
    for _ in range(5):
        desktop.slicer.app.processEvents()
    assert cells(panel, 1) == ["CTV", "2.94 cm³", "✓", "CTV"]
    assert cells(panel, 2) == ["cord", "2.16 cm³", "→ SpinalCord", "OAR"]
    assert "spinal cord" in panel.ui.structuresTable.item(2, 4).toolTip()


def test_names_roles_and_colors_are_changed_in_the_table(panel, desktop, monkeypatch):
    import qt

    ui, table = panel.ui, panel.ui.structuresTable
    table.setCurrentCell(2, 1)
    assert ui.structureCombo.currentData() == "cord"
    assert panel.ui.segmentEditor.currentSegmentID() == "cord"
    ui.renameButton.click()
    assert names(panel)[2] == "SpinalCord"
    assert panel.step.parameters.structure == "SpinalCord"
    assert not ui.renameButton.isEnabled()
    choose(table.cellWidget(2, 2), "AVOIDANCE")
    assert structures(panel)["SpinalCord"].role == "AVOIDANCE"
    table.item(2, 1).setText("CTV")
    assert "already" in panel.statusLabel.text()
    assert table.item(2, 1).text() == "SpinalCord"
    monkeypatch.setattr(qt.QColorDialog, "getColor", lambda *_args: qt.QColor(10, 20, 30))
    table.cellDoubleClicked.emit(2, 0)
    np.testing.assert_allclose(structures(panel)["SpinalCord"].color, np.array((10, 20, 30)) / 255, atol=1e-6)
    ui.removeButton.click()
    assert names(panel) == ["External", "CTV"]
    for _ in range(4):
        ui.undoButton.click()
    assert names(panel)[2] == "cord"
    assert structures(panel)["cord"].role == "ORGAN"


@pytest.mark.parametrize(
    "tool", ["target", "margin", "combine", "crop", "ring", "wall", "threshold", "slices", "islands", "body"]
)
def test_every_tool_shows_its_own_fields_and_runs(panel, picture, tool):
    from RTPlanningLib.widget.contouring_tools import FIELDS, TOOLS

    ui = panel.ui
    choose(ui.toolCombo, tool)
    panel.parent.show()
    shown = [field for field in FIELDS if getattr(ui, f"{field}Fields").isVisible()]
    assert set(shown) == set(TOOLS[tool].fields)
    if "structure" in TOOLS[tool].fields:
        assert not ui.applyButton.isEnabled()
        assert ui.resultHintLabel.text() == "Choose a structure."
        choose(ui.structureCombo, "CTV")
    if "other" in TOOLS[tool].fields:
        assert ui.resultHintLabel.text() == "Choose the other structure."
        choose(ui.otherCombo, "External")
    if tool == "threshold":
        choose(ui.presetCombo, "bone")
        assert ui.lowSpin.property("value") == 226.0
    if tool == "crop":
        choose(ui.sideCombo, "inside")
    picture(panel, f"structures_step_{tool}")
    if tool == "slices":
        from DoseEngineLib.mrml.segmentations import storeStructure

        gaps = structures(panel)["CTV"].mask.copy()
        gaps[10:13:2] = False
        storeStructure(panel.session.segmentationNode, Structure("CTV", gaps, GRID, "CTV"))
    ui.applyButton.click()
    expected = {
        "target": "PTV",
        "margin": "CTV",
        "combine": "CTV_or_External",
        "crop": "CTV",
        "ring": "zRing_CTV_5-20mm",
        "wall": "CTV_Wall",
        "threshold": "Bone",
        "slices": "CTV",
        "islands": "CTV",
        "body": "External",
    }[tool]
    assert panel.statusLabel.text().startswith(f"{expected}: "), panel.statusLabel.text()
    assert expected in names(panel)
    assert ui.structuresTable.item(ui.structuresTable.currentRow(), 1).text() == expected


def test_six_margins_and_a_name_of_ones_own(panel, picture):
    ui = panel.ui
    choose(ui.toolCombo, "margin")
    choose(ui.structureCombo, "CTV")
    ui.uniformCheck.setChecked(False)
    for spin, margin in ((ui.leftSpin, 6), (ui.rightSpin, 0), (ui.anteriorSpin, 4), (ui.posteriorSpin, 0)):
        spin.setValue(margin)
    ui.superiorSpin.setValue(9)
    ui.inferiorSpin.setValue(-3)
    ui.resultEdit.setText("Uneven")
    choose(ui.resultRoleCombo, "CONTROL")
    picture(panel, "structures_step_six_margins")
    ui.applyButton.click()
    made = structures(panel)["Uneven"]
    assert made.role == "CONTROL"
    before = structures(panel)["CTV"]
    low, high = (np.array([f(a) for a in np.nonzero(s.mask)]) for s in (made,) for f in (np.min, np.max))
    was_low, was_high = (np.array([f(a) for a in np.nonzero(before.mask)]) for f in (np.min, np.max))
    # k, j, i: superior 9 mm of 3, inferior -3; anterior 4 of 2; left is towards lower i
    assert (high - was_high).tolist() == [3, 2, 0]
    assert (low - was_low).tolist() == [1, 0, -3]
    assert ui.resultEdit.text() == ""


def test_an_error_is_said_and_nothing_changes(panel, desktop):
    ui = panel.ui
    choose(ui.toolCombo, "margin")
    choose(ui.structureCombo, "CTV")
    ui.leftSpin.setValue(60.0)
    before = names(panel)
    ui.applyButton.click()
    assert "beyond the image" in (panel.statusLabel.text() + " ".join(desktop.errors))
    assert names(panel) == before
    ui.cutAtImageCheck.setChecked(True)
    ui.applyButton.click()
    assert "cut off" in panel.statusLabel.text()


def test_without_a_body_the_panel_says_what_to_press(desktop):
    from RTPlanningLib.widget.structures_step import StructuresStep

    panel = make_step(desktop, StructuresStep)
    panel.session.chooseCase(*panel.logic.loadCase(small_case(body=False)))
    ui = panel.ui
    choose(ui.structureCombo, "CTV")
    assert "press Body outline" in ui.resultHintLabel.text()
    ui.bodyButton.click()
    assert "External" in names(panel)
    assert ui.structureCombo.currentData() == "CTV"
    assert ui.applyButton.isEnabled()
    panel.session.release()


def test_a_ct_without_structures_is_contoured_from_the_beginning(desktop):
    from RTPlanningLib.widget.structures_step import StructuresStep

    panel = make_step(desktop, StructuresStep)
    volume, segmentation = panel.logic.loadCase(small_case())
    desktop.scene.RemoveNode(segmentation)
    panel.session.chooseCase(volume, None)
    ui = panel.ui
    nodes = desktop.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    ui.bodyThresholdSpin.setValue(900.0)
    ui.bodyButton.click()
    assert "no body was found" in (panel.statusLabel.text() + " ".join(desktop.errors))
    assert desktop.scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == nodes
    assert panel.session.segmentationNode is None
    ui.bodyThresholdSpin.setValue(-350.0)
    ui.bodyButton.click()
    assert names(panel) == ["External"]
    ui.newButton.click()
    ui.newButton.click()
    assert names(panel) == ["External", "Structure_1", "Structure_2"]
    assert ui.segmentEditor.currentSegmentID() == "Structure_2" or ui.structureCombo.currentData() == "Structure_2"
    assert not ui.editorSection.property("collapsed")
    ui.undoButton.click()
    assert names(panel) == ["External", "Structure_1"]
    panel.session.release()


def test_brush_and_tools_share_one_undo(panel):
    """The segment editor's own buttons and ours go back through the same changes."""
    ui = panel.ui
    choose(ui.structureCombo, "CTV")
    ui.applyButton.click()
    ui.segmentEditor._add.click()
    assert len(names(panel)) == 5
    ui.undoButton.click()
    assert names(panel) == ["External", "CTV", "cord", "PTV"]
    ui.segmentEditor.undo()
    assert names(panel) == ["External", "CTV", "cord"]


def test_painted_voxels_are_counted(panel, desktop):
    import slicer

    from DoseEngineLib.mrml.segmentations import setStructures

    other = desktop.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Other")
    setStructures(other, [Structure("CTV", box((9, 14), (15, 22), (15, 36)), GRID)])
    image = other.GetSegmentation().GetSegment("CTV").GetRepresentation("Binary labelmap")
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetBinaryLabelmapToSegment(image, panel.session.segmentationNode, "CTV", logic.MODE_REPLACE)
    for _ in range(5):
        desktop.slicer.app.processEvents()
    assert cells(panel, 1)[1] == "8.82 cm³"


def test_settings_come_back_with_the_scene(panel, desktop, tmp_path):
    from RTPlanningLib.mrml.scene_file import loadScene, saveScene

    ui = panel.ui
    choose(ui.toolCombo, "threshold")
    choose(ui.presetCombo, "bone")
    ui.lowSpin.setValue(300.0)
    ui.editorSection.setProperty("collapsed", False)
    path = saveScene(desktop.scene, tmp_path / "scene.mrb")
    choose(ui.presetCombo, "lung")
    choose(ui.toolCombo, "margin")
    desktop.scene.Clear(False)
    assert ui.structuresTable.property("rowCount") == 0
    loadScene(desktop.scene, path)
    for _ in range(5):
        desktop.slicer.app.processEvents()
    assert (ui.toolCombo.currentData(), ui.presetCombo.currentData()) == ("threshold", "bone")
    assert ui.lowSpin.property("value") == 300.0
    assert not ui.editorSection.property("collapsed")
    assert ui.structuresTable.property("rowCount") == 3
    editor = ui.segmentEditor
    assert editor.mrmlSegmentEditorNode() is desktop.scene.GetSingletonNode(
        "RTPlanningSegmentEditor", "vtkMRMLSegmentEditorNode"
    )
    assert editor.segmentationNode() is panel.session.segmentationNode
    assert structures(panel)["CTV"].outline is not None
    choose(ui.toolCombo, "margin")
    choose(ui.structureCombo, "CTV")
    ui.applyButton.click()
    assert structures(panel)["CTV"].outline is None
    ui.undoButton.click()
    assert structures(panel)["CTV"].outline is not None


def test_removed_nodes_and_closed_scenes_leave_an_empty_step(panel, desktop):
    ui = panel.ui
    choose(ui.structureCombo, "CTV")
    panel.session.segmentationNode.GetSegmentation().RemoveSegment("CTV")
    for _ in range(3):
        desktop.slicer.app.processEvents()
    assert ui.structureCombo.property("currentIndex") == -1
    assert not ui.applyButton.isEnabled()
    desktop.scene.RemoveNode(panel.session.segmentationNode)
    for _ in range(3):
        desktop.slicer.app.processEvents()
    assert ui.structuresTable.property("rowCount") == 0
    assert "There are no structures yet" in ui.resultHintLabel.text()
    for button in (ui.applyButton, ui.undoButton, ui.removeButton):
        assert not button.isEnabled()
    desktop.scene.Clear(False)
    desktop.slicer.app.processEvents()
    assert "Choose a case" in ui.resultHintLabel.text()
    for button in (ui.newButton, ui.bodyButton):
        assert not button.isEnabled()
    panel.session.chooseCase(*panel.logic.loadCase(small_case()))
    assert ui.structuresTable.property("rowCount") == 3


def test_a_segmentation_removed_in_mid_work(panel, desktop):
    ui = panel.ui
    choose(ui.structureCombo, "CTV")
    run = panel.logic.background

    def background(function, progress=None):
        result = run(function, progress)
        desktop.scene.RemoveNode(panel.session.segmentationNode)
        return result

    panel.session.logic.background = background
    ui.applyButton.click()
    desktop.slicer.app.processEvents()
    assert "removed meanwhile" in (panel.statusLabel.text() + " ".join(desktop.errors))
    assert ui.structuresTable.property("rowCount") == 0


def test_the_editor_is_in_the_views_only_while_it_is_open(panel, picture):
    ui, step = panel.ui, panel.step
    step.enter()
    assert not ui.segmentEditor._observing_views
    ui.editorSection.setProperty("collapsed", False)
    assert ui.segmentEditor._observing_views
    ui.segmentEditor.setActiveEffectByName("Paint")
    picture(panel, "structures_step_editor")
    step.exit()
    assert not ui.segmentEditor._observing_views
    assert ui.segmentEditor.activeEffect() is None
    step.enter()
    assert ui.segmentEditor._observing_views


def test_the_gui_turns_while_a_tool_works(panel, heartbeat):
    ui = panel.ui
    choose(ui.toolCombo, "margin")
    choose(ui.structureCombo, "CTV")
    ui.leftSpin.setValue(12.0)
    with heartbeat() as beat:
        ui.applyButton.click()
    assert beat.longest_cpu_s < 0.2
