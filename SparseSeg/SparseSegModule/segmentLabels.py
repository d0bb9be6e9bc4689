"""Segmentation nodes as labels on a volume's grid."""

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
from SparseSegLib.errors import AnnotationError
from SparseSegLib.image import Box
from SparseSegModule.segments import allSegmentIds, classSegmentIds, isBackground, labelmapName
from SparseSegModule.volumes import ijkToRas, matrixFromVtk, transformBetween

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkOrientedImageData

_ALIGNED = 1e-2  # voxels


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


def classLabels(
    segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode, only: list[str] | None = None
) -> Block:
    """The classes on the volume's grid; where segments overlap the later one counts. The box may have empty rims.

    With ``only`` some segments' classes, which keep their values.
    """
    _haveLabelmaps(segmentationNode)
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
        offset = wholeOffset(here, array.shape)
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
    strokes = [name for name in allSegmentIds(segmentationNode) if isBackground(segmentationNode, name)]
    segmentIds = [*strokes, *others]
    return _merged(segmentationNode, volumeNode, dict.fromkeys(segmentIds, 1))


def resultLabels(segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode) -> np.ndarray:
    """The labels ``(Z, Y, X)`` on the volume's grid that :func:`setLabels` made a segmentation of."""
    segmentation, shape = segmentationNode.GetSegmentation(), volumeNode.GetImageData().GetDimensions()[::-1]
    values = {name: segmentation.GetSegment(name).GetLabelValue() for name in allSegmentIds(segmentationNode)}
    return _merged(segmentationNode, volumeNode, values).whole(shape)


def segmentsMask(
    segmentationNode: vtkMRMLSegmentationNode, volumeNode: vtkMRMLScalarVolumeNode, segmentIds: list[str]
) -> np.ndarray:
    """The voxels ``(Z, Y, X)`` of the volume's grid that lie in any of some segments, as a mask."""
    _haveLabelmaps(segmentationNode)
    shape = volumeNode.GetImageData().GetDimensions()[::-1]
    return _merged(segmentationNode, volumeNode, dict.fromkeys(segmentIds, 1)).whole(shape).view(bool)


def _haveLabelmaps(segmentationNode: vtkMRMLSegmentationNode) -> None:
    """Have Slicer make labelmaps of a segmentation that has surfaces alone; AnnotationError where it cannot."""
    segmentation, name = segmentationNode.GetSegmentation(), labelmapName()
    made = segmentation.GetSourceRepresentationName() == name or segmentation.ContainsRepresentation(name)
    if not made and segmentation.GetNumberOfSegments() and not segmentation.CreateRepresentation(name):
        raise AnnotationError(
            f"Slicer could not make a labelmap of the surfaces of {segmentationNode.GetName()}.",
            "Make one in the module Segmentations, under Representations.",
        )


def boxAround(boxes: list[Box]) -> Box:
    """The smallest box that contains all boxes; an empty one if there are none."""
    if not boxes:
        return slice(0, 0), slice(0, 0), slice(0, 0)
    z, y, x = (slice(min(box[axis].start for box in boxes), max(box[axis].stop for box in boxes)) for axis in range(3))
    return z, y, x


def arrayOf(image: vtkOrientedImageData) -> tuple[np.ndarray, np.ndarray]:
    """The voxels ``(Z, Y, X)`` of an image, not copied, and from their (i, j, k) to RAS; extents may start anywhere."""
    array = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    corner = np.eye(4)
    corner[:3, 3] = image.GetExtent()[::2]
    return array.reshape(image.GetDimensions()[::-1]), matrixFromVtk(matrix) @ corner


def wholeOffset(toVolume: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int] | None:
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


def _piece(
    segmentationNode: vtkMRMLSegmentationNode, segmentId: str, rasToIjk: np.ndarray, shape: tuple[int, int, int]
) -> Block | None:
    """One segment's mask on the volume's grid, only as far as it reaches; None where it is empty or outside."""
    found = _maskOf(segmentationNode, segmentId, rasToIjk)
    if found is None:
        return None
    array, label, toVolume = found
    mask = array == label
    offset = wholeOffset(toVolume, mask.shape)
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
    image = segment.GetRepresentation(labelmapName())
    if image is None or image.GetPointData().GetScalars() is None:
        return None
    extent = image.GetExtent()
    if extent[0] > extent[1] or extent[2] > extent[3] or extent[4] > extent[5]:
        return None
    array, toRas = arrayOf(image)
    return array, segment.GetLabelValue(), rasToIjk @ toRas


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
