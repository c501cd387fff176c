"""A step of the workflow: one section of the panel, with widgets, settings and handlers of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from DoseEngineLib.widget.connectors import connect
from RTPlanningLib.widget.session import PlanningSession


class Step(ABC):
    """Connects the widgets of ``Resources/UI/<uiName>.ui`` with the session.

    Subclasses connect signals in their ``__init__``, after calling this one's.

    Parameters
    ----------
    ui : object
        Named widgets as attributes.
    session : PlanningSession

    Attributes
    ----------
    parameters : parameter node wrapper
        The step's settings on the module's parameter node of the scene as it is now.
    """

    uiName: ClassVar[str]
    Parameters: ClassVar[type]

    def __init__(self, ui: Any, session: PlanningSession) -> None:
        self.ui = ui
        self.session = session
        self.parameters: Any = None
        self._releases: list = []

    def setParameterNode(self, node: Any) -> None:
        """Take the settings from this parameter node from now on."""
        self._release()
        self.parameters = self.Parameters(node, prefix=f"{self.uiName}.")
        self.connectParameters()

    def bind(self, widgets: Mapping[str, Any]) -> None:
        """Couple widgets with settings by name, both ways."""
        self._releases.append(connect(self.parameters, widgets))

    def enter(self) -> None:  # noqa: B027 - most steps have nothing to do
        """The module is shown from now on."""

    def exit(self) -> None:  # noqa: B027
        """Another module is shown from now on: give back keyboard shortcuts and what else belongs to the views."""

    def cleanup(self) -> None:
        """Let go of the scene; subclasses that observe nodes add to this."""
        self._release()

    @abstractmethod
    def connectParameters(self) -> None:
        """Bind ``self.parameters`` to widgets; called again whenever there is another parameter node."""

    @abstractmethod
    def update(self) -> None:
        """Show the state of the scene: cheap, without a change to settings or nodes."""

    def _release(self) -> None:
        for release in self._releases:
            release()
        self._releases = []
