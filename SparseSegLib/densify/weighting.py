"""The one rule for the weights of the experts, and their weighted mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

GAIN = 10.0
"""The decrease of an expert's weight where its score is lower than others' (see :func:`expert_weights`)."""
LEAST = 0.05
"""An expert whose weight is less is left out."""


def slice_trust(slices: int) -> float:
    """Trust in scores on so many held-out slices, from 0 to 1: one half for a single slice."""
    return slices / (slices + 1)


def expert_weights(
    priors: Sequence[float],
    scores: np.ndarray,
    trust: Sequence[float] | None = None,
    gain: float = GAIN,
    least: float = LEAST,
) -> np.ndarray:
    """Weights ``(E, S)`` of experts for each structure; those of a structure sum to 1.

    With the IoU ``s`` of expert ``e`` with what was drawn of a structure on held-out slices, and its prior weight
    ``p``, the weight is

        w_e = p_e exp(gain (t_e s_e² + (1 - t_e) m)) / sum over experts of the same.

    The square makes differences count little among experts that hardly find anything: then the slices are too far from
    all others to be informative. ``m`` is the mean of the squared scores, weighted by the trust ``t`` in them, from 0
    to 1: it grows with the number of held-out slices (see :func:`slice_trust`), and is less for an expert that had
    hardly begun to learn when it was scored. One that was not scored counts as an average one, and where nothing is
    known of a structure, the prior weights alone count. A weight below ``least`` is 0. Nothing depends on an order.

    Parameters
    ----------
    priors : of the experts, 0 for one that predicts nothing yet
    scores : (E, S) IoU from 0 to 1; NaN where it is not known
    trust : of the experts, from 0 to 1; None for 1
    gain, least : see ``GAIN`` and ``LEAST``
    """
    known = ~np.isnan(scores)
    trusted = np.where(known, 1.0 if trust is None else np.asarray(trust, float)[:, None], 0.0)
    squares = np.where(known, scores, 0.0) ** 2
    mean = (trusted * squares).sum(0) / np.maximum(trusted.sum(0), 1e-12)
    exponent = gain * (trusted * squares + (1 - trusted) * mean)
    raw = np.asarray(priors, float)[:, None] * np.exp(exponent - exponent.max(0, keepdims=True))
    weights = raw / np.maximum(raw.sum(0, keepdims=True), 1e-12)
    weights = np.where(weights < least, 0.0, weights)
    return weights / np.maximum(weights.sum(0, keepdims=True), 1e-12)


def blended(blend: Mapping[str, np.ndarray], predict: Mapping[str, Callable[[], torch.Tensor]]) -> torch.Tensor:
    """The weighted mean of class probabilities ``(K, ...)``, each made when its turn has come.

    The weights are those of the structures ``(K - 1,)``; background has their mean.
    """
    total: torch.Tensor | None = None
    for name, weights in blend.items():
        found = predict[name]().float()
        per_class = torch.from_numpy(np.concatenate([[weights.mean()], weights])).float()
        part = found * per_class.view(-1, *[1] * (found.ndim - 1))
        total = part if total is None else total.add_(part)
    assert total is not None
    return total.div_(total.sum(0, keepdim=True).clamp(min=1e-6))
