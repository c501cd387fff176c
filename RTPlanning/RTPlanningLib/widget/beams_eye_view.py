"""The beam's-eye view of a panel: drawn when there is time for it, never beside a computation.

Radiographs run parallel kernels in the main thread, which must not be entered while a background computation is in
others. Making a CT ready for them and compiling them takes a moment and runs in a thread of its own.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import qt
from slicer.i18n import tr as _

from DoseEngineLib.background import is_computing
from DoseEngineLib.errors import PlanningError
from DoseEngineLib.machine import load_beam_machine
from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
from DoseEngineLib.plan import Beam, Structure
from RTPlanningLib.display.beams_eye_geometry import ShadowCache, beams_eye_overlay, grey_picture, half_width_mm
from RTPlanningLib.widget.beams_eye_painter import paintBeamsEye

if TYPE_CHECKING:
    from RTPlanningLib.display.radiograph import RadiographVolume

_PIXELS = 512
_AGAIN_MS = 200
_LEAST_SIDE, _LARGEST_SIDE = 320, 640


@dataclass(frozen=True, eq=False)
class BeamsEye:
    """What is to be seen: a beam at a control point, on a CT, with structures."""

    beam: Beam
    patient_position: str
    volumeNode: Any
    structures: Sequence[Structure]
    control_point: int = 0

    @property
    def key(self) -> tuple:
        """What the picture depends on."""
        image = self.volumeNode.GetImageData()
        changed = self.volumeNode.GetID(), image.GetMTime() if image is not None else 0, self.volumeNode.GetMTime()
        return self.beam, self.patient_position, changed, tuple(map(id, self.structures)), self.control_point


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
            from RTPlanningLib.display.radiograph import RadiographVolume, compile_radiographs

            volume = RadiographVolume.from_hu(hu, grid)
            compile_radiographs()
            self.volume = volume
        except Exception as error:  # shown in the picture, by the thread that waits
            self.error = error


class BeamsEyeView:
    """Keeps the picture in a label.

    Parameters
    ----------
    label : QLabel
    isBusy : callable
        Whether an action is under way, which may compute.
    """

    def __init__(self, label: Any, isBusy: Callable[[], bool]) -> None:
        self._label = label
        self._isBusy = isBusy
        self._wanted: BeamsEye | None = None
        self._drawn: BeamsEye | None = None
        self._key: tuple | None = None
        self._cache = ShadowCache()
        self._prepared: tuple[tuple, _Preparation] | None = None
        self._picture: tuple[tuple, bytes] | None = None
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._draw)

    def show(self, view: BeamsEye | None) -> None:
        """Draw this view as soon as events turn and nothing computes; None: nothing."""
        if view is not None and self._wanted is not None and view.key == self._key:
            return
        self._wanted, self._key = view, view.key if view is not None else None
        if view is None:
            self._timer.stop()
            self._drawn = None
            self._label.setPixmap(qt.QPixmap())
            self._label.setText(_("Add a beam to see what it sees."))
        else:
            self._timer.start(0)

    @property
    def isUpToDate(self) -> bool:
        """Whether the picture is complete and shows what was asked for last."""
        return self._wanted is self._drawn

    def release(self) -> None:
        """Stop drawing; for the end of the panel."""
        self._wanted = None
        self._timer.stop()

    def _draw(self) -> None:
        view = self._wanted
        if view is None:
            return
        if self._isBusy() or is_computing():
            # kernels run in other threads: the view follows when they have ended
            self._timer.start(_AGAIN_MS)
            return
        try:
            isComplete, pixmap = self._paint(view)
        except PlanningError as error:
            self._drawn = view
            self._label.setPixmap(qt.QPixmap())
            self._label.setText(str(error))
            return
        self._label.setPixmap(pixmap)
        if isComplete:
            self._drawn = view
        else:
            self._timer.start(_AGAIN_MS)

    def _paint(self, view: BeamsEye) -> tuple[bool, Any]:
        machine = load_beam_machine(view.beam)
        overlay = beams_eye_overlay(
            view.beam,
            machine,
            view.patient_position,
            view.structures,
            control_point=view.control_point,
            cache=self._cache,
            half_mm=self._halfWidth(view),
        )
        side = min(max(int(self._label.property("width")), _LEAST_SIDE), _LARGEST_SIDE)
        if importlib.util.find_spec("numba") is None:
            note = _("The radiograph needs the package numba, which the first dose calculation installs.")
            return True, paintBeamsEye(overlay, None, side, note)
        volume, note = self._volume(view.volumeNode)
        if volume is None:
            return bool(note), paintBeamsEye(overlay, None, side, note or _("Preparing the radiograph…"))
        frame = view.beam.frame(view.patient_position, view.control_point)
        key = (id(volume), frame.matrix().tobytes(), machine.sad_mm, overlay.half_mm)
        if self._picture is None or self._picture[0] != key:
            edges = (-overlay.half_mm, overlay.half_mm)
            radiograph = volume.radiograph(frame, machine.sad_mm, edges, edges, (_PIXELS, _PIXELS))
            self._picture = key, grey_picture(radiograph.water_mm)
        return True, paintBeamsEye(overlay, self._picture[1], side)

    def _halfWidth(self, view: BeamsEye) -> float:
        """Of all control points: the picture of a moving beam does not change its scale."""
        return max(half_width_mm(point.aperture) for point in view.beam.control_points)

    def _volume(self, volumeNode: Any) -> tuple[RadiographVolume | None, str]:
        """The CT ready for radiographs; (None, "") while it is being prepared, (None, why) where it cannot be."""
        grid = gridFromVolume(volumeNode)
        key = (volumeNode.GetID(), volumeNode.GetImageData().GetMTime(), grid.affine.tobytes())
        if self._prepared is None or self._prepared[0] != key:
            self._prepared = key, _Preparation(arrayFromVolume(volumeNode), grid)
        preparation = self._prepared[1]
        if not preparation.isDone:
            return None, ""
        if preparation.error is not None:
            return None, _("No radiograph: {error}").format(error=preparation.error)
        return preparation.volume, ""
