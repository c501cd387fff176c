"""The desktop stand-ins behave as the real widgets and parameter nodes do, as far as panels rely on them."""

from __future__ import annotations

import enum
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Optional

import pytest


class Side(enum.Enum):
    LEFT = "l"
    RIGHT = "r"


def annotated(name: str, kinds: dict, **defaults) -> type:
    """Make a class with annotated names; the types of a test are no names of this file."""
    return type(name, (), {"__annotations__": kinds, **defaults})


@pytest.fixture
def wrapped(desktop):
    """A parameter class with one of each, its node and its module."""
    import slicer

    module = slicer.parameterNodeWrapper
    kinds = {"left": Annotated[float, module.WithinRange(0.0, 50.0)], "right": float}
    margins = module.parameterPack(annotated("Margins", kinds))
    kinds = {
        "number": Annotated[int, module.WithinRange(0, 10), module.Default(3)],
        "length": float,
        "name": str,
        "on": bool,
        "folder": Path,
        "side": Side,
        "levels": Annotated[list[float], module.Default([95.0, 50.0])],
        "pair": tuple[int, str],
        "weights": dict[str, float],
        "limit": Optional[int],  # noqa: UP045 - as a panel may write it
        "volume": slicer.vtkMRMLScalarVolumeNode,
        "margins": margins,
    }
    kind = module.parameterNodeWrapper(annotated("Settings", kinds, length=1.5, side=Side.RIGHT, pair=(1, "a")))
    node = desktop.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    return SimpleNamespace(kind=kind, node=node, module=module)


def stored(node) -> dict[str, str]:
    return {name: node.GetParameter(name) for name in node.GetParameterNames()}


def test_parameters_are_stored_as_slicer_does(wrapped, desktop) -> None:
    wrapped.kind(wrapped.node, prefix="step.")
    # texts that Slicer 5.12.3's own module writes for these types
    assert stored(wrapped.node) == {
        "step.number": "3",
        "step.length": "1.5",
        "step.name": "",
        "step.on": "False",
        "step.folder": ".",
        "step.side": "RIGHT",
        "step.levels.len": "2",
        "step.levels.0": "95.0",
        "step.levels.1": "50.0",
        "step.pair.0": "1",
        "step.pair.1": "a",
        "step.weights.len": "0",
        "step.limit.1": "True",
        "step.volume": "",
        "step.margins.left": "0",
        "step.margins.right": "0",
    }


def test_parameters_survive_and_are_validated(wrapped, desktop) -> None:
    settings = wrapped.kind(wrapped.node)
    volume = desktop.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    settings.number, settings.length, settings.name, settings.on = 7, 2, "x; y", True
    settings.folder, settings.side, settings.limit, settings.volume = Path("/a/b"), Side.LEFT, 5, volume
    settings.levels.append(20.0)
    settings.weights["PTV"] = 2.5
    settings.margins.left = 8.0
    again = wrapped.kind(wrapped.node)
    assert (again.number, again.length, again.name, again.on) == (7, 2.0, "x; y", True)
    assert (again.folder, again.side, again.limit) == (Path("/a/b"), Side.LEFT, 5)
    assert again.volume is volume
    assert list(again.levels) == [95.0, 50.0, 20.0]
    assert dict(again.weights) == {"PTV": 2.5}
    assert again.getValue("margins.left") == 8.0
    for name, value, error in (
        ("number", 11, ValueError),
        ("number", 1.5, TypeError),
        ("name", None, ValueError),
        ("on", 1, TypeError),
        ("pair", (1,), ValueError),
        ("limit", "x", TypeError),
    ):
        with pytest.raises(error):
            setattr(settings, name, value)
    with pytest.raises(ValueError, match="within range"):
        settings.margins.left = 51.0
    with pytest.raises(ValueError, match="Cannot find"):
        settings.getValue("nothing")
    assert settings.number == 7
    # one write is one event; as in Slicer, an observer of the node is told of a change from outside before the wrapper
    events = []
    wrapped.node.AddObserver("ModifiedEvent", lambda caller, event: events.append(settings.number))
    wrapped.node.SetParameter("number", "9")
    settings.number = 4
    assert events == [7, 4]
    wrapped.node.SetParameter("number", "6")
    assert settings.number == 6
    with pytest.raises(NotImplementedError, match="connectParametersToGui"):
        settings.connectGui(None)


