"""Slice views: turned to the volume, moved to a slice, and what they show between inputs and results."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk

from SparseSegLib.annotation import ObliquePlane, Plane
from SparseSegLib.image import Geometry
from SparseSegModule.volumes import matrixFromVtk, volumeGeometry

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLSliceNode

PARALLEL = 0.999
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])


def sliceNodes() -> list[vtkMRMLSliceNode]:
    """The slice views of the current layout; none where Slicer runs without a main window."""
    manager = slicer.app.layoutManager()
    if manager is None:
        return []
    return [manager.sliceWidget(name).mrmlSliceNode() for name in manager.sliceViewNames()]


def turnToVolume(volumeNode: vtkMRMLScalarVolumeNode) -> None:
    """Turn every slice view to the nearest of the volume's own planes, so that strokes lie on one slice of it."""
    for sliceNode in sliceNodes():
        sliceNode.RotateToVolumePlane(volumeNode)


def toWorld(volumeNode: vtkMRMLScalarVolumeNode, point: np.ndarray) -> np.ndarray:
    """A point in the volume's own LPS mm as world RAS mm; ``(3,)``."""
    ras = point * _RAS_TO_LPS
    transformNode = volumeNode.GetParentTransformNode()
    if transformNode is None:
        return ras
    toWorldTransform = vtk.vtkGeneralTransform()
    transformNode.GetTransformToWorld(toWorldTransform)
    return np.array(toWorldTransform.TransformPoint(ras))


def obliqueInWorld(plane: ObliquePlane, volumeNode: vtkMRMLScalarVolumeNode) -> tuple[np.ndarray, np.ndarray]:
    """A point of a plane and its unit normal, in world RAS mm; where the volume's transform is not linear, nearly."""
    point = np.asarray(plane.point)
    first = np.eye(3)[np.abs(plane.normal).argmin()]
    u = np.cross(plane.normal, first)
    here, along, across = (
        toWorld(volumeNode, place) for place in (point, point + u, point + np.cross(plane.normal, u))
    )
    normal = np.cross(along - here, across - here)
    return here, normal / np.linalg.norm(normal)


def jumpTo(volumeNode: vtkMRMLScalarVolumeNode, plane: Plane | ObliquePlane) -> vtkMRMLSliceNode | None:
    """Move the slice view that looks along the plane's normal to it, turned to the volume; the view's node.

    To an oblique plane, the view that looks nearly along its normal is turned.
    """
    views = sliceNodes()
    if not views:
        return None
    if isinstance(plane, ObliquePlane):
        return _jumpToOblique(views, *obliqueInWorld(plane, volumeNode))
    geometry = volumeGeometry(volumeNode)
    middle = (np.array(geometry.shape) - 1) / 2
    middle[plane.axis] = plane.index
    here = toWorld(volumeNode, geometry.index_to_physical(middle))
    normal, along = (
        _direction(volumeNode, geometry, middle, axis) for axis in (plane.axis, 1 if plane.axis == 2 else 2)
    )
    turnToVolume(volumeNode)
    best = max(views, key=lambda view: abs(_normal(view) @ normal))
    if abs(_normal(best) @ normal) < PARALLEL:  # the view was oblique, and is turned to another plane of the volume now
        best.SetSliceToRASByNTP(*normal, *along, *here, 0)
    best.JumpSliceByOffsetting(*here)
    return best


def _jumpToOblique(views: list[vtkMRMLSliceNode], here: np.ndarray, normal: np.ndarray) -> vtkMRMLSliceNode:
    best = max(views, key=lambda view: abs(_normal(view) @ normal))
    normal = normal if _normal(best) @ normal > 0 else -normal
    along = matrixFromVtk(best.GetSliceToRAS())[:3, 0]
    along = along - (along @ normal) * normal
    best.SetSliceToRASByNTP(*normal, *along, *here, 0)
    return best


def _direction(volumeNode: vtkMRMLScalarVolumeNode, geometry: Geometry, index: np.ndarray, axis: int) -> np.ndarray:
    """The unit vector in world RAS along one of the volume's axes (0, 1, 2 for z, y, x), at a voxel."""
    ahead = index.copy()
    ahead[axis] += 1
    here, there = (toWorld(volumeNode, geometry.index_to_physical(place)) for place in (index, ahead))
    return (there - here) / np.linalg.norm(there - here)


def viewPlanes(volumeNode: vtkMRMLScalarVolumeNode) -> list[ObliquePlane]:
    """The planes that the slice views show, in the volume's own LPS mm."""
    return _posesOf(sliceNodes(), volumeNode)


def _posesOf(views: list[vtkMRMLSliceNode], volumeNode: vtkMRMLScalarVolumeNode) -> list[ObliquePlane]:
    """The planes of some views in the volume's own LPS mm; [] under a transform that is not linear."""
    transformNode = volumeNode.GetParentTransformNode()
    fromWorld = np.eye(4)
    if transformNode is not None:
        if not transformNode.IsTransformToWorldLinear():
            return []
        matrix = vtk.vtkMatrix4x4()
        transformNode.GetMatrixTransformFromWorld(matrix)
        fromWorld = matrixFromVtk(matrix)
    planes = []
    for view in views:
        pose = fromWorld @ matrixFromVtk(view.GetSliceToRAS())
        x, y, z = (float(value) for value in pose[:3, 3] * _RAS_TO_LPS)
        normal = np.cross(pose[:3, 0], pose[:3, 1])
        u, v, w = (float(value) for value in normal / np.linalg.norm(normal) * _RAS_TO_LPS)
        planes.append(ObliquePlane((x, y, z), (u, v, w)))
    return planes


def shownPlane(view: vtkMRMLSliceNode, volumeNode: vtkMRMLScalarVolumeNode) -> Plane | None:
    """The slice of the volume that a view shows; None where the view is oblique to the volume, or beside it."""
    (pose,) = _posesOf([view], volumeNode) or (None,)
    if pose is None:
        return None
    geometry = volumeGeometry(volumeNode)
    along = np.asarray(pose.normal) @ geometry.affine()[:3, :3]
    along = np.abs(along / np.linalg.norm(geometry.affine()[:3, :3], axis=0))
    axis = int(along.argmax())
    index = int(np.round(geometry.physical_to_index(np.array([pose.point]))[0][axis]))
    if along.max() < PARALLEL or not 0 <= index < geometry.shape[axis]:
        return None
    return Plane(axis, index)


def blend(inputNode: vtkMRMLSegmentationNode | None, resultNode: vtkMRMLSegmentationNode | None, weight: float) -> None:
    """Fade from the user's segments (``weight`` 0) to the result (``weight`` 1), as Grow from seeds does."""
    for node, opacity in ((inputNode, 1 - weight), (resultNode, weight)):
        display = node.GetDisplayNode() if node is not None else None
        if display is not None:
            display.SetOpacity(opacity)


def _normal(view: vtkMRMLSliceNode) -> np.ndarray:
    return matrixFromVtk(view.GetSliceToRAS())[:3, 2]
