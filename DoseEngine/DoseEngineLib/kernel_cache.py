"""Compiled kernels that are older than the code they were made of are thrown away.

numba keeps compiled functions beside their file and compiles again when that file changes. It does not see a change in
another file whose functions or constants are part of the compiled code, and would go on giving yesterday's numbers. So
the kernels of a file are kept only while that file and all that it imports of this project are what they were.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import warnings
from pathlib import Path

_STATE = "rtplanning_kernels.stamp"
_IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+import\s+(\([^)]*\)|[^\n]*)|import\s+([\w.]+))", re.MULTILINE)


def drop_stale_kernels(package: str | Path, *below: str | Path) -> int:
    """Delete the compiled kernels of a package whose files, or what these import of the package or below, changed.

    To be called before the kernels are imported. A cache that cannot be written is left alone, with a warning.

    Parameters
    ----------
    package : path
        Folder of the package.
    below : path
        Folders of the packages that it imports.

    Returns
    -------
    int
        How many files were deleted.
    """
    package = Path(package).resolve()
    modules: dict[str, tuple[Path, bytes]] = {}
    for folder in (package, *(Path(one).resolve() for one in below)):
        for file in folder.rglob("*.py"):
            name = ".".join(file.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__")
            modules[name] = (file, file.read_bytes())
    with_kernels = sorted(
        name for name, (file, text) in modules.items() if b"numba" in text and package in file.parents
    )
    if not with_kernels:
        return 0
    imported = {name: _imports(text.decode("utf-8"), modules) for name, (_, text) in modules.items()}
    now = {name: _digest(name, imported, modules) for name in with_kernels}
    state = _cache_folder(package) / _STATE
    before = _read(state)
    stale = [
        kept
        for name in with_kernels
        if before.get(name) != now[name]
        for kept in _kernels(modules[name][0])
    ]  # fmt: skip
    if now == before:
        return 0
    try:
        for kept in stale:
            kept.unlink(missing_ok=True)
        state.parent.mkdir(parents=True, exist_ok=True)
        state.write_text(json.dumps(now, indent=1), encoding="utf-8")
    except OSError as error:
        # where nothing can be written there are no kernels that could be out of date
        if stale:
            warnings.warn(
                f"Compiled kernels of {package.name} may be out of date and cannot be deleted ({error}). Delete "
                f"{stale[0].parent}, or set NUMBA_CACHE_DIR to a folder that can be written.",
                stacklevel=2,
            )
        return 0
    return len(stale)


def _imports(text: str, modules: dict[str, tuple[Path, bytes]]) -> set[str]:
    """Which of the modules a file imports, anywhere in it."""
    found = set()
    for origin, names, plain in _IMPORT.findall(text):
        of = origin or plain
        candidates = [of, *(f"{of}.{name}" for name in re.findall(r"\w+", names))]
        found.update(name for name in candidates if name in modules)
    return found


def _digest(name: str, imported: dict[str, set[str]], modules: dict[str, tuple[Path, bytes]]) -> str:
    """SHA-256 of a module and of all that it imports, directly or not."""
    reached, waiting = {name}, [name]
    while waiting:
        new = imported[waiting.pop()] - reached
        reached |= new
        waiting += new
    digest = hashlib.sha256()
    for one in sorted(reached):
        digest.update(one.encode() + b"\n" + modules[one][1])
    return digest.hexdigest()


def _kernels(source: Path) -> list[Path]:
    """What numba keeps for a file."""
    folder = _cache_folder(source.parent)
    return [file for kind in ("nbi", "nbc") for file in folder.glob(f"{source.stem}.*.{kind}")]


def _cache_folder(source_folder: Path) -> Path:
    """Where numba keeps the kernels of the files in a folder."""
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if not chosen:
        return source_folder / "__pycache__"
    # numba's own naming of a source folder within the one that the user chose
    return Path(chosen) / f"{source_folder.name}_{hashlib.sha1(str(source_folder).encode()).hexdigest()}"


def _read(state: Path) -> dict[str, str]:
    """What was kept; nothing where there is no such file, or one that was cut off."""
    try:
        return json.loads(state.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
