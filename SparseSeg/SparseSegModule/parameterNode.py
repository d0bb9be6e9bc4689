"""The parameter node: the user's choices, kept in the scene."""

from __future__ import annotations

from typing import Annotated

from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode
from slicer.parameterNodeWrapper import Choice, WithinRange, parameterNodeWrapper

from SparseSegModule.exportFormats import ExportFormat
from SparseSegModule.networks import Network

PRESETS = ["fast", "balanced", "thorough", "unet3d", "cicek2016"]
OUTPUTS = ["both", "labelmap", "segmentation"]
DEVICES = ["auto", "cpu", "cuda", "mps"]
CHANNEL_ROLE = "SparseSeg.channel"
"""Role of the node references to further channels."""


@parameterNodeWrapper
class SparseSegParameterNode:
    """The parameters of the module.

    inputVolume, segmentation - the image, and what the user draws on it.
    preset, budgetSeconds, margin, seed, device, output - how to densify; 0 seconds is the preset's.
    start - the model whose network joins in when densifying, or "" for none.
    region - the box to work in, or None for what is annotated with a margin around it.
    live - whether every confirmed slice is learned from at once.
    scribble - whether strokes on a new slice label their own voxels alone.
    largestIsland, fillHoles, smooth - how a result is finished when it is applied.
    resultOpacity, showUncertainty, show3D - how the result is shown.
    allFrames - whether a model runs on every frame of a volume that belongs to a sequence.
    flips, force - whether a model averages over mirror images, and whether it runs on images that it is not for.
    startModel - the model that a training begins with, or "" for none; it decides network, channelNames and nested.
    network, channelNames, noisyLabels, nested - how to train a model: channelNames has commas between the names,
        noisyLabels weights labels by how good they seem, nested: each segment lies inside the one before.
    shown, reference - two segmentations to compare slice by slice; shown is also what is exported, as exportFormat.
    intoDatabase - whether DICOM goes into Slicer's DICOM database instead of a file.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    segmentation: vtkMRMLSegmentationNode
    shown: vtkMRMLSegmentationNode
    reference: vtkMRMLSegmentationNode
    preset: Annotated[str, Choice(PRESETS)] = "fast"
    budgetSeconds: Annotated[int, WithinRange(0, 360000)] = 0
    margin: Annotated[float, WithinRange(0, 2)] = 0.1
    region: vtkMRMLMarkupsROINode
    seed: Annotated[int, WithinRange(0, 999999)] = 0
    device: Annotated[str, Choice(DEVICES)] = "auto"
    output: Annotated[str, Choice(OUTPUTS)] = "both"
    start: str = ""
    live: bool = False
    scribble: bool = False
    resultOpacity: Annotated[float, WithinRange(0, 1)] = 0.7
    showUncertainty: bool = False
    show3D: bool = False
    largestIsland: bool = False
    fillHoles: bool = False
    smooth: bool = False
    allFrames: bool = False
    flips: bool = False
    force: bool = False
    startModel: str = ""
    network: Network = Network.UNET3D_HALF
    channelNames: str = ""
    noisyLabels: bool = False
    nested: bool = False
    exportFormat: ExportFormat = ExportFormat.SEG_NRRD
    intoDatabase: bool = False


def chosenNodes(
    node: SparseSegParameterNode | None,
) -> tuple[vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode] | None:
    """The image and what is drawn on it, as they are chosen; None where one is missing, or the image is empty."""
    if node is None or node.inputVolume is None or node.segmentation is None or node.inputVolume.GetImageData() is None:
        return None
    return node.inputVolume, node.segmentation


def chosenChannels(node: SparseSegParameterNode) -> list[vtkMRMLScalarVolumeNode]:
    """The further channels: checked, and not the volume itself."""
    count = node.parameterNode.GetNumberOfNodeReferences(CHANNEL_ROLE)
    chosen = [node.parameterNode.GetNthNodeReference(CHANNEL_ROLE, number) for number in range(count)]
    return [channel for channel in chosen if channel is not None and channel is not node.inputVolume]
