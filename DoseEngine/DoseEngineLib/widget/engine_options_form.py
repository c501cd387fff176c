"""A form of an engine's options, made from what the engine declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qt

from DoseEngineLib.engine_option import EngineOption
from DoseEngineLib.widget.connectors import quiet
from DoseEngineLib.widget.wheel_guard import WheelGuard


class EngineOptionsForm:
    """Widgets for options, in a layout.

    Parameters
    ----------
    layout : QLayout
    changed : callable
        Called when a person changed an option.

    Attributes
    ----------
    fields : dict of str to QWidget
        The widget of each option, by name: check box, spin box or combo box.
    automatic : dict of str to QCheckBox
        Of options that may be left to the engine.
    """

    def __init__(self, layout: Any, changed: Callable[[], None]) -> None:
        self._layout, self._changed = layout, changed
        self._options: tuple[EngineOption, ...] = ()
        self._values: dict[str, Any] = {}
        self._form: Any = None
        self._wheel = WheelGuard()
        self.fields: dict[str, Any] = {}
        self.automatic: dict[str, Any] = {}

    def setOptions(self, options: Sequence[EngineOption]) -> None:
        """Show these options at their defaults; nothing changes when they are shown already."""
        options = tuple(options)
        if options == self._options and self._form is not None:
            return
        if self._form is not None:
            self._form.setParent(None)
            self._form.deleteLater()
        self._options, self.fields, self.automatic = options, {}, {}
        self._form = qt.QWidget()
        form = qt.QFormLayout(self._form)
        form.setContentsMargins(0, 0, 0, 0)
        for option in options:
            if option.kind == "bool":
                form.addRow(self._checkBox(option))
            else:
                title = qt.QLabel(f"{option.title}:")
                title.setToolTip(option.tool_tip)
                form.addRow(title, self._field(option))
        self._wheel.guard(self._form)
        self._layout.addWidget(self._form)
        self.setValues({})

    def setValues(self, values: Mapping[str, Any]) -> None:
        """Show values; options that are not among them are at their default."""
        self._values = {option.name: values.get(option.name, option.default) for option in self._options}
        for option in self._options:
            value, field = self._values[option.name], self.fields[option.name]
            with quiet(field):
                if option.kind == "bool":
                    field.setChecked(bool(value))
                elif option.kind == "choice":
                    field.setCurrentIndex(field.findData(value))
                elif value is not None:
                    field.setValue(value)
            if option.name in self.automatic:
                with quiet(self.automatic[option.name]):
                    self.automatic[option.name].setChecked(value is None)
                field.setEnabled(value is not None)

    def values(self) -> dict[str, Any]:
        """Return the options that are not at their default, those that nobody touched exactly as they were set."""
        return {o.name: self._values[o.name] for o in self._options if self._values[o.name] != o.default}

    def _shown(self, option: EngineOption) -> Any:
        field = self.fields[option.name]
        if option.name in self.automatic and self.automatic[option.name].property("checked"):
            return None
        if option.kind == "bool":
            return bool(field.property("checked"))
        if option.kind == "choice":
            return field.itemData(field.property("currentIndex"))
        return int(field.property("value")) if option.kind == "int" else float(field.property("value"))

    def _checkBox(self, option: EngineOption) -> Any:
        box = qt.QCheckBox(option.title)
        box.setToolTip(option.tool_tip)
        box.toggled.connect(self._handler(option))
        self.fields[option.name] = box
        return box

    def _field(self, option: EngineOption) -> Any:
        if option.kind == "choice":
            field = qt.QComboBox()
            for value, title in option.choices:
                field.addItem(title, value)
            field.currentIndexChanged.connect(self._handler(option))
        else:
            whole = option.kind == "int"
            field = qt.QSpinBox() if whole else qt.QDoubleSpinBox()
            number = int if whole else float
            field.setRange(number(option.minimum), number(option.maximum))
            field.setSingleStep(number(option.step))
            if not whole:
                field.setDecimals(2 if option.step < 1.0 else 1)
            field.setSuffix(f" {option.unit}" if option.unit else "")
            field.valueChanged.connect(self._handler(option))
        field.setToolTip(option.tool_tip)
        self.fields[option.name] = field
        if not option.automatic:
            return field
        box = qt.QCheckBox(option.automatic)
        box.setToolTip(option.tool_tip)
        box.toggled.connect(self._handler(option))
        self.automatic[option.name] = box
        both = qt.QWidget()
        row = qt.QVBoxLayout(both)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(box)
        row.addWidget(field)
        return both

    def _handler(self, option: EngineOption) -> Callable[..., None]:
        def onChanged(*_unused: object) -> None:
            if option.name in self.automatic:
                self.fields[option.name].setEnabled(not self.automatic[option.name].property("checked"))
            self._values[option.name] = self._shown(option)
            self._changed()

        return onChanged
