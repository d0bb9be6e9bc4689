"""Random walker segmentation as a prior: the labeled voxels that a random walk over the image meets first.

Random walker segmentation (Grady, IEEE TPAMI 2006): the probability of a class is harmonic on the grid of voxels, with
edges that are weak where gray values change, and 0 or 1 on the labeled voxels. Here a walker may also get lost, which
counts as background: what is cut off from all labels, or far from them, belongs to no object. Large regions are walked
on coarser; the network gets the detail from the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from SparseSegLib.image.coarse import between_blocks
from SparseSegLib.image.region_image import RegionImage
from SparseSegLib.prior.random_walk import Edges, edge_weights, solve
from SparseSegLib.prior.slice_view import SliceView
from SparseSegLib.prior.sources import Source
from SparseSegLib.prior.types import Shape3, Spacing3

CONTRASTS = (100.0, 1000.0)  # how much an edge weakens with the squared difference of gray values (from -1 to 1)
MOST_VOXELS = 100_000
MOST_OF_SEVERAL = 400_000  # where several structures are walked for, which leak into each other on coarse grids
FEWEST_VOXELS = 2_000  # of a grid that is worth a coarser one
ITERATIONS = (100, 40)
TOLERANCE = 1e-3
LOST = 3e-4
MOST_KEPT = 64  # walks


class WalkPrior:
    """Channels for each class but background: how probable random walks find it, from -1 to 1.

    There is one walk for each contrast: how much of a difference an edge makes depends on the image. Coarser
    grids give the finer ones their start.

    Parameters
    ----------
    image : RegionImage
    sources : where labels come from
    classes : background included
    spacing : (z, y, x) in mm
    contrasts : one walk for each; None for ``CONTRASTS``
    most_voxels : of the finest grid; None for what suits a prior
    lost : weight of getting lost, against 1 for an edge inside a flat region
    iterations : of the solver at most, on the coarsest grid and on each of the others
    before : of the same image and settings with other sources, whose edges are taken over
    """

    def __init__(
        self,
        image: RegionImage,
        sources: list[Source],
        classes: int,
        spacing: Spacing3,
        contrasts: tuple[float, ...] | None = None,
        most_voxels: int | None = None,
        lost: float = LOST,
        iterations: tuple[int, int] = ITERATIONS,
        before: WalkPrior | None = None,
    ) -> None:
        self.classes = classes
        self.lost = lost
        self.iterations = iterations
        self.contrasts = contrasts or CONTRASTS
        self._grids: list[_Grid]
        if before:
            self._grids = [grid.with_sources(sources) for grid in before._grids]
        else:
            finest = most_voxels or (MOST_VOXELS if classes == 2 else MOST_OF_SEVERAL)
            self._grids = [_Grid.of(image, sources, spacing, finest, self.contrasts)]
            while np.prod(self._grids[0].shape) > 2 * FEWEST_VOXELS:
                most = int(np.prod(self._grids[0].shape)) // 8
                self._grids.insert(0, _Grid.of(image, sources, spacing, max(most, FEWEST_VOXELS), self.contrasts))
        self.factors = self._grids[-1].factors
        self._walks: dict[tuple[int, ...], torch.Tensor] = {}

    @property
    def channel_classes(self) -> list[int]:
        """The class of each channel."""
        return [*range(1, self.classes)] * len(self.contrasts)

    def channels(self, view: SliceView, keep: tuple[int, ...]) -> list[torch.Tensor]:
        """Channels for ``view`` from the sources ``keep``; each ``(U, V)``, values within ±1."""
        if keep not in self._walks:
            if len(self._walks) >= MOST_KEPT:
                self._walks.clear()
            self._walks[keep] = self.probabilities(keep).flatten(0, 1)
        return list(2 * self._cut(self._walks[keep], view) - 1)

    def probabilities(self, keep: tuple[int, ...]) -> torch.Tensor:
        """Of the classes but background ``(contrasts, K - 1, z, y, x)`` on the finest grid; one half without sources.

        The grid's voxels are as many of the image's as ``factors`` says.
        """
        if not keep:
            return torch.full((len(self.contrasts), self.classes - 1, *self._grids[-1].shape), 0.5)
        found = torch.zeros(len(self.contrasts), self.classes - 1, *self._grids[0].shape)
        before = self._grids[0]
        for grid in self._grids:
            found = _between(found, before, grid)
            before = grid
            own = grid.seeds(keep, self.classes)
            free = own < 0
            lost, nowhere = torch.full(grid.shape, self.lost), torch.zeros(grid.shape)
            for label in range(1, self.classes):
                start = torch.where(free, found[:, label - 1], (own == label).float())
                iterations = self.iterations[0 if grid is self._grids[0] else 1]
                found[:, label - 1] = solve(grid.edges, free.float(), start, iterations, TOLERANCE, lost, nowhere)
        return found.clamp_(0, 1)

    def _cut(self, walk: torch.Tensor, view: SliceView) -> torch.Tensor:
        """The slice ``view`` of the coarse probabilities, interpolated: ``(channels, U, V)``."""
        last = walk.shape[1 + view.axis] - 1
        place = min(max((view.index + 0.5) / self.factors[view.axis] - 0.5, 0), last)
        low = int(place)
        below, above = (walk.select(1 + view.axis, index) for index in (low, min(low + 1, last)))
        plane = torch.lerp(below, above, place - low)
        factors = tuple(self.factors[axis] for axis in view.axes)
        if view.part is not None:
            places = [range(side.start, side.stop) for side in view.window]
            return between_blocks(plane[:, None], (1, *factors), ((0,), *places))[:, 0]
        if factors == (1, 1):
            return plane
        size = [count * factor for count, factor in zip(plane.shape[1:], factors, strict=True)]
        fine = F.interpolate(plane[None], size=size, mode="bilinear", align_corners=False)[0]
        return fine[:, : view.size[0], : view.size[1]]


@dataclass(frozen=True)
class _Grid:
    """One of the grids that are walked on.

    Attributes
    ----------
    factors : (z, y, x) voxels of the image per voxel
    shape : (z, y, x) voxels
    edges : for each contrast, ``(contrasts, ...)``
    places : of each source, where its labeled voxels lie in ``(K, N)``, the classes over the voxels
    """

    factors: Shape3
    shape: Shape3
    edges: Edges
    places: list[np.ndarray]

    @classmethod
    def of(
        cls,
        image: RegionImage,
        sources: list[Source],
        spacing: Spacing3,
        most_voxels: int,
        contrasts: tuple[float, ...],
    ) -> _Grid:
        """The finest grid of at most ``most_voxels``."""
        factors, means = image.coarsened(spacing, most_voxels)
        depth, height, width = means.shape[1:]
        z, y, x = (step * factor for step, factor in zip(spacing, factors, strict=True))
        edges = edge_weights(means, torch.tensor(contrasts).view(-1, 1, 1, 1), (z, y, x))
        shape = (depth, height, width)
        return cls(factors, shape, edges, [_places_of(source, factors, shape) for source in sources])

    def with_sources(self, sources: list[Source]) -> _Grid:
        """The same grid for other sources."""
        return replace(self, places=[_places_of(source, self.factors, self.shape) for source in sources])

    def seeds(self, keep: tuple[int, ...], classes: int) -> torch.Tensor:
        """The class that most of the sources ``keep`` have at each voxel ``(z, y, x)``; -1 where they have none."""
        places = np.concatenate([self.places[number] for number in keep])
        votes = np.bincount(places, minlength=classes * int(np.prod(self.shape))).reshape(classes, *self.shape)
        return torch.from_numpy(np.where(votes.any(0), votes.argmax(0), -1))


def _places_of(source: Source, factors: Shape3, shape: Shape3) -> np.ndarray:
    points, values = source.coordinates().numpy() // factors, source.values().numpy()
    return np.asarray(values * int(np.prod(shape)) + np.ravel_multi_index(tuple(points.T), shape))


def _between(values: torch.Tensor, coarse: _Grid, fine: _Grid) -> torch.Tensor:
    """Bring ``(..., z, y, x)`` from one grid to a finer one: each voxel takes the value of the voxel around it."""
    for axis in range(3):
        middles = torch.arange(fine.shape[axis]) * fine.factors[axis] + fine.factors[axis] // 2
        index = (middles // coarse.factors[axis]).clamp(max=coarse.shape[axis] - 1)
        values = values.index_select(values.ndim - 3 + axis, index)
    return values
