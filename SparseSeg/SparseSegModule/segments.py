"""Segmentation nodes as labelmaps on a volume's grid, and back as one labelmap layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
import vtk.util.numpy_support
from scipy import ndimage

from SparseSegLib.annotation import Plane
from SparseSegLib.errors import AnnotationError, GeometryError
from SparseSegLib.image import Box
from SparseSegModule.volumes import (
    geometryFromMatrix,
    ijkToRas,
    imageFromArray,
    matrixFromVtk,
    transformBetween,
    vtkFromMatrix,
)

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkOrientedImageData, vtkSegment

BACKGROUND = "background"
DEFAULT_TERMINOLOGY = (
    "Segmentation category and type - 3D Slicer General Anatomy list"
    "~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~Anatomic codes - DICOM master list~^^~^^"
)
_ALIGNED = 1e-2  # voxels


@dataclass(frozen=True)
class SegmentStyle:
    """The style of a class: name, color (red, green, blue, 0 to 1) and DICOM terminology."""

    name: str
    color: tuple[float, float, float]
    terminology: str = DEFAULT_TERMINOLOGY


@dataclass(frozen=True)
class Block:
    """Labels of a part of a volume's grid; everything outside of ``box`` is 0.

    ``labels`` is ``(Z, Y, X)`` uint8: 1..n for the segments in their order.
    """

    box: Box
    labels: np.ndarray

    def whole(self, shape: tuple[int, int, int]) -> np.ndarray:
        """The labels on the whole grid."""
        out: np.ndarray = np.zeros(shape, np.uint8)
        out[self.box] = self.labels
        return out


def classSegmentIds(segmentationNode: vtkMRMLSegmentationNode) -> list[str]:
    """The segments that are classes 1..n, in their order: all but those named "background"."""
    return [segmentId for segmentId in _segmentIds(segmentationNode) if not _isBackground(segmentationNode, segmentId)]


def segmentStyles(segmentationNode: vtkMRMLSegmentationNode) -> list[SegmentStyle]:
    """Names, colors and terminology of the classes."""
    segmentation = segmentationNode.GetSegmentation()
    return [_styleOf(segmentation.GetSegment(segmentId)) for segmentId in classSegmentIds(segmentationNode)]


def editableStyles(segmentationNode: vtkMRMLSegmentationNode) -> dict[int, SegmentStyle]:
    """The styles of the classes that are worked on, by their values."""
    editable = editableSegmentIds(segmentationNode)
    styles = zip(classSegmentIds(segmentationNode), segmentStyles(segmentationNode), strict=True)
    return {value: style for value, (name, style) in enumerate(styles, start=1) if name in editable}


def classLabels(
    segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode, only: list[str] | None = None
) -> Block:
    """The classes on the volume's grid; where segments overlap the later one counts. The box may have empty rims.

    With ``only`` some segments' classes, which keep their values.
    """
    segmentIds = classSegmentIds(segmentationNode)
    if len(segmentIds) > 254:
        raise AnnotationError(f"There are {len(segmentIds)} segments, and 254 is the most.", "Merge some of them.")
    values = {segmentId: value for value, segmentId in enumerate(segmentIds, start=1)}
    chosen = values if only is None else {name: value for name, value in values.items() if name in only}
    return _merged(segmentationNode, volumeNode, chosen)


def sliceLabels(
    segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode, plane: Plane
) -> np.ndarray:
    """The classes on one slice of the volume ``(U, V)``, as :func:`classLabels` has them, at the cost of that slice."""
    shape = volumeNode.GetImageData().GetDimensions()[::-1]
    rows, columns = (shape[axis] for axis in range(3) if axis != plane.axis)
    between = transformBetween(segmentationNode, volumeNode)
    if between is None:
        return classLabels(segmentationNode, volumeNode).whole(shape)[plane.voxels]
    toVolume = np.linalg.inv(ijkToRas(volumeNode)) @ between
    out = np.zeros((rows, columns), np.uint8)
    for value, segmentId in enumerate(classSegmentIds(segmentationNode), start=1):
        found = _maskOf(segmentationNode, segmentId, toVolume)
        if found is None:
            continue
        array, label, here = found
        offset = _wholeOffset(here, array.shape)
        if offset is None:
            return classLabels(segmentationNode, volumeNode).whole(shape)[plane.voxels]
        index = plane.index - offset[plane.axis]
        if not 0 <= index < array.shape[plane.axis]:
            continue
        first, second = (axis for axis in range(3) if axis != plane.axis)
        piece = np.take(array, index, plane.axis) == label
        spans = [_overlap(offset[axis], array.shape[axis], shape[axis]) for axis in (first, second)]
        if all(inner.stop > inner.start for inner, _ in spans):
            (innerRows, outerRows), (innerColumns, outerColumns) = spans
            out[outerRows, outerColumns][piece[innerRows, innerColumns]] = value
    return out


def backgroundStrokes(
    segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode, others: Sequence[str] = ()
) -> Block:
    """What is drawn in segments named "background", and in some others, as 1."""
    strokes = [name for name in _segmentIds(segmentationNode) if _isBackground(segmentationNode, name)]
    segmentIds = [*strokes, *others]
    return _merged(segmentationNode, volumeNode, dict.fromkeys(segmentIds, 1))


def resultLabels(segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode) -> np.ndarray:
    """The labels ``(Z, Y, X)`` on the volume's grid that :func:`setLabels` made a segmentation of."""
    segmentation, shape = segmentationNode.GetSegmentation(), volumeNode.GetImageData().GetDimensions()[::-1]
    values = {name: segmentation.GetSegment(name).GetLabelValue() for name in _segmentIds(segmentationNode)}
    return _merged(segmentationNode, volumeNode, values).whole(shape)


