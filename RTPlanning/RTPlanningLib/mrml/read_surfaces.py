"""Structures from files of closed surfaces or planar contours, exact to their points, without an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from DoseEngineLib.closed_surface import ClosedSurface
from DoseEngineLib.contour_stack import ContourStack
from DoseEngineLib.errors import CaseError, GeometryError
from DoseEngineLib.geometry import Grid, ras_from_lps
from DoseEngineLib.outline_voxels import structure_from_outline
from DoseEngineLib.plan import Structure
from DoseEngineLib.structure_role import role_from_name
from RTPlanningLib.contouring.slice_spacing import contoured_spacing_mm

SEGMENTATION_SUFFIXES = (".vtm",)
MODEL_SUFFIXES = (".vtp", ".vtk", ".stl", ".obj", ".ply")
_CONTOURS, _SURFACE, _LABELMAP = "Planar contour", "Closed surface", "Binary labelmap"
# A surface with holes is filled on voxels of its box's volume over this, in these limits.
_FILLED_VOXELS = 2_000_000
_FILLED_MM = (0.2, 2.0)
_COLORS = ((0.84, 0.15, 0.16), (0.12, 0.47, 0.71), (0.17, 0.63, 0.17), (0.58, 0.40, 0.74), (0.55, 0.34, 0.29))


def readSurfaces(paths: Sequence[str | Path]) -> tuple[tuple[Structure, ...], tuple[str, ...]]:
    """Read structures as they were saved: closed surfaces, or the planar contours of a structure set.

    A segmentation (``.vtm``) is in RAS, as Slicer writes it. A model (``.vtp``, ``.vtk``, ``.stl``, ``.obj``, ``.ply``)
    is in the space that it names, LPS where it names none, and is called as its file is.

    Parameters
    ----------
    paths : sequence of path

    Returns
    -------
    structures : tuple of Structure
        With their outlines, each on a grid of its own.
    notes : tuple of str
        What was left out or decided.

    Raises
    ------
    CaseError
        A missing or unreadable file, or nothing that encloses a volume.
    """
    found: list[_Shape] = []
    for path in map(Path, paths):
        if not path.is_file():
            raise CaseError(f"There is no file {path}.")
        suffix = path.suffix.lower()
        if suffix in SEGMENTATION_SUFFIXES:
            found += _segments(path)
        elif suffix in MODEL_SUFFIXES:
            found.append(_model(path))
        else:
            known = ", ".join((*SEGMENTATION_SUFFIXES, *MODEL_SUFFIXES))
            raise CaseError(f"{path.name} is no file of surfaces; give one of {known}.")
    notes = [shape.note for shape in found if shape.note]
    taken: set[str] = set()
    for shape in found:
        wanted, copy = shape.name, 2
        while shape.name in taken:
            shape.name = f"{wanted} ({copy})"
            copy += 1
        taken.add(shape.name)
        if shape.name != wanted:
            notes.append(f"Several structures are called {wanted}; one was called {shape.name}.")
    spacing_mm = contoured_spacing_mm([shape.contours for shape in found if shape.contours])
    if spacing_mm is not None:
        notes.append(f"Contours are taken to be drawn on slices {spacing_mm:g} mm apart, as most of them are.")
    structures = []
    for shape in found:
        structure = shape.structure(spacing_mm, notes)
        if structure is not None:
            structures.append(structure)
    if not structures:
        raise CaseError(f"Nothing in {', '.join(str(path) for path in paths)} encloses a volume. {' '.join(notes)}")
    return tuple(structures), tuple(notes)


class _Shape:
    """A polygonal mesh in RAS that stands for a structure, by contours or by a surface."""

    def __init__(self, name: str, polyData, color: tuple[float, float, float], kind: str, note: str = "") -> None:
        self.name, self.color, self.note = name, color, note
        self._polyData = polyData
        self.contours = _contours(polyData) if kind != _SURFACE and _is_planar(polyData, kind) else []

    def structure(self, spacing_mm: float | None, notes: list[str]) -> Structure | None:
        """The structure, or None with a note where it has no volume."""
        role = role_from_name(self.name)
        try:
            outline = ContourStack(self.name, tuple(self.contours), spacing_mm) if self.contours else self._surface()
            return structure_from_outline(outline, role, self.color)
        except GeometryError as error:
            filled = None if self.contours else self._filled(role)
            if filled is None:
                notes.append(f"{self.name}: left out, it encloses no volume ({error})")
                return None
            notes.append(
                f"{self.name}: its DVH is that of voxels of {filled.grid.spacing_mm[0]:.2g} mm which Slicer filled its "
                f"surface with, since it is not closed as it stands ({error})"
            )
            return filled

    def _surface(self) -> ClosedSurface:
        """The triangles, with doubled points made one and sides turned alike, which moves nothing."""
        clean = vtk.vtkStaticCleanPolyData()
        clean.SetInputData(self._polyData)
        clean.ToleranceIsAbsoluteOn()
        clean.SetAbsoluteTolerance(0.0)
        triangles = vtk.vtkTriangleFilter()
        triangles.SetInputConnection(clean.GetOutputPort())
        triangles.PassVertsOff()
        triangles.PassLinesOff()
        turned = vtk.vtkPolyDataNormals()
        turned.SetInputConnection(triangles.GetOutputPort())
        turned.SplittingOff()
        turned.ConsistencyOn()
        turned.Update()
        mesh = turned.GetOutput()
        if mesh.GetNumberOfPolys() == 0:
            raise GeometryError(f"{self.name} has no triangle.")
        corners = vtk_to_numpy(mesh.GetPolys().GetConnectivityArray()).reshape(-1, 3)
        return ClosedSurface(self.name, vtk_to_numpy(mesh.GetPoints().GetData()).astype(float), corners)

    def _filled(self, role: str) -> Structure | None:
        """The voxels Slicer makes of a surface that is not closed."""
        if self._polyData.GetNumberOfPolys() + self._polyData.GetNumberOfStrips() == 0:
            return None
        low, high = (np.array(self._polyData.GetBounds()[end::2]) for end in (0, 1))
        size_mm = float(np.clip((np.prod(np.maximum(high - low, 1.0)) / _FILLED_VOXELS) ** (1 / 3), *_FILLED_MM))
        count = np.ceil((high - low) / size_mm).astype(int) + 3
        grid = Grid.from_spacing(tuple(int(n) for n in count[::-1]), size_mm, low - size_mm)
        image = slicer.vtkOrientedImageData()
        image.SetExtent(0, int(count[0]) - 1, 0, int(count[1]) - 1, 0, int(count[2]) - 1)
        image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(grid.affine))
        segmentation = slicer.vtkSegmentation()
        segmentation.SetSourceRepresentationName(_SURFACE)
        segment = slicer.vtkSegment()
        segment.SetName(self.name)
        segment.AddRepresentation(_SURFACE, self._polyData)
        segmentation.AddSegment(segment, self.name)
        converter = slicer.vtkSegmentationConverter
        segmentation.SetConversionParameter(
            converter.GetReferenceImageGeometryParameterName(), converter.SerializeImageGeometry(image)
        )
        if not segmentation.CreateRepresentation(_LABELMAP):
            return None
        labelmap = segment.GetRepresentation(_LABELMAP)
        if labelmap is None or labelmap.GetNumberOfPoints() == 0:
            return None
        values = vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(labelmap.GetDimensions()[::-1])
        extent, mask = labelmap.GetExtent(), np.zeros(grid.shape, bool)
        mask[extent[4] : extent[5] + 1, extent[2] : extent[3] + 1, extent[0] : extent[1] + 1] = values > 0
        return Structure(self.name, mask, grid, role, self.color) if mask.any() else None


def _segments(path: Path) -> list[_Shape]:
    scene = slicer.vtkMRMLScene()
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", path.stem)
    storage = scene.AddNewNodeByClass("vtkMRMLSegmentationStorageNode")
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        raise CaseError(
            f"{path} could not be read as a segmentation; save it from Slicer again, or give its surfaces (.vtp)."
        )
    segmentation = node.GetSegmentation()
    kind = segmentation.GetSourceRepresentationName()
    if kind not in (_SURFACE, _CONTOURS):
        raise CaseError(f"{path} holds a {kind}, neither closed surfaces nor planar contours; save it as .seg.nrrd.")
    shapes = []
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        name = segment.GetName() or segmentation.GetNthSegmentID(number)
        polyData = segment.GetRepresentation(kind)
        if polyData is None or polyData.GetNumberOfCells() == 0:
            polyData = vtk.vtkPolyData()
        shapes.append(_Shape(name, polyData, tuple(segment.GetColor()), kind))
    if not shapes:
        raise CaseError(f"{path} holds no segment.")
    return shapes


def _model(path: Path) -> _Shape:
    """A model, or one segment of a segmentation's folder, which says so."""
    color = _COLORS[sum(path.stem.encode()) % len(_COLORS)]
    if path.suffix.lower() == ".vtp":
        reader = vtk.vtkXMLPolyDataReader()
        if not reader.CanReadFile(str(path)):
            raise CaseError(f"{path} could not be read as a surface; is the file complete?")
        reader.SetFileName(str(path))
        reader.Update()
        polyData = reader.GetOutput()
        if _field(polyData, "Segmentation_MasterRepresentation"):
            kind = _field(polyData, "Segmentation_MasterRepresentation")
            return _Shape(_field(polyData, "Segment_Name") or path.stem, polyData, color, kind)
        space = _field(polyData, "SPACE")
    else:
        scene = slicer.vtkMRMLScene()
        node = scene.AddNewNodeByClass("vtkMRMLModelNode", path.stem)
        storage = scene.AddNewNodeByClass("vtkMRMLModelStorageNode")
        storage.SetFileName(str(path))
        if not storage.ReadData(node) or node.GetPolyData() is None:
            raise CaseError(f"{path} could not be read as a surface; is the file complete?")
        # Slicer has turned it into RAS, from LPS where the file names no space
        note = f"{path.name} was read in the space it names, or else in LPS."
        return _Shape(path.stem, node.GetPolyData(), color, "", note)
    if space not in ("", "LPS", "RAS"):
        raise CaseError(f"{path} is in the space {space}; LPS and RAS are read. Save it from Slicer again.")
    note = "" if space else f"{path.name} does not name its space; it was taken to be LPS, as Slicer writes models."
    if space != "RAS":
        points = ras_from_lps(vtk_to_numpy(polyData.GetPoints().GetData()))
        moved = vtk.vtkPoints()
        moved.SetDataTypeToDouble()
        for point in points:
            moved.InsertNextPoint(*point)
        polyData.SetPoints(moved)
    return _Shape(path.stem, polyData, color, "", note)


