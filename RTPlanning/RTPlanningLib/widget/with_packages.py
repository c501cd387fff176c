"""Work of this panel that needs packages which desktop Slicer does not bring."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from slicer.i18n import tr as _

from DoseEngineLib.progress import Progress
from DoseEngineLib.widget import packages

T = TypeVar("T")


def withPackages(work: Callable[[Progress], T]) -> Callable[[Progress], T]:
    """Return work that first has Slicer install what a calculation needs, after asking."""
    return packages.withPackages(work, _("RT Planning"))