def segmentsMask(
    segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode, segmentIds: list[str]
) -> np.ndarray:
    """The voxels ``(Z, Y, X)`` of the volume's grid that lie in any of some segments, as a mask."""
    shape = volumeNode.GetImageData().GetDimensions()[::-1]
    return _merged(segmentationNode, volumeNode, dict.fromkeys(segmentIds, 1)).whole(shape).view(bool)


def setLabels(
    segmentationNode: vtkMRMLSegmentationNode,
    labels: np.ndarray,
    matrix: np.ndarray,
    styles: dict[int, SegmentStyle],
) -> None:
    """Make a segmentation of ``labels`` ``(Z, Y, X)``, all segments in one shared layer; ``styles`` by their values.

    Segments that are there keep their name, color and visibility; only missing ones are added. ``matrix`` is from IJK
    to the node's RAS.
    """
    segmentation = segmentationNode.GetSegmentation()
    name = _binaryLabelmap()
    image = orientedImage(labels, matrix)
    there = classSegmentIds(segmentationNode)
    same = there and [segmentation.GetSegment(one).GetLabelValue() for one in there] == list(styles)
    shared = segmentation.GetSegment(there[0]).GetRepresentation(name) if same else None
    if shared is not None and all(segmentation.GetSegment(other).GetRepresentation(name) is shared for other in there):
        shared.DeepCopy(image)
        shared.Modified()
        return
    for segmentId in there:
        segmentation.RemoveSegment(segmentId)
    for value, style in styles.items():
        segment = slicer.vtkSegment()
        segment.SetName(style.name)
        segment.SetColor(*style.color)
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), style.terminology)
        segment.SetLabelValue(value)
        segment.AddRepresentation(name, image)
        segmentation.AddSegment(segment, segmentation.GenerateUniqueSegmentID(style.name))


def setSlice(
    segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode, plane: Plane, labels: np.ndarray
) -> None:
    """Replace labels ``(U, V)`` on a slice of the volume, in a segmentation of :func:`setLabels` that reaches there."""
    segment = segmentationNode.GetSegmentation().GetNthSegment(0)
    image = segment.GetRepresentation(_binaryLabelmap()) if segment is not None else None
    if image is None or image.GetPointData().GetScalars() is None:
        return
    array, toRas = _arrayOf(image)
    offset = _wholeOffset(np.linalg.inv(ijkToRas(volumeNode)) @ toRas, array.shape)
    if offset is None or not 0 <= plane.index - offset[plane.axis] < array.shape[plane.axis]:
        return
    first, second = (axis for axis in range(3) if axis != plane.axis)
    rows, columns = (slice(offset[axis], offset[axis] + array.shape[axis]) for axis in (first, second))
    array[Plane(plane.axis, plane.index - offset[plane.axis]).voxels] = labels[rows, columns]
    image.GetPointData().GetScalars().Modified()
    image.Modified()


