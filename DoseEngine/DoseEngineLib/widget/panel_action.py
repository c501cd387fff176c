"""How a panel runs long work: progress bar, cancel button, errors in words, and one action at a time.

MRML belongs to the main thread, so an action runs there and the event loop turns at every progress report. What of it
is pure, runs in a thread (`PanelAction.background`) while events turn here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import slicer
from slicer.i18n import tr as _

from DoseEngineLib.background import in_thread
from DoseEngineLib.errors import Cancelled, PlanningError
from DoseEngineLib.progress import Progress

T = TypeVar("T")

# Turning the event loop costs about a millisecond; this often it stays responsive and costs nothing.
_EVENT_INTERVAL_S = 0.05


class PanelAction:
    """Runs one action at a time, whatever panel asks for it.

    Parameters
    ----------
    controls : sequence of QWidget
        Disabled while an action runs.
    statusLabel : QLabel
    progressBar : QProgressBar
    cancelButton : QPushButton
        Enabled only while an action runs.
    scene : vtkMRMLScene
        Closing it cancels what is running.
    """

    # of all panels: they share the scene, and the kernels may be entered by one thread only
    _busy = False

    def __init__(
        self, controls: Sequence[Any], statusLabel: Any, progressBar: Any, cancelButton: Any, scene: Any
    ) -> None:
        self._controls = list(controls)
        self._status = statusLabel
        self._bar = progressBar
        self._cancelButton = cancelButton
        self._running = False
        self._cancelled = False
        self._released = False
        self._shownAt = 0.0
        self._bar.setRange(0, 100)
        self._bar.setVisible(False)
        self._cancelButton.setEnabled(False)
        self._cancelButton.clicked.connect(self.cancel)
        self._scene = scene
        self._closeObserver = scene.AddObserver(scene.StartCloseEvent, self.cancel)

    @property
    def isRunning(self) -> bool:
        """Whether an action is under way."""
        return self._running

    def cancel(self, *_unused: object) -> None:
        """Ask the running action to stop at its next progress report."""
        self._cancelled = True

    def release(self) -> None:
        """Let go of the scene and stop what is running; for the end of the panel."""
        self.cancel()
        # its widgets may be gone before a running action has ended
        self._released = True
        self._scene.RemoveObserver(self._closeObserver)

    def run(self, work: Callable[[Progress], T], done: Callable[[T], str] | str) -> T | None:
        """Run work and say in the status line how it ended.

        Parameters
        ----------
        work : callable
            Gets a progress callback, which raises `Cancelled` once the user asked for it.
        done : str or callable
            Status text at the end, or what makes it from the result.

        Returns
        -------
        object or None
            What the work returned; None when it was cancelled, failed with a `PlanningError` (shown in a dialog), or
            another action is running. Any other exception is a defect: it is reported and raised.
        """
        if self._running:
            return None
        if PanelAction._busy:
            self.say(_("Another panel is at work; wait until it is done, or cancel it there."))
            return None
        self._begin()
        try:
            result = work(self._progress)
            self.say(done(result) if callable(done) else done)
            return result
        except Cancelled:
            self.say(_("Cancelled; the scene is as it was."))
        except PlanningError as error:
            if self._cancelled:
                # with the scene closed under it, work stumbles over what is gone
                self.say(_("Cancelled."))
            else:
                self.say(str(error))
                slicer.util.errorDisplay(str(error))
        except Exception as error:
            self.say(_("Failed unexpectedly: {error}. The Python console has the details.").format(error=error))
            raise
        finally:
            self._end()
        return None

    def background(self, function: Callable[[Progress], T], progress: Progress | None = None) -> T:
        """Run pure work in a thread while the panel's events turn; for a logic's ``background``."""
        return in_thread(function, progress, turn=slicer.app.processEvents)

    def say(self, text: str) -> None:
        """Show a text in the status line."""
        if not self._released:
            self._status.setText(text)

    def _progress(self, fraction: float, text: str) -> None:
        if self._cancelled:
            raise Cancelled(_("Cancelled by the user."))
        now = time.monotonic()
        if now - self._shownAt >= _EVENT_INTERVAL_S or fraction >= 1.0:
            self._shownAt = now
            self._bar.setValue(round(100 * min(max(fraction, 0.0), 1.0)))
            self.say(text)
            slicer.app.processEvents()
        if self._cancelled:
            raise Cancelled(_("Cancelled by the user."))

    def _begin(self) -> None:
        self._running, self._cancelled = True, False
        PanelAction._busy = True
        self._wereEnabled = [control.property("enabled") for control in self._controls]
        for control in self._controls:
            control.setEnabled(False)
        self._bar.setValue(0)
        self._bar.setVisible(True)
        self._cancelButton.setEnabled(True)
        slicer.app.processEvents()

    def _end(self) -> None:
        self._running = False
        PanelAction._busy = False
        if self._released:
            return
        for control, wasEnabled in zip(self._controls, self._wereEnabled, strict=True):
            control.setEnabled(bool(wasEnabled))
        self._bar.setVisible(False)
        self._cancelButton.setEnabled(False)