def test_reserved_names_and_unknown_types_are_refused(wrapped) -> None:
    with pytest.raises(ValueError, match="reserved name 'default'"):
        wrapped.module.parameterNodeWrapper(annotated("Wrong", {"default": int}))
    with pytest.raises(Exception, match="Unable to create serializer"):
        wrapped.module.parameterNodeWrapper(annotated("Wrong", {"one": complex}))


def test_a_connector_goes_both_ways_without_echo(wrapped, desktop) -> None:
    import qt

    class Spin(wrapped.module.GuiConnector):
        def __init__(self, spin) -> None:
            super().__init__()
            self.spin = spin

        canRepresent = staticmethod(lambda widget, datatype: isinstance(widget, qt.QSpinBox))
        create = staticmethod(lambda widget, datatype: Spin(widget))

        def _connect(self) -> None:
            self.spin.valueChanged.connect(self.changed)

        def _disconnect(self) -> None:
            self.spin.valueChanged.disconnect(self.changed)

        def widget(self):
            return self.spin

        def read(self) -> int:
            return self.spin.value()

        def write(self, value: int) -> None:
            self.spin.setValue(value)

    settings = wrapped.kind(wrapped.node)
    spin = qt.QSpinBox()
    tag = settings.connectParametersToGui({"number": Spin(spin)})
    assert spin.value() == 3
    events = []
    wrapped.node.AddObserver("ModifiedEvent", lambda caller, event: events.append(settings.number))
    spin.setValue(8)
    assert settings.number == 8
    settings.number = 2
    assert spin.value() == 2
    assert events == [8, 2]
    settings.disconnectGui(tag)
    spin.setValue(5)
    assert settings.number == 2
    with pytest.raises(RuntimeError, match="Unable to create GUI connector"):
        settings.connectParametersToGui({"number": qt.QLabel()})


def test_module_logics_have_one_parameter_node_a_scene(desktop) -> None:
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    class RTPlanningLogic(ScriptedLoadableModuleLogic):
        pass

    node = RTPlanningLogic().getParameterNode()
    assert node is RTPlanningLogic().getParameterNode()
    assert (node.GetSingletonTag(), node.GetAttribute("ModuleName")) == ("RTPlanning", "RTPlanning")
    desktop.scene.Clear(False)
    assert RTPlanningLogic().getParameterNode() is not None


@pytest.fixture
def section(desktop):
    """A folded-out section on screen with a label, a hidden label, and a panel around it."""
    import ctk
    import qt

    panel = qt.QWidget()
    layout = qt.QVBoxLayout(panel)
    button = ctk.ctkCollapsibleButton()
    button.setText("Beams")
    layout.addWidget(button)
    layout.addStretch(1)
    inner = qt.QVBoxLayout(button)
    shown, hidden = qt.QLabel("shown"), qt.QLabel("hidden")
    inner.addWidget(shown)
    inner.addWidget(hidden)
    hidden.hide()
    panel.resize(300, 200)
    panel.show()
    return SimpleNamespace(panel=panel, button=button, shown=shown, hidden=hidden)


def test_a_section_folds_by_a_click_on_its_title(section, desktop) -> None:
    import qt
    from PySide6.QtTest import QTest

    from desktop_standin import click_title

    button, calls = section.button, []
    button.contentsCollapsed.connect(calls.append)
    assert not button.property("collapsed")
    tall = button.sizeHint().height()
    click_title(button)
    assert button.property("collapsed")
    assert calls == [True]
    assert not section.shown.isVisible()
    assert button.sizeHint().height() < tall
    # what a panel hides or shows meanwhile is how it is when it unfolds
    section.shown.hide()
    section.hidden.show()
    section.panel.hide()
    section.panel.show()
    assert not section.hidden.isVisible()
    button.setCollapsed(False)
    assert calls == [True, False]
    assert section.hidden.isVisible()
    assert not section.shown.isVisible()
    # below its title it is no button
    qt.QApplication.processEvents()
    assert button.height() > 40
    QTest.mouseClick(button, qt.Qt.LeftButton, pos=qt.QPoint(20, button.height() - 3))
    assert not button.property("collapsed")
    button.setEnabled(False)
    with pytest.raises(AssertionError, match="disabled"):
        click_title(button)


def test_a_group_box_folds_by_its_check_mark(desktop) -> None:
    import ctk
    import qt

    box = ctk.ctkCollapsibleGroupBox()
    label = qt.QLabel("inside")
    qt.QVBoxLayout(box).addWidget(label)
    box.show()
    box.setCollapsed(True)
    assert not box.isChecked()
    assert not label.isVisible()
    box.setChecked(True)
    assert not box.property("collapsed")
    assert label.isVisible()
    assert not hasattr(box, "contentsCollapsed")  # nor has the real one


