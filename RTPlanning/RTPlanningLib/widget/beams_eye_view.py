"""The beam's-eye view of a panel: drawn when there is time for it, never beside a computation.

Radiographs run parallel kernels in the main thread, which must not be entered while a background computation is in
others. Making a CT ready for them and compiling them takes a moment and runs in a thread of its own.
"""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from DoseEngineLib.background import is_computing
from DoseEngineLib.errors import PlanningError
from DoseEngineLib.machine import load_beam_machine
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.plan import Beam
from RTPlanningLib.display.beams_eye_geometry import (
    BeamsEyeOverlay,
    Shadow,
    ShadowCache,
    beams_eye_overlay,
    grey_picture,
    half_width_mm,
    outlined,
)
from RTPlanningLib.mrml.structure_reader import StructureReader
from RTPlanningLib.widget.beams_eye_painter import paintBeamsEye

if TYPE_CHECKING:
    from RTPlanningLib.display.radiograph import RadiographVolume

_LOOK_AT_SIZE_MS = 300
_AGAIN_MS = 200
# Outlines are found as long as this at a time, the rest when events have turned.
_TURN_S = 0.1
# A CT of more voxels is thinned out, to keep radiographs quick.
_MOST_VOXELS = 40_000_000
_LEAST_SIDE, _LARGEST_SIDE = 320, 640


@dataclass(frozen=True, eq=False)
class BeamsEye:
    """What is to be seen: a beam at a control point, on a CT, with structures of a segmentation by name.

    ``contours`` is what their contours can be told by, from `StructureReader.states`.
    """

    beam: Beam
    patient_position: str
    volumeNode: Any
    segmentationNode: Any
    names: tuple[str, ...]
    contours: tuple
    control_point: int = 0

    @property
    def key(self) -> tuple:
        """What the picture depends on."""
        image = self.volumeNode.GetImageData()
        changed = self.volumeNode.GetID(), image.GetMTime() if image is not None else 0, self.volumeNode.GetMTime()
        return self.beam, self.patient_position, changed, self.names, self.contours, self.control_point


class _Preparation:
    """A CT made ready for radiographs in a thread."""

    def __init__(self, hu: Any, grid: Any) -> None:
        self.volume: RadiographVolume | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(hu, grid), name="RTPlanning radiograph", daemon=True)
        self._thread.start()

    @property
    def isDone(self) -> bool:
        return not self._thread.is_alive()

    def _run(self, hu: Any, grid: Any) -> None:
        try:
            from RTPlanningLib.display.radiograph import RadiographVolume, compile_radiographs, thinned

            volume = RadiographVolume.from_hu(*thinned(hu, grid, _MOST_VOXELS))
            compile_radiographs()
            self.volume = volume
        except Exception as error:  # shown in the picture, by the thread that waits
            self.error = error


