"""Color tables that a scene holds once."""

from __future__ import annotations

from collections.abc import Sequence

import slicer


def singletonColorTable(scene, tag: str, colors: Sequence[Sequence[float]], names: Sequence[str]):
    """Return the scene's color table of a tag; made of RGB colors in 0..1, and a name each, when there is none."""
    node = scene.GetSingletonNode(tag, "vtkMRMLColorTableNode")
    if node is not None:
        return node
    node = slicer.vtkMRMLColorTableNode()
    node.SetName(tag)
    node.SetSingletonTag(tag)
    node.SetTypeToUser()
    node.SetNumberOfColors(len(colors))
    for index, (color, name) in enumerate(zip(colors, names, strict=True)):
        node.SetColor(index, name, *map(float, color), 1.0)
    return scene.AddNode(node)