def test_numbers_show_the_units_of_the_scene(desktop) -> None:
    import slicer

    spin, slider = slicer.qMRMLSpinBox(), slicer.qMRMLSliderWidget()
    values = []
    spin.valueChanged.connect(values.append)
    for widget in (spin, slider):
        widget.setQuantity("length")
        widget.setMRMLScene(desktop.scene)
    unit = desktop.scene.GetNodeByID("vtkMRMLSelectionNodeSingleton").GetUnitNode("length")
    assert (spin.property("suffix"), spin.property("decimals")) == (unit.GetSuffix(), unit.GetPrecision()) == ("mm", 4)
    # a spin box takes its range from the unit, a slider keeps its own
    assert (spin.property("minimum"), spin.property("maximum")) == (-10000.0, 10000.0)
    assert (slider.property("minimum"), slider.property("maximum")) == (0.0, 100.0)
    spin.setValue(12.5)
    slider.setValue(12.0)
    unit.SetPrecision(1)
    unit.SetSuffix("cm")
    unit.SetDisplayCoefficient(0.1)
    assert spin.spinBox().text() == "12.5cm"
    assert slider.spinBox().spinBox().value() == pytest.approx(1.2)
    assert slider.property("value") == pytest.approx(12.0)
    assert values == [12.5]
    spin.setMRMLScene(None)
    assert not spin.isEnabled()
    with pytest.raises(AttributeError):
        spin.setPageStep(1.0)  # only sliders have pages


def test_slider_and_number_agree(desktop) -> None:
    import ctk

    slider, values = ctk.ctkSliderWidget(), []
    slider.setRange(-5.0, 5.0)
    slider.setSingleStep(0.5)
    slider.valueChanged.connect(values.append)
    slider.setValue(2.5)
    assert slider.slider().value() == 15
    slider.slider().setValue(0)
    assert slider.property("value") == -5.0
    slider.setValue(99.0)
    assert slider.property("value") == 5.0
    assert values == [2.5, -5.0, 5.0]


def test_colors_and_checked_nodes(desktop) -> None:
    import ctk
    import qt
    import slicer

    button, colors = ctk.ctkColorPickerButton(), []
    button.colorChanged.connect(lambda color: colors.append(color.name()))
    button.setColor(qt.QColor("#ff8000"))
    button.setColor(qt.QColor("#ff8000"))
    assert colors == ["#ff8000"]
    combo = slicer.qMRMLCheckableNodeComboBox()
    combo.setProperty("nodeTypes", ["vtkMRMLScalarVolumeNode"])
    combo.setMRMLScene(desktop.scene)
    first, second = (desktop.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name) for name in ("A", "B"))
    assert combo.noneChecked()
    combo.check(second)
    assert combo.checkedNodes() == [second]
    assert combo.uncheckedNodes() == [first]
    desktop.scene.RemoveNode(first)
    assert combo.allChecked()


def test_segment_editor_wants_its_node_first(desktop) -> None:
    import slicer

    scene = desktop.scene
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    body = segmentation.GetSegmentation().AddEmptySegment("", "Body")
    editor = slicer.qMRMLSegmentEditorWidget()
    editor.setMRMLScene(scene)
    for call in (editor.setSegmentationNode, editor.setSourceVolumeNode):
        call(segmentation)
    editor.setActiveEffectByName("Paint")
    assert [text.partition(": ")[2] for text in desktop.warnings] == [
        "need to set segment editor node first",
        "need to set segment editor and segmentation nodes first",
        "Invalid segment editor parameter set node",
    ]
    desktop.warnings.clear()
    node, ids = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"), []
    editor.currentSegmentIDChanged.connect(ids.append)
    editor.setMRMLSegmentEditorNode(node)
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(volume)
    assert (editor.currentSegmentID(), editor.sourceVolumeNode()) == (body, volume)
    target = segmentation.GetSegmentation().AddEmptySegment("", "PTV")
    editor.setCurrentSegmentID(target)
    assert ids == [body, target]
    editor.setActiveEffectByName("Paint")
    assert node.GetActiveEffectName() == "Paint"
    editor.setActiveEffectByName("No such effect")
    assert not node.GetActiveEffectName()
    editor.installKeyboardShortcuts()
    editor.uninstallKeyboardShortcuts()
    editor.setupViewObservations()
    editor.removeViewObservations()
    segmentation.GetSegmentation().RemoveSegment(target)
    node.Modified()
    assert editor.currentSegmentID() == body
    with pytest.raises(AttributeError):
        editor.setCurrentSegmentName("PTV")
    scene.RemoveNode(segmentation)
    assert editor.segmentationNode() is None


