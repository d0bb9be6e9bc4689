"""What a training predicts: previews, and at its end labels, uncertainty, and the next slice worth annotating."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED, Plane
from SparseSegLib.control import CancelToken, Stopped, UntilStopped
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.experts import Request
from SparseSegLib.densify.finish import plane_labels, region_labels, suggest, whole
from SparseSegLib.densify.found import Found
from SparseSegLib.densify.hands import Lend, own_hands
from SparseSegLib.densify.holdout import expected_counts, unlabeled_counts
from SparseSegLib.densify.pacer import HURRY_SECONDS, Pacer
from SparseSegLib.densify.part_prediction import PartPrediction, predict_coarsely, seconds_for
from SparseSegLib.densify.problem import Problem


@dataclass(frozen=True)
class Outcome:
    """What was predicted of the whole volume.

    Attributes
    ----------
    labels : (Z, Y, X) uint8, the user's own among them
    uncertainty : (Z, Y, X) float32 from 0 to 1; of a region that was seen part by part uint8, in 255ths
    counts : ``expected_counts`` off the labels
    next_slice : Plane or None
    """

    labels: np.ndarray
    uncertainty: np.ndarray
    counts: np.ndarray
    next_slice: Plane | None


def last_prediction(
    ensemble: Ensemble,
    pacer: Pacer,
    token: CancelToken,
    report: Callable[[float], None] = lambda seconds: None,
    lend: Lend = own_hands,
) -> Outcome:
    """Predict all of the region with what was learned.

    ``report`` is told about how many seconds that still takes, where it takes long; ``lend`` gives the hands that
    predict a large region.
    """
    if ensemble.problem.in_parts:
        return _in_parts(ensemble, pacer, token, report, lend)
    return _at_once(ensemble, pacer, token)


def preview(
    ensemble: Ensemble, request: Request, token: CancelToken, within: float | None
) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Labels ``(z, y, x)`` of the region as far as it has come, and their ``expected_counts``.

    A large region is seen coarsely; for one the third are the seconds that its last prediction will take, else None.
    """
    problem = ensemble.problem
    if not problem.in_parts:
        probabilities = ensemble.predict(request, token, within=within)
        labels, _ = region_labels(problem, probabilities, uncertainty=False)
        return labels, unlabeled_counts(problem.labels, probabilities), None
    coarse = predict_coarsely(ensemble, request, token, within)
    found = Found(problem, uncertainty=False)
    found.fill(coarse)
    found.draw()
    return found.labels[problem.box], expected_counts(coarse), seconds_for(problem, ensemble, coarse)


def planes_on_display(problem: Problem, places: Iterable[tuple[int, int]]) -> list[Plane]:
    """The slices in the region of interest among some places (axis, index), each once."""
    planes, box = [Plane(*place) for place in dict.fromkeys(places)], problem.box
    return [plane for plane in planes if box[plane.axis].start <= plane.index < box[plane.axis].stop]


def preview_planes(ensemble: Ensemble, planes: Sequence[Plane], token: CancelToken) -> np.ndarray:
    """Labels ``(z, y, x)`` of the region on some slices in it, ``UNLABELED`` elsewhere."""
    coarse = [ensemble.problem.on_working_grid(plane) for plane in planes]
    return plane_labels(ensemble.problem, planes, ensemble.predict_planes(coarse, token))


def hurries(problem: Problem, token: CancelToken) -> bool:
    """Whether a stop was requested, in a region so large that the last prediction takes long."""
    return token.stopped and not problem.is_small


def _at_once(ensemble: Ensemble, pacer: Pacer, token: CancelToken) -> Outcome:
    problem = ensemble.problem
    probabilities = _probabilities(ensemble, pacer, token)
    counts = unlabeled_counts(problem.labels, probabilities)
    labels, entropy = region_labels(problem, probabilities, uncertainty=True)
    assert entropy is not None
    plane = suggest(problem, labels, entropy)
    dense = whole(problem, labels, np.uint8)
    drawn = problem.full.array
    np.copyto(dense, drawn, where=drawn != UNLABELED)
    return Outcome(dense, whole(problem, entropy, np.float32), counts, plane)


def _probabilities(ensemble: Ensemble, pacer: Pacer, token: CancelToken) -> torch.Tensor:
    """Class probabilities of the region; quicker ones of a large region, where a stop was requested."""
    problem, seconds = ensemble.problem, ensemble.seconds
    if not hurries(problem, token):
        with suppress(Stopped):
            until = token if problem.is_small else UntilStopped(token)
            request = pacer.last_request(problem, seconds)
            return ensemble.predict(request, until, within=pacer.last_seconds)
    return ensemble.predict(pacer.hurried_request(problem, seconds), token, within=HURRY_SECONDS)


def _in_parts(
    ensemble: Ensemble, pacer: Pacer, token: CancelToken, report: Callable[[float], None], lend: Lend
) -> Outcome:
    problem = ensemble.problem
    hurry = HURRY_SECONDS if hurries(problem, token) else None
    found = PartPrediction(problem, ensemble, token, pacer.last_seconds, report, lend).found(hurry=hurry)
    z, y, x = (step * factor for step, factor in zip(problem.coarse_step, problem.factors, strict=True))
    plane = suggest(problem, found.labels[problem.box], found.uncertainty[problem.box], (z, y, x))
    return Outcome(found.labels, found.uncertainty, found.counts, plane)
