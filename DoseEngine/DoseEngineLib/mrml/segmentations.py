"""Segmentation nodes to `Structure` masks and back, segment by segment, so that overlaps are kept."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Container, Mapping, Sequence

import numpy as np
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from DoseEngineLib.closed_surface import ClosedSurface
from DoseEngineLib.contour_stack import ContourStack
from DoseEngineLib.errors import GeometryError, PatientError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.mrml.transforms import matrixToWorld
from DoseEngineLib.plan import ROLES, Structure
from DoseEngineLib.structure_role import role_from_name

_LABELMAP = "Binary labelmap"
# SlicerRT's name. Slicer drops it by itself when the labelmap it belongs to is edited.
_CONTOURS = "Planar contour"
_SURFACE = "Closed surface"
_ROLE_TAG = "RTPlanning.Role"
_DENSITY_TAG = "RTPlanning.DensityOverride_g_cm3"
# Distance of the slices that contours were drawn on, and how far ends reach beyond theirs: two numbers in mm, or None.
_SLICES_TAG = "RTPlanning.ContourSlices"
# Where contours cannot be made of voxels, a segmentation that has some takes no further segment: they are a tag then.
_CONTOURS_TAG = "RTPlanning.Contours"
# The voxels that contours belong to: after an edit they are those of another shape.
_CONTOURED_TAG = "RTPlanning.ContouredVoxels"
# Scene files do not quote the roles of node references, which SlicerRT makes of segment IDs: with other characters a
# saved scene could not be read again.
_UNSAFE_IN_ID = re.compile(r"[^\w .+^()~-]")
# An index offset this near to whole numbers means the same lattice: masks are copied, not resampled.
_SAME_LATTICE_VOXELS = 1e-3
# The body goes on beyond every CT; any other structure cut by the image's end would give wrong volumes.
_MAY_BE_CUT = ("EXTERNAL", "SUPPORT", "OTHER", "CONTROL")
_CUT_FRACTION = 0.01


def setStructures(segmentationNode, structures: Sequence[Structure], volumeNode=None) -> None:
    """Replace a segmentation node's segments by structures, in order; empty ones become empty segments.

    Segment IDs are the structures' names, as far as these are safe in a scene file. Roles are kept as segment tags
    ``RTPlanning.Role``, contours until a segment is edited: as the representation ``Planar contour`` where SlicerRT can
    make contours of voxels, else as segment tags ``RTPlanning.Contours``.

    Parameters
    ----------
    segmentationNode : vtkMRMLSegmentationNode
    structures : sequence of Structure
        Unique names.
    volumeNode : vtkMRMLScalarVolumeNode, optional
        Becomes the reference geometry.
    """
    segmentation = segmentationNode.GetSegmentation()
    segmentation.RemoveAllSegments()
    segmentation.SetSourceRepresentationName(_LABELMAP)
    segmentationNode.SetAndObserveTransformNodeID(None)
    if volumeNode is not None:
        segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    ids: dict[str, str] = {}
    for structure in structures:
        ids[structure.name] = _freeID(structure.name, ids.values())
    for structure in structures:
        if structure.is_empty:
            continue
        segment = slicer.vtkSegment()
        segment.AddRepresentation(_LABELMAP, _orientedImage(structure))
        segment.SetName(structure.name)
        segmentation.AddSegment(segment, ids[structure.name])
    # fewer layers: a segmentation file stores each at full size; without force no overlap is lost
    segmentation.CollapseBinaryLabelmaps(False)
    for position, structure in enumerate(structures):
        segmentID = ids[structure.name]
        if structure.is_empty:
            segmentation.AddEmptySegment(segmentID, structure.name)
            segmentation.SetSegmentIndex(segmentID, position)
        segment = segmentation.GetSegment(segmentID)
        segment.SetColor(*structure.color)
        segment.SetTag(_ROLE_TAG, structure.role)
    asRepresentation = _contoursCanBeMade(segmentation)
    for structure in structures:
        if isinstance(structure.outline, ContourStack) and not structure.is_empty:
            segment = segmentation.GetSegment(ids[structure.name])
            if asRepresentation:
                segment.AddRepresentation(_CONTOURS, _polyData(structure.outline))
            else:
                segment.SetTag(_CONTOURS_TAG, _contourText(structure.outline.contours_RAS_mm))
            segment.SetTag(_SLICES_TAG, f"{structure.outline.slice_spacing_mm} {structure.outline.end_cap_mm}")
            segment.SetTag(_CONTOURED_TAG, _voxelText(segment))


def storeStructure(segmentationNode, structure: Structure) -> str:
    """Put one structure into a segmentation: in place of the segment of its name, or as a new last one.

    Other segments are left as they are, those that overlap it, too; all become voxels where they were surfaces. The
    node's parent transform is taken into account; representations that were made of the segment (surfaces, contours)
    are made anew or dropped.

    Parameters
    ----------
    segmentationNode : vtkMRMLSegmentationNode
    structure : Structure
        Not empty, in world RAS.

    Returns
    -------
    str
        The segment's ID; that of a segment which was there before stays.

    Raises
    ------
    PatientError
        An empty structure, or a segmentation that took no segment.
    GeometryError
        A non-linear parent transform.
    """
    if structure.is_empty:
        raise PatientError(f"Structure {structure.name} has no voxel; nothing was stored.")
    ensureLabelmaps(segmentationNode, structure.grid)
    segmentation = segmentationNode.GetSegmentation()
    image = _orientedImage(structure, np.linalg.inv(matrixToWorld(segmentationNode)))
    segmentID = segmentation.GetSegmentIdBySegmentName(structure.name)
    if segmentID:
        _replaceLabelmap(segmentationNode, segmentID, image)
    else:
        ids = [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]
        segmentID = _freeID(structure.name, ids)
        _addSegment(segmentation, segmentID, structure.name, image)
    segment = segmentation.GetSegment(segmentID)
    segment.SetColor(*structure.color)
    segment.SetTag(_ROLE_TAG, structure.role)
    return segmentID


def _addSegment(segmentation, segmentID: str, name: str, image) -> None:
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.AddRepresentation(_LABELMAP, image)
    if segmentation.ContainsRepresentation(_CONTOURS) and not _contoursCanBeMade(segmentation):
        # without SlicerRT contours cannot be made of voxels, and no segment is taken that has none
        segment.AddRepresentation(_CONTOURS, vtk.vtkPolyData())
        added = segmentation.AddSegment(segment, segmentID)
        segment.RemoveRepresentation(_CONTOURS)
    else:
        added = segmentation.AddSegment(segment, segmentID)
    if not added:
        raise PatientError(
            f"The segmentation did not take the structure {name}; convert its segments to binary labelmaps "
            "(Segmentations module, Representations) and try again."
        )


def ensureLabelmaps(segmentationNode, grid: Grid) -> None:
    """Make voxels what a segmentation's segments are in the first place, as editing needs it; surfaces stay beside.

    Nothing is changed where they are that already.

    Parameters
    ----------
    segmentationNode : vtkMRMLSegmentationNode
    grid : Grid
        Of the voxels, in world RAS.

    Raises
    ------
    PatientError
        Segments that could not be turned into voxels.
    """
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetSourceRepresentationName() == _LABELMAP:
        return
    if segmentation.GetNumberOfSegments() and not segmentation.ContainsRepresentation(_LABELMAP):
        _setConversionGrid(segmentation, segmentationNode, grid)
        if not segmentation.CreateRepresentation(_LABELMAP):
            raise PatientError(
                f"The segments of {segmentationNode.GetName()} could not be turned into masks; convert them to binary "
                "labelmaps (Segmentations module, Representations) and try again."
            )
    segmentation.SetSourceRepresentationName(_LABELMAP)


def _replaceLabelmap(segmentationNode, segmentID: str, image) -> None:
    segmentation = segmentationNode.GetSegmentation()
    # a layer of its own: overlaps with the segments of a shared one would be taken from them
    segmentation.SeparateSegmentLabelmap(segmentID)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    if not logic.SetBinaryLabelmapToSegment(image, segmentationNode, segmentID, logic.MODE_REPLACE):
        raise PatientError(f"Segment {segmentID} could not be changed; see the application's log.")
    segment = segmentation.GetSegment(segmentID)
    segment.RemoveRepresentation(_CONTOURS)
    for tag in (_SLICES_TAG, _CONTOURED_TAG, _CONTOURS_TAG):
        segment.RemoveTag(tag)


def _contoursCanBeMade(segmentation) -> bool:
    """Whether a converter from voxels to contours is there, as SlicerRT brings one."""
    paths = slicer.vtkSegmentationConversionPaths()
    segmentation.GetPossibleConversions(_CONTOURS, paths)
    return paths.GetNumberOfPaths() > 0


def _freeID(name: str, taken: Container[str]) -> str:
    """An ID like the name that is safe in a scene file and not taken yet."""
    safe = _UNSAFE_IN_ID.sub("_", name)
    segmentID, number = safe, 1
    while segmentID in taken:
        number += 1
        segmentID = f"{safe}_{number}"
    return segmentID


def structuresFromSegmentation(
    segmentationNode, grid: Grid, names: Sequence[str] | None = None
) -> tuple[Structure, ...]:
    """Return segments as masks on a grid, in the order of the segmentation.

    Segments on the grid's own lattice are copied exactly; others are resampled (linear occupancy, one half). Empty
    segments give empty structures. Segments that still have their planar contours get them as outlines, those that are
    closed surfaces in the first place the surfaces (one with holes is the mask that Slicer makes of it). The node is
    not changed.

    Parameters
    ----------
    segmentationNode : vtkMRMLSegmentationNode
    grid : Grid
        World RAS, normally the CT's.
    names : sequence of str, optional
        Only segments of these names; by default all. Names that no segment has are passed over.

    Raises
    ------
    PatientError
        No segmentation, two segments of one name, an unknown role, or a segment that lies outside the grid (the body
        and what supports it may be cut by the grid's end).
    GeometryError
        A non-linear parent transform.
    """
    segmentation = _labelmaps(segmentationNode, grid)
    toWorld = matrixToWorld(segmentationNode)
    isSurface = segmentationNode.GetSegmentation().GetSourceRepresentationName() == _SURFACE
    structures, found = [], set()
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        name = segment.GetName() or segmentation.GetNthSegmentID(index)
        if name in found:
            raise PatientError(
                f"Segmentation {segmentationNode.GetName()} has two segments named {name!r}; rename one of them."
            )
        found.add(name)
        if names is not None and name not in names:
            continue
        role = roleOfSegment(segment, name)
        mask = _maskOnGrid(segment, name, toWorld, grid, may_be_cut=role in _MAY_BE_CUT)
        outline = _outline(segment, name, toWorld, grid, isSurface=isSurface)
        structures.append(Structure(name, mask, grid, role, tuple(segment.GetColor()), outline))
    return tuple(structures)


def segmentIDOf(segmentationNode, name: str) -> str:
    """Return the ID of the segment of this name; an unknown name raises `PatientError` and lists those there are."""
    segmentation = segmentationNode.GetSegmentation()
    segmentID = segmentation.GetSegmentIdBySegmentName(name)
    if not segmentID:
        known = [segmentation.GetNthSegment(i).GetName() for i in range(segmentation.GetNumberOfSegments())]
        raise PatientError(
            f"Segmentation {segmentationNode.GetName()} has no segment {name!r}; it has: {', '.join(known) or 'none'}."
        )
    return segmentID


def roleOfSegment(segment, name: str) -> str:
    """Return a segment's role: that of its tag, else the one its name speaks for.

    Raises
    ------
    PatientError
        A tag that is none of `DoseEngineLib.plan.ROLES`.
    """
    role = roleTag(segment, name)
    if role not in ROLES:
        raise PatientError(f"Segment {name}: its tag {_ROLE_TAG} is {role!r}; use one of {', '.join(ROLES)}.")
    return role


def roleTag(segment, name: str) -> str:
    """Return a segment's role as it is tagged, known or not; without a tag, the one its name speaks for."""
    return _tag(segment, _ROLE_TAG) or role_from_name(name)


def setSegmentRole(segment, role: str) -> None:
    """Keep a role with a segment; one that is none of `DoseEngineLib.plan.ROLES` raises `PatientError`."""
    if role not in ROLES:
        raise PatientError(f"There is no role {role!r} for segment {segment.GetName()}; use one of {', '.join(ROLES)}.")
    segment.SetTag(_ROLE_TAG, role)


def setDensityOverrides(segmentationNode, overrides_g_cm3: Mapping[str, float]) -> None:
    """Store density overrides (structure name -> g/cm3) as segment tags, replacing all former ones."""
    segmentation = segmentationNode.GetSegmentation()
    ids = {segmentIDOf(segmentationNode, name): value for name, value in overrides_g_cm3.items()}
    for index in range(segmentation.GetNumberOfSegments()):
        segmentID = segmentation.GetNthSegmentID(index)
        segment = segmentation.GetSegment(segmentID)
        if segmentID in ids:
            segment.SetTag(_DENSITY_TAG, repr(float(ids[segmentID])))
        else:
            segment.RemoveTag(_DENSITY_TAG)


def densityOverrides(segmentationNode) -> dict[str, float]:
    """Return the density overrides stored in a segmentation, structure name -> g/cm3, in segment order."""
    segmentation = segmentationNode.GetSegmentation()
    overrides = {}
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        text = densityTag(segment)
        if not text:
            continue
        try:
            overrides[segment.GetName()] = float(text)
        except ValueError:
            raise PatientError(
                f"Segment {segment.GetName()}: the density override {text!r} is not a number of g/cm3; mend its tag "
                f"{_DENSITY_TAG}."
            ) from None
    return overrides


def densityTag(segment) -> str:
    """Return a segment's density override as it is tagged; empty where it has none."""
    return _tag(segment, _DENSITY_TAG)


def _tag(segment, tag: str) -> str:
    text = vtk.mutable("")
    return str(text) if segment.GetTag(tag, text) else ""


def _orientedImage(structure: Structure, toNode: np.ndarray | None = None):
    """The structure's bounding box as an image whose extent keeps its place on the structure's grid.

    ``toNode`` maps world RAS to the frame of a node under a transform.
    """
    _, slices = structure.grid.crop(structure.mask)
    values = np.ascontiguousarray(structure.mask[slices], dtype=np.uint8)
    k, j, i = slices
    image = slicer.vtkOrientedImageData()
    image.SetExtent(i.start, i.stop - 1, j.start, j.stop - 1, k.start, k.stop - 1)
    affine = structure.grid.affine if toNode is None else toNode @ structure.grid.affine
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(affine))
    image.GetPointData().SetScalars(numpy_to_vtk(values.ravel(), deep=True))
    return image


