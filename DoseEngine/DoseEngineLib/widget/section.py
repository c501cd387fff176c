"""A section of the Dose Engine panel, with widgets, settings and handlers of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from DoseEngineLib.widget.connectors import connect
from DoseEngineLib.widget.dose_session import DoseSession


class Section(ABC):
    """Connects the widgets of a ``.ui`` file with the session.

    Subclasses connect buttons in their ``__init__``, after calling this one's.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    session : DoseSession
    """

    def __init__(self, ui: Any, session: DoseSession) -> None:
        self.ui, self.session = ui, session
        self._releases: list = []

    @property
    def parameters(self) -> Any:
        """The settings on the parameter node of the scene as it is now."""
        return self.session.parameters

    def setParameterNode(self, _node: Any) -> None:
        """Couple widgets with the session's settings; called again whenever there is another parameter node."""
        self._release()
        self._releases.append(connect(self.parameters, self.coupled()))
        # after the coupling, so that they find in the settings what was chosen
        for signal, handler in self.handlers():
            signal.connect(handler)
            self._releases.append(partial(signal.disconnect, handler))

    def cleanup(self) -> None:
        """Let go of the scene; subclasses that hold more add to this."""
        self._release()

    @abstractmethod
    def coupled(self) -> Mapping[str, Any]:
        """Return the widget of each setting."""

    def handlers(self) -> Sequence[tuple[Any, Callable[..., None]]]:
        """Return signals of coupled widgets, and what is called when a person changed them."""
        return ()

    @abstractmethod
    def update(self) -> None:
        """Show the state of the scene: cheap, without a change to nodes."""

    def _release(self) -> None:
        for release in self._releases:
            release()
        self._releases = []
