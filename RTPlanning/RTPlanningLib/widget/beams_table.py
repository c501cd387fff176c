"""The table of a plan's beams: values edited in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from DoseEngineLib.plan import Beam, Plan
from DoseEngineLib.widget.connectors import fillCombo, quiet
from DoseEngineLib.widget.wheel_guard import WheelGuard
from RTPlanningLib.beam_fit import BeamFit

# column: title, tool tip
_COLUMNS = {
    "name": ("Name", "Name of the beam"),
    "machine": ("Machine", "Machine, and with it the energy"),
    "gantry_deg": ("Gantry\n°", "Gantry angle (IEC 61217); of an arc its first one, the arc turns as a whole"),
    "couch_deg": ("Couch\n°", "Couch angle, patient support (IEC 61217)"),
    "collimator_deg": ("Coll.\n°", "Angle of the collimator (IEC 61217)"),
    "x1": ("X1\nmm", "Lower X jaw at the isocentre plane; a jaw set by hand ends the fit to the target"),
    "x2": ("X2\nmm", "Upper X jaw at the isocentre plane; a jaw set by hand ends the fit to the target"),
    "y1": ("Y1\nmm", "Lower Y jaw at the isocentre plane; a jaw set by hand ends the fit to the target"),
    "y2": ("Y2\nmm", "Upper Y jaw at the isocentre plane; a jaw set by hand ends the fit to the target"),
    "fit": ("Fit", "What follows the target when angles change: the leaves of the MLC, the jaws, or nothing"),
    "margin": ("Margin\nmm", "Around the target in the beam's-eye view, where the beam follows it"),
    "weight": ("Weight", "Share of the MU where the prescription sets them"),
    "MU": ("MU", "Monitor units a fraction; of beams with weights those of the calculated dose"),
}
_KEYS = tuple(_COLUMNS)
# Names of machines are long; what is cut off is in the list that the combo box opens.
_MACHINE_CHARACTERS = 9
_FITS = (("MLC", "mlc"), ("Jaws", "jaws"), ("None", "none"))


class BeamsTable:
    """Shows a plan's beams in a table widget, and says what a person changed.

    Parameters
    ----------
    table : QTableWidget
    machines : sequence of str
        Choices of the machine column.
    edited : callable
        Gets the beam's name, the column's key and the text typed or the choice made.
    selected : callable
        Gets the name of the beam chosen.
    """

    def __init__(
        self,
        table: Any,
        machines: Sequence[str],
        edited: Callable[[str, str, str], None],
        selected: Callable[[str], None],
    ) -> None:
        self._table = table
        self._machines = list(machines)
        self._edited = edited
        self._selected = selected
        self._names: list[str] = []
        self._wheel = WheelGuard()
        # the handlers of combo boxes in cells live as long as these
        self._combos: list[tuple[Any, Any]] = []
        table.setColumnCount(len(_KEYS))
        table.setHorizontalHeaderLabels([_(title) for title, _tip in _COLUMNS.values()])
        for column, (_title, tip) in enumerate(_COLUMNS.values()):
            table.horizontalHeaderItem(column).setToolTip(_(tip))
        table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
        table.setSelectionMode(qt.QAbstractItemView.SingleSelection)
        table.verticalHeader().setVisible(False)
        table.cellChanged.connect(self._onCellChanged)
        table.itemSelectionChanged.connect(self._onSelectionChanged)

    @staticmethod
    def column(key: str) -> int:
        """Return the number of a column."""
        return _KEYS.index(key)

    def show(
        self, plan: Plan | None, fits: Mapping[str, BeamFit], delivered: Plan | None, selected: str | None
    ) -> None:
        """Show a plan's beams.

        Parameters
        ----------
        plan : Plan or None
        fits : mapping of beam name to BeamFit
            Beams that follow the target.
        delivered : Plan or None
            With the MU of the present dose.
        selected : str or None
            Name of the beam to select.
        """
        beams = () if plan is None else plan.beams
        table = self._table
        isNew = len(beams) != int(table.property("rowCount"))
        with quiet(table):
            self._names = [beam.name for beam in beams]
            if isNew:
                self._rebuild(len(beams))
            for row, beam in enumerate(beams):
                self._showBeam(row, beam, fits.get(beam.name), plan, delivered)
            if isNew:
                table.resizeColumnsToContents()
            row = self._names.index(selected) if selected in self._names else -1
            if table.currentRow() != row:
                table.setCurrentCell(row, max(table.currentColumn(), 0))

    def _rebuild(self, rows: int) -> None:
        self._combos = []
        self._table.setRowCount(0)
        self._table.setRowCount(rows)
        for row in range(rows):
            for column, key in enumerate(_KEYS):
                if key in ("machine", "fit"):
                    self._table.setCellWidget(row, column, self._combo(row, key))
                else:
                    item = qt.QTableWidgetItem("")
                    item.setToolTip(_(_COLUMNS[key][1]))
                    self._table.setItem(row, column, item)

    def _combo(self, row: int, key: str) -> Any:
        combo = qt.QComboBox()
        combo.setToolTip(_(_COLUMNS[key][1]))
        self._wheel.guard(combo)
        if key == "machine":
            combo.setMinimumContentsLength(_MACHINE_CHARACTERS)
            combo.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        entries = [(_(text), data) for text, data in _FITS] if key == "fit" else [(n, n) for n in self._machines]
        fillCombo(combo, entries, None)

        def onChosen(*_unused: object) -> None:
            data = combo.itemData(combo.property("currentIndex"))
            if data is not None and row < len(self._names):
                self._edited(self._names[row], key, data)

        combo.currentIndexChanged.connect(onChosen)
        self._combos.append((combo, onChosen))
        return combo

    def _showBeam(self, row: int, beam: Beam, fit: BeamFit | None, plan: Plan, delivered: Plan | None) -> None:
        first, last = beam.control_points[0], beam.control_points[-1]
        aperture = first.aperture
        moves = len({(point.aperture.jaw_x_mm, point.aperture.jaw_y_mm) for point in beam.control_points}) > 1
        gantry = f"{first.gantry_deg:g}"
        if last.gantry_deg != first.gantry_deg:
            gantry += f" to {last.gantry_deg:g}"
        jaws = dict(zip(("x1", "x2", "y1", "y2"), (*aperture.jaw_x_mm, *aperture.jaw_y_mm)))
        texts = {
            "name": beam.name,
            "gantry_deg": gantry,
            "couch_deg": f"{first.couch_deg:g}",
            "collimator_deg": f"{first.collimator_deg:g}",
            **{key: _("moves") if moves else f"{round(value, 2) + 0.0:g}" for key, value in jaws.items()},
            "margin": f"{fit.margin_mm:g}" if fit is not None else "",
            "weight": "" if plan.has_MU else f"{beam.weight:g}",
            "MU": f"{beam.meterset_MU:.6g}" if plan.has_MU else "",
        }
        if not plan.has_MU and delivered is not None and beam.name in {other.name for other in delivered.beams}:
            (MU,) = (other.meterset_MU for other in delivered.beams if other.name == beam.name)
            texts["MU"] = f"{MU:.1f}"
        fixed = {key for key in jaws if moves} | {"weight" if plan.has_MU else "MU"}
        if fit is None:
            fixed.add("margin")
        for key, text in texts.items():
            item = self._table.item(row, self.column(key))
            if item.text() != text:
                item.setText(text)
            flags = qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled
            item.setFlags(flags if key in fixed else flags | qt.Qt.ItemIsEditable)
        machines = self._table.cellWidget(row, self.column("machine"))
        names = self._machines if beam.machine in self._machines else [*self._machines, beam.machine]
        fillCombo(machines, [(name, name) for name in names], beam.machine)
        kind = fit.kind if fit is not None else "none"
        fillCombo(self._table.cellWidget(row, self.column("fit")), [(_(t), data) for t, data in _FITS], kind)

    def _onCellChanged(self, row: int, column: int) -> None:
        item = self._table.item(row, column)
        if item is not None and row < len(self._names):
            self._edited(self._names[row], _KEYS[column], item.text())

    def _onSelectionChanged(self) -> None:
        row = self._table.currentRow()
        if 0 <= row < len(self._names):
            self._selected(self._names[row])
