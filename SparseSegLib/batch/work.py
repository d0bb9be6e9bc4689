"""The steps for each case: read, compute, write."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SparseSegLib.annotation import decoded
from SparseSegLib.batch.case import BatchCase
from SparseSegLib.batch.manifest import Entry
from SparseSegLib.batch.thumbnails import write_row
from SparseSegLib.control import CancelToken
from SparseSegLib.files.disk_space import check_disk_space
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.io import SegmentInfo, check_writable, write_labels
from SparseSegLib.io.segmentation import AUTOMATIC
from SparseSegLib.models import ModelCard
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.reading import VolumeReader


@dataclass(frozen=True, eq=False)
class Loaded:
    """A case with its volume; ``seconds`` were spent on it so far."""

    case: BatchCase
    volume: Volume
    seconds: float


@dataclass(frozen=True, eq=False)
class Segmented:
    """A case with its labels ``(Z, Y, X)`` on the volume's grid, and the warnings about them."""

    case: BatchCase
    volume: Volume
    labels: np.ndarray
    warnings: str
    seconds: float


class CaseWork:
    """Reads, segments and writes cases with one model, which is loaded once.

    The three steps may run in threads of their own; only one computes at a time.

    Parameters
    ----------
    predictor : the model
    folder : where results go
    pictures : also draw a row of slices for the contact sheet
    reader : what reads the volumes; by default a process of its own
    """

    def __init__(
        self, predictor: Predictor, folder: Path, *, pictures: bool = False, reader: VolumeReader | None = None
    ) -> None:
        self.predictor = predictor
        self.folder = folder
        self.pictures = pictures
        self.reader = reader or VolumeReader()
        self._computing = threading.Lock()

    def read(self, case: BatchCase) -> Loaded:
        """Read the volume; FileError where that crashes or hangs, ResourceError without room for the result."""
        start = time.perf_counter()
        volume = self.reader.read(case.volumes, case.series)
        check_writable(self.folder / case.file, volume.geometry)
        check_disk_space(self.folder / case.file, math.prod(volume.geometry.shape))
        return Loaded(case, volume, time.perf_counter() - start)

    def compute(
        self,
        loaded: Loaded,
        token: CancelToken | None = None,
        progress: Callable[[float], None] = lambda fraction: None,
    ) -> Segmented:
        """Segment it; ``progress`` is called with the fraction that is done, and ``token`` may cancel the work."""
        with self._computing:
            start = time.perf_counter()
            labels = self.predictor.segment(loaded.volume, token, progress)
            seconds = loaded.seconds + time.perf_counter() - start
            warnings = "; ".join(self.predictor.warnings)
        return Segmented(loaded.case, loaded.volume, labels, warnings, seconds)

    def write(self, segmented: Segmented) -> Entry:
        """Write the result (and its picture); the case's entry."""
        start = time.perf_counter()
        case, volume, card = segmented.case, segmented.volume, self.predictor.card
        segments = [
            SegmentInfo(label.value, label.name, label.color, label.terminology, AUTOMATIC) for label in card.labels
        ]
        write_labels(decoded(segmented.labels, card.values), volume.geometry, self.folder / case.file, segments)
        if self.pictures:
            write_row(volume, segmented.labels, card, self.folder, case.name)
        voxels, milliliters = _amounts(segmented.labels, volume.geometry, card)
        seconds = segmented.seconds + time.perf_counter() - start
        return {
            "name": case.name,
            "file": case.file,
            "seconds": round(seconds, 3),
            "voxels": voxels,
            "volume_ml": milliliters,
            **({"doubts": segmented.warnings} if segmented.warnings else {}),
        }

    def abandon(self) -> None:
        """End a read whose result nobody waits for."""
        self.reader.close()

    close = abandon

    def whole(self, case: BatchCase) -> Entry:
        """All three steps."""
        return self.write(self.compute(self.read(case)))


def _amounts(labels: np.ndarray, geometry: Geometry, card: ModelCard) -> tuple[dict[str, int], dict[str, float]]:
    """Voxels and milliliters of each structure."""
    voxel = math.prod(geometry.spacing) / 1000
    counts = np.bincount(labels.ravel(), minlength=card.classes)
    voxels = {label.name: int(counts[number]) for number, label in enumerate(card.labels, start=1)}
    return voxels, {name: float(f"{count * voxel:.6g}") for name, count in voxels.items()}
