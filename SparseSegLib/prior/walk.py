"""Which labeled voxels a random walk over the image meets first, as a prior.

Random walker segmentation (Grady, IEEE TPAMI 2006): the probability of a class is harmonic on the grid of voxels, with
edges that are weak where gray values change, and 0 or 1 on the labeled voxels. Large regions are walked on coarser; the
network sees the detail itself.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from scipy import sparse
from scipy.sparse.linalg import cg

from SparseSegLib.coarse import block_means, coarsening
from SparseSegLib.prior.slice_view import SliceView
from SparseSegLib.prior.sources import Source
from SparseSegLib.prior.types import Shape3, Spacing3

CONTRASTS = (100.0, 1000.0)  # how much an edge weakens with the squared difference of gray values (from -1 to 1)
WEAKEST_EDGE = 1e-4
MOST_VOXELS = 100_000  # times classes
ITERATIONS = 100
TOLERANCE = 1e-3
MOST_KEPT = 64  # walks


class WalkPrior:
    """Channels for each class but background: how probable random walks find it, from -1 to 1.

    There is one walk for each of ``CONTRASTS``: how much of a difference an edge makes depends on the image.

    Parameters
    ----------
    image : Tensor (C, Z, Y, X), normalized gray values
    sources : who knows labels
    classes : background included
    spacing : (z, y, x) in mm
    """

    def __init__(self, image: torch.Tensor, sources: list[Source], classes: int, spacing: Spacing3) -> None:
        self.classes = classes
        self.factors = coarsening(image.shape[1:], spacing, MOST_VOXELS // (classes - 1))
        coarse = block_means(image, self.factors).double().numpy()
        self.shape: Shape3 = coarse.shape[1:]
        steps = [step * factor for step, factor in zip(spacing, self.factors, strict=True)]
        self._laplacians = [_laplacian(coarse, steps, contrast) for contrast in CONTRASTS]
        self._places = [self._places_of(source) for source in sources]
        self._walks: dict[tuple[int, ...], torch.Tensor] = {}

    @property
    def count(self) -> int:
        """Number of channels."""
        return len(CONTRASTS) * (self.classes - 1)

    def channels(self, view: SliceView, keep: tuple[int, ...]) -> list[torch.Tensor]:
        """Channels for ``view`` from the sources ``keep``; each ``(U, V)``, values within ±1."""
        if keep not in self._walks:
            if len(self._walks) >= MOST_KEPT:
                self._walks.clear()
            self._walks[keep] = self._walk(keep)
        return list(2 * self._cut(self._walks[keep], view) - 1)

    def _places_of(self, source: Source) -> np.ndarray:
        """Where a source's labeled voxels lie in ``(K, N)``, the classes over the voxels of the coarse grid."""
        points, values = source.coordinates().numpy() // self.factors, source.values().numpy()
        return values * int(np.prod(self.shape)) + np.ravel_multi_index(tuple(points.T), self.shape)

    def _walk(self, keep: tuple[int, ...]) -> torch.Tensor:
        """Probabilities ``(count, z, y, x)`` on the coarse grid, from the sources ``keep``; one half without any."""
        if not keep:
            return torch.full((self.count, *self.shape), 0.5)
        places = np.concatenate([self._places[number] for number in keep])
        votes = np.bincount(places, minlength=self.classes * int(np.prod(self.shape))).reshape(self.classes, -1)
        seeded = votes.any(0)
        own = votes.argmax(0)
        free = np.flatnonzero(~seeded)
        found = np.zeros((self.count, seeded.size))
        for number, laplacian in enumerate(self._laplacians):
            rows = laplacian[free]
            system = rows[:, free]
            scaling = sparse.diags(1 / system.diagonal())
            for label in range(1, self.classes):
                channel = number * (self.classes - 1) + label - 1
                values = found[channel]
                values[:] = seeded & (own == label)
                values[free], _ = cg(system, -rows @ values, rtol=TOLERANCE, maxiter=ITERATIONS, M=scaling)
        return torch.from_numpy(found.reshape(-1, *self.shape)).float().clamp_(0, 1)

    def _cut(self, walk: torch.Tensor, view: SliceView) -> torch.Tensor:
        """The slice ``view`` of the coarse probabilities, interpolated: ``(count, U, V)``."""
        last = walk.shape[1 + view.axis] - 1
        place = min(max((view.index + 0.5) / self.factors[view.axis] - 0.5, 0), last)
        low = int(place)
        below, above = (walk.select(1 + view.axis, index) for index in (low, min(low + 1, last)))
        plane = torch.lerp(below, above, place - low)
        factors = tuple(self.factors[axis] for axis in view.axes)
        if factors == (1, 1):
            return plane
        size = [count * factor for count, factor in zip(plane.shape[1:], factors, strict=True)]
        fine = F.interpolate(plane[None], size=size, mode="bilinear", align_corners=False)[0]
        return fine[:, : view.size[0], : view.size[1]]


def _laplacian(image: np.ndarray, steps: list[float], contrast: float) -> sparse.csr_matrix:
    """The graph's Laplacian ``(N, N)``; an edge is the weaker the longer it is and the more gray values differ."""
    shape = image.shape[1:]
    places = np.arange(np.prod(shape)).reshape(shape)
    first, second, weights = [], [], []
    for axis, step in enumerate(steps):
        difference = np.square(np.diff(image, axis=1 + axis)).mean(0)
        weights.append(((np.exp(-contrast * difference) + WEAKEST_EDGE) * min(steps) / step).ravel())
        first.append(np.delete(places, -1, axis).ravel())
        second.append(np.delete(places, 0, axis).ravel())
    rows, columns, weight = np.concatenate(first), np.concatenate(second), np.concatenate(weights)
    upper = sparse.coo_matrix((weight, (rows, columns)), shape=(places.size, places.size))
    adjacent = (upper + upper.T).tocsr()
    return (sparse.diags(np.asarray(adjacent.sum(1)).ravel()) - adjacent).tocsr()
