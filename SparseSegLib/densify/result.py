"""The result of a densification."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from SparseSegLib.annotation import Plane
from SparseSegLib.image import Geometry, as_given, slice_place
from SparseSegLib.image.given import Image
from SparseSegLib.io import SegmentInfo, default_segment
from SparseSegLib.io.segmentation import SEMIAUTOMATIC


@dataclass(frozen=True)
class DensifyResult:
    """A dense segmentation, as far as it has come.

    Attributes
    ----------
    labels : (Z, Y, X) integers
        For every voxel 0 or the value that its structure has in the user's files; their own labels are in it unchanged.
    uncertainty : (Z, Y, X) float32 in [0, 1], or None for a preview
        Entropy of the class probabilities over its maximum; 0 where the user labeled. Of a region that was seen part by
        part uint8, in 255ths.
    geometry : Geometry
        The grid of both; a preview covers the region of interest only.
    names : names of the structures
    estimate : float or None
        Mean IoU over the classes on slices held out while training; None where there were too few slices.
    next_slice : Plane or None
        The slice of the volume whose annotation promises most.
    steps, seconds : what it took so far
    values : of the structures, in the order of ``names``; () for 1..n
    empty : (value, name) of the user's structures that nothing was drawn of
    edges : of the region of interest, the outermost slices that a structure reaches although the volume goes on
    annotation : ``SparseLabels.digest`` of what was learned; "" for a preview
    planes : of a preview, the slices of the volume that it is of; () for all. Labels are ``UNLABELED`` elsewhere
    """

    labels: np.ndarray
    uncertainty: np.ndarray | None
    geometry: Geometry
    names: tuple[str, ...]
    estimate: float | None
    next_slice: Plane | None
    steps: int
    seconds: float
    values: tuple[int, ...] = ()
    empty: tuple[tuple[int, str], ...] = ()
    planes: tuple[Plane, ...] = ()
    edges: tuple[Plane, ...] = ()
    annotation: str = ""

    def segments(self) -> list[SegmentInfo]:
        """The structures as files describe them, by value; those that nothing was drawn of are among them."""
        there = range(1, max(len(self.names), int(self.labels.max(initial=0))) + 1)
        own = dict(zip(self.values or there, self.names, strict=False))
        known = {**dict.fromkeys(self.values or there, ""), **dict(self.empty), **own}
        return [
            replace(segment, name=known[segment.value] or segment.name, algorithm=SEMIAUTOMATIC)
            for segment in map(default_segment, sorted(known))
        ]

    def labels_as(self, image: Image) -> Any:
        """The labels as what the image is that they were made of; see :func:`SparseSegLib.image.as_given`."""
        return as_given(self.labels, self.geometry, image)

    def uncertainty_as(self, image: Image) -> Any:
        """The uncertainty as what the image is that it was made of; None where there is none."""
        return None if self.uncertainty is None else as_given(self.uncertainty, self.geometry, image)

    def figures(self) -> dict[str, object]:
        """The numbers of the result as plain values for JSON; positions in RAS mm."""
        place = None if self.next_slice is None else self._place(self.next_slice)
        return {
            "steps": self.steps,
            "seconds": round(self.seconds, 2),
            "estimated_iou": None if self.estimate is None else round(self.estimate, 4),
            "next_slice": place,
            "reached_edges": [self._place(plane) for plane in self.edges],
            "annotation": self.annotation,
        }

    def _place(self, plane: Plane) -> dict[str, object]:
        return slice_place(self.geometry, plane.axis, plane.index)