def applyLabels(
    segmentationNode: vtkMRMLSegmentationNode,
    volumeNode: vtkMRMLScalarVolumeNode,
    labels: np.ndarray,
    matrix: np.ndarray,
    segmentIds: dict[int, str],
) -> None:
    """Replace what is drawn in some segments by dense ``labels`` ``(Z, Y, X)``, in one shared layer.

    ``matrix`` is from IJK to the volume's RAS; ``segmentIds`` are the segments by their values. Names, colors and
    identities of the segments stay, and so do all other segments. Raises AnnotationError if one of them is gone.
    """
    if not set(segmentIds.values()) <= set(_segmentIds(segmentationNode)):
        raise AnnotationError(
            "A segment that the result belongs to was removed.", "Densify again, or take the result's own segmentation."
        )
    between = transformBetween(volumeNode, segmentationNode)
    if between is None:
        _imported(segmentationNode, volumeNode, segmentIds, labels)
        return
    image = orientedImage(labels, between @ matrix)
    for value, segmentId in segmentIds.items():
        segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
        segment.SetLabelValue(value)
        segment.AddRepresentation(_binaryLabelmap(), image)
    segmentation = segmentationNode.GetSegmentation()
    segmentation.InvalidateNonSourceRepresentations()
    segmentation.InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified)


def eraseLabels(
    segmentationNode: vtkMRMLSegmentationNode,
    volumeNode: vtkMRMLScalarVolumeNode,
    segmentIds: list[str],
    mask: np.ndarray,
) -> None:
    """Take the voxels of a mask ``(Z, Y, X)`` on the volume's grid away from some segments."""
    for segmentId in segmentIds:
        own = segmentsMask(segmentationNode, volumeNode, [segmentId])
        if (own & mask).any():
            left = (own & ~mask).astype(np.uint8)
            slicer.util.updateSegmentBinaryLabelmapFromArray(left, segmentationNode, segmentId, volumeNode)


def changeSlice(
    segmentationNode: vtkMRMLSegmentationNode,
    volumeNode: vtkMRMLScalarVolumeNode,
    plane: Plane,
    masks: dict[str, np.ndarray],
    *,
    erase: bool = False,
) -> None:
    """Add a mask ``(U, V)`` of one slice of the volume to each of some segments, or erase it there.

    Raises GeometryError where the segmentation lies under a transform that is not linear.
    """
    between = transformBetween(volumeNode, segmentationNode)
    if between is None:
        raise GeometryError(
            "A slice of a volume under a transform that is not linear cannot be taken over.", "Harden the transform."
        )
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    matrix = between @ ijkToRas(volumeNode)
    for segmentId, mask in masks.items():
        if not mask.any():
            continue
        value = segmentationNode.GetSegmentation().GetSegment(segmentId).GetLabelValue()
        (box,) = ndimage.find_objects(mask.view(np.uint8))  # a larger piece has Slicer copy the whole labelmap
        values = np.where(mask[box], 0, value) if erase else np.where(mask[box], value, 0)
        image = orientedImage(np.expand_dims(values.astype(np.uint8), plane.axis), matrix)
        sides = [*box]
        sides.insert(plane.axis, slice(plane.index, plane.index + 1))
        extent = [end for side in reversed(sides) for end in (side.start, side.stop - 1)]
        image.SetExtent(extent)
        mode = logic.MODE_MERGE_MIN if erase else logic.MODE_MERGE_MAX
        logic.SetBinaryLabelmapToSegment(image, segmentationNode, segmentId, mode, extent)


def editableSegmentIds(segmentationNode: vtkMRMLSegmentationNode) -> list[str]:
    """The classes that are worked on: those that are visible and not locked."""
    locked, visible = lockedSegmentIds(segmentationNode), visibleSegmentIds(segmentationNode)
    return [name for name in classSegmentIds(segmentationNode) if name in visible and name not in locked]


