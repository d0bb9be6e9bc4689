"""Volume nodes as arrays with geometry, and new volume nodes from them.

Geometries are the engine's: voxel quantities in (z, y, x), physical points in LPS mm; parent transforms are
not in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import slicer
import vtk
import vtk.util.numpy_support

from SparseSegLib.errors import GeometryError, VolumeError
from SparseSegLib.image import Geometry
from SparseSegModule.names import freeName

if TYPE_CHECKING:
    from slicer import (
        vtkMRMLColorTableNode,
        vtkMRMLLabelMapVolumeNode,
        vtkMRMLScalarVolumeNode,
        vtkMRMLTransformableNode,
    )

UNCERTAINTY = "SparseSeg uncertainty"
UNCERTAIN_COLOR = (0.8, 0.4, 1.0)  # violet: neither tissue nor a color that Slicer gives segments
SURE = 0.25  # of an entropy from 0 to 1: a class of 96 %

SHEAR = 0.04  # cosine of an angle between axes, where views still show slices: an affine registration's

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def matrixFromVtk(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """A vtkMatrix4x4 as an array ``(4, 4)``."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def vtkFromMatrix(array: np.ndarray) -> vtk.vtkMatrix4x4:
    """An array ``(4, 4)`` as a vtkMatrix4x4."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(tuple(array.ravel()))
    return matrix


def geometryFromMatrix(ijkToRas: np.ndarray, shape: tuple[int, int, int], volumeName: str = "") -> Geometry:
    """The grid of ``shape`` (z, y, x) whose voxel (i, j, k) lies at ``ijkToRas`` (RAS, 4×4).

    Raises GeometryError if the axes are sheared: those of the volume that is named, or by transforms.
    """
    lps = _LPS @ ijkToRas
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    axes = lps[:3, :3] / spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3:
        if volumeName:
            raise GeometryError(
                f"The axes of {volumeName} are not at right angles (it is sheared), and segments cannot be drawn so.",
                "Resample it to a grid with right angles, with the module Resample Scalar/Vector/DWI Volume, say.",
            )
        raise GeometryError(
            "The transform between the nodes shears the volume.", "Harden the transforms, then try again."
        )
    return Geometry(shape, tuple(spacing[::-1]), tuple(lps[:3, 3]), tuple(axes.ravel()))


def matrixFromGeometry(geometry: Geometry) -> np.ndarray:
    """IJK to RAS, 4×4, of a grid."""
    affine = geometry.affine()
    affine[:3, :3] = affine[:3, 2::-1]  # the engine's voxel indices are (z, y, x), MRML's (i, j, k)
    return _LPS @ affine


def ijkToRas(volumeNode: vtkMRMLScalarVolumeNode) -> np.ndarray:
    """IJK to the node's own RAS (not world), 4×4."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return matrixFromVtk(matrix)


def volumeGeometry(volumeNode: vtkMRMLScalarVolumeNode) -> Geometry:
    """The grid of a volume node; VolumeError if it has no image."""
    image = volumeNode.GetImageData()
    if image is None or min(image.GetDimensions()) < 1:
        raise VolumeError(f"{volumeNode.GetName()} has no image.", "Load or choose another volume.")
    return geometryFromMatrix(ijkToRas(volumeNode), image.GetDimensions()[::-1], volumeNode.GetName())


def shearOf(volumeNode: vtkMRMLScalarVolumeNode) -> str:
    """Why a volume cannot be drawn on if it is sheared or warped, by itself or by its transform; else ""."""
    try:
        volumeGeometry(volumeNode)
        _checkTransform(volumeNode)
    except GeometryError as error:
        return str(error)
    except VolumeError:
        return ""  # it has no image yet
    return ""


