"""A part of a panel: some of its widgets, the settings they show, and what they do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from DoseEngineLib.widget.connectors import connect


class PanelPart(ABC):
    """Connects the widgets of a ``.ui`` file with a session.

    Subclasses connect buttons in their ``__init__``, after calling this one's.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    session : SceneSession
    """

    def __init__(self, ui: Any, session: Any) -> None:
        self.ui = ui
        self.session = session
        self._releases: list[Callable[[], None]] = []

    @abstractmethod
    def setParameterNode(self, node: Any) -> None:
        """Take the settings from this parameter node from now on."""

    @abstractmethod
    def update(self) -> None:
        """Show the state of the scene: cheap, without a change to settings or nodes."""

    def couple(self, parameters: Any, widgets: Mapping[str, Any]) -> None:
        """Couple widgets with settings by name, both ways, until there is another parameter node."""
        self._releases.append(connect(parameters, widgets))

    def cleanup(self) -> None:
        """Let go of the scene; subclasses that hold more add to this."""
        self._release()

    def _release(self) -> None:
        """Take every coupling away."""
        for release in self._releases:
            release()
        self._releases = []
