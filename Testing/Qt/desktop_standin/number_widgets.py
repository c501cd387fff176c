"""Spin boxes and sliders of ctk and qMRML; those of qMRML take prefix, suffix and precision from the scene's units."""

from __future__ import annotations

import math
import weakref

import shiboken6
from PySide6 import QtCore, QtWidgets


def _forwarded(kind: type, getter: str, setter: str) -> QtCore.Property:
    """Make a property that lives in the spin box inside."""

    def get(self: QtWidgets.QWidget) -> object:
        return getattr(self.spinBox(), getter)()

    def put(self: QtWidgets.QWidget, value: object) -> None:
        getattr(self, setter)(value)

    return QtCore.Property(kind, get, put)


class _Proxy:
    """What is shown of a value: coefficient * value + offset."""

    coefficient = 1.0
    offset = 0.0

    def shown(self, value: float) -> float:
        return self.coefficient * value + self.offset

    def value(self, shown: float) -> float:
        return (shown - self.offset) / self.coefficient


class ctkDoubleSpinBox(QtWidgets.QWidget):
    """A widget with a QDoubleSpinBox in it."""

    # the real signal is overloaded, (double) and (QString)
    valueChanged = QtCore.Signal(float)
    editingFinished = QtCore.Signal()
    decimalsChanged = QtCore.Signal(int)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._spin = QtWidgets.QDoubleSpinBox(self)
        self._proxy = _Proxy()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._spin)
        self.setFocusProxy(self._spin)
        self._spin.valueChanged.connect(lambda shown: self.valueChanged.emit(self._proxy.value(shown)))
        self._spin.editingFinished.connect(self.editingFinished)

    def spinBox(self) -> QtWidgets.QDoubleSpinBox:
        return self._spin

    def _get_value(self) -> float:
        return self._proxy.value(self._spin.value())

    def setValue(self, value: float) -> None:
        self._spin.setValue(self._proxy.shown(value))

    value = QtCore.Property(float, _get_value, setValue, notify=valueChanged)

    def _get_minimum(self) -> float:
        return self._proxy.value(self._spin.minimum())

    def setMinimum(self, value: float) -> None:
        self._spin.setMinimum(self._proxy.shown(value))

    def _get_maximum(self) -> float:
        return self._proxy.value(self._spin.maximum())

    def setMaximum(self, value: float) -> None:
        self._spin.setMaximum(self._proxy.shown(value))

    minimum = QtCore.Property(float, _get_minimum, setMinimum)
    maximum = QtCore.Property(float, _get_maximum, setMaximum)

    def setRange(self, minimum: float, maximum: float) -> None:
        self.setMinimum(minimum)
        self.setMaximum(maximum)

    def setDecimals(self, decimals: int) -> None:
        if decimals != self._spin.decimals():
            self._spin.setDecimals(decimals)
            self.decimalsChanged.emit(decimals)

    def setSingleStep(self, step: float) -> None:
        self._spin.setSingleStep(step)

    def setPrefix(self, prefix: str) -> None:
        self._spin.setPrefix(prefix)

    def setSuffix(self, suffix: str) -> None:
        self._spin.setSuffix(suffix)

    def setReadOnly(self, readOnly: bool) -> None:
        self._spin.setReadOnly(readOnly)

    decimals = _forwarded(int, "decimals", "setDecimals")
    singleStep = _forwarded(float, "singleStep", "setSingleStep")
    prefix = _forwarded(str, "prefix", "setPrefix")
    suffix = _forwarded(str, "suffix", "setSuffix")
    readOnly = _forwarded(bool, "isReadOnly", "setReadOnly")
    cleanText = QtCore.Property(str, lambda self: self._spin.cleanText())

    def text(self) -> str:
        return self._spin.text()

    def stepUp(self) -> None:
        self._spin.stepUp()

    def stepDown(self) -> None:
        self._spin.stepDown()


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider with a spin box beside it. With tracking, the value follows the drag."""

    valueChanged = QtCore.Signal(float)
    valueIsChanging = QtCore.Signal(float)
    decimalsChanged = QtCore.Signal(int)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal, self)
        self._number = ctkDoubleSpinBox(self)
        self._tracking = True
        self._page = 10.0
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._number)
        self._number.setRange(0.0, 100.0)
        self._number.valueChanged.connect(self._on_number)
        self._slider.valueChanged.connect(self._on_slider)
        self._slider.sliderReleased.connect(self._on_released)
        self._fit_slider()

    def _fit_slider(self) -> None:
        low, high, step = self._get_minimum(), self._get_maximum(), self._get_step()
        self._slider.blockSignals(True)
        self._slider.setRange(0, max(1, round((high - low) / step)))
        self._slider.setValue(round((self._get_value() - low) / step))
        self._slider.blockSignals(False)

    def _on_number(self, value: float) -> None:
        self._slider.blockSignals(True)
        self._slider.setValue(round((value - self._get_minimum()) / self._get_step()))
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    def _on_slider(self, position: int) -> None:
        value = self._get_minimum() + position * self._get_step()
        if self._tracking or not self._slider.isSliderDown():
            self._number.setValue(value)
        else:
            self.valueIsChanging.emit(value)

    def _on_released(self) -> None:
        if not self._tracking:
            self._number.setValue(self._get_minimum() + self._slider.value() * self._get_step())

    def spinBox(self) -> ctkDoubleSpinBox:
        return self._number

    def slider(self) -> QtWidgets.QSlider:
        return self._slider

    def _get_value(self) -> float:
        return self._number.property("value")

    def setValue(self, value: float) -> None:
        self._number.setValue(value)

    def _get_minimum(self) -> float:
        return self._number.property("minimum")

    def _get_maximum(self) -> float:
        return self._number.property("maximum")

    def setMinimum(self, value: float) -> None:
        self._number.setMinimum(value)
        self._fit_slider()

    def setMaximum(self, value: float) -> None:
        self._number.setMaximum(value)
        self._fit_slider()

    def setRange(self, minimum: float, maximum: float) -> None:
        self.setMinimum(minimum)
        self.setMaximum(maximum)

    def _get_step(self) -> float:
        return self._number.property("singleStep")

    def setSingleStep(self, step: float) -> None:
        self._number.setSingleStep(step)
        self._fit_slider()

    def setDecimals(self, decimals: int) -> None:
        self._number.setDecimals(decimals)
        self.decimalsChanged.emit(decimals)

    def setPrefix(self, prefix: str) -> None:
        self._number.setPrefix(prefix)

    def setSuffix(self, suffix: str) -> None:
        self._number.setSuffix(suffix)

    def setPageStep(self, step: float) -> None:
        self._page = step

    def setTracking(self, tracking: bool) -> None:
        self._tracking = tracking

    def setSpinBoxVisible(self, visible: bool) -> None:
        self._number.setVisible(visible)

    value = QtCore.Property(float, _get_value, setValue)
    minimum = QtCore.Property(float, _get_minimum, setMinimum)
    maximum = QtCore.Property(float, _get_maximum, setMaximum)
    singleStep = QtCore.Property(float, _get_step, setSingleStep)
    pageStep = QtCore.Property(float, lambda self: self._page, setPageStep)
    tracking = QtCore.Property(bool, lambda self: self._tracking, setTracking)
    decimals = QtCore.Property(int, lambda self: self._number.property("decimals"), setDecimals)
    prefix = QtCore.Property(str, lambda self: self._number.property("prefix"), setPrefix)
    suffix = QtCore.Property(str, lambda self: self._number.property("suffix"), setSuffix)
    spinBoxVisible = QtCore.Property(bool, lambda self: not self._number.isHidden(), setSpinBoxVisible)


class _Units:
    """A number with a quantity: what the scene's unit node of that quantity says, it shows."""

    Prefix, Suffix, Precision, MinimumValue, MaximumValue, Scaling = 1, 2, 4, 8, 16, 32

    def _start_units(self, flags: int) -> None:
        self._quantity = ""
        self._flags = flags
        self._scene = None
        self._observed: tuple | None = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        if scene is self._scene:
            return
        if self._observed is not None:
            self._observed[0].RemoveObserver(self._observed[1])
            self._observed = None
        self._scene = scene
        selection = scene.GetNodeByID("vtkMRMLSelectionNodeSingleton") if scene is not None else None
        if selection is not None:
            weak = weakref.ref(self)

            def on_unit(caller: object, event: str) -> None:
                widget = weak()
                if widget is not None and shiboken6.isValid(widget):
                    widget._show_unit()

            self._observed = (selection, selection.AddObserver(selection.UnitModifiedEvent, on_unit))
        self._show_unit()
        self.setEnabled(scene is not None)

    def setQuantity(self, quantity: str) -> None:
        self._quantity = quantity
        self._show_unit()

    def setUnitAwareProperties(self, flags: int) -> None:
        self._flags = int(flags)

    def _unit(self):
        if self._observed is None or not self._quantity:
            return None
        return self._observed[0].GetUnitNode(self._quantity)

    def _show_unit(self) -> None:
        unit = self._unit()
        if unit is None:
            return
        if self._flags & self.Precision:
            self.setDecimals(unit.GetPrecision())
            self._step_from(unit)
        if self._flags & self.Prefix:
            self.setPrefix(unit.GetPrefix() or "")
        if self._flags & self.Suffix:
            self.setSuffix(unit.GetSuffix() or "")
        if self._flags & self.MinimumValue:
            self.setMinimum(unit.GetMinimumValue())
        if self._flags & self.MaximumValue:
            self.setMaximum(unit.GetMaximumValue())
        if self._flags & self.Scaling:
            number = self if isinstance(self, ctkDoubleSpinBox) else self._number
            low, high, value = (number.property(name) for name in ("minimum", "maximum", "value"))
            number._proxy.coefficient, number._proxy.offset = unit.GetDisplayCoefficient(), unit.GetDisplayOffset()
            number.blockSignals(True)
            number.setRange(low, high)
            number.setValue(value)
            number.blockSignals(False)


