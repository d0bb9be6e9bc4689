"""From nodes and a model's name to a running training or segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import slicer

from SparseSegLib.errors import FileError, UsageError
from SparseSegLib.models import ModelCard, ModelLibrary
from SparseSegModule.annotation import takeDrawing
from SparseSegModule.densifier import knownPlanes
from SparseSegModule.jobHandle import JobHandle, Listener
from SparseSegModule.jobs import Jobs
from SparseSegModule.modelWork import ModelArrays, ModelCase, ModelResult, SegmentWork, TrainingCase, TrainWork
from SparseSegModule.parameterNode import SparseSegParameterNode
from SparseSegModule.results import addSegmentation, describe
from SparseSegModule.segments import DEFAULT_TERMINOLOGY, SegmentStyle, segmentStyles, setLabels
from SparseSegModule.sequences import Frames
from SparseSegModule.volumes import VolumeImage, addLabelmapNode, imageFromArray, matrixFromGeometry

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

IMAGE_ENDINGS = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd", ".tif", ".tiff")


def startTraining(
    jobs: Jobs,
    parameterNode: SparseSegParameterNode,
    cases: Sequence[tuple[vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode]],
    name: str,
    budgetSeconds: float,
    *,
    network: str = "unet3d-small",
    seed: int = 0,
    device: str = "auto",
    budgetSteps: int | None = None,
    listener: Listener | None = None,
) -> JobHandle:
    """Start training a model; see ``SparseSegLogic.trainModel``."""
    if not cases:
        raise UsageError("There is no annotated volume to train from.", "Check volumes that have a segmentation.")
    if not name.strip():
        raise UsageError("The model has no name.", "Give it one.")
    terminologies: dict[str, str] = {}
    found = []
    for volumeNode, segmentationNode in cases:
        planes = knownPlanes(parameterNode, volumeNode, segmentationNode)
        drawing = takeDrawing(volumeNode, segmentationNode, planes)
        terminologies.update({style.name: style.terminology for style in segmentStyles(segmentationNode)})
        found.append(TrainingCase(volumeNode.GetName(), [VolumeImage.of(volumeNode)], drawing))
    settings: dict[str, Any] = {
        "name": name,
        "network": network,
        "seed": seed,
        "device": device,
        "budget_seconds": float(budgetSeconds),
        "terminologies": terminologies,
    }
    if budgetSteps:
        settings["budget_steps"] = int(budgetSteps)
    return jobs.start(TrainWork(found, settings), listener)


def startSegmenting(
    jobs: Jobs,
    modelName: str,
    volumeNodes: Sequence[vtkMRMLScalarVolumeNode],
    *,
    device: str = "auto",
    output: str = "both",
    flips: bool = False,
    allFrames: bool = False,
    listener: Listener | None = None,
) -> JobHandle:
    """Start segmenting volumes of the scene; see ``SparseSegLogic.applyModel``."""
    if not volumeNodes:
        raise UsageError("There is no volume to segment.", "Check at least one.")
    entry = ModelLibrary().find(modelName)
    card = entry.card
    groups = [Frames.of(node) if allFrames else Frames.alone(node) for node in volumeNodes]
    cases = [
        ModelCase(name, [VolumeImage.of(image)])
        for frames in groups
        for name, image in zip(frames.names, frames.images, strict=True)
    ]
    settings = {"model": str(entry.path), "device": device, "flips": flips}

    def deliver(found: list[ModelArrays]) -> list[ModelResult]:
        results, rest = [], iter(found)
        for node, frames in zip(volumeNodes, groups, strict=True):
            arrays = [next(rest) for _ in frames.images]
            if frames.sequenceNode is None:
                results.append(_nodesOf(arrays[0], node, card, output))
            else:
                results.append(_sequenceOf(arrays, frames, node, card))
        return results

    return jobs.start(SegmentWork(cases, card, settings, deliver), listener)


def startSegmentingFolder(
    jobs: Jobs, modelName: str, folder: Path, *, device: str = "auto", listener: Listener | None = None
) -> JobHandle:
    """Start segmenting the image files of a folder; image and result of each are loaded into the scene."""
    files = imageFiles(folder)
    entry = ModelLibrary().find(modelName)
    card = entry.card
    cases = [ModelCase(path.name, [], (path,)) for path in files]
    settings = {"model": str(entry.path), "device": device, "flips": False}

    def deliver(found: list[ModelArrays]) -> list[ModelResult]:
        results = []
        for arrays, path in zip(found, files, strict=True):
            node = None if arrays.error else slicer.util.loadVolume(str(path))
            results.append(_nodesOf(arrays, node, card, "segmentation"))
        return results

    return jobs.start(SegmentWork(cases, card, settings, deliver), listener)


def imageFiles(folder: Path) -> list[Path]:
    """The image files right in a folder, by name; FileError if there are none."""
    found = [path for path in sorted(folder.iterdir()) if path.name.lower().endswith(IMAGE_ENDINGS)]
    found = [path for path in found if not path.name.lower().endswith(".seg.nrrd") and path.is_file()]
    if not found:
        raise FileError(f"The folder {folder} has no images.", f"It may hold {', '.join(IMAGE_ENDINGS)}.")
    return found


def cardText(card: ModelCard) -> str:
    """A model's card in a few lines of rich text."""
    lines = [f"<b>{card.name}</b>", card.summary, card.intended_use]
    lines.append("Segments: " + ", ".join(label.name for label in card.labels))
    z, y, x = card.preprocessing.spacing
    lines.append(f"Works at {x:.3g} × {y:.3g} × {z:.3g} mm, {card.network}, trained {card.date} on {card.data}")
    lines.append(f"License: {card.license}" if card.license else "")
    lines.append("<b>Not for clinical use.</b>")
    return "<br>".join(line for line in lines if line)


