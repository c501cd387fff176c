"""Work that needs packages which desktop Slicer does not bring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from slicer.i18n import tr as _

from DoseEngineLib.progress import Progress
from DoseEngineLib.widget.packages import DOSE_PACKAGES, ensurePackages

T = TypeVar("T")


def withPackages(work: Callable[[Progress], T], packages: Sequence[str] = DOSE_PACKAGES) -> Callable[[Progress], T]:
    """Return work that first has Slicer install what is missing, after asking."""

    def ensured(progress: Progress) -> T:
        ensurePackages(packages, _("RT Planning"))
        return work(progress)

    return ensured