class qMRMLSpinBox(_Units, ctkDoubleSpinBox):
    """A spin box of a quantity. By default its range is the unit node's, too, and its value is not scaled."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._start_units(self.Prefix | self.Suffix | self.Precision | self.MinimumValue | self.MaximumValue)

    def _step_from(self, unit) -> None:
        self.setSingleStep(10.0 ** -unit.GetPrecision())

    quantity = QtCore.Property(str, lambda self: self._quantity, _Units.setQuantity)
    unitAwareProperties = QtCore.Property(int, lambda self: self._flags, _Units.setUnitAwareProperties)


class qMRMLSliderWidget(_Units, ctkSliderWidget):
    """A slider of a quantity. By default its range is its own, and its value is scaled by the unit node."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._start_units(self.Prefix | self.Suffix | self.Precision | self.Scaling)

    def _step_from(self, unit) -> None:
        span = unit.GetDisplayCoefficient() * (self._get_maximum() - self._get_minimum())
        if span > 0.0:
            self.setSingleStep(10.0 ** round(math.log10(span)) / 100.0)

    def setMinimum(self, value: float) -> None:
        super().setMinimum(value)
        self._show_unit()

    def setMaximum(self, value: float) -> None:
        super().setMaximum(value)
        self._show_unit()

    # properties call the methods of their own class
    minimum = QtCore.Property(float, lambda self: self._get_minimum(), setMinimum)
    maximum = QtCore.Property(float, lambda self: self._get_maximum(), setMaximum)
    quantity = QtCore.Property(str, lambda self: self._quantity, _Units.setQuantity)
    unitAwareProperties = QtCore.Property(int, lambda self: self._flags, _Units.setUnitAwareProperties)


CTK_WIDGETS = (ctkDoubleSpinBox, ctkSliderWidget)
QMRML_WIDGETS = (qMRMLSpinBox, qMRMLSliderWidget)
