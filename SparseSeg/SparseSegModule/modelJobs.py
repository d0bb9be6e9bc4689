"""From nodes and a model's name to a running training or segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from slicer.i18n import tr as _

from SparseSegLib.errors import ModelError, UsageError
from SparseSegLib.models import ModelCard, ModelLibrary
from SparseSegLib.units import lengths_text
from SparseSegModule.annotation import takeEverySegment
from SparseSegModule.densifier import knownPlanes
from SparseSegModule.dicomScan import checkForModel
from SparseSegModule.jobHandle import JobHandle, Listener
from SparseSegModule.jobs import Jobs
from SparseSegModule.loop import AnnotationLoop
from SparseSegModule.modelWork import ModelArrays, ModelCase, ModelResult, SegmentWork, TrainingCase, TrainWork
from SparseSegModule.names import freeNumber
from SparseSegModule.networks import Network
from SparseSegModule.results import addSegmentation, describe
from SparseSegModule.segmentChanges import setLabels
from SparseSegModule.segments import DEFAULT_TERMINOLOGY, SegmentStyle, segmentStyles
from SparseSegModule.sequences import Frames
from SparseSegModule.volumes import VolumeImage, addLabelmapNode, imageFromArray, matrixFromGeometry

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

    Volumes = vtkMRMLScalarVolumeNode | Sequence[vtkMRMLScalarVolumeNode]
    """A volume, or the volumes that are the channels of one case."""


def startTraining(
    jobs: Jobs,
    cases: Sequence[tuple[Volumes, vtkMRMLSegmentationNode]],
    name: str,
    budgetSeconds: float,
    *,
    start: str = "",
    network: str | None = None,
    channels: Sequence[str] = (),
    regions: str | Sequence[str] | None = None,
    noisyLabels: bool = False,
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
    settings = _beginning(start, network, len(_channels(cases[0][0])))
    found: list[TrainingCase] = []
    terminologies: dict[str, str] = {}
    for volumes, segmentationNode in cases:
        nodes = _channels(volumes)
        planes = knownPlanes(AnnotationLoop(nodes[0], segmentationNode), everySegment=True)
        drawing = takeEverySegment(nodes[0], segmentationNode, planes)
        terminologies.update({style.name: style.terminology for style in segmentStyles(segmentationNode)})
        found.append(TrainingCase(nodes[0].GetName(), _images(nodes), drawing))
    settings |= {"name": name, "seed": seed, "device": device, "terminologies": terminologies}
    settings["budget_seconds"] = float(budgetSeconds)
    if channels:
        settings["channels"] = list(channels)
    if regions is not None:
        settings["regions"] = regions
    if noisyLabels:
        settings["noisy_labels"] = True
    if budgetSteps:
        settings["budget_steps"] = int(budgetSteps)
    return jobs.start(TrainWork(found, settings), listener)


def startSegmenting(
    jobs: Jobs,
    modelName: str,
    volumeNodes: Sequence[Volumes],
    *,
    device: str = "auto",
    output: str = "both",
    flips: bool = False,
    force: bool = False,
    allFrames: bool = False,
    listener: Listener | None = None,
) -> JobHandle:
    """Start segmenting volumes of the scene; see ``SparseSegLogic.applyModel``."""
    if not volumeNodes:
        raise UsageError("There is no volume to segment.", "Check at least one.")
    entry = ModelLibrary().find(modelName)
    card = entry.card
    everyChannel = [_channels(volumes) for volumes in volumeNodes]
    groups: list[Frames] = []
    cases: list[ModelCase] = []
    for channels in everyChannel:
        _checkChannels(card, channels)
        if not force:
            for node in channels:
                checkForModel(node, card)
        groups.append(Frames.of(channels[0]) if allFrames else Frames.alone(channels[0]))
        cases += _cases(channels, groups[-1])
    settings = {"model": str(entry.path), "device": device, "flips": flips, "force": force}

    def deliver(found: list[ModelArrays]) -> list[ModelResult]:
        results, rest = [], iter(found)
        for (node, *_others), frames in zip(everyChannel, groups, strict=True):
            arrays = [next(rest) for _image in frames.images]
            if frames.sequenceNode is None:
                results.append(_nodesOf(arrays[0], node, card, output))
            else:
                results.append(_sequenceOf(arrays, frames, node, card))
        return results

    return jobs.start(SegmentWork(cases, card, settings, deliver), listener)


def cardText(card: ModelCard) -> str:
    """A model's card in a few lines of rich text."""
    lines = [f"<b>{card.name}</b>", card.summary, card.intended_use]
    lines.append(_("Segments: {names}").format(names=", ".join(label.name for label in card.labels)))
    if len(card.preprocessing.channels) > 1:
        lines.append(_("Channels: {names}").format(names=", ".join(card.preprocessing.channels)))
    network = card.network if card.members == 1 else f"{card.members} × {card.network}"
    works = _("Works at {spacing}, {network}, trained {date} on {data}")
    spacing = lengths_text(card.preprocessing.spacing[::-1])
    lines.append(works.format(spacing=spacing, network=network, date=card.date, data=card.data))
    lines.append(_("License: {license}").format(license=card.license) if card.license else "")
    lines.append(f"<b>{_('Not for clinical use.')}</b>")
    return "<br>".join(line for line in lines if line)


