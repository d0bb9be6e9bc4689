"""From nodes and choices to a running densification."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from SparseSegLib.errors import UsageError, VolumeError
from SparseSegLib.image import Geometry
from SparseSegLib.models import ModelLibrary
from SparseSegModule.annotation import Drawing, findPlanes, takeDrawing
from SparseSegModule.densifyWork import DenseArrays, DenseResult, DensifyWork
from SparseSegModule.jobHandle import JobHandle, Listener
from SparseSegModule.jobs import Jobs
from SparseSegModule.loop import AnnotationLoop
from SparseSegModule.parameterNode import OUTPUTS, PRESETS
from SparseSegModule.planes import PlaneTable
from SparseSegModule.prediction import Prediction
from SparseSegModule.regions import regionBox
from SparseSegModule.remembered import rememberedWeights
from SparseSegModule.results import deliverDense, denseLabels
from SparseSegModule.segments import SegmentStyle, classSegmentIds, segmentStyles
from SparseSegModule.sequences import frameOf, isOfAnotherFrame
from SparseSegModule.volumes import volumeArray, volumeGeometry

if TYPE_CHECKING:
    from slicer import (
        vtkMRMLMarkupsROINode,
        vtkMRMLScalarVolumeNode,
        vtkMRMLSegmentationNode,
        vtkMRMLSegmentEditorNode,
    )

Show = Callable[[np.ndarray, Geometry], None]


def startDensify(
    jobs: Jobs,
    volumeNode: vtkMRMLScalarVolumeNode,
    segmentationNode: vtkMRMLSegmentationNode,
    budgetSeconds: float | None,
    *,
    preset: str = "fast",
    network: str | None = None,
    start: str = "",
    channels: Sequence[vtkMRMLScalarVolumeNode] = (),
    planes: PlaneTable | None = None,
    drawing: Drawing | None = None,
    editorNode: vtkMRMLSegmentEditorNode | None = None,
    margin: float = 0.1,
    region: vtkMRMLMarkupsROINode | None = None,
    seed: int = 0,
    device: str = "auto",
    output: str = "both",
    budgetSteps: int | None = None,
    shown: str = "",
    listener: Listener | None = None,
    show: Show | None = None,
    stay: float = 0.0,
    prepare: bool = False,
    last: DenseResult | None = None,
) -> JobHandle:
    """Start densifying; see ``SparseSegLogic.densify``.

    ``show`` is called with every preview. With ``stay`` the worker waits so many seconds for the next round after each;
    with ``prepare`` as well it reads and prepares, and waits for the annotation. ``drawing`` is what is drawn, where
    that is taken already; ``editorNode`` has the Segment Editor's masking, which is kept. The nodes of the ``last``
    result, and of every round, are updated instead of new ones made.

    Raises UsageError, VolumeError, AnnotationError or GeometryError for input that cannot be worked on.
    """
    if volumeNode is None or segmentationNode is None:
        raise UsageError("A volume and a segmentation are needed.", "Choose both under Inputs.")
    if isOfAnotherFrame(segmentationNode, volumeNode):
        raise UsageError(
            f"{segmentationNode.GetName()} was drawn on another frame than {volumeNode.GetName()} shows.",
            "Show that frame, or draw on this one in another segmentation.",
        )
    if output not in OUTPUTS:
        raise UsageError(f"There is no output called {output}.", f"Use one of {', '.join(OUTPUTS)}.")

    def take() -> Drawing:
        loop = AnnotationLoop(volumeNode, segmentationNode)
        return takeDrawing(volumeNode, segmentationNode, planes or knownPlanes(loop), loop.applied, editorNode)

    drawing = None if prepare else drawing or take()
    settings = roundSettings(
        budgetSeconds, preset=preset, margin=margin, seed=seed, device=device, start=start, shown=shown
    )
    if region is not None:
        settings["region"] = regionSetting(region, volumeNode)
    if network is not None:
        settings["network"] = network
    if budgetSteps:
        settings["budget_steps"] = int(budgetSteps)
    if min(volumeGeometry(volumeNode).shape) < 2:
        raise VolumeError(f"{volumeNode.GetName()} is one slice thick.", "Choose a volume of several slices.")
    images = [volumeNode, *channels]

    def deliver(
        arrays: DenseArrays,
        figures: dict[str, Any],
        settings: dict[str, Any],
        output: str,
        styles: dict[int, SegmentStyle],
    ) -> DenseResult:
        nonlocal last
        last = deliverDense(volumeNode, arrays, styles, figures, settings, output, last)  # type: ignore[arg-type]
        return last

    key = _key(images, segmentationNode)

    def checkpoint(way: str) -> Path:
        return jobs.checkpoint(f"{key}-{way}")

    memory = jobs.memoryFolder(sum(volumeArray(node).nbytes for node in images))
    work = DensifyWork(
        images,
        drawing,
        settings,
        output,
        float(stay),
        checkpoint,
        deliver,
        show,
        take,
        memory,
        rememberedWeights(segmentationNode),
    )
    return jobs.start(work, listener, learning=not prepare)


def regionSetting(roiNode: vtkMRMLMarkupsROINode, volumeNode: vtkMRMLScalarVolumeNode) -> list[int]:
    """A region as the worker's setting; GeometryError where it is under a transform that is not linear."""
    return [end for side in regionBox(roiNode, volumeNode) for end in (side.start, side.stop)]


