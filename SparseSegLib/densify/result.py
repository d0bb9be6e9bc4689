"""What a densification returns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from SparseSegLib.annotation import Plane
from SparseSegLib.geometry import Geometry
from SparseSegLib.places import slice_place


@dataclass(frozen=True)
class DensifyResult:
    """A dense segmentation, as far as it has come.

    Attributes
    ----------
    labels : (Z, Y, X) uint8
        A class for every voxel; the user's own labels are in it unchanged.
    uncertainty : (Z, Y, X) float32 in [0, 1], or None for a preview
        Entropy of the class probabilities over its maximum; 0 where the user labeled.
    geometry : Geometry
        The grid of both; a preview covers the region of interest only.
    names : names of the classes 1..n
    estimate : float or None
        Mean IoU over the classes on slices held out while training; None where there were too few slices.
    next_slice : Plane or None
        The slice of the volume whose annotation promises most.
    steps, seconds : what it took so far
    """

    labels: np.ndarray
    uncertainty: np.ndarray | None
    geometry: Geometry
    names: tuple[str, ...]
    estimate: float | None
    next_slice: Plane | None
    steps: int
    seconds: float

    def figures(self) -> dict[str, object]:
        """The numbers of the result as plain values for JSON; positions in RAS mm."""
        plane = self.next_slice
        place = None if plane is None else slice_place(self.geometry, plane.axis, plane.index)
        return {
            "steps": self.steps,
            "seconds": round(self.seconds, 2),
            "estimated_iou": None if self.estimate is None else round(self.estimate, 4),
            "next_slice": place,
        }
