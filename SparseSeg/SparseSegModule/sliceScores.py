"""Agreement of two segmentations, slice by slice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from SparseSegLib.annotation import Plane
from SparseSegLib.errors import UsageError
from SparseSegLib.image import Geometry
from SparseSegModule.results import inputOf
from SparseSegModule.segmentLabels import Block, classLabels
from SparseSegModule.segments import segmentStyles
from SparseSegModule.volumes import volumeGeometry

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


@dataclass(frozen=True)
class SliceScore:
    """Agreement on one slice: Dice, 0 to 1, and how many voxels of it each of the two segmentations has."""

    plane: Plane
    dice: float
    first: int
    second: int


@dataclass(frozen=True, eq=False)
class SliceComparison:
    """Voxels of two segmentations on each slice of a volume.

    Attributes
    ----------
    geometry : the volume's grid
    names : the segments that both have
    counts : for the axes z, y, x: ``(slices, 3, names)``, voxels of the first, of the second, and of both at once
    """

    geometry: Geometry
    names: tuple[str, ...]
    counts: tuple[np.ndarray, np.ndarray, np.ndarray]

    def scores(self, axis: int = 0, name: str = "") -> list[SliceScore]:
        """Slices across an axis (0, 1, 2 for z, y, x) that have any of a segment, or of all of them."""
        first, second, both = self._of(axis, name).T.tolist()
        found = enumerate(zip(first, second, both, strict=True))
        return [SliceScore(Plane(axis, index), _dice(a, b, c), a, b) for index, (a, b, c) in found if a + b]

    def dice(self, name: str = "") -> float:
        """Dice in the whole volume, of a segment or of all of them; 1 where neither has anything."""
        return _dice(*self._of(0, name).sum(0).tolist())

    def _of(self, axis: int, name: str) -> np.ndarray:
        """Counts ``(slices, 3)``; UsageError for a segment that is not in both."""
        if not name:
            return self.counts[axis].sum(2)
        if name not in self.names:
            raise UsageError(f"There is no segment {name} in both.", f"Use one of {', '.join(self.names)}.")
        return self.counts[axis][:, :, self.names.index(name)]


def prepareComparison(
    first: vtkMRMLSegmentationNode,
    second: vtkMRMLSegmentationNode,
    volumeNode: vtkMRMLScalarVolumeNode | None = None,
) -> Callable[[], SliceComparison]:
    """Take two segmentations out of their nodes; the function that counts, for any thread.

    Both are brought to the grid of the volume, whatever grid they lie on; without one it is the first's own volume, or
    the second's. Segments of the same name are compared, in any case of letters; two single ones whatever their names.

    Raises UsageError if there is no volume, or no segment to compare.
    """
    volumeNode = volumeNode or inputOf(first) or inputOf(second)
    if volumeNode is None:
        raise UsageError(
            f"The volumes of {first.GetName()} and {second.GetName()} are not in the scene.", "Load one of them."
        )
    names, classes = _common(first, second)
    blocks = [classLabels(node, volumeNode) for node in (first, second)]
    geometry = volumeGeometry(volumeNode)

    def count() -> SliceComparison:
        box = _around(blocks[0], blocks[1])
        known = [_renumbered(block, values, box) for block, values in zip(blocks, classes, strict=True)]
        z, y, x = (_counts(known[0], known[1], axis, len(names), box, geometry) for axis in range(3))
        return SliceComparison(geometry, names, (z, y, x))

    return count


def _common(
    first: vtkMRMLSegmentationNode, second: vtkMRMLSegmentationNode
) -> tuple[tuple[str, ...], tuple[list[int], list[int]]]:
    """The names of the segments to compare, as the first has them, and their classes in each of the two."""
    names, others = ([style.name for style in segmentStyles(node)] for node in (first, second))
    if len(names) == len(others) == 1:
        return (names[0],), ([1], [1])
    places = {name.strip().casefold(): place for place, name in reversed(list(enumerate(others, start=1)))}
    pairs = [(value, places.get(name.strip().casefold(), 0), name) for value, name in enumerate(names, start=1)]
    pairs = [pair for pair in pairs if pair[1]]
    if not pairs:
        raise UsageError(
            f"{first.GetName()} and {second.GetName()} have no segment of the same name.",
            "Give the segments to compare the same name in both.",
        )
    return tuple(name for _, _, name in pairs), ([value for value, _, _ in pairs], [value for _, value, _ in pairs])


def _around(first: Block, second: Block) -> tuple[slice, slice, slice]:
    """The smallest box around both; blocks without voxels do not count."""
    blocks = [block for block in (first, second) if block.labels.size] or [first]
    z, y, x = (
        slice(min(block.box[axis].start for block in blocks), max(block.box[axis].stop for block in blocks))
        for axis in range(3)
    )
    return z, y, x


def _renumbered(block: Block, classes: list[int], box: tuple[slice, slice, slice]) -> np.ndarray:
    """The labels in a box, 1..n for those classes in their order and 0 for all else."""
    table: np.ndarray = np.zeros(256, np.uint8)
    table[classes] = np.arange(1, len(classes) + 1)
    labels: np.ndarray = np.zeros([side.stop - side.start for side in box], np.uint8)
    inner = tuple(
        slice(side.start - whole.start, side.stop - whole.start) for side, whole in zip(block.box, box, strict=True)
    )
    if block.labels.size:
        labels[inner] = table[block.labels]
    return labels


def _counts(
    first: np.ndarray, second: np.ndarray, axis: int, names: int, box: tuple[slice, slice, slice], geometry: Geometry
) -> np.ndarray:
    """Voxels ``(slices, 3, names)`` on each slice of the whole volume: of the first, of the second, of both at once."""
    counts = np.zeros((geometry.shape[axis], 3, names), np.int64)
    for place, index in enumerate(range(box[axis].start, box[axis].stop)):
        one, other = np.take(first, place, axis).ravel(), np.take(second, place, axis).ravel()
        for row, labels in enumerate((one, other, one[one == other])):
            counts[index, row] = np.bincount(labels, minlength=names + 1)[1:]
    return counts


def _dice(first: int, second: int, both: int) -> float:
    return 2 * both / (first + second) if first + second else 1.0