def test_segments_table_follows_the_segmentation(desktop) -> None:
    import slicer

    node = desktop.scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    table = slicer.qMRMLSegmentsTableView()
    table.setSegmentationNode(node)
    segmentation = node.GetSegmentation()
    ids = [segmentation.AddEmptySegment("", name) for name in ("PTV", "Rectum", "Bladder")]
    assert table.displayedSegmentIDs() == ids
    table.setSelectedSegmentIDs([ids[1]])
    segmentation.GetSegment(ids[1]).SetName("Anorectum")
    assert table.selectedSegmentIDs() == [ids[1]]
    assert table.tableWidget().item(1, 1).text() == "Anorectum"
    segmentation.RemoveSegment(ids[0])
    assert table.selectedSegmentIDs() == [ids[1]]
    table.setHideSegments([ids[2]])
    assert table.property("segmentCount") == 1


def test_plot_view_draws_the_chart(desktop, tmp_path) -> None:
    import numpy as np
    import slicer
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    scene = desktop.scene
    table_node = scene.AddNewNodeByClass("vtkMRMLTableNode")
    for name, values in (("Dose", np.linspace(0.0, 60.0, 61)), ("Volume", np.linspace(100.0, 0.0, 61))):
        column = numpy_to_vtk(values, deep=True)
        column.SetName(name)
        table_node.AddColumn(column)
    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "PTV")
    series.SetAndObserveTableNodeID(table_node.GetID())
    series.SetXColumnName("Dose")
    series.SetYColumnName("Volume")
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetColor(1.0, 0.0, 0.0)
    series.SetLineWidth(3)
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode")
    chart.AddAndObservePlotSeriesNodeID(series.GetID())
    chart.SetTitle("DVH")
    view_node = scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    widget = slicer.qMRMLPlotWidget()
    widget.setMRMLScene(scene)
    widget.setMRMLPlotViewNode(view_node)
    widget.resize(400, 300)
    widget.show()

    def red_pixels() -> int:
        image = widget.grab().toImage()
        image.save(str(tmp_path / "plot.png"))
        colors = (image.pixelColor(x, y) for x in range(image.width()) for y in range(image.height()))
        return sum(1 for color in colors if color.red() > 200 and color.green() < 80 and color.blue() < 80)

    assert red_pixels() == 0
    view_node.SetPlotChartNodeID(chart.GetID())
    drawn = red_pixels()
    assert drawn > 400
    series.SetLineWidth(8)
    assert red_pixels() > 1.5 * drawn
    chart.RemoveAllPlotSeriesNodeIDs()
    assert red_pixels() == 0
    assert isinstance(view_node, vtk.vtkObject)


def test_the_application_has_real_views_and_records_dialogs(desktop) -> None:
    import qt
    import slicer

    manager = slicer.app.layoutManager()
    assert set(manager.sliceViewNames()) == {"Red", "Green", "Yellow"}
    assert manager.sliceWidget("Red").mrmlSliceNode().GetLayoutName() == "Red"
    assert manager.sliceWidget("Violet") is None
    assert manager.threeDWidget(0).mrmlViewNode().IsA("vtkMRMLViewNode")
    logic = manager.sliceWidget("Red").sliceLogic()
    assert logic.GetSliceNode() is manager.sliceWidget("Red").mrmlSliceNode()
    volume = desktop.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    slicer.util.setSliceViewerLayers(background=volume)
    assert logic.GetSliceCompositeNode().GetBackgroundVolumeID() == volume.GetID()
    assert slicer.app.applicationLogic().GetMRMLScene() is desktop.scene
    assert slicer.app.testingEnabled()
    slicer.util.selectModule("Optimizer")
    slicer.util.infoDisplay("done", windowTitle="x")
    desktop.answer = False
    assert not slicer.util.confirmOkCancelDisplay("Overwrite?")
    assert (desktop.selected_modules, desktop.infos, desktop.confirmations) == (["Optimizer"], ["done"], ["Overwrite?"])
    qt.QSettings().setValue("RTPlanning/x", "4")
    assert slicer.util.settingsValue("RTPlanning/x", 0, converter=int) == 4
    assert slicer.util.settingsValue("RTPlanning/y", 7) == 7


