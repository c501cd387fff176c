"""The step Structures: a table of what is contoured, planning tools, and the segment editor for drawing by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from DoseEngineLib.errors import PlanningError
from DoseEngineLib.mrml.subject_hierarchy import removeNode
from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.connectors import fillCombo
from RTPlanningLib.contouring.threshold import threshold_presets
from RTPlanningLib.mrml.structure_rows import SegmentVolumes, StructureRow, structureRows
from RTPlanningLib.structures_logic import EditedSegment, Result, StructuresLogic
from RTPlanningLib.widget.contouring_tools import FIELDS, TOOLS, ContouringTool, ToolInput, missingInput
from RTPlanningLib.widget.embedded_segment_editor import EmbeddedSegmentEditor
from RTPlanningLib.widget.session import PlanningSession
from RTPlanningLib.widget.step import Step
from RTPlanningLib.widget.structure_table import StructureTable, roleEntries
from RTPlanningLib.widget.structures_parameters import DIRECTIONS, StructuresParameters

_VOXELS_CHANGED = slicer.vtkSegmentation.SourceRepresentationModified


class StructuresStep(Step):
    """Connects the widgets of ``Resources/UI/StructuresStep.ui`` with the session."""

    uiName = "StructuresStep"
    Parameters = StructuresParameters

    def __init__(self, ui: Any, session: PlanningSession) -> None:
        super().__init__(ui, session)
        self.logic = StructuresLogic(session.scene)
        self.logic.background = lambda function, progress=None: session.logic.background(function, progress)
        self.editor = EmbeddedSegmentEditor(ui.segmentEditor, session.scene)
        self.table = StructureTable(
            ui.structuresTable, self.onRenamed, self.onRoleChosen, self.onColorChosen, self.onSelected
        )
        self._volumes = SegmentVolumes()
        self._counting = self._entered = False
        self._shownPreset = ""
        self._watched: tuple[Any, int] | None = None
        self._groups = {
            "structure": ui.structureFields,
            "margin": ui.marginFields,
            "operation": ui.operationFields,
            "side": ui.sideFields,
            "other": ui.otherFields,
            "distance": ui.distanceFields,
            "ring": ui.ringFields,
            "wall": ui.wallFields,
            "threshold": ui.thresholdFields,
            "bodyThreshold": ui.bodyThresholdFields,
            "insideBody": ui.insideBodyFields,
            "skin": ui.skinFields,
            "axis": ui.axisFields,
            "island": ui.islandFields,
            "cut": ui.cutFields,
        }
        self._margins = {
            "left": (ui.leftLabel, ui.leftSpin),
            "right": (ui.rightLabel, ui.rightSpin),
            "anterior": (ui.anteriorLabel, ui.anteriorSpin),
            "posterior": (ui.posteriorLabel, ui.posteriorSpin),
            "superior": (ui.superiorLabel, ui.superiorSpin),
            "inferior": (ui.inferiorLabel, ui.inferiorSpin),
        }
        lengths = [spin for _label, spin in self._margins.values()]
        lengths += [ui.distanceSpin, ui.ringInnerSpin, ui.ringOuterSpin, ui.insideSpin, ui.outsideSpin, ui.skinSpin]
        for spin in lengths:
            spin.setMRMLScene(session.scene)
        self._fillChoices()
        ui.newButton.clicked.connect(self.onNew)
        ui.bodyButton.clicked.connect(self.onBody)
        ui.renameButton.clicked.connect(self.onUseStandardName)
        ui.removeButton.clicked.connect(self.onRemove)
        ui.undoButton.clicked.connect(self.onUndo)
        ui.redoButton.clicked.connect(self.onRedo)
        ui.applyButton.clicked.connect(self.onApply)
        ui.editorSection.contentsCollapsed.connect(self.onEditorFolded)

    def connectParameters(self) -> None:
        """Bind the settings; the editor takes its own from the scene as it is now."""
        ui = self.ui
        self.editor.startAnew()
        self._shownPreset = self.parameters.preset
        self._fillStructures()
        self.bind(
            {
                "tool": ui.toolCombo,
                "structure": ui.structureCombo,
                "other": ui.otherCombo,
                "uniform": ui.uniformCheck,
                **{f"{direction}_mm": self._margins[direction][1] for direction in DIRECTIONS},
                "operation": ui.operationCombo,
                "side": ui.sideCombo,
                "distance_mm": ui.distanceSpin,
                "ringInner_mm": ui.ringInnerSpin,
                "ringOuter_mm": ui.ringOuterSpin,
                "wallInside_mm": ui.insideSpin,
                "wallOutside_mm": ui.outsideSpin,
                "preset": ui.presetCombo,
                "low_HU": ui.lowSpin,
                "high_HU": ui.highSpin,
                "bodyThreshold_HU": ui.bodyThresholdSpin,
                "keepAllParts": ui.keepAllPartsCheck,
                "insideBody": ui.insideBodyCheck,
                "skin_mm": ui.skinSpin,
                "axis": ui.axisCombo,
                "parts": ui.partsCombo,
                "minimum_cm3": ui.minimumSpin,
                "cutAtImage": ui.cutAtImageCheck,
                "resultName": ui.resultEdit,
                "resultRole": ui.resultRoleCombo,
                "editorCollapsed": ui.editorSection,
            }
        )
        node = self.parameters.parameterNode
        tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, self.onSettings)
        self._releases.append(lambda: node.RemoveObserver(tag))

    def enter(self) -> None:
        """The module is shown from now on: an open editor takes part in the views."""
        self._entered = True
        self.onEditorFolded()

    def exit(self) -> None:
        """Another module is shown from now on: the brush is put down."""
        self._entered = False
        self.editor.close()

    def cleanup(self) -> None:
        """Let go of the scene."""
        self._watchVoxels(None)
        self.editor.release()
        self.logic.release()
        super().cleanup()

    def update(self) -> None:
        """Show the structures, and what the tool can do with them."""
        segmentationNode = self.session.segmentationNode
        self._watchVoxels(segmentationNode)
        self.editor.show(segmentationNode, self.session.volumeNode)
        # one history for brush and tools
        self.logic.useHistory(segmentationNode, None if segmentationNode is None else self.ui.segmentEditor)
        self.table.show(self._rows())
        self._fillStructures()
        self._showTool()
        self._countVolumes()

    # What a person does

    def onApply(self, *_unused: object) -> None:
        """Run the tool that is chosen."""
        self._run(TOOLS[self.parameters.tool])

    def onNew(self, *_unused: object) -> None:
        """Add an empty structure and open the editor on it."""
        session = self.session
        if session.isRunning:
            return
        try:
            if session.segmentationNode is None:
                session.chooseCase(session.volumeNode, self.logic.createSegmentation(session.volumeNode))
            name = self.logic.addSegment(session.segmentationNode)
        except PlanningError as error:
            session.say(str(error))
            return
        session.update()
        self.table.show(self._rows(), selected=name)
        self.onSelected(name)
        self.parameters.editorCollapsed = False
        session.say(_("{name} is there to be drawn: double-click its name to change it.").format(name=name))

    def onBody(self, *_unused: object) -> None:
        """Find the body outline, with the settings of its tool."""
        self._run(TOOLS["body"], Result())

    def onUndo(self, *_unused: object) -> None:
        """Take the last change back."""
        self._change(lambda node: self.logic.undo(node) or self.session.say(_("There is nothing to undo.")))

    def onRedo(self, *_unused: object) -> None:
        """Make the change again that was taken back last."""
        self._change(lambda node: self.logic.redo(node) or self.session.say(_("There is nothing to do again.")))

    def onRenamed(self, name: str, text: str) -> None:
        """Take the name that was typed; the tool goes on with the same structure."""

        def rename(node: Any) -> None:
            self.logic.renameSegment(node, name, text)
            for setting in ("structure", "other"):
                if getattr(self.parameters, setting) == name:
                    setattr(self.parameters, setting, text.strip())

        self._change(rename)

    def onUseStandardName(self, *_unused: object) -> None:
        """Give the chosen structure the name of TG-263."""
        name = self.table.selectedName
        proposal = self.table.proposal(name) if name else ""
        if proposal:
            self.onRenamed(name, proposal)
            self.session.say(_("{name} is called {proposal} now.").format(name=name, proposal=proposal))

    def onRoleChosen(self, name: str, role: str) -> None:
        """Take the role that was chosen."""
        self._change(lambda node: self.logic.setSegmentRole(node, name, role))

    def onColorChosen(self, name: str, color: tuple[float, float, float]) -> None:
        """Take the color that was chosen."""
        self._change(lambda node: self.logic.setSegmentColor(node, name, color))

    def onRemove(self, *_unused: object) -> None:
        """Remove the chosen structure."""
        name = self.table.selectedName
        if name:
            self._change(lambda node: self.logic.removeSegment(node, name))
            self.session.say(_("{name} removed; Undo brings it back.").format(name=name))

    def onSelected(self, name: str) -> None:
        """Work on the structure that was chosen in the table, with tools and with the brush."""
        self.parameters.structure = name
        node = self.session.segmentationNode
        self.ui.segmentEditor.setCurrentSegmentID(node.GetSegmentation().GetSegmentIdBySegmentName(name))
        self._showTool()

    def onSettings(self, *_unused: object) -> None:
        """Show the fields of the tool and what its result will be; another preset brings its range."""
        if self.session.scene.IsBatchProcessing():
            # a scene is loaded or closed: all settings are those of the scene
            return
        preset = self.parameters.preset
        if preset != self._shownPreset:
            self._shownPreset = preset
            chosen = threshold_presets()[preset]
            self.parameters.low_HU = max(chosen.low_HU, float(self.ui.lowSpin.property("minimum")))
            self.parameters.high_HU = min(chosen.high_HU, float(self.ui.highSpin.property("maximum")))
        self._showTool()

    def onEditorFolded(self, *_unused: object) -> None:
        """Take part in the views only while the editor is open."""
        if self._entered and not self.ui.editorSection.property("collapsed"):
            self.editor.open()
        else:
            self.editor.close()

    # What is shown

    def _rows(self) -> list[StructureRow]:
        node = self.session.segmentationNode
        try:
            return [] if node is None else structureRows(node, self._volumes)
        except PlanningError as error:
            self.session.say(str(error))
            return []

    def _watchVoxels(self, node: Any) -> None:
        """Count again what the brush changes, at once; the session follows when it rests."""
        if self._watched is not None and self._watched[0] is not node:
            self._watched[0].RemoveObserver(self._watched[1])
            self._watched = None
        if self._watched is None and node is not None:
            self._watched = (node, node.AddObserver(_VOXELS_CHANGED, self._countVolumes))

    def _countVolumes(self, *_unused: object) -> None:
        """Count one layer when events turn next, and so on until all are counted."""
        if not self._counting:
            self._counting = True
            qt.QTimer.singleShot(0, self._countNext)

    def _countNext(self) -> None:
        self._counting = False
        node = None if self.session.isReleased else self.session.segmentationNode
        if node is not None and not self.session.isRunning and self._volumes.countNext(node):
            self.table.show(self._rows())
            self._countVolumes()

    def _fillChoices(self) -> None:
        ui = self.ui
        fillCombo(ui.toolCombo, [(_(tool.title), key) for key, tool in TOOLS.items()], "")
        operations = [(_("Or (both)"), "union"), (_("And (shared)"), "intersection")]
        operations += [(_("Minus"), "difference"), (_("Xor (not shared)"), "exclusive")]
        fillCombo(ui.operationCombo, operations, "")
        fillCombo(ui.sideCombo, [(_("Outside"), "outside"), (_("Inside"), "inside")], "")
        fillCombo(ui.presetCombo, [(_(preset.title), key) for key, preset in threshold_presets().items()], "")
        axes = [(_("as the gaps tell"), ""), (_("along the image's k axis"), "k")]
        axes += [(_("along the image's j axis"), "j"), (_("along the image's i axis"), "i")]
        fillCombo(ui.axisCombo, axes, "")
        fillCombo(ui.partsCombo, [(_("The largest part"), "largest"), (_("All large parts"), "large")], "")
        fillCombo(ui.resultRoleCombo, [(_("as the tool proposes"), ""), *roleEntries()], "")

    def _fillStructures(self) -> None:
        names = [(row.name, row.name) for row in self._rows()]
        fillCombo(self.ui.structureCombo, names, self.parameters.structure)
        fillCombo(self.ui.otherCombo, names, self.parameters.other)

    def _showTool(self) -> None:
        ui, tool = self.ui, TOOLS[self.parameters.tool]
        ui.toolHelpLabel.setText(_(tool.help))
        for field in FIELDS:
            self._groups[field].setVisible(field in tool.fields)
        uniform = bool(self.parameters.uniform)
        for direction, (label, spin) in self._margins.items():
            spin.setVisible(not uniform or direction == "left")
            label.setVisible(not uniform or direction == "left")
        ui.leftLabel.setText(_("Margin:") if uniform else _("Left:"))
        ui.skinFields.setEnabled(bool(self.parameters.insideBody))
        large = self.parameters.parts == "large"
        ui.minimumSpin.setVisible(large)
        ui.minimumLabel.setVisible(large)
        preset = threshold_presets()[self.parameters.preset]
        ui.presetCombo.setToolTip(_("{title}: {source}").format(title=preset.title, source=preset.source))
        hasCase = self.session.segmentationNode is not None
        hasRow = bool(self.table.selectedName)
        ui.bodyButton.setEnabled(self.session.volumeNode is not None)
        ui.newButton.setEnabled(hasCase or self.session.volumeNode is not None)
        ui.removeButton.setEnabled(hasRow)
        ui.renameButton.setEnabled(hasRow and bool(self.table.proposal(self.table.selectedName)))
        ui.undoButton.setEnabled(hasCase)
        ui.redoButton.setEnabled(hasCase)
        self._showResult(tool)

    def _showResult(self, tool: ContouringTool) -> None:
        ui, on = self.ui, self._input()
        missing = missingInput(tool, on)
        ui.applyButton.setEnabled(not missing)
        if missing:
            ui.resultEdit.setPlaceholderText("")
            ui.resultHintLabel.setText(missing)
            return
        proposed = tool.proposedName(on)
        ui.resultEdit.setPlaceholderText(proposed)
        name = self.parameters.resultName.strip() or proposed
        if name in on.roles:
            ui.resultHintLabel.setText(_("{name} is replaced; Undo brings it back.").format(name=name))
        else:
            ui.resultHintLabel.setText(_("{name} is a new structure.").format(name=name))
        ui.resultRoleCombo.setEnabled(name not in on.roles)

    def _input(self) -> ToolInput:
        roles = {row.name: row.role for row in self._rows()}
        return ToolInput(self.logic, self.session.segmentationNode, self.session.volumeNode, self.parameters, roles)

    # How things are done

    def _run(self, tool: ContouringTool, result: Result | None = None) -> None:
        session, isNew = self.session, self.session.segmentationNode is None
        if isNew:
            try:
                session.chooseCase(session.volumeNode, self.logic.createSegmentation(session.volumeNode))
            except PlanningError as error:
                session.say(str(error))
                return
        on = self._input()
        if result is None:
            name = self.parameters.resultName.strip()
            proposed = name or tool.proposedName(on)
            role = "" if proposed in on.roles else self.parameters.resultRole
            result = Result(name=proposed, role=role)

        def work(progress: Progress) -> EditedSegment:
            return tool.run(on, result=result, progress=progress)

        made = self.session.run(work, _said)
        if made is not None:
            # the next result is another structure's
            self.parameters.resultName = ""
            self.parameters.resultRole = ""
            self.table.show(self._rows(), selected=made.name)
            self._showTool()
        elif isNew and on.segmentationNode.GetScene() is not None:
            # nothing came of it: the scene is as it was
            removeNode(on.segmentationNode)

    def _change(self, change: Callable[[Any], object]) -> None:
        """Change the segmentation at once, and show what became of it; errors are said."""
        node = self.session.segmentationNode
        if node is None or self.session.isRunning:
            return
        try:
            change(node)
        except PlanningError as error:
            self.session.say(str(error))
        self.session.update()


def _said(made: EditedSegment) -> str:
    text = _("{name}: {volume:.1f} cm³.").format(name=made.name, volume=made.volume_cm3)
    return " ".join((text, *made.notes))
