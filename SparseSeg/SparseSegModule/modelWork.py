"""Training a model and running one, as jobs on nodes or files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from slicer.i18n import tr as _

from SparseSegLib.annotation import encoded, write_sparse_labels
from SparseSegLib.errors import JobError
from SparseSegLib.image import Geometry
from SparseSegLib.io import read_labels, write_image
from SparseSegLib.jobs import write_job
from SparseSegLib.models import ModelCard, ModelLibrary
from SparseSegModule.annotation import Drawing
from SparseSegModule.names import fileName
from SparseSegModule.translation import translated
from SparseSegModule.volumes import VolumeImage

if TYPE_CHECKING:
    from slicer import vtkMRMLLabelMapVolumeNode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


@dataclass(frozen=True)
class TrainingCase:
    """One annotated volume and what is drawn on it."""

    name: str
    images: list[VolumeImage]
    drawing: Drawing


@dataclass(frozen=True)
class ModelResult:
    """A model's result for one volume.

    Attributes
    ----------
    name : of the volume or file
    labelmapNode, segmentationNode : the result, as the user chose; None if there is an error
    volumesMl : milliliters of each structure
    error : why this volume, or a frame of its sequence, has no result, or ""
    warnings : of a result that was made in spite of them, or ""
    """

    name: str
    labelmapNode: vtkMRMLLabelMapVolumeNode | None = None
    segmentationNode: vtkMRMLSegmentationNode | None = None
    volumeNode: vtkMRMLScalarVolumeNode | None = None
    volumesMl: dict[str, float] | None = None
    error: str = ""
    warnings: str = ""

    def orRaise(self) -> ModelResult:
        """The result itself, or JobError where there is none."""
        if self.error:
            raise JobError(f"{self.name}: {self.error}")
        return self


class TrainWork:
    """Cases in, a model of the library out."""

    def __init__(self, cases: list[TrainingCase], settings: dict[str, Any]) -> None:
        self._cases = cases
        self._settings = settings

    def write(self, folder: Path) -> None:
        """Write every case and ``job.json``."""
        entries = []
        for number, case in enumerate(self._cases):
            paths = _writeImages(case.images, folder, number)
            labels = f"case-{number}/labels.nrrd"
            write_sparse_labels(case.drawing.sparseLabels(), folder / labels)
            entries.append({"name": case.name, "volumes": paths, "labels": labels})
        write_job(folder, "train", {"cases": entries}, self._settings)

    def checkInputs(self) -> None:
        """Raise VolumeError if an image was changed while it was written."""
        cases, self._cases = self._cases, []
        for image in (image for case in cases for image in case.images):
            image.check()

    def inputsRead(self) -> None:
        """They lie in the job's folder, or are the user's."""

    def read(self, folder: Path, ending: dict[str, Any]) -> str:
        """Take the bundle into the library; its name."""
        return ModelLibrary().add(folder / ending["files"]["bundle"], overwrite=True).name

    def deliver(self, results: str, ending: dict[str, Any]) -> str:
        """The model's name."""
        return results

    def readPreview(self, path: Path) -> None:
        """A training shows nothing on the way."""

    def show(self, preview: Any) -> None:
        """A training shows nothing on the way."""

    def keep(self, folder: Path) -> None:
        """Nothing stays but the model."""


@dataclass(frozen=True)
class ModelCase:
    """One volume to segment: the images of a node, or files."""

    name: str
    images: list[VolumeImage]
    files: tuple[Path, ...] = ()

    @property
    def isOutdated(self) -> bool:
        """Whether a node has another image by now."""
        return any(image.stateNow() != image.state for image in self.images)


@dataclass(frozen=True)
class ModelArrays:
    """A model's result for one case: labels ``(Z, Y, X)`` and their grid, or an error."""

    name: str
    labels: np.ndarray | None
    geometry: Geometry | None
    volumesMl: dict[str, float]
    error: str
    warnings: str = ""


class SegmentWork:
    """Cases and a model in, one result for each case out, whatever becomes of the others.

    ``deliver`` makes nodes of the arrays.
    """

    def __init__(
        self,
        cases: list[ModelCase],
        card: ModelCard,
        settings: dict[str, Any],
        deliver: Callable[[list[ModelArrays]], list[ModelResult]],
    ) -> None:
        self.card = card
        self._cases = cases
        self._settings = settings
        self._deliver = deliver

    def write(self, folder: Path) -> None:
        """Write the arrays and ``job.json``."""
        entries = []
        for number, case in enumerate(self._cases):
            paths = [str(path) for path in case.files] or _writeImages(case.images, folder, number)
            entries.append({"volumes": paths, "name": f"{number:04d} {fileName(case.name)}"})
        write_job(folder, "segment", {"cases": entries}, self._settings)

    def checkInputs(self) -> None:
        """Raise VolumeError if an image was changed while it was written."""
        for image in (image for case in self._cases for image in case.images):
            image.check()

    def inputsRead(self) -> None:
        """They lie in the job's folder, or are the user's."""

    def read(self, folder: Path, ending: dict[str, Any]) -> list[ModelArrays]:
        """Read each case's labels, or why there are none."""
        found = []
        for case, entry in zip(self._cases, ending["figures"]["cases"], strict=True):
            if "file" not in entry:
                found.append(ModelArrays(case.name, None, None, {}, errorOf(entry)))
                continue
            labels, geometry, _segments = read_labels(folder / entry["file"])
            classes = {label.value: number for number, label in enumerate(self.card.labels, start=1)}
            milliliters, warnings = entry["volume_ml"], translated(entry.get("doubts", ""))
            found.append(
                ModelArrays(case.name, encoded(labels, {0: 0, **classes}), geometry, milliliters, "", warnings)
            )
        return found

    def deliver(self, results: list[ModelArrays], ending: dict[str, Any]) -> list[ModelResult]:
        """Make nodes; none of what was made from another image than its volume has by now."""
        cases = zip(results, self._cases, strict=True)
        return self._deliver([_changed(arrays.name) if case.isOutdated else arrays for arrays, case in cases])

    def readPreview(self, path: Path) -> None:
        """Nothing is shown on the way."""

    def show(self, preview: Any) -> None:
        """Nothing is shown on the way."""

    def keep(self, folder: Path) -> None:
        """Nothing stays but the results."""


def _changed(name: str) -> ModelArrays:
    """In place of the result of a volume that has another image by now."""
    error = _("{name} was changed, or shows another frame: what the model found belongs to what it was before.")
    return ModelArrays(name, None, None, {}, error.format(name=name))


def errorOf(entry: dict[str, Any]) -> str:
    """Why a case has no result, and what to do, in the panel's words."""
    return f"{translated(entry['error'])} {translated(entry.get('hint', ''))}".strip()


def _writeImages(images: list[VolumeImage], folder: Path, number: int) -> list[str]:
    """Write the channels of a case under the volumes' own names, which the worker uses in messages; the paths."""
    paths = []
    for channel, image in enumerate(images):
        path = f"case-{number}/{channel}/{fileName(image.name)}.nrrd"
        (folder / path).parent.mkdir(parents=True)
        write_image(image.array, image.geometry, folder / path, compress=False)
        paths.append(path)
    return paths
