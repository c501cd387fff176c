"""A step of the workflow: one section of the panel, with widgets, settings and handlers of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from DoseEngineLib.widget.panel_part import PanelPart
from RTPlanningLib.widget.session import PlanningSession


class Step(PanelPart):
    """The widgets of ``Resources/UI/<uiName>.ui`` and the session.

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
    session: PlanningSession

    def __init__(self, ui: Any, session: PlanningSession) -> None:
        super().__init__(ui, session)
        self.parameters: Any = None

    def setParameterNode(self, node: Any) -> None:
        """See `PanelPart`."""
        self._release()
        self.parameters = self.Parameters(node, prefix=f"{self.uiName}.")
        self.connectParameters()

    @abstractmethod
    def connectParameters(self) -> None:
        """Bind ``self.parameters`` to widgets; called again whenever there is another parameter node."""

    def bind(self, widgets: Mapping[str, Any]) -> None:
        """Couple widgets with settings by name, both ways."""
        self.couple(self.parameters, widgets)

    def enter(self) -> None:
        """The module is shown from now on."""

    def exit(self) -> None:
        """Another module is shown from now on: give back keyboard shortcuts and what else belongs to the views."""
