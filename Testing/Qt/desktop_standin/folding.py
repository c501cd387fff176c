"""ctk's sections that fold: a collapsed one hides its children and shows them again, except those that were hidden."""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtTest, QtWidgets


class _Folding:
    """Hide and show the children of a widget, remembering which of them their panel hid itself."""

    def _start_folding(self) -> None:
        self._wanted: dict[QtWidgets.QWidget, bool] = {}
        self._forcing = False
        self._folded = False

    def _fold(self, folded: bool) -> None:
        self._folded = folded
        for child in self.children():
            if not child.isWidgetType():
                continue
            if folded:
                hidden = child.isHidden() and child.testAttribute(QtCore.Qt.WidgetAttribute.WA_WState_ExplicitShowHide)
                self._wanted[child] = not hidden
                child.installEventFilter(self)
            else:
                child.removeEventFilter(self)
            self._force(child, not folded and self._wanted.get(child, True))
        if not folded:
            self._wanted = {}

    def _force(self, child: QtWidgets.QWidget, visible: bool) -> None:
        self._forcing = True
        child.setVisible(visible)
        if self._wanted.get(child, True):
            # Qt passes over a request to hide what somebody hid before: this hiding is not to count as one
            child.setAttribute(QtCore.Qt.WidgetAttribute.WA_WState_ExplicitShowHide, False)
        self._forcing = False

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        super().childEvent(event)
        # what is put into a folded section is hidden with the rest; it is complete only once it is polished
        if not event.polished() or not getattr(self, "_folded", False):
            return
        child = event.child()
        if child.isWidgetType() and child not in self._wanted:
            self._wanted[child] = True
            child.installEventFilter(self)
            self._force(child, False)

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        super().showEvent(event)
        if self._folded:
            for child in self._wanted:
                self._force(child, False)

    def eventFilter(self, child: QtCore.QObject, event: QtCore.QEvent) -> bool:
        kind = event.type()
        if self._folded and not self._forcing and child in self._wanted:
            if kind == QtCore.QEvent.Type.ShowToParent:
                self._wanted[child] = True
                self._force(child, False)
            elif kind == QtCore.QEvent.Type.HideToParent:
                self._wanted[child] = False
        return False


class ctkCollapsibleButton(_Folding, QtWidgets.QAbstractButton):
    """A titled section; a click on the title folds it. Checked and collapsed are opposites."""

    contentsCollapsed = QtCore.Signal(bool)

    def __init__(self, *arguments: object) -> None:
        text = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        super().__init__(arguments[-1] if arguments and not isinstance(arguments[-1], str) else None)
        self._start_folding()
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Minimum, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self._title_height(), 0, 0)
        self._maximum = self.maximumHeight()
        self.toggled.connect(self._on_toggled)

    def _title_height(self) -> int:
        return self.fontMetrics().height() + 10

    def _on_toggled(self, checked: bool) -> None:
        self._fold(not checked)
        if checked:
            self.setMaximumHeight(self._maximum)
        else:
            self._maximum = self.maximumHeight()
            self.setMaximumHeight(self._title_height())
        self.updateGeometry()
        self.contentsCollapsed.emit(not checked)

    def _get_collapsed(self) -> bool:
        return self._folded

    def setCollapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = QtCore.Property(bool, _get_collapsed, setCollapsed, notify=contentsCollapsed)

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return position.y() <= self._title_height()

    def sizeHint(self) -> QtCore.QSize:
        title = QtCore.QSize(self.fontMetrics().horizontalAdvance(self.text()) + 40, self._title_height())
        if self._folded or self.layout() is None:
            return title
        return self.layout().totalSizeHint().expandedTo(title)

    def minimumSizeHint(self) -> QtCore.QSize:
        title = QtCore.QSize(self.fontMetrics().horizontalAdvance(self.text()) + 40, self._title_height())
        if self._folded or self.layout() is None:
            return title
        return self.layout().totalMinimumSize().expandedTo(title)

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        title = QtCore.QRect(0, 0, self.width() - 1, self._title_height() - 4)
        painter.fillRect(title, self.palette().button())
        painter.setPen(self.palette().mid().color())
        painter.drawRect(title)
        painter.setPen(self.palette().buttonText().color())
        middle = title.center().y()
        arrow = [(8, -5), (8, 5), (14, 0)] if self._folded else [(6, -3), (16, -3), (11, 4)]
        painter.setBrush(self.palette().buttonText())
        painter.drawPolygon([QtCore.QPoint(x, middle + y) for x, y in arrow])
        painter.drawText(title.adjusted(24, 0, 0, 0), QtCore.Qt.AlignmentFlag.AlignVCenter, self.text())
        painter.end()


class ctkCollapsibleGroupBox(_Folding, QtWidgets.QGroupBox):
    """A group box whose check mark folds it."""

    def __init__(self, *arguments: object) -> None:
        text = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        super().__init__(arguments[-1] if arguments and not isinstance(arguments[-1], str) else None)
        self._start_folding()
        self.setTitle(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(lambda checked: self._fold(not checked))

    def _get_collapsed(self) -> bool:
        return not self.isChecked()

    def setCollapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = QtCore.Property(bool, _get_collapsed, setCollapsed)


def click_title(button: ctkCollapsibleButton) -> None:
    """Click on the title of a section as a person does; it must be enabled."""
    assert button.isEnabled(), f"section {button.text()!r} is disabled: a person cannot fold it"
    QtTest.QTest.mouseClick(button, QtCore.Qt.MouseButton.LeftButton, pos=QtCore.QPoint(20, 5))


WIDGETS = (ctkCollapsibleButton, ctkCollapsibleGroupBox)
