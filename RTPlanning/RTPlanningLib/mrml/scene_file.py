"""Scenes as ``.mrb`` files: equal content gives equal bytes; a damaged file is found before the scene is cleared."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

from DoseEngineLib.background import Background, at_once
from DoseEngineLib.errors import CaseError
from DoseEngineLib.progress import Progress, part

_log = logging.getLogger(__name__)
# The earliest time a zip entry can carry; a real clock would make every save different.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def saveScene(scene, path: str | Path, progress: Progress | None = None, background: Background = at_once) -> Path:
    """Write a scene with all its data to an ``.mrb`` file.

    Equal scenes give equal bytes: entries are sorted and carry a fixed time.

    Parameters
    ----------
    scene : vtkMRMLScene
    path : path
        Ends in ``.mrb``; its folder exists. An existing file is replaced only once the new one is complete.
    progress : callable, optional
        When it raises, nothing is written.
    background : Background
        Runs what needs no scene: putting the file's entries in order.

    Raises
    ------
    CaseError
        Another ending, a missing folder, or a node that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".mrb":
        raise CaseError(f"Scenes are saved as .mrb files; {path.name!r} has another ending.")
    if not path.parent.is_dir():
        raise CaseError(f"The folder {path.parent} does not exist; create it or choose another.")
    report = part(progress, 0.0, 1.0)
    report(0.0, "Saving the scene")
    url, root = scene.GetURL(), scene.GetRootDirectory()
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / path.name
        scene.SetURL(str(written))
        scene.SetRootDirectory(folder)
        try:
            ok = scene.WriteToMRB(str(written), None)
        finally:
            # an empty URL is the state of a scene that was never saved
            scene.SetURL(url or "")
            scene.SetRootDirectory(root or "")
        if not ok or not written.is_file():
            raise CaseError(f"The scene could not be written to {path}; the messages above name the node that failed.")
        complete = Path(folder) / "complete.zip"
        background(lambda told: _make_reproducible(written, complete, told), part(report, 0.3, 1.0))
        shutil.move(complete, path)
    return path


def loadScene(scene, path: str | Path) -> None:
    """Replace a scene's content by that of an ``.mrb`` file.

    Nodes of kinds that this Slicer does not know (made by an extension that is not here) are left out, with a warning
    in the log.

    Raises
    ------
    CaseError
        No such file, no scene in it, or data files missing from it; then the scene is left as it was. A data file that
        is present but cannot be decoded is found only while reading: then the scene is cleared.
    """
    path = Path(path)
    if not path.is_file():
        raise CaseError(f"There is no scene file {path}.")
    with tempfile.TemporaryDirectory() as folder:
        scene_file = _unpack(path, Path(folder))
        _leave_out_unknown_nodes(scene, scene_file, path)
        scene.SetURL(str(scene_file))
        scene.SetRootDirectory(str(scene_file.parent))
        ok = scene.Connect()
        scene.SetURL(str(path))
        scene.SetRootDirectory(str(path.parent))
    if not ok:
        scene.Clear(False)
        raise CaseError(f"Not all data of the scene {path} could be read; the file is damaged, load another copy.")


def _leave_out_unknown_nodes(scene, scene_file: Path, path: Path) -> None:
    """Take nodes the scene cannot make out of an unpacked scene file: with them reading it would count as failed."""
    tree = ElementTree.parse(scene_file)
    root = tree.getroot()
    unknown = [element for element in root if not scene.GetClassNameByTag(element.tag)]
    if not unknown:
        return
    kinds = ", ".join(sorted({element.tag for element in unknown}))
    _log.warning("%s holds nodes of kinds not known here, which are left out: %s", path, kinds)
    for element in unknown:
        root.remove(element)
    tree.write(scene_file, encoding="utf-8", xml_declaration=True)


def _unpack(path: Path, folder: Path) -> Path:
    """Unpack a bundle and return its scene file, every data file of which exists."""
    try:
        with zipfile.ZipFile(path) as bundle:
            bundle.extractall(folder)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise CaseError(f"{path} is not a readable .mrb file ({error}).") from error
    scene_files = sorted(folder.glob("*/*.mrml")) or sorted(folder.glob("*.mrml"))
    if len(scene_files) != 1:
        raise CaseError(f"{path} holds {len(scene_files)} scenes; an .mrb file holds exactly one.")
    # Slicer's own bundles have them, too
    scene_files[0].write_bytes(_escape_ampersands(scene_files[0].read_bytes()))
    try:
        root = ElementTree.parse(scene_files[0]).getroot()
    except ElementTree.ParseError as error:
        raise CaseError(f"The scene in {path} is damaged: {error}; load another copy.") from error
    # a storage node outlives its node, and then there is no file of it
    used = {one for element in root.iter() for one in _references(element)}
    missing = [
        name
        for element in root.iter()
        if (name := element.get("fileName"))
        and element.get("id") in used
        and not (scene_files[0].parent / unquote(name)).exists()
    ]
    if missing:
        raise CaseError(f"{path} lacks the data files {', '.join(missing)}; load another copy.")
    return scene_files[0]


def _references(element: ElementTree.Element) -> list[str]:
    """IDs of the nodes that a node refers to; storage nodes of old scenes stand apart."""
    return re.findall(r"[^\s;:]+", f"{element.get('references', '')} {element.get('storageNodeRef', '')}")


def _make_reproducible(source: Path, target: Path, progress: Progress) -> None:
    """Copy a bundle, leaving out what differs between equal scenes: times, order of entries, numbers of items."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        entries = sorted(old.infolist(), key=lambda entry: entry.filename)
        for number, entry in enumerate(entries):
            progress(number / len(entries), "Saving the scene")
            info = zipfile.ZipInfo(entry.filename, _ZIP_TIME)
            info.external_attr = entry.external_attr
            info.compress_type = zipfile.ZIP_STORED if entry.is_dir() else zipfile.ZIP_DEFLATED
            content = old.read(entry)
            if entry.filename.endswith(".mrml"):
                content = _renumber_items(_escape_ampersands(content))
            new.writestr(info, content)


def _escape_ampersands(scene: bytes) -> bytes:
    """Make XML of what Slicer writes of a file named "H&N.nrrd": its file names keep the "&" as it is."""
    return re.sub(rb"&(?!(?:\w+|#\d+|#x[0-9a-fA-F]+);)", b"&amp;", scene)


def _renumber_items(scene: bytes) -> bytes:
    """Number subject hierarchy items from 1 on: Slicer counts them over the whole process, and anew on reading."""
    numbers: dict[bytes, bytes] = {b"0": b"0"}

    def renumber(match: re.Match[bytes]) -> bytes:
        element = match[0]
        for name in (b"id", b"parent"):
            element = re.sub(
                rb'(\s%s=")(\d+)(")' % name,
                lambda m: m[1] + numbers.setdefault(m[2], str(len(numbers)).encode()) + m[3],
                element,
                count=1,
            )
        return element

    # within an element values are escaped, so the first " parent=" is the attribute
    return re.sub(rb"<SubjectHierarchyItem\s[^>]*>", renumber, scene)