def _voxelText(segment) -> str:
    """A text for a segment's voxels and their place: a digest, then the affine of their bounding box, by rows."""
    found = _segmentVoxels(segment)
    if found is None:
        return ""
    inside, affine, extent = found
    box = [np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    cut = inside[tuple(slice(int(used[0]), int(used[-1]) + 1) for used in box)]
    first = [int(used[0]) + start for used, start in zip(box, extent[4::-2])]
    digest = hashlib.blake2b(np.packbits(cut).tobytes(), digest_size=12)
    digest.update(repr(cut.shape).encode())
    place = np.column_stack((affine[:3, :3], affine[:3] @ [*first[::-1], 1]))
    return " ".join((digest.hexdigest(), *(repr(float(number)) for number in place.ravel())))


def _areVoxelsOf(segment, text: str) -> bool:
    """Whether a segment still has the voxels that a text is about; files keep places to some digits only."""
    digest, *place = text.split()
    now, *place_now = _voxelText(segment).split() or [""]
    return digest == now and np.allclose(np.array(place, float), np.array(place_now, float), rtol=0.0, atol=1e-3)


def _contourText(contours: Sequence[np.ndarray]) -> str:
    """Contours (n, 3) as text: their number, the points of each, and the points, as compressed 64-bit numbers."""
    numbers = [np.array([len(contours), *(len(contour) for contour in contours)], dtype="<f8")]
    numbers += [np.asarray(contour, dtype="<f8").ravel() for contour in contours]
    return base64.b64encode(zlib.compress(np.concatenate(numbers).tobytes())).decode("ascii")


def _contoursFromText(text: str, name: str) -> list[np.ndarray]:
    try:
        numbers = np.frombuffer(zlib.decompress(base64.b64decode(text, validate=True)), dtype="<f8")
        count = int(numbers[0])
        lengths = numbers[1 : count + 1].astype(int)
        points = numbers[count + 1 :].reshape(lengths.sum(), 3)
    except (ValueError, zlib.error, IndexError) as error:
        raise PatientError(
            f"Segment {name}: its contours are damaged ({error}); remove its tag {_CONTOURS_TAG} to go by its voxels."
        ) from error
    return np.split(points, np.cumsum(lengths)[:-1])


def _polyData(stack: ContourStack):
    """Contours as closed lines, as SlicerRT keeps them."""
    points, lines = vtk.vtkPoints(), vtk.vtkCellArray()
    points.SetDataTypeToDouble()
    points.SetData(numpy_to_vtk(np.concatenate(stack.contours_RAS_mm), deep=True))
    start = 0
    for contour in stack.contours_RAS_mm:
        corners = [*range(start, start + len(contour)), start]
        lines.InsertNextCell(len(corners), corners)
        start += len(contour)
    polyData = vtk.vtkPolyData()
    polyData.SetPoints(points)
    polyData.SetLines(lines)
    return polyData


def _outline(
    segment, name: str, toWorld: np.ndarray, grid: Grid, *, isSurface: bool
) -> ContourStack | ClosedSurface | None:
    """The segment's contours or surface in world RAS, where it has them and the grid holds them all."""
    polyData = segment.GetRepresentation(_SURFACE if isSurface else _CONTOURS)
    drawn = None
    if polyData is None or polyData.GetNumberOfCells() == 0:
        text = "" if isSurface else _tag(segment, _CONTOURS_TAG)
        if not text:
            return None
        drawn = _contoursFromText(text, name)
    contoured = _tag(segment, _CONTOURED_TAG)
    if not isSurface and contoured and not _areVoxelsOf(segment, contoured):
        # edited since: Slicer keeps contours that it cannot make anew
        return None
    if isSurface:
        toTriangles = vtk.vtkTriangleFilter()
        toTriangles.SetInputData(polyData)
        toTriangles.PassVertsOff()
        toTriangles.PassLinesOff()
        toTriangles.Update()
        polyData = toTriangles.GetOutput()
    own = vtk_to_numpy(polyData.GetPoints().GetData()).astype(float) if drawn is None else np.concatenate(drawn)
    points = own @ toWorld[:3, :3].T + toWorld[:3, 3]
    index = grid.ras_to_index(points)
    # a structure cut by the image's end is its voxels
    if ((index < -1.0 - 1e-3) | (index > np.array(grid.shape[::-1]) + 1e-3)).any():
        return None
    if drawn is not None:
        stops = np.cumsum([len(contour) for contour in drawn])
        contours = np.split(points, stops[:-1])
        spacing, end_cap = _slices(segment, contours, grid)
        return ContourStack(name, tuple(contours), spacing, end_cap)
    cells = polyData.GetPolys() if isSurface else polyData.GetLines()
    corners = vtk_to_numpy(cells.GetConnectivityArray())
    if isSurface:
        try:
            return ClosedSurface(name, points, corners.reshape(-1, 3))
        except GeometryError:
            return None
    offsets = vtk_to_numpy(cells.GetOffsetsArray())
    contours = [points[corners[start:stop]] for start, stop in zip(offsets, offsets[1:])]
    spacing, end_cap = _slices(segment, contours, grid)
    return ContourStack(name, tuple(contours), spacing, end_cap)


def _slices(segment, contours: Sequence[np.ndarray], grid: Grid) -> tuple[float | None, float | None]:
    """Distance of a segment's contours and their end caps: as kept with them, or of the image they were drawn on."""
    of_image = float(grid.spacing_mm[2]), None
    kept = _tag(segment, _SLICES_TAG)
    if not kept:
        return of_image
    spacing, end_cap = (None if part == "None" else float(part) for part in kept.split())
    planes = np.unique([np.round(grid.ras_to_index(c)[:, 2].mean() * grid.spacing_mm[2], 2) for c in contours])
    # contours that Slicer made anew after an edit lie on the image's slices, whatever was kept of the former ones
    if spacing is not None and planes.size > 1 and np.diff(planes).min() < 0.9 * spacing:
        return of_image
    return spacing, end_cap


def _labelmaps(segmentationNode, grid: Grid):
    """The node's segmentation with a binary labelmap; converted in a copy when it has only surfaces."""
    if segmentationNode is None:
        raise PatientError("There is no segmentation; choose one.")
    if not segmentationNode.IsA("vtkMRMLSegmentationNode"):
        raise PatientError(f"{segmentationNode.GetName()} is not a segmentation; choose a segmentation node.")
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetNumberOfSegments() == 0 or segmentation.ContainsRepresentation(_LABELMAP):
        return segmentation
    copy = slicer.vtkSegmentation()
    copy.DeepCopy(segmentation)
    _setConversionGrid(copy, segmentationNode, grid)
    if not copy.CreateRepresentation(_LABELMAP):
        raise PatientError(
            f"The segments of {segmentationNode.GetName()} could not be turned into masks; export them as a binary "
            "labelmap (Segmentations module) and try again."
        )
    return copy


def _setConversionGrid(segmentation, segmentationNode, grid: Grid) -> None:
    """Have voxels of a segmentation made on a grid of world RAS."""
    lattice = slicer.vtkOrientedImageData()
    lattice.SetExtent(0, grid.shape[2] - 1, 0, grid.shape[1] - 1, 0, grid.shape[0] - 1)
    toNode = np.linalg.inv(matrixToWorld(segmentationNode)) @ grid.affine
    lattice.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(toNode))
    converter = slicer.vtkSegmentationConverter
    segmentation.SetConversionParameter(
        converter.GetReferenceImageGeometryParameterName(),
        converter.SerializeImageGeometry(lattice),
    )