UI = """<ui version="4.0"><widget class="QWidget" name="Step"><layout class="QVBoxLayout">
<item><widget class="ctkCollapsibleButton" name="section"><property name="text"><string>Beams</string></property>
<property name="collapsed"><bool>true</bool></property><layout class="QVBoxLayout">
<item><widget class="qMRMLSpinBox" name="margin">
<property name="unitAwareProperties"><set>qMRMLSpinBox::Suffix|qMRMLSpinBox::Precision</set></property>
<property name="quantity"><string>length</string></property><property name="maximum"><double>50.0</double></property>
<property name="value"><double>7.0</double></property></widget></item>
<item><widget class="ctkPathLineEdit" name="path">
<property name="filters"><set>ctkPathLineEdit::Dirs</set></property></widget></item></layout></widget></item>
</layout></widget></ui>"""


def test_ui_files_with_the_widgets_own_flags(desktop, tmp_path) -> None:
    import slicer

    file = tmp_path / "Step.ui"
    file.write_text(UI, encoding="utf-8")
    step = slicer.util.loadUI(str(file))
    ui = slicer.util.childWidgetVariables(step)
    assert ui.section.property("collapsed")
    ui.margin.setMRMLScene(desktop.scene)
    # the range is the file's, as the flags ask
    assert (ui.margin.property("maximum"), ui.margin.property("suffix"), ui.margin.property("value")) == (50.0, "mm", 7)


def test_what_a_slot_raises_is_not_lost() -> None:
    from PySide6 import QtCore
    from uncaught_errors import uncaught_errors

    from RTPlanningLib.headless import HeadlessSlicer

    def fail(*_unused: object) -> None:
        raise ValueError("nobody caught this")

    with HeadlessSlicer() as runtime, uncaught_errors() as found:
        runtime.scene.AddObserver(runtime.scene.NodeAddedEvent, fail)
        runtime.scene.AddNewNodeByClass("vtkMRMLTextNode")
        assert len(found) == 1
        timer = QtCore.QTimer()
        timer.setSingleShot(True)
        timer.timeout.connect(fail)
        timer.start(0)
        until = time.monotonic() + 5.0
        while len(found) < 2 and time.monotonic() < until:
            QtCore.QCoreApplication.processEvents()
    assert [text.splitlines()[-1] for text in found] == ["ValueError: nobody caught this"] * 2


def test_heartbeat_finds_the_longest_standstill(heartbeat) -> None:
    import slicer

    with heartbeat() as beat:
        for _ in range(10):
            slicer.app.processEvents()
            time.sleep(0.012)
    assert beat.turns > 3
    assert 0.01 < beat.longest_s < 0.15
    with heartbeat() as beat:
        slicer.app.processEvents()
        time.sleep(0.25)
        slicer.app.processEvents()
    assert 0.25 <= beat.longest_s < 0.6
    assert beat.longest_cpu_s < 0.1
    assert "test_heartbeat_finds_the_longest_standstill" in beat.where


def test_the_calmest_of_several_presses_is_found(heartbeat) -> None:
    import slicer

    sleeps = iter([0.6, 0.5, 0.05, 0.6])

    def press() -> None:
        slicer.app.processEvents()
        time.sleep(next(sleeps))
        slicer.app.processEvents()

    assert heartbeat.calmest(press, 0.4, most=4).longest_s < 0.4
    # the first three were enough
    assert list(sleeps) == [0.6]
    sleeps = iter([0.8, 0.5, 0.8, 0.05])
    assert 0.5 <= heartbeat.calmest(press, 0.4).longest_s < 0.8
    # it is not tried for ever
    assert list(sleeps) == [0.05]


def test_panels_do_not_outlive_the_desktop(monkeypatch) -> None:
    from desktop_standin import installed
    from RTPlanningLib.headless import HeadlessSlicer

    with HeadlessSlicer() as runtime:
        import slicer

        with installed(slicer, runtime.application_logic):
            import qt  # noqa: F401

            import DoseEngineLib.widget.packages  # noqa: F401

            assert slicer.parameterNodeWrapper is sys.modules["slicer.parameterNodeWrapper"]
        left = [name for name in sys.modules if name.split(".")[0].endswith("Lib") and ".widget" in name]
        assert not left
        assert "qt" not in sys.modules
        for name in ("app", "parameterNodeWrapper", "qMRMLSpinBox"):
            assert not hasattr(slicer, name)
