"""The registered solvers in a combo box."""

from __future__ import annotations

from typing import Any

import qt
from slicer.i18n import tr as _

from OptimizerLib.solvers import available_solvers


def fillSolvers(combo: Any) -> None:
    """List the registered solvers in a combo box; those that cannot run here are greyed and say why."""
    combo.clear()
    for index, info in enumerate(available_solvers()):
        combo.addItem(_(info.title), info.label)
        if not info.available:
            combo.setItemText(index, _("{title} (not available)").format(title=info.title))
            combo.setItemData(index, info.reason, int(qt.Qt.ToolTipRole))
            # The role in which the standard item model keeps an item's flags; none of them: greyed.
            combo.setItemData(index, 0, int(qt.Qt.UserRole) - 1)