def _maskOnGrid(segment, name: str, toWorld: np.ndarray, grid: Grid, *, may_be_cut: bool) -> np.ndarray:
    mask = np.zeros(grid.shape, dtype=bool)
    found = _segmentVoxels(segment)
    if found is None:
        return mask
    inside, affine, extent = found
    affine = toWorld @ affine
    affine[:3, 3] = affine[:3, :3] @ np.array(extent[::2]) + affine[:3, 3]
    try:
        source = Grid(inside.shape, affine)
    except GeometryError as error:
        raise GeometryError(f"Segment {name}: {error}") from error
    source, slices = source.crop(inside)
    inside = inside[slices]
    if not may_be_cut:
        _refuse_cut(source, inside, grid, name)
    offset = grid.ras_to_index(source.origin_RAS_mm)
    step = grid.inverse_affine[:3, :3] @ source.affine[:3, :3]
    far = np.abs((step - np.eye(3)) * (np.array(source.shape[::-1]) - 1)).max()
    if np.abs(offset - np.round(offset)).max() < _SAME_LATTICE_VOXELS and far < _SAME_LATTICE_VOXELS:
        _paste(mask, inside, np.round(offset).astype(int)[::-1])
    else:
        mask = resample(np.pad(inside, 1), _padded(source), grid)
    if not mask.any():
        raise PatientError(
            f"Segment {name} has no voxel on the image's grid: it lies outside the image, or is thinner than a voxel. "
            "Check that segmentation and image belong together."
        )
    return mask