def lockedSegmentIds(segmentationNode: vtkMRMLSegmentationNode) -> list[str]:
    """The segments that are finished and stay as they are: those with Slicer's status *Completed*."""
    logic, segmentation = slicer.vtkSlicerSegmentationsModuleLogic, segmentationNode.GetSegmentation()
    return [
        segmentId
        for segmentId in _segmentIds(segmentationNode)
        if logic.GetSegmentStatus(segmentation.GetSegment(segmentId)) == logic.Completed
    ]


def visibleSegmentIds(segmentationNode: vtkMRMLSegmentationNode) -> list[str]:
    """The segments whose eye is open."""
    display = segmentationNode.GetDisplayNode()
    return [name for name in _segmentIds(segmentationNode) if display is None or display.GetSegmentVisibility(name)]


def orientedImage(labels: np.ndarray, matrix: np.ndarray) -> vtkOrientedImageData:
    """Labels ``(Z, Y, X)`` as the image that segments share; ``matrix`` is from IJK to RAS."""
    geometryFromMatrix(matrix, labels.shape)  # refuses shear, which such an image cannot have
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(imageFromArray(labels.astype(np.uint8, copy=False)))
    image.SetGeometryFromImageToWorldMatrix(vtkFromMatrix(matrix))
    return image


def _imported(
    segmentationNode: vtkMRMLSegmentationNode,
    volumeNode: vtkMRMLScalarVolumeNode,
    segmentIds: dict[int, str],
    labels: np.ndarray,
) -> None:
    """Through Slicer's own import, which follows transforms that are not linear."""
    for value, segmentId in segmentIds.items():
        mask = (labels == value).astype(np.uint8)
        slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentationNode, segmentId, volumeNode)


def _binaryLabelmap() -> str:
    return str(slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName())


def _segmentIds(segmentationNode: vtkMRMLSegmentationNode) -> list[str]:
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetNthSegmentID(number) for number in range(segmentation.GetNumberOfSegments())]


def _isBackground(segmentationNode: vtkMRMLSegmentationNode, segmentId: str) -> bool:
    return segmentationNode.GetSegmentation().GetSegment(segmentId).GetName().strip().lower() == BACKGROUND


def _styleOf(segment: vtkSegment) -> SegmentStyle:
    return SegmentStyle(segment.GetName(), tuple(segment.GetColor()), _terminologyOf(segment) or DEFAULT_TERMINOLOGY)


def _terminologyOf(segment: vtkSegment) -> str:
    entry = vtk.reference("")
    found = segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
    return str(entry) if found else ""


def _merged(
    segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode, values: dict[str, int]
) -> Block:
    """Some segments with their values; the later one counts where they overlap."""
    shape = volumeNode.GetImageData().GetDimensions()[::-1]
    between = transformBetween(segmentationNode, volumeNode)
    pieces = []
    for segmentId, value in values.items():
        if between is None:
            piece = _exported(segmentationNode, volumeNode, segmentId)
        else:
            piece = _piece(segmentationNode, segmentId, np.linalg.inv(ijkToRas(volumeNode)) @ between, shape)
        if piece is not None:
            pieces.append((value, piece))
    box = boxAround([piece.box for _, piece in pieces])
    labels: np.ndarray = np.zeros([side.stop - side.start for side in box], np.uint8)
    for value, piece in pieces:
        inner = tuple(
            slice(side.start - whole.start, side.stop - whole.start) for side, whole in zip(piece.box, box, strict=True)
        )
        np.copyto(labels[inner], np.uint8(value), where=piece.labels.view(bool))
    return Block(box, labels)


def boxAround(boxes: list[Box]) -> Box:
    """The smallest box that contains all boxes; an empty one if there are none."""
    if not boxes:
        return slice(0, 0), slice(0, 0), slice(0, 0)
    z, y, x = (slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in range(3))
    return z, y, x


