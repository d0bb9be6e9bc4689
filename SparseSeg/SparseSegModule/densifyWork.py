"""Densify as a job on nodes: the worker's inputs, and its results as nodes."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import vtk

from SparseSegLib.annotation import Plane, write_sparse_labels
from SparseSegLib.errors import SparseSegError, VolumeError
from SparseSegLib.image import Box, Geometry
from SparseSegLib.image.label_values import counts_in
from SparseSegLib.io import read_labels, read_volume, write_image
from SparseSegLib.jobs import write_job
from SparseSegLib.protocol import CHECKPOINT_FILE
from SparseSegModule.annotation import Drawing
from SparseSegModule.names import fileName
from SparseSegModule.segments import SegmentStyle
from SparseSegModule.volumes import VolumeImage, imageFromArray

if TYPE_CHECKING:
    from slicer import (
        vtkMRMLLabelMapVolumeNode,
        vtkMRMLScalarVolumeNode,
        vtkMRMLSegmentationNode,
    )

LABELS_FILE = "annotation/drawn.nrrd"
MOST_WEIGHTS = 7_500_000
"""Bytes of what was learned that a scene may hold; as text these are 10 MB."""


@dataclass(frozen=True)
class DenseArrays:
    """The worker's result: labels on the volume's grid, and labels and uncertainty as far as they reach.

    Images are made in the thread, so that Slicer need not wait for large copies; ``classes`` is the highest class, and
    ``voxels`` how many there are of each from 0 on. ``weights`` are the learned ones, a checkpoint as base64; None if
    they are too large for a scene.
    """

    labels: vtk.vtkImageData
    geometry: Geometry
    classes: int
    voxels: np.ndarray
    objects: np.ndarray
    objectsGeometry: Geometry
    uncertainty: vtk.vtkImageData
    uncertaintyGeometry: Geometry
    weights: str | None = ""


@dataclass(frozen=True)
class DenseResult:
    """The result of a densification as nodes; one of the first two may be None, as the user chose.

    Attributes
    ----------
    labelmapNode, segmentationNode, uncertaintyNode : new nodes in the scene
    estimatedIoU : IoU on annotated slices that training had not seen, or None
    nextSlice : the slice of the volume whose annotation promises most, or None
    seconds, steps : what it took
    milliliters : of each structure, by its name
    reachesEdge : whether a structure reaches the edge of the region that was worked on, inside of the volume
    weights : what was learned, see ``DenseArrays``
    annotation : a hash of the labels that it was learned from
    """

    labelmapNode: vtkMRMLLabelMapVolumeNode | None
    segmentationNode: vtkMRMLSegmentationNode | None
    uncertaintyNode: vtkMRMLScalarVolumeNode
    estimatedIoU: float | None
    nextSlice: Plane | None
    seconds: float
    steps: int
    milliliters: dict[str, float] = field(default_factory=dict)
    reachesEdge: bool = False
    weights: str | None = field(default="", repr=False)
    annotation: str = ""


class DensifyWork:
    """The inputs as arrays, taken from the nodes when the user pressed the button.

    Parameters
    ----------
    channels : the volume and further channels
    drawing : what the user drew; None where it comes later
    settings : of ``SparseSegLib.densify.DensifySettings``
    output : which nodes the result becomes
    stay : seconds that the worker waits for the next round
    checkpoint : where the weights of this volume's last training are kept, and taken from if they are there, by the
        preset or network
    deliver : makes nodes of the arrays, with the figures, the settings, ``output`` and the classes' styles
    show : shows a preview, if it is not None: labels ``(Z, Y, X)`` of a part of the volume and their grid
    take : takes what is drawn out of the nodes anew
    memory : folder for the images until the worker has read them; None for the job's
    weights : of an earlier session, to start from where ``checkpoint`` has none; see ``DenseArrays``

    Attributes
    ----------
    take : for the next round of a job that stays
    settings : of the round that runs, or of the next one
    """

    def __init__(
        self,
        channels: list[vtkMRMLScalarVolumeNode],
        drawing: Drawing | None,
        settings: dict[str, Any],
        output: str,
        stay: float,
        checkpoint: Callable[[str], Path],
        deliver: Callable[[DenseArrays, dict[str, Any], dict[str, Any], str, dict[int, SegmentStyle]], DenseResult],
        show: Callable[[np.ndarray, Geometry], None] | None,
        take: Callable[[], Drawing],
        memory: Path | None = None,
        weights: str = "",
    ) -> None:
        self.take = take
        self._drawing = drawing
        self._memory = memory
        self._weights = weights
        self.settings = settings
        self._output = output
        self._stay = stay
        self._checkpointOf = checkpoint
        self._checkpoint = checkpoint(_way(settings))
        self._deliver = deliver
        self._show = show
        self._images = [VolumeImage.of(channels[0]), *(VolumeImage.of(node, channels[0]) for node in channels[1:])]
        self._states = [(image.name, image.state, image.stateNow) for image in self._images]
        self._updates = 0

    def change(self, settings: dict[str, Any], output: str) -> None:
        """Take other settings for the next round; those that are not given stay."""
        self.settings = {**self.settings, **settings}
        self._output = output
        self._checkpoint = self._checkpointOf(_way(self.settings))

    def write(self, folder: Path) -> None:
        """Write images, annotation and ``job.json``; take over the last weights."""
        labels = None if self._drawing is None else self._drawing.sparseLabels()
        (folder / LABELS_FILE).parent.mkdir(parents=True, exist_ok=True)
        inputs: dict[str, Any] = {"volumes": self._writeImages(folder)}
        if labels is not None:
            write_sparse_labels(labels, folder / LABELS_FILE)
            inputs["labels"] = LABELS_FILE
        if self._checkpoint.exists():
            shutil.copy(self._checkpoint, folder / CHECKPOINT_FILE)
        elif self._weights:
            (folder / CHECKPOINT_FILE).write_bytes(base64.b64decode(self._weights))
        files = {"dense": "dense.nrrd", "uncertainty": "uncertainty.nrrd"}
        write_job(folder, "densify", inputs, {**self.settings, "stay": self._stay, "weights": True, **files})

    def _writeImages(self, folder: Path) -> list[str]:
        """Write the images into memory or, where that cannot be, into the job's folder; their paths."""
        if self._memory is not None:
            with suppress(SparseSegError, OSError):
                return [str(path) for path in self._writtenTo(self._memory)]
        return [path.name for path in self._writtenTo(folder)]

    def _writtenTo(self, folder: Path) -> list[Path]:
        paths = []
        for number, image in enumerate(self._images):
            name = fileName(image.name)
            paths.append(folder / (f"{name}.nrrd" if number == 0 else f"{name} (channel {number + 1}).nrrd"))
            write_image(image.array, image.geometry, paths[-1], compress=False)
        return paths

    def checkInputs(self) -> None:
        """Raise VolumeError if an image was changed while it was written."""
        images, self._images = self._images, []
        for image in images:
            image.check()

    def inputsRead(self) -> None:
        """Remove the images from memory."""
        if self._memory is not None:
            shutil.rmtree(self._memory, ignore_errors=True)

    def writeUpdate(self, folder: Path, drawing: Drawing) -> Path:
        """Write new annotation beside the old one; its path."""
        self._updates += 1
        path = folder / LABELS_FILE.replace("drawn", f"drawn-{self._updates}")
        write_sparse_labels(drawing.sparseLabels(), path)
        self._drawing = drawing
        return path

    def read(self, folder: Path, ending: dict[str, Any]) -> DenseArrays:
        """Read labels and uncertainty."""
        files = ending["files"]
        labels, geometry, _ = read_labels(folder / files["dense"])
        volume = read_volume(folder / files["uncertainty"])
        labels, uncertainty = self._drawing.masked(labels.astype(np.uint8), geometry), volume.array[0]
        objects, unsure = _reach(labels), _reach(uncertainty)
        voxels = counts_in(labels)
        return DenseArrays(
            imageFromArray(labels),
            geometry,
            int(np.flatnonzero(voxels)[-1]),
            voxels,
            np.ascontiguousarray(labels[objects]),
            geometry.crop(objects),
            imageFromArray(uncertainty[unsure]),
            geometry.crop(unsure),
            _asText(folder / files["weights"]),
        )

    def deliver(self, results: DenseArrays, ending: dict[str, Any]) -> DenseResult:
        """Make nodes; VolumeError if the image is another one by now, which they must not be laid over."""
        changed = self._changed()
        if changed:
            raise VolumeError(
                f"{changed} has been changed, or shows another frame: the result is of what it was before.",
                "Press Densify again; it begins with what was learned.",
            )
        return self._deliver(results, ending["figures"], self.settings, self._output, self._drawing.styles)

    def readPreview(self, path: Path) -> tuple[np.ndarray, Geometry]:
        """Read an intermediate result: labels on the region of interest."""
        labels, geometry, _ = read_labels(path)
        return self._drawing.masked(labels.astype(np.uint8), geometry), geometry

    def show(self, preview: tuple[np.ndarray, Geometry]) -> None:
        """Show an intermediate result, unless the image is another one by now."""
        if self._show is not None and not self._changed():
            self._show(*preview)

    def _changed(self) -> str:
        """The name of a volume that has another image than the one that is learned from; "" if none has."""
        return next((name for name, state, now in self._states if now() != state), "")

    def keep(self, folder: Path) -> None:
        """Keep the weights: a run with more annotation or a second budget starts from them."""
        made = folder / CHECKPOINT_FILE
        if made.exists():
            self._checkpoint.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(made, self._checkpoint)


