"""Objectives edited in a table or as text: two views of the same lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import qt
from slicer.i18n import tr as _

from DoseEngineLib.dose_metrics import format_number
from DoseEngineLib.errors import PlanningError
from DoseEngineLib.widget.connectors import fillCombo, quiet
from DoseEngineLib.widget.wheel_guard import WheelGuard
from OptimizerLib.objective_lines import ObjectiveLine, goals_of_lines, line_errors, read_lines
from OptimizerLib.planning_goals import PlanningGoals
from OptimizerLib.table_rows import KINDS, TableRow

_STRUCTURE, _KIND, _DOSE, _VOLUME, _WEIGHT, _LEVEL = range(6)
_LARGEST_DOSE, _LAST_LEVEL = 10_000.0, 99
# Pixels: the structure gets what is left.
_WIDTHS = {_KIND: 106, _DOSE: 66, _VOLUME: 50, _WEIGHT: 46, _LEVEL: 34}
_NEW_TEXT = "fluence smoothness, weight 0.01"


class ObjectivesEditor:
    """Connects a table and a text edit with lines of objectives.

    Parameters
    ----------
    table : QTableWidget
        With the columns structure, kind, dose, volume, weight and level.
    text : QPlainTextEdit
    message : QLabel
        Says which line cannot be used, and why.
    changed : callable
        Called when a person changed something.
    """

    def __init__(self, table: Any, text: Any, message: Any, changed: Callable[[], None]) -> None:
        self._table = table
        self._text = text
        self._message = message
        self._changed = changed
        self._lines: tuple[ObjectiveLine, ...] = ()
        self._structures: list[str] = []
        self._touched = -1
        # what was typed into a cell and cannot be a value of it
        self._mistyped = ""
        # a cell that goes still ends its editing: it no longer speaks for its row
        self._filled = 0
        self._wheel = WheelGuard()
        self._refill = qt.QTimer(table)
        self._refill.setSingleShot(True)
        self._refill.setInterval(0)
        self._refill.timeout.connect(self._fillTable)
        header = table.horizontalHeader()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(_STRUCTURE, qt.QHeaderView.Stretch)
        for column, width in _WIDTHS.items():
            table.setColumnWidth(column, width)
        text.textChanged.connect(self._onText)

    # What is there

    @property
    def lines(self) -> list[str]:
        """The lines as texts."""
        return [line.text for line in self._lines]

    def goals(self) -> PlanningGoals:
        """The objectives; raises `OptimizationError` for the first line that cannot be read."""
        return goals_of_lines(self._lines)

    @property
    def isEmpty(self) -> bool:
        """Whether there is no line."""
        return not self._lines

    def show(self, lines: Sequence[str], structures: Sequence[str]) -> None:
        """Show lines for a case with these structures; nothing is told to ``changed``."""
        sameStructures = list(structures) == self._structures
        self._structures = list(structures)
        if [line.text for line in read_lines(lines)] != self.lines:
            self._setLines(read_lines(lines))
        elif not sameStructures:
            self._fillTable()
        self._judge()

    # What a person does

    def addRow(self) -> None:
        """Add an objective to edit in the table."""
        structure = self._structures[0] if self._structures else "PTV"
        self._append([ObjectiveLine.of(TableRow(structure, "max", 20.0))])

    def addText(self) -> None:
        """Add an objective to edit as text."""
        self._append([ObjectiveLine.read(_NEW_TEXT)])

    def append(self, lines: Sequence[str]) -> None:
        """Add lines to those that are there."""
        self._append(read_lines(lines))

    def replaceAll(self, lines: Sequence[str]) -> None:
        """Put lines in place of all."""
        self._setLines(read_lines(lines))
        self._tell()

    def duplicate(self) -> None:
        """Copy the selected rows, else the one touched last, to behind them."""
        rows = self._chosen()
        if rows:
            at = rows[-1] + 1
            copies = [self._lines[row] for row in rows]
            self._setLines((*self._lines[:at], *copies, *self._lines[at:]))
            self._touched = at
            self._tell()

    def remove(self) -> None:
        """Remove the selected rows, else the one touched last."""
        rows = self._chosen()
        if rows:
            self._setLines(tuple(line for row, line in enumerate(self._lines) if row not in rows))
            self._touched = min(rows[0], len(self._lines) - 1)
            self._tell()

    # Both views

    def _append(self, lines: Sequence[ObjectiveLine]) -> None:
        self._setLines((*self._lines, *lines))
        self._touched = len(self._lines) - 1
        self._table.scrollToBottom()
        self._tell()

    def _setLines(self, lines: Sequence[ObjectiveLine]) -> None:
        self._lines = tuple(lines)
        self._mistyped = ""
        self._showText()
        self._fillTable()

    def _setLine(self, row: int, line: ObjectiveLine) -> None:
        """Put a line in place of another; its row shows it already."""
        self._lines = (*self._lines[:row], line, *self._lines[row + 1 :])
        self._touched = row
        self._mistyped = ""
        self._showText()
        self._tell()

    def _tell(self) -> None:
        self._judge()
        self._changed()

    def _judge(self) -> None:
        """Say what keeps the lines from being used."""
        texts = [*([self._mistyped] if self._mistyped else []), *line_errors(self._lines, self._structures)]
        self._message.setText("\n".join(texts))
        self._message.setVisible(bool(texts))

    def _tellError(self, text: str) -> None:
        self._mistyped = text
        self._judge()

    # The text

    def _showText(self) -> None:
        wanted = "\n".join(self.lines)
        if [line.text for line in read_lines(self._plainText())] != self.lines:
            with quiet(self._text):
                self._text.setPlainText(wanted)

    def _plainText(self) -> str:
        return str(self._text.property("plainText") or "")

    def _onText(self, *_unused: object) -> None:
        lines = read_lines(self._plainText())
        if [line.text for line in lines] != self.lines:
            self._lines = lines
            self._mistyped = ""
            self._fillTable()
            self._tell()

    # The table

    def _chosen(self) -> list[int]:
        selected = sorted({index.row() for index in self._table.selectionModel().selectedRows()})
        if selected:
            return selected
        last = len(self._lines) - 1
        return [] if last < 0 else [self._touched if 0 <= self._touched <= last else last]

    def _fillTable(self) -> None:
        table = self._table
        self._filled += 1
        table.clearSelection()
        # rows with texts span columns; their cells are made anew
        table.clearSpans()
        table.setRowCount(0)
        table.setRowCount(len(self._lines))
        for row, line in enumerate(self._lines):
            if line.in_table is None:
                table.setSpan(row, 0, 1, _LEVEL + 1)
                table.setCellWidget(row, 0, self._textCell(row, line))
            else:
                self._fillRow(row, line.in_table)

    def _textCell(self, row: int, line: ObjectiveLine) -> Any:
        edit = qt.QLineEdit()
        edit.setText(line.text)
        edit.setToolTip(line.error or _("An objective that the columns cannot hold, as text"))
        if line.row is None:
            edit.setStyleSheet("border: 1px solid #b3261e;")

        filled = self._filled

        def onFinished() -> None:
            if filled != self._filled:
                return
            typed = ObjectiveLine.read(str(edit.property("text")))
            if typed.text == self._lines[row].text:
                return
            if not typed.text:
                # an empty line is none; that of the row stays until it is removed
                edit.setText(self._lines[row].text)
                return
            self._setLine(row, typed)
            # the row may have become one of the table; not while its own signal is on its way
            self._refill.start()

        edit.editingFinished.connect(onFinished)
        return edit

    def _fillRow(self, row: int, shown: TableRow) -> None:
        table, filled = self._table, self._filled
        structures, kinds = qt.QComboBox(), qt.QComboBox()
        dose = _spinBox(0.0, _LARGEST_DOSE, 2, shown.dose, _("Dose of the course; % is of the prescribed dose"))
        volume = _spinBox(0.0, 100.0, 2, shown.volume_percent, _("Part of the structure's volume in %"))
        weight = qt.QLineEdit()
        # weights span many powers of ten: as a person writes them
        weight.setText(format_number(shown.weight))
        weight.setToolTip(_("Importance among the objectives of its level"))
        level = qt.QSpinBox()
        level.setRange(1, _LAST_LEVEL)
        level.setValue(shown.level)
        level.setButtonSymbols(qt.QAbstractSpinBox.NoButtons)
        level.setToolTip(_("Priority: level 1 is optimized first, and kept while level 2 is, and so on"))
        names = [(name, name) for name in self._structures]
        if shown.structure not in self._structures:
            names.append((_("{name} (not there)").format(name=shown.structure), shown.structure))
        fillCombo(structures, names, shown.structure)
        structures.setToolTip(_("The structure whose dose counts"))
        fillCombo(kinds, [(_(kind.title), key) for key, kind in KINDS.items()], shown.kind)

        def showKind(now: TableRow) -> None:
            kind = KINDS[now.kind]
            kinds.setToolTip(_(kind.explanation))
            with quiet(dose, volume):
                for box, used in ((dose, kind.has_dose), (volume, kind.has_volume)):
                    box.setEnabled(used)
                    # a column that does not count is blank
                    box.setSpecialValueText("" if used else " ")
                dose.setSuffix(f" {now.unit}")
                dose.setValue(now.dose if kind.has_dose else 0.0)
                volume.setValue(now.volume_percent if kind.has_volume else 0.0)

        def change(make: Callable[[TableRow], TableRow]) -> None:
            now = self._lines[row].in_table if filled == self._filled else None
            if now is None:
                return
            try:
                changed = make(now)
                line = ObjectiveLine.of(changed)
            except PlanningError as error:
                self._tellError(str(error))
                return
            self._setLine(row, line)
            showKind(changed)

        def onWeight() -> None:
            if filled != self._filled:
                return
            text = str(weight.property("text")).strip()
            try:
                value = float(text)
            except ValueError:
                self._tellError(_("The weight {text!r} is no number; write one such as 100 or 0.01.").format(text=text))
                return
            if value != self._lines[row].in_table.weight:
                change(lambda now: replace(now, weight=value))

        def chosen(combo: Any) -> Any:
            return combo.itemData(combo.property("currentIndex"))

        def onChange(signal: Any, make: Callable[[TableRow], TableRow]) -> None:
            signal.connect(lambda *_unused: change(make))

        onChange(structures.currentIndexChanged, lambda now: replace(now, structure=chosen(structures)))
        onChange(kinds.currentIndexChanged, lambda now: now.with_kind(chosen(kinds)))
        onChange(dose.valueChanged, lambda now: replace(now, dose=float(dose.property("value"))))
        onChange(volume.valueChanged, lambda now: replace(now, volume_percent=float(volume.property("value"))))
        weight.editingFinished.connect(onWeight)
        onChange(level.valueChanged, lambda now: replace(now, level=int(level.property("value"))))
        showKind(shown)
        for column, widget in enumerate((structures, kinds, dose, volume, weight, level)):
            self._wheel.guard(widget)
            table.setCellWidget(row, column, widget)


def _spinBox(low: float, high: float, decimals: int, value: float, toolTip: str) -> Any:
    box = qt.QDoubleSpinBox()
    box.setDecimals(decimals)
    box.setRange(low, high)
    box.setValue(value)
    # rows are to fit a narrow panel
    box.setButtonSymbols(qt.QAbstractSpinBox.NoButtons)
    # while a number is typed it is not yet one
    box.setKeyboardTracking(False)
    box.setToolTip(toolTip)
    return box
