"""Plan files that come with the samples."""

from __future__ import annotations

from pathlib import Path

from DoseEngineLib.errors import PlanFileError

_FOLDER = Path(__file__).parent / "plans"


def available_plan_files() -> list[str]:
    """List the names of the plan files that come with the package."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def find_plan_file(name: str | Path) -> Path:
    """Return the path of a plan file: the one given, else the one of this name that comes with the package.

    Raises
    ------
    PlanFileError
        When there is neither.
    """
    path = Path(name)
    if path.exists() or path.suffix:
        # what is missing is said by the reader of plan files
        return path
    shipped = _FOLDER / f"{name}.toml"
    if str(name) not in available_plan_files():
        raise PlanFileError(
            f"There is no plan file {name}; give a path, or one that comes with the package: "
            f"{', '.join(available_plan_files())}."
        )
    return shipped
