"""Python packages that desktop Slicer does not bring: installed when an action needs them, never at import."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import TypeVar

from DoseEngineLib.progress import Progress

T = TypeVar("T")

DOSE_PACKAGES = ("numba>=0.60", "jsonschema>=4.18")
DICOM_PACKAGES = (*DOSE_PACKAGES, "pydicom>=3.0")
ANONYMISE_PACKAGES = ("dicom-anonymizer>=2.1",)
REPORT_PACKAGES = ("matplotlib>=3.8", "jinja2>=3.1")


def missingPackages(requirements: Sequence[str]) -> list[str]:
    """Return the requirements that no installed package satisfies."""
    from packaging.requirements import Requirement

    missing = []
    for text in requirements:
        requirement = Requirement(text)
        try:
            satisfied = requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
        except metadata.PackageNotFoundError:
            satisfied = False
        if not satisfied:
            missing.append(text)
    return missing


def withPackages(
    work: Callable[[Progress], T], requester: str, requirements: Sequence[str] = DOSE_PACKAGES
) -> Callable[[Progress], T]:
    """Return work that first has Slicer install what is missing; parameters as `ensurePackages`."""

    def ensured(progress: Progress) -> T:
        ensurePackages(requirements, requester)
        return work(progress)

    return ensured


def ensurePackages(requirements: Sequence[str], requester: str) -> None:
    """Install what is missing; Slicer asks the user first.

    Parameters
    ----------
    requirements : sequence of str
        Requirement specifiers with lower bounds.
    requester : str
        Who needs them, for Slicer's question.
    """
    missing = missingPackages(requirements)
    if not missing:
        return
    import slicer

    try:
        from slicer import packaging as slicer_packaging
    except ImportError:  # Slicer before 5.12 has no slicer.packaging
        slicer.util.pip_install(missing)
    else:
        from packaging.requirements import Requirement

        slicer_packaging.pip_ensure([Requirement(text) for text in missing], requester=requester)
    importlib.invalidate_caches()