def _asText(weights: Path) -> str | None:
    """A checkpoint as base64; None if it is too large for a scene."""
    if weights.stat().st_size > MOST_WEIGHTS:
        return None
    return base64.b64encode(weights.read_bytes()).decode("ascii")


def nextSlice(figures: dict[str, Any]) -> Plane | None:
    """The suggested slice among a result's figures."""
    place = figures.get("next_slice")
    return None if place is None else Plane("zyx".index(place["axis"]), int(place["index"]))


def _way(settings: dict[str, Any]) -> str:
    """One name for what is trained: the network, and the model that it begins with."""
    way, start = str(settings.get("network") or settings["preset"]), settings.get("start")
    return f"{way}-{hashlib.sha256(start.encode()).hexdigest()[:8]}" if start else way


def settingsText(settings: dict[str, Any]) -> str:
    """Settings as text for a node's attribute; what was on display before is none of them."""
    return json.dumps({name: value for name, value in settings.items() if name != "shown"}, sort_keys=True)


def _reach(values: np.ndarray) -> Box:
    """The bounding box of what is not 0; all of it where everything is."""
    sides = []
    for axis in range(3):
        places = np.flatnonzero(values.any(tuple(other for other in range(3) if other != axis)))
        sides.append(slice(int(places[0]), int(places[-1]) + 1) if places.size else slice(0, values.shape[axis]))
    return sides[0], sides[1], sides[2]