def _segmentVoxels(segment) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]] | None:
    """A segment's voxels (k, j, i), the matrix of its image's indices to the node's frame, and the image's extent."""
    image = segment.GetRepresentation(_LABELMAP)
    if image is None or image.GetNumberOfPoints() == 0 or image.GetPointData().GetScalars() is None:
        return None
    values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    inside = values == segment.GetLabelValue()
    if not inside.any():
        return None
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    return inside, slicer.util.arrayFromVTKMatrix(matrix), image.GetExtent()


def _refuse_cut(source: Grid, inside: np.ndarray, grid: Grid, name: str) -> None:
    if grid.contains(source.corners_RAS_mm).all():
        return
    k, j, i = np.nonzero(inside)
    outside = 1.0 - np.count_nonzero(grid.contains(source.index_to_ras(np.stack((i, j, k), axis=-1)))) / i.size
    if _CUT_FRACTION < outside < 1.0:
        raise PatientError(
            f"{outside:.0%} of segment {name} lies outside the image, so its volume and dose would be wrong. Use an "
            "image that covers it, cut the segment to the image, or remove it."
        )


def _paste(mask: np.ndarray, part: np.ndarray, start: np.ndarray) -> None:
    """Copy ``part`` into ``mask`` at index ``start`` (k, j, i), leaving out what falls outside."""
    target, source = [], []
    for axis in range(3):
        low, high = max(start[axis], 0), min(start[axis] + part.shape[axis], mask.shape[axis])
        if high <= low:
            return
        target.append(slice(low, high))
        source.append(slice(low - start[axis], high - start[axis]))
    mask[tuple(target)] |= part[tuple(source)]


def _padded(grid: Grid) -> Grid:
    """The grid with a voxel more on every side: beyond a cropped mask there is nothing, not the edge value."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.index_to_ras((-1, -1, -1))
    return Grid(tuple(n + 2 for n in grid.shape), affine)
