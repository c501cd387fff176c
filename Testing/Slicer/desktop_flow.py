"""What the desktop tests share: a module's panel, pressed as a person would, and scenes saved and opened again.

Read and press widgets as here (``property``, methods, ``click``), so that the same lines run in desktop Slicer and on
the stand-ins of ``Testing/Qt``.
"""

from __future__ import annotations

import inspect
import tempfile
import unittest
from pathlib import Path

import numpy as np
import slicer


class DesktopFlow(unittest.TestCase):
    """A test that works on the panel of one module, on an empty scene.

    Attributes
    ----------
    moduleName : str
        Set by subclasses.
    widget, ui
        The module's widget, and its named widgets.
    """

    moduleName: str

    def setUp(self):
        slicer.mrmlScene.Clear()
        self.widget = slicer.util.getModuleWidget(self.moduleName)
        self.widget.enter()
        self.ui = self.widget.ui
        self.settle()

    def check_module(self):
        """The module says what it is."""
        module = slicer.util.getModule(self.moduleName)
        self.assertIn("Radiotherapy", module.categories)
        self.assertIn("not for clinical use", module.helpText)
        self.assertFalse(module.icon.isNull())
        self.assertIs(slicer.util.getModuleLogic(self.moduleName), self.widget.logic)

    @staticmethod
    def settle():
        """Let the panel follow the scene: it does when events turn next."""
        for _turn in range(3):
            slicer.app.processEvents()

    @staticmethod
    def text(widget) -> str:
        """The text of a label or a line."""
        return widget.property("text")

    @property
    def status(self) -> str:
        """What the status line says."""
        return self.text(self.ui.statusLabel)

    def press(self, button):
        """Press a button that can be pressed; what it starts is done when this returns."""
        self.assertTrue(button.property("enabled"), f"{button.property('objectName')} is off: {self.status}")
        button.click()
        self.settle()

    def choose(self, combo, data):
        """Choose the entry of a combo box that stands for something."""
        index = combo.findData(data)
        self.assertGreaterEqual(index, 0, f"{combo.property('objectName')} does not offer {data!r}")
        combo.setCurrentIndex(index)
        self.settle()

    def reopen(self):
        """Save the scene, close it, and open it again."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scene.mrb"
            self.assertTrue(slicer.util.saveScene(str(path)))
            slicer.mrmlScene.Clear()
            self.settle()
            self.assertTrue(slicer.util.loadScene(str(path)))
        self.settle()

    def cancel_on_the_way(self, name: str):
        """Let a person press Cancel while the logic's method of this name is at work."""
        method = getattr(self.widget.logic, name)
        self.addCleanup(setattr, self.widget.logic, name, method)

        def with_cancel(*arguments, **options):
            given = inspect.signature(method).bind(*arguments, **options)
            progress = given.arguments["progress"]

            def report(fraction, text):
                if fraction > 0.02:
                    self.ui.cancelButton.click()
                progress(fraction, text)

            given.arguments["progress"] = report
            return method(*given.args, **given.kwargs)

        setattr(self.widget.logic, name, with_cancel)

    @staticmethod
    def water_cube():
        """Add a CT of a water cube of 108 mm with a target in front of its middle and an organ behind it; returns CT
        and segmentation node."""
        from DoseEngineLib.geometry import Grid
        from DoseEngineLib.mrml.segmentations import setStructures
        from DoseEngineLib.mrml.volumes import setVolumeFromArray
        from DoseEngineLib.plan import Structure

        grid = Grid.from_spacing((24, 24, 24), 6.0, (-69.0, -69.0, -69.0))
        body = np.zeros(grid.shape, bool)
        body[3:-3, 3:-3, 3:-3] = True
        volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Water cube")
        setVolumeFromArray(volume, np.where(body, 0, -1000).astype(np.int16), grid)
        centres = grid.centres_RAS_mm()
        target = np.linalg.norm(centres - (0.0, 25.0, 0.0), axis=-1) < 16.0
        organ = np.linalg.norm(centres - (0.0, -30.0, 0.0), axis=-1) < 14.0
        structures = [
            Structure("External", body, grid, "EXTERNAL"),
            Structure("PTV", target, grid, "PTV"),
            Structure("Organ", organ, grid),
        ]
        segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Structures")
        setStructures(segmentation, structures, volume)
        return volume, segmentation
