"""What is found in a large region: its labels and uncertainty, filled in part by part."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.densify.finish import SLAB_VOXELS, most_probable, uncertainty_of
from SparseSegLib.densify.holdout import expected_counts
from SparseSegLib.densify.problem import Problem
from SparseSegLib.image import Box
from SparseSegLib.image.coarse import between_blocks
from SparseSegLib.image.large_array import new_array


@dataclass(frozen=True)
class Looked:
    """What a close look finds in a box.

    Attributes
    ----------
    box : of the region, on the volume's own grid
    labels : (z, y, x) uint8
    uncertainty : (z, y, x) uint8, in 255ths
    counts : ``expected_counts`` off the labels
    """

    box: Box
    labels: np.ndarray
    uncertainty: np.ndarray
    counts: np.ndarray


def looked_at(problem: Problem, box: Box, probabilities: torch.Tensor) -> Looked:
    """What is found in a box of the working grid, whose class probabilities are ``(K, z, y, x)``."""
    unlabeled = torch.from_numpy(problem.labels.array[box] == UNLABELED)
    counts = expected_counts(probabilities[:, unlabeled])
    z, y, x = (
        slice(side.start * factor, min(side.stop * factor, size))
        for side, factor, size in zip(box, problem.factors, problem.region_shape, strict=True)
    )
    if problem.factors != (1, 1, 1):
        places = [range(side.stop - side.start) for side in (z, y, x)]
        probabilities = between_blocks(probabilities, problem.factors, places)
    return Looked((z, y, x), most_probable(probabilities).numpy(), _in_255ths(probabilities), counts)


def _in_255ths(probabilities: torch.Tensor) -> np.ndarray:
    return np.asarray((uncertainty_of(probabilities) * 255).round_().byte().numpy())


class Found:
    """Labels and uncertainty of the whole volume, a byte for each voxel; outside of the region they are 0.

    Parameters
    ----------
    problem : Problem
    uncertainty : whether that is wanted, too

    Attributes
    ----------
    labels : (Z, Y, X) uint8
    uncertainty : (Z, Y, X) uint8, in 255ths; 0 where it is not wanted
    counts : ``expected_counts`` of what was looked at closely, off the labels
    """

    def __init__(self, problem: Problem, *, uncertainty: bool = True) -> None:
        self.problem = problem
        self._doubts = uncertainty
        shape = problem.full.array.shape
        self.labels = new_array(shape, np.uint8)
        self.uncertainty = new_array(shape, np.uint8) if uncertainty else np.zeros(shape, np.uint8)
        self.counts = np.zeros((3, problem.classes - 1))

    def fill(self, coarse: torch.Tensor) -> None:
        """Take over a coarse prediction of all of the region, ``(K, z, y, x)``, interpolated."""
        problem = self.problem
        blocks = [step * factor for step, factor in zip(problem.coarse_step, problem.factors, strict=True)]
        beyond = [  # of a block's middle is the voxel that was predicted
            factor * (step // 2 + 0.5 - step / 2)
            for step, factor in zip(problem.coarse_step, problem.factors, strict=True)
        ]
        depth, height, width = problem.region_shape
        slab = max(1, SLAB_VOXELS // (height * width))
        for start in range(0, depth, slab):
            stop = min(start + slab, depth)
            box = slice(start, stop), slice(0, height), slice(0, width)
            places = [np.arange(side.start, side.stop) - more for side, more in zip(box, beyond, strict=True)]
            self._write(box, between_blocks(coarse, blocks, places))

    def put(self, found: Looked) -> None:
        """Take over what a close look found in a box; its counts are the caller's to add."""
        self.labels[self.problem.box][found.box] = found.labels
        if self._doubts:
            self.uncertainty[self.problem.box][found.box] = found.uncertainty

    def _write(self, box: Box, probabilities: torch.Tensor) -> None:
        self.labels[self.problem.box][box] = most_probable(probabilities).numpy()
        if self._doubts:
            self.uncertainty[self.problem.box][box] = _in_255ths(probabilities)

    def draw(self) -> None:
        """Put in what the user drew, which is certain."""
        for plane, doubt, drawn in zip(self.labels, self.uncertainty, self.problem.full.array, strict=True):
            labeled = drawn != UNLABELED
            np.copyto(plane, drawn, where=labeled)
            if self._doubts:
                doubt[labeled] = 0
