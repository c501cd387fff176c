"""The folder a run writes to: all of a run or nothing of it, and never over somebody else's files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from DoseEngineLib.errors import PlanningError

MANIFEST = "manifest.json"
_MANIFEST_SCHEMA_VERSION = 1


class OutputError(PlanningError):
    """An output folder that cannot be written to without losing something."""


class OutputFolder:
    """Collects a run's files in a staging folder and moves them into place at the end.

    As a context manager: leaving it by an exception (also Ctrl-C) removes the staging folder and changes nothing else::

        with OutputFolder(out) as output:
            (output.staging / "dvh.csv").write_text(text)
            files = output.commit()

    ``manifest.json`` lists what was written with its SHA-256. On the next run into the same folder a file is replaced
    only if it still is what the manifest says, so a file that somebody else put there, or changed, is never lost.

    Parameters
    ----------
    folder : path
        Made where it does not exist.
    force : bool
        Replace files whoever wrote them.
    keep : iterable of path
        Input files of the run: they may lie in the folder and may be written again with the same content.
    """

    def __init__(self, folder: str | Path, *, force: bool = False, keep: Iterable[str | Path] = ()) -> None:
        self.folder = Path(folder).absolute()
        self._force = force
        self._keep = {Path(path).absolute() for path in keep}
        self._staging: Path | None = None

    @property
    def staging(self) -> Path:
        """Where the run writes its files, and folders of them, until `commit`."""
        if self._staging is None:
            raise OutputError(f"The output folder {self.folder} is not open; use it in a with statement.")
        return self._staging

    def __enter__(self) -> OutputFolder:
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputError(f"{self.folder} is a file; choose a folder for the output.")
        # In an existing folder, so that the final move never crosses a file system; else beside where it will be.
        home = self.folder
        while not home.is_dir():
            home = home.parent
        staging = home / f".{self.folder.name}-{uuid.uuid4().hex[:8]}"
        try:
            staging.mkdir()
        except OSError as error:
            raise OutputError(f"Cannot write to {home}: {error.strerror}; choose another output folder.") from error
        self._staging = staging
        return self

    def __exit__(self, *exception: object) -> None:
        if self._staging is not None:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._staging = None

    def check(self, names: Iterable[str]) -> None:
        """Raise `OutputError` where writing these files would lose a file that is not an earlier run's own.

        Call it before long work; `commit` checks again.
        """
        if self._force:
            return
        written = self._manifest()
        foreign = [
            name
            for name in names
            if (path := self.folder / name).exists()
            and path not in self._keep
            and not (path.is_file() and written.get(name) == _sha256(path))
        ]
        if foreign:
            raise OutputError(
                f"{self.folder} already holds {', '.join(foreign)}, not written by an earlier run or changed since; "
                "choose another --out folder, move them away, or add --force to overwrite them."
            )

    def commit(self) -> list[Path]:
        """Move the staged files into the folder and return their paths, sorted by name."""
        names = sorted(path.relative_to(self.staging).as_posix() for path in self.staging.rglob("*") if path.is_file())
        hashes = {name: _sha256(self.staging / name) for name in names}
        for name, digest in hashes.items():
            target = self.folder / name
            if target in self._keep and target.is_file() and _sha256(target) != digest and not self._force:
                raise OutputError(f"{target} is an input of this run and would be overwritten; choose another folder.")
        self.check(names)
        outdated = [
            name
            for name, digest in self._manifest().items()
            if name not in hashes
            and self._holds(name)
            and (self.folder / name).is_file()
            and _sha256(self.folder / name) == digest
        ]
        manifest = {"schema_version": _MANIFEST_SCHEMA_VERSION, "files_sha256": hashes}
        (self.staging / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                self._make_place(name)
            for name in [*names, MANIFEST]:
                os.replace(self.staging / name, self.folder / name)
            for name in outdated:
                (self.folder / name).unlink()
        except OSError as error:
            raise OutputError(f"Cannot write to {self.folder}: {error.strerror}.") from error
        return [self.folder / name for name in names]

    def _make_place(self, name: str) -> None:
        """Make the folder a file goes to, and refuse one that a link leads out of the output folder."""
        place = (self.folder / name).parent
        place.mkdir(parents=True, exist_ok=True)
        if not self._holds(name):
            raise OutputError(f"{place} is a link out of {self.folder}; remove it or choose another output folder.")

    def _holds(self, name: str) -> bool:
        """Whether the place a name leads to is in the output folder, links followed."""
        return (self.folder / name).parent.resolve().is_relative_to(self.folder.resolve())

    def _manifest(self) -> dict[str, str]:
        """What an earlier run wrote here, by name; empty where there is no readable manifest."""
        try:
            data = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
            files = data["files_sha256"]
            return {name: digest for name, digest in files.items() if _stays_inside(name)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # without a manifest nothing counts as ours, which is the careful side
            return {}


def _stays_inside(name: str) -> bool:
    """Whether a name of the manifest leads to a file in the folder or a folder in it."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\\" not in name and ":" not in name


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