class BeamsEyeView:
    """Keeps the picture in a label.

    Parameters
    ----------
    label : QLabel
    reader : StructureReader
    isBusy : callable
        Whether an action is under way, which may compute.
    """

    def __init__(self, label: Any, reader: StructureReader, isBusy: Callable[[], bool]) -> None:
        self._label = label
        self._reader = reader
        self._isBusy = isBusy
        self._wanted: BeamsEye | None = None
        self._key: tuple | None = None
        self._isComplete = True
        self._overlay: BeamsEyeOverlay | None = None
        self._shadows: dict[str, Shadow | None] = {}
        self._cache = ShadowCache()
        self._prepared: tuple[tuple, _Preparation] | None = None
        self._picture: tuple[tuple, bytes] | None = None
        self._paintedSide = 0
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._draw)
        # an event filter would see it at once, but PythonQt calls one for every event
        self._sizeTimer = qt.QTimer()
        self._sizeTimer.setInterval(_LOOK_AT_SIZE_MS)
        self._sizeTimer.timeout.connect(self._followSize)
        self._sizeTimer.start()

    def show(self, view: BeamsEye | None, words: str = "") -> None:
        """Draw this view as soon as events turn and nothing computes; None: nothing but ``words``."""
        # the panel may have been made wider meanwhile
        key = (view.key, self._side()) if view is not None else None
        if key is not None and self._wanted is not None and key == self._key:
            return
        self._wanted, self._key = view, key
        self._overlay, self._shadows = None, {}
        self._isComplete = view is None
        if view is None:
            self._timer.stop()
            self._say(words or _("Add a beam to see what it sees."))
        else:
            self._timer.start(0)

    @property
    def isUpToDate(self) -> bool:
        """Whether the picture is complete and shows what was asked for last."""
        return self._isComplete

    def release(self) -> None:
        """Stop drawing; for the end of the panel."""
        self._wanted = None
        self._timer.stop()
        self._sizeTimer.stop()

    def _followSize(self) -> None:
        """Draw anew where the panel has become wider or narrower."""
        isShown = self._wanted is not None and self._isComplete and bool(self._label.property("visible"))
        if isShown and self._side() != self._paintedSide:
            self._isComplete = False
            self._timer.start(0)

    def _draw(self) -> None:
        view = self._wanted
        if view is None:
            return
        if not self._label.property("visible") or self._isBusy() or is_computing():
            # folded away, or kernels run in other threads: the view follows afterwards
            self._timer.start(_AGAIN_MS)
            return
        try:
            again_ms = self._paint(view)
        except PlanningError as error:
            self._isComplete = True
            self._say(str(error))
            return
        self._isComplete = again_ms is None
        if again_ms is not None:
            self._timer.start(again_ms)

    def _say(self, text: str) -> None:
        self._label.setPixmap(qt.QPixmap())
        self._label.setWordWrap(True)
        self._label.setText(text)

    def _paint(self, view: BeamsEye) -> int | None:
        """Draw as much as there is time for; returns after how many ms to go on, None where the picture is complete."""
        start = time.perf_counter()
        if self._overlay is None:
            # of all control points: the picture of a moving beam keeps its scale
            half = max(half_width_mm(point.aperture) for point in view.beam.control_points)
            machine = load_beam_machine(view.beam)
            self._overlay = beams_eye_overlay(
                view.beam, machine, view.patient_position, control_point=view.control_point, half_mm=half
            )
        side = self._side()
        picture, note, isPreparing = self._radiograph(view, side)
        missing = [name for name in view.names if name not in self._shadows]
        while missing and time.perf_counter() - start < _TURN_S:
            name = missing.pop(0)
            self._shadows[name] = self._shadow(view, name)
        shadows = tuple(self._shadows[name] for name in view.names if self._shadows.get(name) is not None)
        # square, whatever width the panel has
        self._label.setFixedHeight(side)
        self._label.setPixmap(paintBeamsEye(replace(self._overlay, shadows=shadows), picture, side, note))
        self._paintedSide = side
        if missing:
            return 0
        return _AGAIN_MS if isPreparing else None

    def _side(self) -> int:
        return min(max(int(self._label.property("width")), _LEAST_SIDE), _LARGEST_SIDE)

    def _shadow(self, view: BeamsEye, name: str) -> Shadow | None:
        structures = outlined(self._reader.structures(view.volumeNode, view.segmentationNode, [name]))
        if not structures:
            return None
        sad_mm = load_beam_machine(view.beam).sad_mm
        return self._cache.shadow(structures[0], view.beam, view.patient_position, sad_mm, view.control_point)

    def _radiograph(self, view: BeamsEye, side: int) -> tuple[bytes | None, str, bool]:
        """The picture, what to say below, and whether it is yet to come."""
        if importlib.util.find_spec("numba") is None:
            return None, _("The radiograph needs the package numba, which the first dose calculation installs."), False
        preparation = self._preparation(view.volumeNode)
        if not preparation.isDone:
            return None, _("Preparing the radiograph…"), True
        if preparation.volume is None:
            return None, _("No radiograph: {error}").format(error=preparation.error), False
        frame, half = view.beam.frame(view.patient_position, view.control_point), self._overlay.half_mm
        sad_mm = load_beam_machine(view.beam).sad_mm
        key = (id(preparation), frame.matrix().tobytes(), sad_mm, half, side)
        if self._picture is None or self._picture[0] != key:
            radiograph = preparation.volume.radiograph(frame, sad_mm, (-half, half), (-half, half), (side, side))
            self._picture = key, grey_picture(radiograph.water_mm)
        return self._picture[1], "", False

    def _preparation(self, volumeNode: Any) -> _Preparation:
        grid = gridFromVolume(volumeNode)
        key = (volumeNode.GetID(), volumeNode.GetImageData().GetMTime(), grid.affine.tobytes())
        if self._prepared is None or self._prepared[0] != key:
            self._prepared = key, _Preparation(arrayFromVolume(volumeNode), grid)
        return self._prepared[1]
