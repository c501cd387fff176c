"""Which structures trade against each other: a number a structure, those of the same number make up a goal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from DoseEngineLib.widget.wheel_guard import WheelGuard

_STRUCTURE, _GOAL = range(2)
_MOST_GOALS = 4


class GoalsTable:
    """Connects a table with the goals of a trade-off.

    Parameters
    ----------
    table : QTableWidget
        With the columns structure and goal.
    changed : callable
        Called when a person changed a number.
    """

    def __init__(self, table: Any, changed: Callable[[], None]) -> None:
        self._table = table
        self._changed = changed
        self._structures: list[str] = []
        self._wheel = WheelGuard()

    def show(self, structures: Sequence[str], numbers: Mapping[str, int]) -> None:
        """Offer these structures, with these numbers; one without a number is a goal of its own, as far as they go."""
        structures = list(structures)
        wanted = [numbers.get(name, min(row + 1, _MOST_GOALS)) for row, name in enumerate(structures)]
        if structures == self._structures and wanted == list(self.numbers().values()):
            return
        self._structures = structures
        # boxes of former rows go
        self._table.setRowCount(0)
        self._table.setRowCount(len(structures))
        for row, name in enumerate(structures):
            box = qt.QSpinBox()
            box.setRange(1, _MOST_GOALS)
            box.setValue(wanted[row])
            box.setToolTip(_("Structures of the same number make up one goal"))
            box.valueChanged.connect(lambda *_unused: self._changed())
            self._table.setItem(row, _STRUCTURE, qt.QTableWidgetItem(name))
            self._wheel.guard(box)
            self._table.setCellWidget(row, _GOAL, box)

    def numberOf(self, structure: str) -> Any:
        """The box with the number of a structure's goal."""
        return self._table.cellWidget(self._structures.index(structure), _GOAL)

    def numbers(self) -> dict[str, int]:
        """Number of each structure's goal."""
        return {name: int(self.numberOf(name).property("value")) for name in self._structures}

    def groups(self) -> list[tuple[str, ...]]:
        """Structures of each goal, by number."""
        numbers = self.numbers()
        return [tuple(name for name, of in numbers.items() if of == number) for number in sorted(set(numbers.values()))]