def _field(polyData, name: str) -> str:
    array = polyData.GetFieldData().GetAbstractArray(name)
    return str(array.GetValue(0)) if array is not None and array.GetNumberOfValues() else ""


def _cells(polyData) -> list[np.ndarray]:
    """Points of every line and polygon, (n, 3) each."""
    if polyData.GetPoints() is None:
        return []
    points = vtk_to_numpy(polyData.GetPoints().GetData()).astype(float)
    found = []
    for cells in (polyData.GetLines(), polyData.GetPolys()):
        offsets, corners = (vtk_to_numpy(one) for one in (cells.GetOffsetsArray(), cells.GetConnectivityArray()))
        found += [points[corners[start:stop]] for start, stop in zip(offsets, offsets[1:])]
    return found


def _contours(polyData) -> list[np.ndarray]:
    """Closed contours; one that ends where it begins names that point once."""
    contours = []
    for points in _cells(polyData):
        if len(points) > 1 and np.array_equal(points[0], points[-1]):
            points = points[:-1]
        if len(points) >= 3:
            contours.append(points)
    return contours


def _is_planar(polyData, kind: str) -> bool:
    """Whether the cells are contours in parallel planes and not the triangles of a surface."""
    if kind == _CONTOURS or polyData.GetNumberOfLines():
        return True
    if polyData.GetNumberOfStrips():
        return False
    points = _cells(polyData)
    return bool(points) and all(np.ptp(one[:, 2]) < 1e-3 for one in points)
