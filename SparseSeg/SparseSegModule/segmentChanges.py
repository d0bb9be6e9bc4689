"""Labels into segmentation nodes: all of a result in one labelmap layer, or what changes on a slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import slicer
from scipy import ndimage

from SparseSegLib.annotation import Plane
from SparseSegLib.errors import AnnotationError, GeometryError
from SparseSegModule.segmentLabels import arrayOf, segmentsMask, wholeOffset
from SparseSegModule.segments import SegmentStyle, allSegmentIds, classSegmentIds, labelmapName
from SparseSegModule.volumes import geometryFromMatrix, ijkToRas, imageFromArray, transformBetween, vtkFromMatrix

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkOrientedImageData


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
    name = labelmapName()
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
    image = segment.GetRepresentation(labelmapName()) if segment is not None else None
    if image is None or image.GetPointData().GetScalars() is None:
        return
    array, toRas = arrayOf(image)
    offset = wholeOffset(np.linalg.inv(ijkToRas(volumeNode)) @ toRas, array.shape)
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
    identities of the segments stay, and so do all other segments.

    Raises AnnotationError if one of them is gone, GeometryError where the segmentation lies under a transform that is
    not linear.
    """
    if not set(segmentIds.values()) <= set(allSegmentIds(segmentationNode)):
        raise AnnotationError(
            "A segment that the result belongs to was removed.", "Densify again, or take the result's own segmentation."
        )
    image = orientedImage(labels, _linear(volumeNode, segmentationNode) @ matrix)
    for value, segmentId in segmentIds.items():
        segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
        segment.SetLabelValue(value)
        segment.AddRepresentation(labelmapName(), image)
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
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    matrix = _linear(volumeNode, segmentationNode) @ ijkToRas(volumeNode)
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


def orientedImage(labels: np.ndarray, matrix: np.ndarray) -> vtkOrientedImageData:
    """Labels ``(Z, Y, X)`` as the image that segments share; ``matrix`` is from IJK to RAS."""
    geometryFromMatrix(matrix, labels.shape)  # refuses shear, which such an image cannot have
    image = slicer.vtkOrientedImageData()
    image.ShallowCopy(imageFromArray(labels.astype(np.uint8, copy=False)))
    image.SetGeometryFromImageToWorldMatrix(vtkFromMatrix(matrix))
    return image


def _linear(volumeNode: vtkMRMLScalarVolumeNode, segmentationNode: vtkMRMLSegmentationNode) -> np.ndarray:
    """From the volume's RAS to the segmentation's, 4×4; GeometryError where the way is not linear."""
    between = transformBetween(volumeNode, segmentationNode)
    if between is None:
        raise GeometryError(
            f"A transform that is not linear lies between {volumeNode.GetName()} and {segmentationNode.GetName()}.",
            "Put both under the same transform, or harden it.",
        )
    return between
