"""Widgets and the typed parameters of a parameter node, coupled both ways.

Slicer's own connectors read Qt properties as Python attributes; these read them by name, take combo boxes whose choices
come and go, and leave a widget alone that shows the value already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from typing import Any

from slicer.parameterNodeWrapper import GuiConnector


class WidgetConnector(GuiConnector):
    """Couples one widget with one parameter.

    Parameters
    ----------
    widget : QWidget
    read, write : callable
        Get and set what the widget shows.
    changed : signal
        Sent when a person changed it.
    """

    def __init__(self, widget: Any, read: Callable[[], Any], write: Callable[[Any], None], changed: Any) -> None:
        super().__init__()
        self._widget, self._read, self._write, self._signal = widget, read, write, changed

    @staticmethod
    def canRepresent(widget: Any, datatype: Any) -> bool:
        """These are handed over ready made, never chosen by Slicer."""
        return False

    @staticmethod
    def create(widget: Any, datatype: Any) -> None:
        """See `canRepresent`."""
        return None

    def widget(self) -> Any:
        """The widget."""
        return self._widget

    def read(self) -> Any:
        """What the widget shows."""
        return self._read()

    def write(self, value: Any) -> None:
        """Show a value; a widget that shows it already keeps its cursor."""
        if self._read() != value:
            self._write(value)

    def _connect(self) -> None:
        self._signal.connect(self._onSignal)

    def _disconnect(self) -> None:
        self._signal.disconnect(self._onSignal)

    def _onSignal(self, *_unused: object) -> None:
        self.changed()


def connector(widget: Any) -> WidgetConnector:
    """Return the connector of a widget, by what it is.

    Spin boxes and sliders couple numbers, check boxes and checkable buttons bools, line and text edits strings, combo
    boxes the data of their items, node combo boxes nodes, path edits paths, collapsible buttons whether they are
    collapsed.
    """

    def property_of(name: str, kind: Callable[[Any], Any] = lambda value: value) -> Callable[[], Any]:
        return lambda: kind(widget.property(name))

    kind = widget.metaObject().className()
    if hasattr(widget, "currentNodeChanged"):
        return WidgetConnector(widget, widget.currentNode, widget.setCurrentNode, widget.currentNodeChanged)
    if hasattr(widget, "currentPathChanged"):
        path = property_of("currentPath", lambda value: str(value or ""))
        return WidgetConnector(widget, path, widget.setCurrentPath, widget.currentPathChanged)
    if kind == "QComboBox":
        return WidgetConnector(
            widget,
            lambda: widget.itemData(widget.property("currentIndex")),
            lambda value: widget.setCurrentIndex(widget.findData(value)),
            widget.currentIndexChanged,
        )
    if hasattr(widget, "contentsCollapsed"):
        return WidgetConnector(
            widget,
            property_of("collapsed", bool),
            lambda value: widget.setProperty("collapsed", value),
            widget.contentsCollapsed,
        )
    if hasattr(widget, "valueChanged"):
        whole = kind in ("QSpinBox", "QSlider")
        return WidgetConnector(
            widget, property_of("value", int if whole else float), widget.setValue, widget.valueChanged
        )
    if hasattr(widget, "toPlainText"):
        return WidgetConnector(
            widget, property_of("plainText", lambda value: str(value or "")), widget.setPlainText, widget.textChanged
        )
    if hasattr(widget, "textChanged"):
        return WidgetConnector(
            widget, property_of("text", lambda value: str(value or "")), widget.setText, widget.textChanged
        )
    if hasattr(widget, "toggled"):
        return WidgetConnector(widget, property_of("checked", bool), widget.setChecked, widget.toggled)
    raise TypeError(f"No connector for a widget of class {kind}.")


def connect(parameters: Any, widgets: Mapping[str, Any]) -> Callable[[], None]:
    """Couple widgets with parameters, both ways; the widgets show the parameters' values at once.

    Parameters
    ----------
    parameters : parameter node wrapper
    widgets : mapping of parameter name to QWidget

    Returns
    -------
    callable
        Takes the coupling away.
    """
    tag = parameters.connectParametersToGui({name: connector(widget) for name, widget in widgets.items()})
    return lambda: parameters.disconnectGui(tag)


@contextmanager
def quiet(*widgets: Any):
    """Change widgets without their signals, as when a panel shows what nodes say."""
    former = [widget.blockSignals(True) for widget in widgets]
    try:
        yield
    finally:
        for widget, blocked in zip(widgets, former):
            widget.blockSignals(blocked)


def fillCombo(combo: Any, entries: Iterable[tuple[str, Any]], chosen: Any) -> None:
    """Give a combo box other choices without a signal, and show the chosen one; one that is not there shows nothing.

    Parameters
    ----------
    combo : QComboBox
    entries : iterable of (text, data)
    chosen : object
        Data of the choice to show.
    """
    entries = list(entries)
    with quiet(combo):
        if [(combo.itemText(n), combo.itemData(n)) for n in range(int(combo.property("count")))] != entries:
            combo.clear()
            for text, data in entries:
                combo.addItem(text, data)
        combo.setCurrentIndex(combo.findData(chosen))
