"""A part of a panel that shows settings of its session, and has handlers of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from DoseEngineLib.widget.connected_signals import connected
from DoseEngineLib.widget.panel_part import PanelPart


class Section(PanelPart):
    """The widgets of a ``.ui`` file and the session, whose settings it shows."""

    @property
    def parameters(self) -> Any:
        """The settings on the parameter node of the scene as it is now."""
        return self.session.settings

    def setParameterNode(self, _node: Any) -> None:
        """See `PanelPart`."""
        self._release()
        self.couple(self.parameters, self.coupled())
        # after the coupling, so that they find in the settings what was chosen
        for signal, handler in self.handlers():
            self._releases.append(connected(handler, [signal]))

    @abstractmethod
    def coupled(self) -> Mapping[str, Any]:
        """Return the widget of each setting."""

    def handlers(self) -> Sequence[tuple[Any, Callable[..., None]]]:
        """Return signals of coupled widgets, and what is called when a person changed them."""
        return ()
