"""A section of the Dose Engine panel, with widgets, settings and handlers of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from DoseEngineLib.widget.connectors import connect
from DoseEngineLib.widget.dose_session import DoseSession


class Section(ABC):
    """Connects the widgets of a ``.ui`` file with the session.

    Subclasses connect signals in their ``__init__``, after calling this one's.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    session : DoseSession

    Attributes
    ----------
    isConnecting : bool
        Widgets take the values of settings: nobody chose anything.
    """

    def __init__(self, ui: Any, session: DoseSession) -> None:
        self.ui, self.session = ui, session
        self.isConnecting = False
        self._releases: list = []

    @property
    def parameters(self) -> Any:
        """The settings on the parameter node of the scene as it is now."""
        return self.session.parameters

    def connectParameters(self) -> None:
        """Couple widgets with settings; called again whenever there is another parameter node."""
        self._release()
        self.isConnecting = True
        try:
            self._releases.append(connect(self.parameters, self.coupled()))
        finally:
            self.isConnecting = False

    def cleanup(self) -> None:
        """Let go of the scene; subclasses that hold more add to this."""
        self._release()

    @abstractmethod
    def coupled(self) -> Mapping[str, Any]:
        """Return the widget of each setting."""

    @abstractmethod
    def update(self) -> None:
        """Show the state of the scene: cheap, without a change to nodes."""

    def _release(self) -> None:
        for release in self._releases:
            release()
        self._releases = []
