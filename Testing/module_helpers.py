"""What the tests of the Slicer module share: phantoms as nodes, and strokes as the effects of the editor make them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
import vtk
from host import Host
from phantoms import Phantom, blob

from SparseSegLib.annotation import Plane
from SparseSegLib.image import Geometry

MODULE = Path(__file__).resolve().parents[1] / "SparseSeg" / "SparseSeg.py"
DEVICE = {"device": "cpu", "device_name": "CPU, 2 threads", "packages": {"torch": "2.13.0"}}  # of sparseseg info


def add_volume(array: np.ndarray, geometry: Geometry, name: str):
    """A scalar volume node of ``array`` ``(Z, Y, X)``."""
    from SparseSegModule.volumes import matrixFromGeometry, vtkFromMatrix

    node = slicer.util.addVolumeFromArray(np.ascontiguousarray(array), name=name)
    node.SetIJKToRASMatrix(vtkFromMatrix(matrixFromGeometry(geometry)))
    return node


def add_phantom(geometry: Geometry | None = None, name: str = "phantom") -> tuple[Phantom, object]:
    """A phantom and its volume node."""
    phantom = blob(geometry) if geometry is not None else blob()
    return phantom, add_volume(phantom.volume.array[0] * 100, phantom.volume.geometry, name)


def paint(segmentation_node, segment_id: str, mask: np.ndarray, matrix: np.ndarray, *, erase: bool = False) -> None:
    """Change a segment by a mask ``(Z, Y, X)`` on the grid of ``matrix`` (IJK to RAS), as every effect does."""
    from SparseSegModule.segmentChanges import orientedImage

    logic = slicer.vtkSlicerSegmentationsModuleLogic
    value = segmentation_node.GetSegmentation().GetSegment(segment_id).GetLabelValue()
    image = orientedImage((1 - mask if erase else mask) * value, matrix)
    mode = logic.MODE_MERGE_MIN if erase else logic.MODE_MERGE_MAX
    logic.SetBinaryLabelmapToSegment(image, segmentation_node, segment_id, mode, image.GetExtent())


def paint_plane(segmentation_node, volume_node, labels: np.ndarray, plane: Plane, value: int = 1) -> None:
    """Outline class ``value`` of ``labels`` on one slice, in the segment of that number."""
    from SparseSegModule.segments import classSegmentIds
    from SparseSegModule.volumes import ijkToRas

    mask = np.zeros(labels.shape, np.uint8)
    mask[plane.voxels] = labels[plane.voxels] == value
    segment_id = classSegmentIds(segmentation_node)[value - 1]
    paint(segmentation_node, segment_id, mask, ijkToRas(volume_node))
    Host.instance().processEvents(0.05)


def middle(labels: np.ndarray, axis: int, share: float = 0.5) -> Plane:
    """A slice through the objects, by default through their middle."""
    places = np.flatnonzero((labels > 0).any(tuple(other for other in range(3) if other != axis)))
    return Plane(axis, int(places[int(share * (len(places) - 1))]))


def moved(right: float) -> vtk.vtkMatrix4x4:
    """A shift to the right, in mm."""
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, right)
    return matrix