def _piece(
    segmentationNode: vtkMRMLSegmentationNode, segmentId: str, rasToIjk: np.ndarray, shape: tuple[int, int, int]
) -> Block | None:
    """One segment's mask on the volume's grid, only as far as it reaches; None where it is empty or outside."""
    found = _maskOf(segmentationNode, segmentId, rasToIjk)
    if found is None:
        return None
    array, label, toVolume = found
    mask = array == label
    offset = _wholeOffset(toVolume, mask.shape)
    if offset is None:
        return _resampled(mask, toVolume, shape)
    return _clipped(mask, offset, shape)


def _maskOf(
    segmentationNode: vtkMRMLSegmentationNode, segmentId: str, rasToIjk: np.ndarray
) -> tuple[np.ndarray, int, np.ndarray] | None:
    """A segment's labelmap ``(Z, Y, X)``, not copied, its value in it, and from its (i, j, k) to the volume's.

    None where the segment is empty.
    """
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    image = segment.GetRepresentation(_binaryLabelmap())
    if image is None or image.GetPointData().GetScalars() is None:
        return None
    extent = image.GetExtent()
    if extent[0] > extent[1] or extent[2] > extent[3] or extent[4] > extent[5]:
        return None
    array, toRas = _arrayOf(image)
    return array, segment.GetLabelValue(), rasToIjk @ toRas


def _arrayOf(image: vtkOrientedImageData) -> tuple[np.ndarray, np.ndarray]:
    """The voxels ``(Z, Y, X)`` of an image, not copied, and from their (i, j, k) to RAS; extents may start anywhere."""
    array = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    corner = np.eye(4)
    corner[:3, 3] = image.GetExtent()[::2]
    return array.reshape(image.GetDimensions()[::-1]), matrixFromVtk(matrix) @ corner


def _wholeOffset(toVolume: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Where voxel (0, 0, 0) lies (z, y, x), if the grids differ by whole voxels alone."""
    size = max(shape)
    offset = np.round(toVolume[:3, 3])
    if (
        np.abs(toVolume[:3, :3] - np.eye(3)).max() * size > _ALIGNED
        or np.abs(toVolume[:3, 3] - offset).max() > _ALIGNED
    ):
        return None
    x, y, z = (int(part) for part in offset)
    return z, y, x


def _overlap(start: int, size: int, whole: int) -> tuple[slice, slice]:
    """The part of ``size`` voxels at ``start`` that lies in ``whole`` ones: in the part, and in the whole."""
    low, high = max(0, start), min(whole, start + size)
    return slice(low - start, high - start), slice(low, high)


def _clipped(mask: np.ndarray, offset: tuple[int, int, int], shape: tuple[int, int, int]) -> Block | None:
    spans = [_overlap(*side) for side in zip(offset, mask.shape, shape, strict=True)]
    if any(inner.stop <= inner.start for inner, _ in spans):
        return None
    z, y, x = (outer for _, outer in spans)
    return Block((z, y, x), mask[tuple(inner for inner, _ in spans)].view(np.uint8))


def _resampled(mask: np.ndarray, toVolume: np.ndarray, shape: tuple[int, int, int]) -> Block | None:
    """The mask on the volume's grid by nearest neighbor."""
    back = np.linalg.inv(toVolume)
    matrix = back[:3, :3][::-1, ::-1]  # (z, y, x) in, (z, y, x) out
    out = ndimage.affine_transform(mask.astype(np.uint8), matrix, back[:3, 3][::-1], output_shape=shape, order=0)
    return _tight(out > 0, (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])))


def _tight(mask: np.ndarray, box: Box) -> Block | None:
    """A mask without its empty rim."""
    found = ndimage.find_objects(mask.view(np.uint8))
    if not found:
        return None
    inner = found[0]
    z, y, x = (slice(outer.start + side.start, outer.start + side.stop) for outer, side in zip(box, inner, strict=True))
    return Block((z, y, x), mask[inner].view(np.uint8))


def _exported(
    segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode, segmentId: str
) -> Block | None:
    """One segment through Slicer's own export, which follows transforms that are not linear."""
    array = slicer.util.arrayFromSegmentBinaryLabelmap(segmentationNode, segmentId, volumeNode)
    shape = volumeNode.GetImageData().GetDimensions()[::-1]
    if array is None or array.shape != shape:
        return None
    return _tight(array > 0, (slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])))