def _checkTransform(volumeNode: vtkMRMLScalarVolumeNode) -> None:
    """Raise GeometryError if a volume's slices are no planes of the views: its transform shears or is not linear."""
    transformNode, toWorld = volumeNode.GetParentTransformNode(), vtk.vtkMatrix4x4()
    if transformNode is None:
        return
    if transformNode.IsTransformToWorldLinear():
        transformNode.GetMatrixTransformToWorld(toWorld)
        axes = (matrixFromVtk(toWorld) @ ijkToRas(volumeNode))[:3, :3]
        axes /= np.linalg.norm(axes, axis=0)
        if np.abs(axes.T @ axes - np.eye(3)).max() < SHEAR:
            return
    raise GeometryError(
        f"{volumeNode.GetName()} is under a transform that bends or shears it, and its slices are none in the views.",
        "Take it out of the transform, or harden the transform.",
    )


def volumeArray(volumeNode: vtkMRMLScalarVolumeNode) -> np.ndarray:
    """The voxels ``(Z, Y, X)`` of a volume node, not copied; VolumeError for anything but one number per voxel."""
    array = slicer.util.arrayFromVolume(volumeNode)
    if array.ndim != 3:
        raise VolumeError(
            f"{volumeNode.GetName()} has several numbers per voxel (a color or vector volume).",
            "Convert it to scalar volumes (module Vector to Scalar Volume) and choose them as channels.",
        )
    return array


@dataclass(frozen=True)
class ImageState:
    """Which voxels a volume node has now, and where they lie: another frame, a filter or another spacing changes it."""

    scalars: vtk.vtkDataArray | None
    modified: int
    matrix: tuple[float, ...] | None

    @classmethod
    def of(cls, volumeNode: vtkMRMLScalarVolumeNode, reference: vtkMRMLScalarVolumeNode | None = None) -> ImageState:
        """The state of a node, whose place is in the coordinates of ``reference``, by default in its own."""
        image = volumeNode.GetImageData()
        scalars = image.GetPointData().GetScalars() if image is not None else None
        between = transformBetween(volumeNode, reference or volumeNode)
        matrix = None if between is None else tuple((between @ ijkToRas(volumeNode)).ravel().round(6))
        return cls(scalars, 0 if scalars is None else scalars.GetMTime(), matrix)


@dataclass(frozen=True, eq=False)
class VolumeImage:
    """The voxels ``(Z, Y, X)`` of a volume node, not copied, with their grid, for a thread that writes them."""

    name: str
    array: np.ndarray
    geometry: Geometry
    state: ImageState
    stateNow: Callable[[], ImageState]

    @classmethod
    def of(cls, volumeNode: vtkMRMLScalarVolumeNode, reference: vtkMRMLScalarVolumeNode | None = None) -> VolumeImage:
        """The image of a node, in the coordinates of ``reference`` where that is another one."""
        array = volumeArray(volumeNode)
        geometry = volumeGeometry(volumeNode) if reference is None else channelGeometry(volumeNode, reference)

        def stateNow() -> ImageState:
            return ImageState.of(volumeNode, reference)

        return cls(volumeNode.GetName(), array, geometry, stateNow(), stateNow)

    def check(self) -> None:
        """Raise VolumeError if the node has another image since, so that what was written may be a mixture."""
        if self.stateNow() != self.state:
            raise VolumeError(f"{self.name} was changed while the job was being prepared.", "Start it again.")


def transformBetween(source: vtkMRMLTransformableNode, target: vtkMRMLTransformableNode) -> np.ndarray | None:
    """From the RAS of ``source`` to the RAS of ``target``, 4×4; None where the way is not linear."""
    first, second = source.GetParentTransformNode(), target.GetParentTransformNode()
    if first is second:
        return np.eye(4)
    for node in (first, second):
        if node is not None and not node.IsTransformToWorldLinear():
            return None
    matrix = vtk.vtkMatrix4x4()
    slicer.vtkMRMLTransformNode.GetMatrixTransformBetweenNodes(first, second, matrix)
    return matrixFromVtk(matrix)