def _beginning(start: str, network: str | None, count: int) -> dict[str, Any]:
    """The settings for a new network, or for one that begins with a model; its channels keep their names, if so many.

    Raises ModelError if there is no such model.
    """
    if not start:
        return {"network": network or Network.UNET3D_HALF.value}
    entry = ModelLibrary().find(start)
    settings: dict[str, Any] = {"start": str(entry.path.absolute())}
    if network is not None:
        settings["network"] = network
    if len(entry.card.preprocessing.channels) == count:
        settings["channels"] = list(entry.card.preprocessing.channels)
    return settings


def _channels(volumes: Volumes) -> list[vtkMRMLScalarVolumeNode]:
    return list(volumes) if isinstance(volumes, Sequence) else [volumes]


def _images(channels: list[vtkMRMLScalarVolumeNode]) -> list[VolumeImage]:
    """The first channel, and the others in its coordinates."""
    return [VolumeImage.of(channels[0]), *(VolumeImage.of(node, channels[0]) for node in channels[1:])]


def _cases(channels: list[vtkMRMLScalarVolumeNode], frames: Frames) -> list[ModelCase]:
    """The frames of a single channel as cases, or all channels as they are now as one."""
    if frames.sequenceNode is None:
        return [ModelCase(channels[0].GetName(), _images(channels))]
    if len(channels) > 1:
        raise UsageError(
            "All frames of several channels cannot be segmented at once.", "Segment the frame that is shown."
        )
    return [ModelCase(name, [VolumeImage.of(image)]) for name, image in zip(frames.names, frames.images, strict=True)]


def _checkChannels(card: ModelCard, channels: list[vtkMRMLScalarVolumeNode]) -> None:
    names = card.preprocessing.channels
    if len(channels) != len(names):
        raise ModelError(
            f"The model {card.name} needs {len(names)} channels ({', '.join(names)}), "
            f"and {channels[0].GetName()} comes with {len(channels)}.",
            "Give the volumes of all channels of a case as a list, in this order.",
        )


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
        return ModelResult(arrays.name, error=arrays.error or _("The image could not be loaded."))
    styles = [SegmentStyle(label.name, label.color, label.terminology or DEFAULT_TERMINOLOGY) for label in card.labels]
    name = f"{arrays.name} ({card.name})"
    number = freeNumber([f"{name} labels", f"{name} segments"])
    settings = {"model": card.name}
    labelmapNode = segmentationNode = None
    if output != "segmentation":
        names, colors = tuple(style.name for style in styles), [style.color for style in styles]
        image = imageFromArray(arrays.labels)
        labelmapNode = addLabelmapNode(image, arrays.geometry, f"{name} labels{number}", names, colors)
        describe(labelmapNode, volumeNode, settings)
    if output != "labelmap":
        segmentationNode = addSegmentation(volumeNode, f"{name} segments{number}")
        matrix = matrixFromGeometry(arrays.geometry)
        setLabels(segmentationNode, arrays.labels, matrix, dict(enumerate(styles, start=1)))
        describe(segmentationNode, volumeNode, settings)
    return ModelResult(
        arrays.name, labelmapNode, segmentationNode, volumeNode, arrays.volumesMl, warnings=arrays.warnings
    )
