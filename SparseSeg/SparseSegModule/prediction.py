"""What the network predicts, as far as it has come: the labels that a correction starts from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from SparseSegLib.annotation import UNLABELED, Plane
from SparseSegLib.image import Box, Geometry


@dataclass(frozen=True)
class Prediction:
    """Predicted labels of a part of a volume.

    Attributes
    ----------
    labels : (Z, Y, X) uint8
        1..n for the segments in ``segmentIds``, 0 for background, ``UNLABELED`` where nothing is predicted yet.
    geometry : the part's grid, which lies on the volume's
    segmentIds : of the user's segmentation, in the order of the classes
    """

    labels: np.ndarray
    geometry: Geometry
    segmentIds: tuple[str, ...]

    def boxIn(self, volume: Geometry) -> Box:
        """The part of the volume's grid that the labels cover."""
        start = np.round(volume.physical_to_index(np.array([self.geometry.origin]))[0]).astype(int)
        z, y, x = (slice(int(low), int(low) + size) for low, size in zip(start, self.labels.shape, strict=True))
        return z, y, x

    def onSlice(self, plane: Plane, volume: Geometry) -> np.ndarray | None:
        """The labels of one slice of the volume ``(U, V)``, 0 outside of the part; None if there are none."""
        box = self.boxIn(volume)
        side = box[plane.axis]
        if not side.start <= plane.index < side.stop:
            return None
        found = np.take(self.labels, plane.index - side.start, plane.axis)
        if (found == UNLABELED).all():
            return None
        axes = [axis for axis in range(3) if axis != plane.axis]
        out = np.zeros([volume.shape[axis] for axis in axes], np.uint8)
        out[box[axes[0]], box[axes[1]]] = np.where(found == UNLABELED, 0, found)
        return out

    def completedBy(self, last: Prediction | None) -> Prediction:
        """This prediction, and where it has nothing the ``last`` one, if that has all of this part."""
        missing = self.labels == UNLABELED
        if last is None or last.segmentIds != self.segmentIds or not missing.any():
            return self
        box = self.boxIn(last.geometry)
        inside = all(side.start >= 0 and side.stop <= size for side, size in zip(box, last.labels.shape, strict=True))
        if not inside or not last.geometry.crop(box).matches(self.geometry):
            return self
        return replace(self, labels=np.where(missing, last.labels[box], self.labels))

    def withDrawn(
        self, drawn: np.ndarray | None, planes: Iterable[Plane], volume: Geometry, classes: np.ndarray
    ) -> np.ndarray:
        """The labels to show ``(Z, Y, X)``: as predicted, as drawn on some slices, 0 where nothing is predicted.

        Parameters
        ----------
        drawn : (Z, Y, X) segments on the volume's grid; None where there are no ``planes``
        planes : slices of the volume
        volume : its grid
        classes : (256,) from the segments to the prediction's classes
        """
        box = self.boxIn(volume)
        out = self.labels * (self.labels != UNLABELED)  # many times as fast as a choice
        for plane in planes:
            index = plane.index - box[plane.axis].start
            if drawn is not None and 0 <= index < out.shape[plane.axis]:
                there = Plane(plane.axis, index).voxels
                out[there] = classes[drawn[box][there]]
        return out


def classesFrom(segmentIds: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """From the classes of some segments to those of the ``known`` ones, ``(256,)``; others are background."""
    classes = np.zeros(256, np.uint8)
    classes[UNLABELED] = UNLABELED
    for value, segmentId in enumerate(segmentIds, start=1):
        if segmentId in known:
            classes[value] = known.index(segmentId) + 1
    return classes