def channelGeometry(channelNode: vtkMRMLScalarVolumeNode, volumeNode: vtkMRMLScalarVolumeNode) -> Geometry:
    """The grid of a further channel in the coordinates of the first volume.

    Raises GeometryError if the transform between the two is not linear, or shears.
    """
    between = transformBetween(channelNode, volumeNode)
    if between is None:
        raise GeometryError(
            f"{channelNode.GetName()} is under a transform that is not linear.", "Harden the transform, then try again."
        )
    return geometryFromMatrix(between @ ijkToRas(channelNode), channelNode.GetImageData().GetDimensions()[::-1])


def imageFromArray(array: np.ndarray) -> vtk.vtkImageData:
    """A copy of an array ``(Z, Y, X)`` as vtkImageData of unit spacing."""
    image = vtk.vtkImageData()
    image.SetDimensions(array.shape[::-1])
    scalars = vtk.util.numpy_support.numpy_to_vtk(np.ascontiguousarray(array).ravel(), deep=True)
    scalars.SetName("ImageScalars")  # as VTK names them; Slicer's DICOM SEG export takes others for an empty segment
    image.GetPointData().SetScalars(scalars)
    return image


def addLabelmapNode(
    labels: vtk.vtkImageData,
    geometry: Geometry,
    name: str,
    names: tuple[str, ...],
    colors: list[tuple[float, float, float]],
) -> vtkMRMLLabelMapVolumeNode:
    """A new labelmap volume node with a color table of its own; the image's values are the classes."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", freeName(name))
    node.SetIJKToRASMatrix(vtkFromMatrix(matrixFromGeometry(geometry)))
    node.CreateDefaultDisplayNodes()
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", f"{node.GetName()} colors")
    table.SetTypeToUser()
    table.SetNumberOfColors(len(names) + 1)
    table.SetColor(0, "background", 0.0, 0.0, 0.0, 0.0)
    for value, (label, color) in enumerate(zip(names, colors, strict=True), start=1):
        table.SetColor(value, label, *color, 1.0)
    node.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    node.SetAndObserveImageData(labels)
    return node


def replaceImage(node: vtkMRMLScalarVolumeNode, image: vtk.vtkImageData, geometry: Geometry) -> None:
    """Give a volume node another image on another grid."""
    node.SetIJKToRASMatrix(vtkFromMatrix(matrixFromGeometry(geometry)))
    node.SetAndObserveImageData(image)


def addUncertaintyNode(uncertainty: vtk.vtkImageData, geometry: Geometry, name: str) -> vtkMRMLScalarVolumeNode:
    """A new scalar volume node, from sure (transparent) to not at all, in one color that is the brighter the less."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", freeName(name))
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()  # before the image comes: finding it takes seconds in a large volume
    display.SetAndObserveColorNodeID(_uncertaintyColors().GetID())
    display.ApplyThresholdOn()  # slice views know alpha 0 and 1 alone
    replaceUncertainty(node, uncertainty, geometry)
    return node


def replaceUncertainty(node: vtkMRMLScalarVolumeNode, uncertainty: vtk.vtkImageData, geometry: Geometry) -> None:
    """Give such a node another uncertainty, from 0 to 1, or of a large region from 0 to 255."""
    highest = 255.0 if uncertainty.GetScalarType() == vtk.VTK_UNSIGNED_CHAR else 1.0
    display = node.GetDisplayNode()
    display.SetWindowLevelMinMax(0.0, highest)
    display.SetThreshold(SURE * highest, highest)
    replaceImage(node, uncertainty, geometry)


def _uncertaintyColors() -> vtkMRMLColorTableNode:
    """The colors of all maps of uncertainty in the scene."""
    for node in slicer.util.getNodesByClass("vtkMRMLColorTableNode"):
        if node.GetName() == UNCERTAINTY:
            return node
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", UNCERTAINTY)
    node.SetTypeToUser()
    node.SetNumberOfColors(256)
    for value in range(256):
        shade = np.array(UNCERTAIN_COLOR) * (255 + value) / 510
        node.SetColor(value, f"{value / 255:.3f}", *shade, 1.0)
    return node
