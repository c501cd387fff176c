"""SlicerRT's DICOM plug-in, where Slicer has it: it loads RT objects, and says nothing where it is missing.

What is known of it: Slicer keeps its DICOM plug-ins as classes in ``slicer.modules.dicomPlugins``; a plug-in makes
loadables of lists of files (``examineForImport``) and adds one to the current scene (``load``, true on success). A
dose volume of SlicerRT has the attribute ``DicomRtImport.DoseVolume`` = "1".
"""

from __future__ import annotations

from pathlib import Path

import slicer

_PLUGIN = "DicomRtImportExportPlugin"


def slicerRtPlugin(scene):
    """Return SlicerRT's DICOM plug-in, or None where it is missing or would load into another scene."""
    if scene is not getattr(slicer, "mrmlScene", None):
        return None
    plugins = getattr(getattr(slicer, "modules", None), "dicomPlugins", None) or {}
    return plugins[_PLUGIN]() if _PLUGIN in plugins else None


def loadThroughSlicerRt(plugin, scene, file: Path, className: str, attribute: str | None = None):
    """Load one RT object; returns ``(node, "")``, or ``(None, reason)`` where SlicerRT did not make one such node.

    Parameters
    ----------
    plugin : object
        Of `slicerRtPlugin`.
    scene : vtkMRMLScene
    file : Path
    className : str
        Class of the node that is expected.
    attribute : str, optional
        One that it has as "1".
    """
    former = {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}
    try:
        loadables = [one for one in plugin.examineForImport([[str(file)]]) if one.selected]
        if len(loadables) != 1:
            return None, f"it offers {len(loadables)} ways to load it"
        if not plugin.load(loadables[0]):
            return None, "it reports a failure"
    except Exception as error:  # another extension's code: whatever it raises, its objects are loaded without it
        return None, f"it failed with {type(error).__name__}: {error}"
    added = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    found = [
        node
        for node in added
        if node.GetID() not in former
        and node.IsA(className)
        and (attribute is None or node.GetAttribute(attribute) == "1")
    ]
    if len(found) != 1:
        return None, f"it made {len(found)} nodes of the kind"
    return found[0], ""
