"""Color tables of comparison maps, and how a volume is shown with one: symmetric differences, gamma parted at 1."""

from __future__ import annotations

import numpy as np

from DoseEngineLib.mrml.color_table import singletonColorTable
from RTPlanningLib.display.map_colors import GAMMA_END, difference_colors, gamma_colors

DIFFERENCE_COLOR_TABLE = "RTPlanning_DoseDifference_ColorTable"
GAMMA_COLOR_TABLE = "RTPlanning_Gamma_ColorTable"
# Above every value that is shown.
_NO_LIMIT = 1e30


def differenceColorTable(scene):
    """Return the scene's table from blue over white to red, made when there is none."""
    return _table(scene, DIFFERENCE_COLOR_TABLE, difference_colors(), np.linspace(-1.0, 1.0, 256))


def gammaColorTable(scene):
    """Return the scene's table of gamma: blue to green pass, yellow to red fail; made when there is none."""
    return _table(scene, GAMMA_COLOR_TABLE, gamma_colors(), np.linspace(0.0, GAMMA_END, 256))


def showDifference(volumeNode, limit: float, notJudged: float) -> None:
    """Show a volume of differences from ``-limit`` to ``limit``, voxels of the value ``notJudged`` not at all."""
    _show(volumeNode, differenceColorTable(volumeNode.GetScene()), (-limit, limit), notJudged)


def showGamma(volumeNode, notJudged: float) -> None:
    """Show a gamma volume, its colors parted at 1, voxels of the value ``notJudged`` not at all."""
    _show(volumeNode, gammaColorTable(volumeNode.GetScene()), (0.0, GAMMA_END), notJudged)


def _show(volumeNode, colors, window: tuple[float, float], notJudged: float) -> None:
    volumeNode.CreateDefaultDisplayNodes()
    display = volumeNode.GetScalarVolumeDisplayNode()
    display.SetAndObserveColorNodeID(colors.GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(*window)
    display.AutoThresholdOff()
    # the next value that single precision knows: all others are shown
    display.SetThreshold(float(np.nextafter(np.float32(notJudged), np.float32(np.inf))), _NO_LIMIT)
    display.ApplyThresholdOn()
    # interpolated, voxels that were not judged would bleed into their neighbours
    display.SetInterpolate(False)


def _table(scene, tag: str, colors: np.ndarray, values: np.ndarray):
    sign = "+" if values[0] < 0.0 else ""
    return singletonColorTable(scene, tag, colors, [f"{value:{sign}.3f}" for value in values])
