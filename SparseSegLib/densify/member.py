"""An expert in the ensemble: its scores, and what it predicted last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts.base import Expert, ExpertRecipe, Request, TrainableExpert
from SparseSegLib.densify.holdout import HeldOut, iou_of, overlaps
from SparseSegLib.densify.weighting import slice_trust

DEAREST = 4.0  # see ``worthwhile``


@dataclass
class Member:
    """An expert in the ensemble.

    Attributes
    ----------
    counts : its intersections and unions on held-out slices, see ``overlaps``
    judged : number of these slices
    warm : its warmth when it was scored last
    kept : what it predicted last, if that holds until the annotation changes; of a large region only coarse predictions
    """

    recipe: ExpertRecipe
    expert: Expert
    counts: np.ndarray | None = None
    judged: int = 0
    warm: float = 0.0
    kept: list[tuple[Request, torch.Tensor]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def trust(self) -> float:
        """The trust in its score, see ``expert_weights``."""
        return slice_trust(self.judged) * self.warm

    @property
    def warmth(self) -> float:
        """The fraction of its weight that it has, by its steps; 0 as long as it has learned nothing."""
        if not isinstance(self.expert, TrainableExpert):
            return 1.0
        return min(1.0, self.expert.trained / max(1, self.recipe.warmup))

    def score(self, structures: int) -> np.ndarray:
        """IoU of each structure ``(structures,)`` on slices held out; NaN where it was not scored."""
        return np.full(structures, np.nan) if self.counts is None else iou_of(self.counts)

    def judge(self, held_out: HeldOut) -> None:
        """Add its counts on further held-out slices."""
        counts = overlaps(held_out.found[self.name], held_out.drawn)
        self.counts = counts if self.counts is None else self.counts + counts
        self.judged += held_out.slices
        self.warm = self.warmth

    def on_held_out(self, planes: Sequence[Plane], token: CancelToken) -> list[torch.Tensor]:
        """Class probabilities ``(K, U, V)`` of some slices, in the final quality where that is quick."""
        if not self.expert.is_quick or self.expert.problem.in_parts:
            return self.expert.predict_planes(planes, token)
        whole = self.expert.predict(Request.whole(self.expert.problem), token)
        return [whole.select(1 + plane.axis, plane.index) for plane in planes]

    def seconds(self, request: Request) -> float:
        """Seconds that :meth:`predict` would take."""
        return 0.0 if self._known(request) is not None else self.expert.seconds(request)

    def predict(self, request: Request, token: CancelToken) -> torch.Tensor:
        """Class probabilities ``(K, z, y, x)``; those of an expert that does not train are kept."""
        known = self._known(request)
        if known is not None:
            return known.float()
        found = self.expert.predict(request, token)
        if isinstance(self.expert, TrainableExpert):
            return found
        if not self.expert.problem.in_parts:
            self.kept = [(request, found.half())]
        elif request.step != (1, 1, 1):
            self.kept = [one for one in self.kept if one[0].box != request.box] + [(request, found.half())]
        return found

    def _known(self, request: Request) -> torch.Tensor | None:
        """What was predicted of the same places, no less carefully."""
        return next((found for before, found in self.kept if _covers(before, request)), None)


def affordable(
    members: Sequence[Member],
    requests: Sequence[Request],
    weights: Mapping[str, np.ndarray],
    within: float | None,
) -> list[Member]:
    """The members with a weight, as far as there is time for them; of each structure the one that has most, always."""
    asked = [member for member in members if weights[member.name].any()]
    if within is None:
        return asked
    first = foremost(asked, weights)
    kept: list[Member] = []
    spent = 0.0
    for member in sorted(asked, key=lambda member: (member.name not in first, -weights[member.name].sum())):
        seconds = sum(member.seconds(request) for request in requests)
        if member.name in first or spent + seconds <= within:
            kept.append(member)
            spent += seconds
    return kept


def worthwhile(
    members: Sequence[Member], requests: Sequence[Request], weights: Mapping[str, np.ndarray]
) -> list[Member]:
    """The members with a weight but those whose part of all seconds is ``DEAREST`` times that and more.

    Of each structure the one that has most stays.
    """
    members = [member for member in members if weights[member.name].any()]
    seconds = [sum(member.seconds(request) for request in requests) for member in members]
    shares = [float(weights[member.name].mean()) for member in members]
    most, first = DEAREST * sum(seconds) / max(sum(shares), 1e-12), foremost(members, weights)
    return [
        member
        for member, own, share in zip(members, seconds, shares, strict=True)
        if own < most * share or member.name in first
    ]


def foremost(members: Sequence[Member], weights: Mapping[str, np.ndarray]) -> set[str]:
    """Of each structure, the name of the member with the largest weight."""
    return {members[number].name for number in np.argmax([weights[member.name] for member in members], axis=0)}


def load_all(experts: Mapping[str, TrainableExpert], states: Mapping[str, Any], warm_start: bool) -> None:
    """Load the state of each expert; ValueError if one does not fit, and nothing has changed then."""
    before = {name: expert.state_dict() for name, expert in experts.items()}
    try:
        for name, expert in experts.items():
            expert.load_state_dict(states[name], warm_start=warm_start)
    except ValueError:
        for name, expert in experts.items():
            expert.load_state_dict(before[name])
        raise


def findings(state: Mapping[str, Any], name: str, structures: int) -> tuple[np.ndarray | None, int, float]:
    """An expert's scores from a checkpoint: counts, the number of held-out slices, and its warmth then."""
    counts = state["counts"].get(name)
    judged, warm = state["judged"].get(name, (0, 0.0))
    return None if counts is None else np.asarray(counts).reshape(2, structures), max(0, int(judged)), float(warm)


def _covers(before: Request, request: Request) -> bool:
    """Whether a request was of the same places, and no less careful."""
    return (
        before.box == request.box
        and before.step == request.step
        and before.stride <= request.stride
        and before.quick <= request.quick
    )
