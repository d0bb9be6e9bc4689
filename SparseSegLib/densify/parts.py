"""A large region in parts: where a coarse prediction stands, and the boxes that have to be looked at closely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise, product

import numpy as np
import torch
import torch.nn.functional as F

from SparseSegLib.densify.experts.base import Request
from SparseSegLib.densify.problem import Problem
from SparseSegLib.image import Box

LONGEST_SIDE = 192  # voxels of a box that is predicted at once
SHORTEST_SIDE = 32  # voxels of a box that is not divided further
ROOM = 32  # voxels along each axis that a box costs more than it has, as its surroundings are looked at, too


def divided(request: Request) -> list[Request]:
    """A request in parts that memory suffices for; together they predict the same places."""
    sides = [
        _cuts(side, len(places), step)
        for side, places, step in zip(request.box, request.places, request.step, strict=True)
    ]
    return [request.of((z, y, x)) for z, y, x in product(*sides)]


def place_in(part: Request, whole: Request) -> tuple[slice, slice, slice]:
    """Where the places of a part are among those of the whole request that was divided."""
    z, y, x = (
        slice((own.start - all_.start) // step, (own.start - all_.start) // step + count)
        for own, all_, step, count in zip(part.box, whole.box, whole.step, part.shape, strict=True)
    )
    return z, y, x


def standing(coarse: torch.Tensor, sure: float) -> np.ndarray:
    """Where a coarse prediction ``(K, z, y, x)`` stands, ``(z, y, x)``.

    There and at all neighbors the same class has a probability of at least ``sure``.
    """
    best, label = coarse.max(0)
    label = label.float()
    alike = _highest_around(label) == -_highest_around(-label)
    return np.asarray((alike & (-_highest_around(-best) >= sure)).numpy())


def boxes_around(mask: np.ndarray, problem: Problem) -> list[Box]:
    """Boxes of the working grid that hold all blocks of the coarse grid in ``mask``, as cheap as halving makes them."""
    step, shape = problem.coarse_step, problem.labels.array.shape
    longest = [max(1, LONGEST_SIDE // own) for own in step]
    shortest = [max(1, SHORTEST_SIDE // own) for own in step]

    def box_of(low: Sequence[int], high: Sequence[int]) -> Box:
        z, y, x = (
            slice(start * own, side if stop == count else stop * own)
            for start, stop, own, side, count in zip(low, high, step, shape, mask.shape, strict=True)
        )
        return z, y, x

    def best(low: tuple[int, ...], high: tuple[int, ...]) -> tuple[float, list[Box]]:
        there = mask[tuple(map(slice, low, high))]
        ends = []
        for axis, start in enumerate(low):
            places = np.flatnonzero(there.any(tuple(other for other in range(3) if other != axis)))
            if not places.size:
                return 0.0, []
            ends.append((start + int(places[0]), start + int(places[-1]) + 1))
        low, high = tuple(start for start, _ in ends), tuple(stop for _, stop in ends)
        sides = [stop - start for start, stop in ends]
        must = [side / most for side, most in zip(sides, longest, strict=True)]
        may = [side / least for side, least in zip(sides, shortest, strict=True)]
        box = box_of(low, high)
        alone = cost(box), [box]
        axis = int(np.argmax(must if max(must) > 1 else may))
        if max(must) <= 1 and max(may) < 2:
            return alone
        middle = low[axis] + sides[axis] // 2
        first = best(low, tuple(middle if other == axis else stop for other, stop in enumerate(high)))
        second = best(tuple(middle if other == axis else start for other, start in enumerate(low)), high)
        parts = first[0] + second[0], first[1] + second[1]
        return parts if max(must) > 1 or parts[0] < alone[0] else alone

    return best((0, 0, 0), mask.shape)[1]


def cost(box: Box) -> float:
    """What the prediction of a box costs, in voxels."""
    return math.prod(float(side.stop - side.start + ROOM) for side in box)


def _cuts(side: slice, count: int, step: int) -> list[slice]:
    """Parts of a side of a box, of about the same length, that begin at multiples of ``step`` from its start."""
    parts = min(count, -(-(side.stop - side.start) // LONGEST_SIDE))
    starts = [side.start + round(number * count / parts) * step for number in range(parts)]
    return [slice(start, stop) for start, stop in pairwise([*starts, side.stop])]


def _highest_around(values: torch.Tensor) -> torch.Tensor:
    """The highest of ``(z, y, x)`` among a voxel and its neighbors."""
    return F.max_pool3d(values[None, None], 3, 1, 1)[0, 0]
