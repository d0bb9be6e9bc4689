"""The prediction of a large region: coarse everywhere, and closely where that does not decide."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from SparseSegLib.control import CancelToken, Stopped, UntilStopped
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.experts import Request
from SparseSegLib.densify.finish import most_probable
from SparseSegLib.densify.found import Found
from SparseSegLib.densify.holdout import expected_counts
from SparseSegLib.densify.member import Member
from SparseSegLib.densify.parts import boxes_around, cost, divided, place_in, standing
from SparseSegLib.densify.problem import Problem
from SparseSegLib.image import Box

SURE = (0.9, 0.95, 0.98, 0.995)
"""Probabilities from which a coarse prediction might stand; how many are right decides which does."""
MOST_WRONG = 0.002
"""Voxels that a close look would have changed where a coarse prediction stands, per voxel of a structure."""
CHECKED = 6  # boxes that are looked at closely to find that out
CHECKED_SIDE = 64  # voxels
WORTH = 0.5
"""A coarse prediction that takes more than this part of the seconds of a close look is not worth it."""

Report = Callable[[float], None]
"""Is told about how many seconds the prediction still takes."""


def predict_coarsely(
    ensemble: Ensemble, request: Request, token: CancelToken, within: float | None = None
) -> torch.Tensor:
    """Class probabilities ``(K, z, y, x)`` of a request for few places of a large region, part by part.

    ``within`` are seconds for all experts together; where there are fewer, those with little weight are left out.
    """
    parts = divided(request)
    asked = ensemble.affordable(parts, within)
    found = torch.zeros(ensemble.problem.classes, *request.shape)
    for part in parts:
        found[(slice(None), *place_in(part, request))] = ensemble.predict(part, token, asked=asked)
    return found


def seconds_for(problem: Problem, ensemble: Ensemble, coarse: torch.Tensor) -> float:
    """Seconds that a close look takes where a coarse prediction ``(K, z, y, x)`` does not decide."""
    boxes = boxes_around(~standing(coarse, SURE[1]), problem)
    return sum(ensemble.seconds(Request(box)) for box in boxes)


@dataclass
class PartPrediction:
    """Predicts a large region.

    Parameters
    ----------
    problem : Problem
    ensemble : Ensemble
    token : may cancel it, or stop it: then what was not looked at closely stays coarse
    within : seconds for all experts together, None for as many as it takes
    report : is told about how many seconds it still takes
    """

    problem: Problem
    ensemble: Ensemble
    token: CancelToken
    within: float | None = None
    report: Report = lambda seconds: None

    def found(self, *, hurry: float | None = None) -> Found:
        """Everything; with ``hurry`` only the coarse prediction, in about so many seconds."""
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
            coarse = predict_coarsely(self.ensemble, request, self.token)
            found.fill(coarse)
            try:
                self._look_where_needed(found, coarse)
            except Stopped:
                found.counts = expected_counts(coarse)
        found.draw()
        return found

    def _is_cheap(self, request: Request) -> bool:
        return self.ensemble.seconds(request) < WORTH * self.ensemble.seconds(Request.whole(self.problem))

    def _look_where_needed(self, found: Found, coarse: torch.Tensor) -> None:
        """Replace what a coarse prediction does not decide."""
        until = UntilStopped(self.token)
        likely = boxes_around(~standing(coarse, SURE[0]), self.problem)
        asked = self.ensemble.affordable([Request(box) for box in likely], self.within)
        sure, known = self._check(found, coarse, asked, until)
        stands = np.zeros(coarse.shape[1:], bool) if sure is None else standing(coarse, sure)
        cells = int(np.prod(self.problem.coarse_step))
        if stands.any():
            found.counts += expected_counts(coarse[:, torch.from_numpy(stands & ~known)]) * cells
        self._look(found, boxes_around(~stands & ~known, self.problem), asked, until)

    def _look(self, found: Found, boxes: Sequence[Box], asked: Sequence[Member], token: CancelToken) -> None:
        """Predict boxes closely."""
        total, done, started = sum(map(cost, boxes)), 0.0, time.monotonic()
        self.report(sum(member.seconds(Request(box)) for member in asked for box in boxes))
        for box in boxes:
            token.check()
            found.put(box, self.ensemble.predict(Request(box), token, asked=asked))
            done += cost(box)
            self.report((time.monotonic() - started) * (total - done) / done)

    def _check(
        self, found: Found, coarse: torch.Tensor, asked: Sequence[Member], token: CancelToken
    ) -> tuple[float | None, np.ndarray]:
        """From which probability on a coarse prediction stands, None for never, and the blocks that are known now.

        Some boxes are looked at closely, and what that would have changed is counted.
        """
        wrong, drawn = dict.fromkeys(SURE, 0), 0
        stands = {sure: standing(coarse, sure) for sure in SURE}
        known = np.zeros(coarse.shape[1:], bool)
        labels = most_probable(coarse).numpy()
        step = self.problem.coarse_step
        for blocks in _to_check(stands[SURE[0]], labels, step):
            z, y, x = (
                slice(side.start * own, size if side.stop == count else side.stop * own)
                for side, own, size, count in zip(
                    blocks, step, self.problem.labels.array.shape, labels.shape, strict=True
                )
            )
            probabilities = self.ensemble.predict(Request((z, y, x)), token, asked=asked)
            found.put((z, y, x), probabilities)
            known[blocks] = True
            fine = most_probable(probabilities).numpy()
            drawn += int((fine > 0).sum())
            changed = fine != _repeated(labels[blocks], step, fine.shape)
            for sure in SURE:
                wrong[sure] += int((changed & _repeated(stands[sure][blocks], step, fine.shape)).sum())
        return next((sure for sure in SURE if known.any() and wrong[sure] <= MOST_WRONG * drawn), None), known


def _to_check(stands: np.ndarray, labels: np.ndarray, step: tuple[int, int, int]) -> list[Box]:
    """Boxes of the coarse grid to look at closely: half of them where most of a structure is, half at random.

    In each, something stands.
    """
    sides = [min(max(1, CHECKED_SIDE // own), count) for own, count in zip(step, stands.shape, strict=True)]
    starts = [range(0, count - side + 1, side) for count, side in zip(stands.shape, sides, strict=True)]
    boxes = []
    for z in starts[0]:
        for y in starts[1]:
            for x in starts[2]:
                a, b, c = (slice(low, low + side) for low, side in zip((z, y, x), sides, strict=True))
                if stands[a, b, c].any():
                    boxes.append((a, b, c))
    if not boxes:
        return []
    rest = sorted(boxes, key=lambda box: -int((labels[box] > 0).sum() * stands[box].sum()))
    chosen = rest[: CHECKED // 2]
    rest = rest[CHECKED // 2 :]
    rng = np.random.default_rng(0)
    return chosen + [rest[number] for number in rng.permutation(len(rest))[: CHECKED - len(chosen)]]


def _repeated(blocks: np.ndarray, step: tuple[int, int, int], shape: tuple[int, ...]) -> np.ndarray:
    """Values of blocks at their voxels; what is beyond the last block has its value."""
    for axis, (own, side) in enumerate(zip(step, shape, strict=True)):
        blocks = blocks.take(np.minimum(np.arange(side) // own, blocks.shape[axis] - 1), axis)
    return blocks
