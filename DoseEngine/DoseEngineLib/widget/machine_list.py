"""The machines that can be chosen: those of the package, and files that were added."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from DoseEngineLib.machine import available_machines
from DoseEngineLib.widget.connectors import fillCombo


def fillMachines(combo: Any, files: Sequence[str], chosen: str) -> None:
    """List machines in a combo box, their names or paths as data; a chosen one that is not known is listed, too."""
    names = available_machines()
    paths = list(dict.fromkeys([*files, *([chosen] if chosen and chosen not in names else [])]))
    entries = [(name, name) for name in names]
    entries += [(_("{name} (file)").format(name=Path(path).stem), path) for path in paths]
    fillCombo(combo, entries, chosen)