def roundSettings(
    budgetSeconds: float | None,
    *,
    preset: str,
    margin: float,
    seed: int,
    device: str,
    start: str = "",
    region: list[int] | None = None,
    shown: str = "",
) -> dict[str, Any]:
    """What a round is learned with, as the worker's settings; ``shown`` is the annotation of the result on display.

    Raises UsageError for a preset that there is not, ModelError for such a model to start from.
    """
    if preset not in PRESETS:
        raise UsageError(f"There is no preset called {preset}.", f"Use one of {', '.join(PRESETS)}.")
    seconds = float(budgetSeconds) if budgetSeconds else None
    bundle = str(ModelLibrary().find(start).path.absolute()) if start else ""
    learned = {"preset": preset, "margin": margin, "seed": seed, "device": device, "start": bundle}
    return {**learned, "budget_seconds": seconds, "region": region, "shown": shown}


def learnMore(handle: JobHandle) -> None:
    """Have a job that stays learn from what is drawn now; see ``SparseSegLogic.learn``."""
    drawing = handle.work.take()
    while not handle.updateAnnotation(lambda folder: handle.work.writeUpdate(folder, drawing)):
        slicer.app.processEvents()  # it has not started yet


def loopOn(
    volumeNode: vtkMRMLScalarVolumeNode, segmentationNode: vtkMRMLSegmentationNode, result: DenseResult | None
) -> AnnotationLoop:
    """The state of a drawing, in which corrections start from a result; see ``SparseSegLogic.annotation``."""
    loop = AnnotationLoop(volumeNode, segmentationNode)
    if not loop.known:
        loop.setTable(knownPlanes(loop))
    if result is not None:
        labels, segmentIds = denseLabels(result, volumeNode), tuple(classSegmentIds(segmentationNode))
        loop.prediction = Prediction(labels, volumeGeometry(volumeNode), segmentIds)
    return loop


def knownPlanes(loop: AnnotationLoop, *, everySegment: bool = False) -> PlaneTable:
    """The annotated slices of a drawing as far as they are known, all confirmed; else those found by its shape."""
    if loop.known:
        return loop.table.confirmed()
    found = findPlanes(loop.volumeNode, loop.segmentationNode, everySegment=everySegment)
    return PlaneTable().withFound(found)


def _key(images: list[vtkMRMLScalarVolumeNode], segmentationNode: vtkMRMLSegmentationNode) -> str:
    """One name for the weights of this segmentation on these images; the frames of a sequence share it."""
    frames = [segmentationNode] if not frameOf(images[0]) else []
    text = "|".join(node.GetID() for node in [*images, *frames])
    segments = "|".join(style.name for style in segmentStyles(segmentationNode))
    return hashlib.sha256(f"{text}|{segments}".encode()).hexdigest()[:24]
