"""The prediction of a large region: coarse everywhere, and closely where that does not decide."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from SparseSegLib.control import CancelToken, Stopped, UntilStopped
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.experts import Request
from SparseSegLib.densify.finish import most_probable
from SparseSegLib.densify.found import Found, looked_at
from SparseSegLib.densify.hands import Hands, Lend, own_hands
from SparseSegLib.densify.holdout import expected_counts
from SparseSegLib.densify.member import Member
from SparseSegLib.densify.parts import boxes_around, cost, divided, place_in, standing
from SparseSegLib.densify.problem import Problem
from SparseSegLib.image import Box

SURE = (0.9, 0.95, 0.98, 0.995)
"""Probabilities from which a coarse prediction might stand; samples decide from which it does."""
MOST_WRONG = 0.002
"""Voxels where a coarse prediction stands that a close look would change, at most, per voxel of a structure."""
SAMPLED_SIDE = 64  # voxels of a box that is looked at closely to find that out
SAMPLED_PART = 0.05  # of what stands
SAMPLES = (2, 8)  # boxes, at least and at most
WORTH = 0.5
"""A coarse prediction that takes more than this part of the seconds of a close look is not worth it."""

Report = Callable[[float], None]
"""Is told about how many seconds the prediction still takes."""


def predict_coarsely(
    ensemble: Ensemble,
    request: Request,
    token: CancelToken,
    within: float | None = None,
    hands: Hands | None = None,
) -> torch.Tensor:
    """Class probabilities ``(K, z, y, x)`` of a request for few places of a large region, part by part.

    ``within`` are seconds for all experts together; where there are fewer, those with little weight are left out.
    ``hands`` predict, by default those of this process.
    """
    parts = divided(request)
    asked = ensemble.affordable(parts, within)
    found = torch.zeros(ensemble.problem.classes, *request.shape)
    with nullcontext(hands) if hands else own_hands(ensemble) as those:
        for number, part in those.predict(parts, asked, token):
            found[(slice(None), *place_in(parts[number], request))] = part
    return found


def seconds_for(problem: Problem, ensemble: Ensemble, coarse: torch.Tensor) -> float:
    """Seconds that a close look takes where a coarse prediction ``(K, z, y, x)`` does not decide."""
    requests = [Request(box) for box in boxes_around(~standing(coarse, SURE[1]), problem)]
    asked = ensemble.affordable(requests, None)
    return sum(member.seconds(request) for member in asked for request in requests)


@dataclass
class PartPrediction:
    """Predicts a large region.

    Parameters
    ----------
    problem : Problem
    ensemble : Ensemble
    token : may cancel it, or stop it: then what was not looked at closely stays coarse
    within : seconds, None for as many as it takes; after these, too, what was not looked at closely stays coarse
    report : is told about how many seconds it still takes
    lend : gives the hands that predict
    """

    problem: Problem
    ensemble: Ensemble
    token: CancelToken
    within: float | None = None
    report: Report = lambda seconds: None
    lend: Lend = own_hands

    def found(self, *, hurry: float | None = None) -> Found:
        """Everything; with ``hurry`` only the coarse prediction, in about so many seconds."""
        with self.lend(self.ensemble) if hurry is None else own_hands(self.ensemble) as self._hands:
            return self._found(hurry)

    def _found(self, hurry: float | None) -> Found:
        found = Found(self.problem)
        request = Request.whole(self.problem, 2, quick=True, step=self.problem.coarse_step)
        if hurry is not None:
            coarse = predict_coarsely(self.ensemble, request, self.token, hurry)
            found.fill(coarse)
            found.counts += expected_counts(coarse)
        elif not self._is_cheap(request):
            whole = [part.box for part in divided(Request.whole(self.problem))]
            self._look(found, whole, self.ensemble.affordable([Request(box) for box in whole], self.within), self.token)
        else:
            until = _Until(self.token, self.within)
            coarse = predict_coarsely(self.ensemble, request, self.token, self.within, self._hands)
            found.fill(coarse)
            try:
                self._look_where_needed(found, coarse, until)
            except Stopped:
                found.counts = expected_counts(coarse)
        found.draw()
        return found

    def _is_cheap(self, request: Request) -> bool:
        return self.ensemble.seconds(request) < WORTH * self.ensemble.seconds(Request.whole(self.problem))

    def _look_where_needed(self, found: Found, coarse: torch.Tensor, until: CancelToken) -> None:
        """Replace what a coarse prediction does not decide."""
        stands = {sure: standing(coarse, sure) for sure in SURE}
        boxes = boxes_around(~stands[SURE[0]], self.problem)
        asked = self.ensemble.affordable([Request(box) for box in boxes], self.within)
        self._look(found, boxes, asked, until)
        left = ~self._known(boxes, coarse.shape[1:])
        sure = self._sure(found, coarse, stands, left, asked, until)
        kept = left & stands[sure] if sure else np.zeros_like(left)
        found.counts += expected_counts(coarse[:, torch.from_numpy(kept)]) * math.prod(self.problem.coarse_step)
        self._look(found, boxes_around(left & ~kept, self.problem), asked, until)

    def _look(self, found: Found, boxes: Sequence[Box], asked: Sequence[Member], token: CancelToken) -> None:
        """Predict boxes closely."""
        total, done, started = sum(map(cost, boxes)), 0.0, time.monotonic()
        self.report(sum(member.seconds(Request(box)) for member in asked for box in boxes))
        counts = {}
        for number, looked in self._hands.look(boxes, asked, token):
            found.put(looked)
            counts[number] = looked.counts
            done += cost(boxes[number])
            self.report((time.monotonic() - started) * (total - done) / done)
        for number in sorted(counts):  # in one order, so that the sum is the same to the bit
            found.counts += counts[number]

    def _sure(
        self,
        found: Found,
        coarse: torch.Tensor,
        stands: dict[float, np.ndarray],
        left: np.ndarray,
        asked: Sequence[Member],
        token: CancelToken,
    ) -> float | None:
        """From how sure a coarse prediction is on it may stand in the blocks ``left`` over; None where it may not.

        Boxes drawn at random among them are looked at closely, and what that changes is counted. They are not left over
        then. ``stands`` are the blocks where it is so sure.
        """
        step, shape = self.problem.coarse_step, self.problem.labels.array.shape
        labels = most_probable(coarse).numpy()
        voxels, wrong = dict.fromkeys(SURE, 0), dict.fromkeys(SURE, 0)
        samples = _samples(stands[SURE[0]] & left, step)
        boxes = [_voxels(blocks, step, shape, labels.shape) for blocks in samples]
        seen = dict(self._hands.predict([Request(box) for box in boxes], asked, token))
        for number, (blocks, box) in enumerate(zip(samples, boxes, strict=True)):
            looked = looked_at(self.problem, box, seen[number])
            found.put(looked)
            found.counts += looked.counts
            fine = most_probable(seen[number]).numpy()
            changed = fine != _repeated(labels[blocks], step, fine.shape)
            for sure in SURE:
                there = _repeated(stands[sure][blocks] & left[blocks], step, fine.shape)
                voxels[sure] += int(there.sum())
                wrong[sure] += int((changed & there).sum())
            left[blocks] = False
        most = MOST_WRONG * int((labels > 0).sum())
        for sure in SURE:
            if voxels[sure] and wrong[sure] / voxels[sure] * int((stands[sure] & left).sum()) <= most:
                return sure
        return None

    def _known(self, boxes: Sequence[Box], shape: tuple[int, ...]) -> np.ndarray:
        """Which blocks ``(z, y, x)`` of the coarse grid lie in boxes that hold whole ones."""
        known = np.zeros(shape, bool)
        for box in boxes:
            blocks = (
                slice(side.start // own, -(-side.stop // own))
                for side, own in zip(box, self.problem.coarse_step, strict=True)
            )
            known[tuple(blocks)] = True
        return known


class _Until(UntilStopped):
    """Stops after some seconds, too; None for never."""

    def __init__(self, token: CancelToken, seconds: float | None) -> None:
        super().__init__(token)
        self._end = math.inf if seconds is None else time.monotonic() + seconds

    def check(self) -> None:
        """Raise Canceled if the work is no longer wanted, Stopped if the result so far is wanted or time is over."""
        super().check()
        if time.monotonic() > self._end:
            raise Stopped


def _samples(candidates: np.ndarray, step: tuple[int, int, int]) -> list[Box]:
    """Boxes of the coarse grid, drawn at random among those in which there are ``candidates``."""
    sides = [min(max(1, SAMPLED_SIDE // own), count) for own, count in zip(step, candidates.shape, strict=True)]
    starts = (range(0, count - side + 1, side) for count, side in zip(candidates.shape, sides, strict=True))
    boxes = []
    for corner in product(*starts):
        z, y, x = (slice(low, low + side) for low, side in zip(corner, sides, strict=True))
        if 2 * candidates[z, y, x].sum() > math.prod(sides):
            boxes.append((z, y, x))
    count = round(SAMPLED_PART * candidates.sum() / math.prod(sides))
    chosen = np.random.default_rng(0).permutation(len(boxes))[: min(max(count, SAMPLES[0]), SAMPLES[1])]
    return [boxes[number] for number in chosen]


def _voxels(blocks: Box, step: tuple[int, int, int], shape: tuple[int, ...], counts: tuple[int, ...]) -> Box:
    """The box of voxels that some blocks are made of; the last block of ``counts`` reaches to the grid's end."""
    z, y, x = (
        slice(side.start * own, size if side.stop == count else side.stop * own)
        for side, own, size, count in zip(blocks, step, shape, counts, strict=True)
    )
    return z, y, x


def _repeated(blocks: np.ndarray, step: tuple[int, int, int], shape: tuple[int, ...]) -> np.ndarray:
    """Values of blocks at their voxels; what is beyond the last block has its value."""
    for axis, (own, side) in enumerate(zip(step, shape, strict=True)):
        blocks = blocks.take(np.minimum(np.arange(side) // own, blocks.shape[axis] - 1), axis)
    return blocks
