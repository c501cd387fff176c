"""The table of a case's structures: color, name, role, volume, and what TG-263 would call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from DoseEngineLib.plan import ROLES
from DoseEngineLib.widget.connectors import fillCombo, quiet
from DoseEngineLib.widget.wheel_guard import WheelGuard
from RTPlanningLib.contouring.name_check import check_name
from RTPlanningLib.mrml.structure_rows import StructureRow

COLOR, NAME, ROLE, VOLUME, HINT = range(5)
_COLUMNS = (
    ("", "Color in all views; double-click to choose another"),
    ("Name", "Name; double-click to change it"),
    ("Role", "What the structure is for: targets, organs at risk (OAR), the body, and helpers"),
    ("Volume", "Volume by voxel count"),
    ("TG-263", "Whether the name is as AAPM TG-263 has it, or what it would be"),
)
# In the words of the clinic; the rest is as DICOM RT has it.
ROLE_TITLES = {
    "GTV": "GTV",
    "CTV": "CTV",
    "PTV": "PTV",
    "ORGAN": "OAR",
    "AVOIDANCE": "Avoidance",
    "EXTERNAL": "Body",
    "CONTROL": "Planning",
    "SUPPORT": "Couch",
    "OTHER": "Other",
}


def roleEntries() -> list[tuple[str, str]]:
    """Return the roles for a combo box: (title, role)."""
    return [(_(ROLE_TITLES[role]), role) for role in ROLES]


class StructureTable:
    """Shows structures in a table widget, and says what a person changed.

    Parameters
    ----------
    table : QTableWidget
    renamed : callable
        Gets the structure's name and the name typed.
    roleChosen : callable
        Gets the structure's name and the role.
    colorChosen : callable
        Gets the structure's name and RGB in 0..1.
    selected : callable
        Gets the name of the structure chosen.
    """

    def __init__(
        self,
        table: Any,
        renamed: Callable[[str, str], None],
        roleChosen: Callable[[str, str], None],
        colorChosen: Callable[[str, tuple[float, float, float]], None],
        selected: Callable[[str], None],
    ) -> None:
        self._table = table
        self._renamed, self._roleChosen = renamed, roleChosen
        self._colorChosen, self._selected = colorChosen, selected
        self._rows: list[StructureRow] = []
        self._wheel = WheelGuard()
        # the handlers of combo boxes in cells live as long as these
        self._combos: list[tuple[Any, Any]] = []
        table.setColumnCount(len(_COLUMNS))
        table.setHorizontalHeaderLabels([_(title) for title, _tip in _COLUMNS])
        for column, (_title, tip) in enumerate(_COLUMNS):
            table.horizontalHeaderItem(column).setToolTip(_(tip))
        table.verticalHeader().setVisible(False)
        for column, width in ((COLOR, 24), (NAME, 110), (ROLE, 84), (VOLUME, 76)):
            table.setColumnWidth(column, width)
        table.cellChanged.connect(self._onCellChanged)
        table.cellDoubleClicked.connect(self._onDoubleClicked)
        table.itemSelectionChanged.connect(self._onSelection)

    @property
    def selectedName(self) -> str:
        """Name of the structure chosen; empty when there is none."""
        row = self._table.currentRow()
        return self._rows[row].name if 0 <= row < len(self._rows) else ""

    def proposal(self, name: str) -> str:
        """What TG-263 would call a structure of the table; empty where there is nothing to propose."""
        return check_name(name, [row.name for row in self._rows]).proposal

    def show(self, rows: Sequence[StructureRow], selected: str = "") -> None:
        """Show these structures; ``selected`` is chosen, or the one that was."""
        table = self._table
        current = table.currentRow()
        # by its ID: it may have been renamed
        formerID = self._rows[current].segment_id if 0 <= current < len(self._rows) else ""
        isNew = [row.segment_id for row in rows] != [row.segment_id for row in self._rows]
        with quiet(table):
            self._rows = list(rows)
            if isNew:
                self._rebuild(len(rows))
            names = [row.name for row in rows]
            for number, row in enumerate(rows):
                self._showRow(number, row, names)
            ids = [row.segment_id for row in rows]
            current = ids.index(formerID) if formerID in ids else -1
            current = names.index(selected) if selected in names else current
            if table.currentRow() != current:
                table.setCurrentCell(current, NAME if current >= 0 else -1)

    def _rebuild(self, count: int) -> None:
        table = self._table
        self._combos = []
        table.setRowCount(0)
        table.setRowCount(count)
        for row in range(count):
            for column in (COLOR, NAME, VOLUME, HINT):
                item = qt.QTableWidgetItem("")
                item.setToolTip(_(_COLUMNS[column][1]))
                if column != NAME:
                    item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                if column == VOLUME:
                    item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
                table.setItem(row, column, item)
            combo = qt.QComboBox()
            combo.setToolTip(_(_COLUMNS[ROLE][1]))
            self._wheel.guard(combo)
            fillCombo(combo, roleEntries(), "")
            handler = self._roleHandler(row)
            combo.currentIndexChanged.connect(handler)
            self._combos.append((combo, handler))
            table.setCellWidget(row, ROLE, combo)

    def _showRow(self, number: int, row: StructureRow, names: Sequence[str]) -> None:
        table = self._table
        color = qt.QColor(*(round(255 * part) for part in row.color))
        table.item(number, COLOR).setBackground(qt.QBrush(color))
        self._setText(number, NAME, row.name)
        combo = self._combos[number][0]
        with quiet(combo):
            combo.setCurrentIndex(combo.findData(row.role))
        volume = "…" if row.volume_cm3 is None else _("{volume} cm³").format(volume=_rounded(row.volume_cm3))
        self._setText(number, VOLUME, volume)
        check = check_name(row.name, [name for name in names if name != row.name])
        self._setText(number, HINT, "✓" if check.is_standard else (check.proposal and f"→ {check.proposal}") or "?")
        table.item(number, HINT).setToolTip(check.text)

    def _setText(self, row: int, column: int, text: str) -> None:
        item = self._table.item(row, column)
        if item.text() != text:
            item.setText(text)

    def _roleHandler(self, number: int) -> Callable[..., None]:
        def chosen(*_unused: object) -> None:
            combo = self._combos[number][0]
            role = combo.itemData(combo.property("currentIndex"))
            if role and role != self._rows[number].role:
                self._roleChosen(self._rows[number].name, role)

        return chosen

    def _onCellChanged(self, row: int, column: int) -> None:
        if column == NAME and row < len(self._rows):
            text = self._table.item(row, column).text()
            if text != self._rows[row].name:
                self._renamed(self._rows[row].name, text)

    def _onDoubleClicked(self, row: int, column: int) -> None:
        if column != COLOR or row >= len(self._rows):
            return
        former = qt.QColor(*(round(255 * part) for part in self._rows[row].color))
        color = qt.QColorDialog.getColor(former, self._table)
        if color.isValid():
            self._colorChosen(self._rows[row].name, (color.redF(), color.greenF(), color.blueF()))

    def _onSelection(self) -> None:
        if self.selectedName:
            self._selected(self.selectedName)


def _rounded(volume_cm3: float) -> str:
    """Three digits, never in powers of ten."""
    if volume_cm3 >= 100.0:
        return f"{volume_cm3:.0f}"
    return f"{volume_cm3:.1f}" if volume_cm3 >= 10.0 else f"{volume_cm3:.2f}"
