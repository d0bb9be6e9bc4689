"""The part of a volume that is worked on: cropped, made coarser where that is wanted, normalized."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels
from SparseSegLib.densify.region import region_of_interest
from SparseSegLib.errors import GeometryError
from SparseSegLib.image import Box, Geometry, Volume, check_volume
from SparseSegLib.image.coarse import block_means, coarsening, coarser_factors
from SparseSegLib.image.intensity import normalize
from SparseSegLib.image.region_image import InMemory, InParts, RegionImage
from SparseSegLib.prior import AnnotationPrior

SMALL_VOXELS = 1_500_000
"""Voxels of a small working grid, at most, of each structure."""
MOST_ROOM = 2
"""A region of interest may be as many times larger than its annotation needs, as that changes."""

VOXELS_PER_BLOCK = 64
"""Voxels of a large region for each of a coarse prediction."""

USUAL_MM = (0.01, 100.0)
"""Finest spacings of volumes whose distances are taken as they are."""


@dataclass(frozen=True)
class Problem:
    """The input of a learner: image and sparse labels on the working grid, and the way back.

    Attributes
    ----------
    image : normalized gray values on the working grid; of a large one they are read where they are needed
    labels : SparseLabels on the working grid
    classes : int, background included
    box : region of interest in the whole volume
    factors : (z, y, x) voxels of the volume per voxel of the working grid
    full : SparseLabels of the whole volume, as the user drew them; classes are the structures that occur
    volume : all of the image, with its own gray values
    """

    image: RegionImage
    labels: SparseLabels
    classes: int
    box: Box
    factors: tuple[int, int, int]
    full: SparseLabels
    volume: Volume
    _priors: dict[tuple[str, ...], AnnotationPrior] = field(default_factory=dict, init=False, repr=False, compare=False)
    _former: dict[tuple[str, ...], AnnotationPrior] = field(default_factory=dict, repr=False, compare=False)
    _without: dict[frozenset[Plane], SparseLabels] = field(default_factory=dict, init=False, repr=False, compare=False)
    _misleads: dict[tuple[str, ...], bool] = field(default_factory=dict, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_without": {}}

    @property
    def is_small(self) -> bool:
        """Whether the working grid is so small that no prediction of its structures takes long."""
        return bool(self.labels.array.size * (self.classes - 1) <= SMALL_VOXELS) and not self.in_parts

    @property
    def in_parts(self) -> bool:
        """Whether the working grid is so large that it is seen and predicted part by part."""
        return isinstance(self.image, InParts)

    @property
    def coarse_step(self) -> tuple[int, int, int]:
        """(z, y, x) voxels of the working grid for each that is predicted where a large region is seen coarsely."""
        if not self.in_parts:
            return 1, 1, 1
        geometry = self.labels.geometry
        return coarsening(geometry.shape, geometry.spacing, math.prod(geometry.shape) // VOXELS_PER_BLOCK)

    def prior(self, parts: tuple[str, ...]) -> AnnotationPrior:
        """The annotation prior of some parts, made once for all experts."""
        if parts not in self._priors:
            before = self._former.pop(parts, None)
            misleads = self._misleads.get(parts)
            self._priors[parts] = AnnotationPrior(
                self.image, self.labels, self.classes, self.spacing, parts, before, misleads
            )
        return self._priors[parts]

    def bare(self) -> Problem:
        """The same without the priors that were made; what they found out about the walk is kept."""
        return replace(self, _former={}, _misleads=self._found_out())

    def reconsider(self) -> None:
        """Decide what the priors of the next annotation take over from those of this one."""
        for prior in self._priors.values():
            prior.reconsider()

    def with_labels(self, labels: SparseLabels, margin: float, chosen: Box | None = None) -> Problem | None:
        """The problem of another annotation of the same volume, with what depends on the image alone taken over.

        None where it has another region of interest or other classes; ``self`` where nothing has changed. A region that
        is somewhat larger than the annotation needs stays as it is.

        Raises AnnotationError or GeometryError for labels that cannot be learned from.
        """
        labels = _checked(self.volume, labels)
        box = region_of_interest(labels, margin, chosen)
        inside = all(own.start <= side.start and side.stop <= own.stop for own, side in zip(self.box, box, strict=True))
        needed = math.prod(side.stop - side.start for side in box)
        same = labels.own_values == self.full.own_values
        most = needed * (MOST_ROOM if chosen is None else 1)
        if not (same and inside and most >= math.prod(self.region_shape)):
            return None
        if labels.planes == self.full.planes and np.array_equal(labels.array, self.full.array):
            return self if labels.own_names == self.full.own_names else replace(self, full=labels)
        coarse = _coarse_labels(labels.crop(self.box), self.factors)
        former = {**self._former, **self._priors}
        return replace(self, labels=coarse, full=labels, _former=former, _misleads=self._found_out())

    def _found_out(self) -> dict[tuple[str, ...], bool]:
        """Whether the walk misleads, as far as that is known, by the parts of the prior."""
        return {**self._misleads, **{parts: prior.walk_misleads for parts, prior in self._priors.items()}}

    def without(self, planes: Iterable[Plane]) -> SparseLabels:
        """The labels on the working grid, some planes left out; the same for all experts that ask."""
        gone = frozenset(planes)
        if not gone:
            return self.labels
        if gone not in self._without:
            self._without.clear()
            self._without[gone] = self.labels.without(*gone)
        return self._without[gone]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(z, y, x) between voxels of the working grid: mm, or the finest spacing where that is far from a mm.

        Networks compare distances with constants, and micrographs and maps are to be learned as bodies are.
        """
        z, y, x = self.labels.geometry.spacing
        finest = min(z, y, x)
        unit = 1.0 if USUAL_MM[0] <= finest <= USUAL_MM[1] else finest
        return z / unit, y / unit, x / unit

    @property
    def region_shape(self) -> tuple[int, int, int]:
        """(z, y, x) voxels of the region of interest on the volume's own grid."""
        z, y, x = (side.stop - side.start for side in self.box)
        return z, y, x

    def on_working_grid(self, plane: Plane) -> Plane:
        """A plane of the whole volume on the working grid; outside of it if not in the region."""
        return Plane(plane.axis, (plane.index - self.box[plane.axis].start) // self.factors[plane.axis])

    def to_region(self, values: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """Bring ``(K, z, y, x)`` from the working grid to the region's own grid, for its slices ``start:stop`` (z)."""
        if self.factors == (1, 1, 1):
            return values[:, start:stop]
        step, depth = self.factors[0], values.shape[1]
        low, high = max(0, start // step - 1), min(depth, (stop - 1) // step + 2)
        part = values[None, :, low:high].float()
        size = [
            (high - low) * step,
            *(count * factor for count, factor in zip(values.shape[2:], self.factors[1:], strict=True)),
        ]
        fine = F.interpolate(part, size=size, mode="trilinear", align_corners=False)[0]
        _, rows, columns = self.region_shape
        return fine[:, start - low * step : stop - low * step, :rows, :columns]


def make_problem(
    volume: Volume,
    labels: SparseLabels,
    margin: float,
    most_voxels: int,
    chosen: Box | None = None,
    coarser: float = 1.0,
) -> Problem:
    """Check image and labels, and cut out what to work on: the ``chosen`` region, or that around the annotation.

    Its voxels become up to ``coarser`` times as long as their shortest side is. A grid of more than ``most_voxels`` is
    seen part by part.

    Raises VolumeError for an image that is constant or has NaN, AnnotationError for labels that cannot be learned
    from, GeometryError if the two do not lie on one grid.
    """
    labels = _checked(volume, labels)
    box = region_of_interest(labels, margin, chosen)
    check_volume(volume, box if volume.on_disk else None)
    region = labels.crop(box)
    factors = coarser_factors(region.geometry.spacing, coarser)
    working = _coarse_labels(region, factors)
    return Problem(
        _gray_values(volume, box, factors, in_parts=working.array.size > most_voxels),
        working,
        labels.classes,
        box,
        factors,
        labels,
        volume,
    )


def next_problem(
    problem: Problem,
    labels: SparseLabels,
    margin: float,
    most_voxels: int,
    chosen: Box | None = None,
    coarser: float = 1.0,
) -> Problem:
    """The problem of another annotation; as much as possible is taken over. Raises as :func:`make_problem` does."""
    later = problem.with_labels(labels, margin, chosen)
    other_grid = coarser_factors(problem.volume.geometry.spacing, coarser) != problem.factors
    if later is None or other_grid or (problem.labels.array.size > most_voxels) != problem.in_parts:
        later = make_problem(problem.volume, labels, margin, most_voxels, chosen, coarser)
        if later.full.own_values == problem.full.own_values:
            later = replace(later, _misleads=problem._found_out())
    return later


def _gray_values(volume: Volume, box: Box, factors: tuple[int, int, int], *, in_parts: bool) -> RegionImage:
    """The normalized gray values of a region on a grid that is coarser by ``factors``."""
    if in_parts:
        depth, height, width = (side.stop - side.start for side in box)
        return InParts(_RegionOf(volume, box), (volume.channels, depth, height, width), factors=factors)
    image = torch.from_numpy(np.ascontiguousarray(volume.part(box), dtype=np.float32))
    return InMemory(normalize(block_means(image, factors)))


@dataclass(frozen=True)
class _RegionOf:
    """Reads boxes of a region of a volume."""

    volume: Volume
    region: Box

    def __call__(self, box: Box) -> np.ndarray:
        z, y, x = (
            slice(own.start + side.start, own.start + side.stop) for own, side in zip(self.region, box, strict=True)
        )
        return self.volume.part((z, y, x))


def _checked(volume: Volume, labels: SparseLabels) -> SparseLabels:
    """Labels of the structures that occur, checked."""
    if not labels.geometry.matches(volume.geometry):
        raise GeometryError(
            f"The labels do not lie on the volume's grid: {labels.geometry.difference(volume.geometry)}.",
            "Resample the labels to the volume (--resample on the command line).",
        )
    labels.validate()
    return labels.compact()


def _coarse_labels(labels: SparseLabels, factors: tuple[int, int, int]) -> SparseLabels:
    """The annotation on the coarse grid: each annotated plane goes to the coarse slice that it lies in."""
    if factors == (1, 1, 1):
        return labels
    shape = tuple(-(-size // factor) for size, factor in zip(labels.array.shape, factors, strict=True))
    array = np.full(shape, UNLABELED, np.uint8)
    points = labels.scribble_points
    array[tuple((points // factors).T)] = labels.array[tuple(points.T)]
    middles = [
        np.minimum(np.arange(count) * factor + factor // 2, size - 1)
        for count, factor, size in zip(shape, factors, labels.array.shape, strict=True)
    ]
    planes = []
    for plane in labels.planes:
        first, second = (axis for axis in range(3) if axis != plane.axis)
        coarse = Plane(plane.axis, plane.index // factors[plane.axis])
        drawn = np.take(labels.array, plane.index, plane.axis)[np.ix_(middles[first], middles[second])]
        array[tuple(coarse.index if axis == plane.axis else slice(None) for axis in range(3))] = drawn
        planes.append(coarse)
    geometry = _coarse_geometry(labels.geometry, factors)
    return replace(labels, array=array, geometry=geometry, planes=tuple(sorted(set(planes))))


def _coarse_geometry(geometry: Geometry, factors: tuple[int, int, int]) -> Geometry:
    """The grid of block means; its first voxel is centered on the first block."""
    depth, height, width = (-(-size // factor) for size, factor in zip(geometry.shape, factors, strict=True))
    z, y, x = (step * factor for step, factor in zip(geometry.spacing, factors, strict=True))
    center = geometry.index_to_physical(np.array([[(factor - 1) / 2 for factor in factors]]))[0].tolist()
    return Geometry((depth, height, width), (z, y, x), tuple(center), geometry.direction)