def _sequenceOf(
    found: list[ModelArrays], frames: Frames, volumeNode: vtkMRMLScalarVolumeNode, card: ModelCard
) -> ModelResult:
    """One sequence of segmentations for the sequence that a volume shows; ``error`` names frames without a result."""
    results = [_nodesOf(arrays, volumeNode, card, "segmentation") for arrays in found]
    error = "; ".join(f"{result.name}: {result.error}" for result in results if result.error)
    nodes = [result.segmentationNode for result in results]
    if not any(nodes):
        return ModelResult(volumeNode.GetName(), error=error)
    shown = frames.show(nodes, f"{volumeNode.GetName()} ({card.name}) segments")
    describe(shown, volumeNode, {"model": card.name})
    return ModelResult(volumeNode.GetName(), None, shown, volumeNode, error=error)


def _nodesOf(
    arrays: ModelArrays, volumeNode: vtkMRMLScalarVolumeNode | None, card: ModelCard, output: str
) -> ModelResult:
    if arrays.error or volumeNode is None:
        return ModelResult(arrays.name, error=arrays.error or "The image could not be loaded.")
    styles = [SegmentStyle(label.name, label.color, label.terminology or DEFAULT_TERMINOLOGY) for label in card.labels]
    name = f"{arrays.name} ({card.name})"
    settings = {"model": card.name}
    labelmapNode = segmentationNode = None
    if output != "segmentation":
        names, colors = tuple(style.name for style in styles), [style.color for style in styles]
        labelmapNode = addLabelmapNode(imageFromArray(arrays.labels), arrays.geometry, f"{name} labels", names, colors)
        describe(labelmapNode, volumeNode, settings)
    if output != "labelmap":
        segmentationNode = addSegmentation(volumeNode, f"{name} segments")
        setLabels(segmentationNode, arrays.labels, matrixFromGeometry(arrays.geometry), styles)
        describe(segmentationNode, volumeNode, settings)
    return ModelResult(arrays.name, labelmapNode, segmentationNode, volumeNode, arrays.volumesMl)
