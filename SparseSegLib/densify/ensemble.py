"""The ensemble: it trains experts, scores them on held-out slices, and averages their weighted predictions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts.base import ExpertRecipe, Request, TrainableExpert
from SparseSegLib.densify.holdout import (
    FEWEST_PLANES,
    HeldOut,
    choose_held_out,
)
from SparseSegLib.densify.member import Member, affordable, findings, load_all, worthwhile
from SparseSegLib.densify.problem import Problem
from SparseSegLib.densify.side_by_side import SideBySide
from SparseSegLib.densify.weighting import blended, expert_weights
from SparseSegLib.errors import UsageError


class Ensemble:
    """A weighted mean of the predictions of several experts.

    At first some annotated slices are held out (``hidden``), if that is wanted. :meth:`fit_weights` scores the experts
    on them and ends that. Scores are kept when the annotation changes.

    Parameters
    ----------
    problem : Problem
    recipes : of the experts; those that do not suit the problem are left out
    seed : int
    device : torch.device
    seconds : of the training's budget, None where steps are counted
    hold_out : whether to hold out slices at first

    Raises
    ------
    UsageError
        If no expert suits.

    Attributes
    ----------
    hidden : planes of the working grid that are held out
    held_out : what the experts predicted on the slices held out last; None if there were none
    """

    def __init__(
        self,
        problem: Problem,
        recipes: Sequence[ExpertRecipe],
        seed: int,
        device: torch.device,
        *,
        seconds: float | None = None,
        hold_out: bool = True,
    ) -> None:
        chosen = [recipe for recipe in recipes if recipe.suits(problem, seconds, device)]
        if not chosen:
            names = ", ".join(recipe.name for recipe in recipes)
            raise UsageError(f"None of the experts ({names}) is made for such a volume and budget.", "Choose others.")
        self.members = [Member(recipe, recipe.make(problem, seed, device)) for recipe in chosen]
        self.device = device
        self.hidden = choose_held_out(problem.labels) if hold_out else frozenset()
        self.held_out: HeldOut | None = None
        self._blend: dict[str, np.ndarray] = {}  # the weights in the last prediction
        self._training = SideBySide(device)
        self._set(problem)

    @property
    def steps(self) -> int:
        """Training steps of the first expert that trains."""
        return next((expert.steps for _, expert in self._trainable()), 0)

    def set_annotation(self, problem: Problem, hidden: frozenset[Plane] = frozenset()) -> None:
        """Go on with another annotation of the same volume; weights, optimizers and scores stay."""
        self._training.wait()
        self.hidden = hidden
        self._set(problem)

    def hold_out_new(self, learned: Collection[Plane]) -> None:
        """Hold out some of the planes on the working grid that are not among those ``learned`` from before."""
        self.set_annotation(self.problem, choose_held_out(self.problem.labels, learned))

    def _set(self, problem: Problem) -> None:
        """Held-out slices are hidden from the experts that train; the others get all of the annotation."""
        self.problem = problem
        for member in self.members:
            member.kept = []
            trains = isinstance(member.expert, TrainableExpert)
            member.expert.set_annotation(problem, self.hidden if trains else frozenset())

    def _trainable(self) -> list[tuple[str, TrainableExpert]]:
        """The experts that train, with their names."""
        return [(one.name, one.expert) for one in self.members if isinstance(one.expert, TrainableExpert)]

    @property
    def trains(self) -> bool:
        """Whether any expert trains."""
        return bool(self._trainable())

    @property
    def has_learned(self) -> bool:
        """Whether any expert has trained, in an earlier training perhaps."""
        return any(expert.trained for _, expert in self._trainable())

    @property
    def can_predict(self) -> bool:
        """Whether any expert can predict yet."""
        return any(member.warmth for member in self.members)

    def step(self, rate: float) -> float:
        """One training step with ``rate`` times the learning rates; the loss of the first expert that trains.

        That one always trains; the others as long as they have a weight.
        """
        weights = self._weights([1.0] * len(self.members))
        (_, first), *others = self._trainable()
        return self._training.step([first, *(expert for name, expert in others if weights[name].any())], rate)

    def shrink(self) -> int:
        """Let the expert that memory did not suffice for take half of its patches per step; see :class:`Learner`."""
        return self._training.failed.shrink() if self._training.failed else 0

    def weights(self) -> dict[str, np.ndarray]:
        """Of each expert, its weight for each structure ``(K - 1,)``; they sum to 1."""
        return self._weights([member.warmth for member in self.members])

    def _weights(self, shares: Sequence[float]) -> dict[str, np.ndarray]:
        """The weights by name, where each expert has a fraction of its prior weight."""
        priors = [share * member.recipe.prior_weight for share, member in zip(shares, self.members, strict=True)]
        scores = [member.score(self.problem.classes - 1) for member in self.members]
        fitted = expert_weights(priors, np.array(scores), [member.trust for member in self.members])
        return {member.name: row for member, row in zip(self.members, fitted, strict=True)}

    def predict(
        self, request: Request, token: CancelToken, *, within: float | None = None, asked: Sequence[Member] = ()
    ) -> torch.Tensor:
        """Class probabilities ``(K, z, y, x)`` of the request's places: the weighted mean of the experts'.

        These are ``asked``, or all but those with little weight for which ``within`` seconds do not suffice.
        """
        self._training.wait()
        asked = asked or affordable(self.members, [request], self.weights(), within)
        self.blend(asked)
        return blended(self._blend, {member.name: partial(member.predict, request, token) for member in asked})

    def blend(self, asked: Sequence[Member]) -> None:
        """Have :meth:`estimate` tell of what these predict together, wherever they do."""
        weights = self.weights()
        self._blend = {member.name: weights[member.name] for member in asked}

    def affordable(self, requests: Sequence[Request], within: float | None) -> list[Member]:
        """The experts that are worth their time, and can predict all of these in so many seconds together."""
        self._training.wait()
        weights = self.weights()
        return affordable(worthwhile(self.members, requests, weights), requests, weights, within)

    def predict_planes(self, planes: Sequence[Plane], token: CancelToken) -> list[torch.Tensor]:
        """Class probabilities ``(K, U, V)`` of some slices of the working grid, as soon as can be.

        Experts that have to fit first are left out, if there are others.
        """
        self._training.wait()
        weights = self.weights()
        able = [member for member in self.members if weights[member.name].any()]
        asked = [member for member in able if member.expert.ready] or able
        blend = {member.name: weights[member.name] for member in asked}
        found = {member.name: member.expert.predict_planes(planes, token) for member in asked}
        return [
            blended(blend, {name: partial(slices.__getitem__, number) for name, slices in found.items()})
            for number in range(len(planes))
        ]

    def seconds(self, request: Request) -> float:
        """Seconds that :meth:`predict` would take once every expert can predict."""
        weights = self._weights([1.0] * len(self.members))
        return sum(member.seconds(request) for member in self.members if weights[member.name].any())

    def fit_weights(self, token: CancelToken) -> None:
        """Fit the experts' weights on the held-out slices, and train on these from now on."""
        self._training.wait()
        planes = sorted(self.hidden)
        found = {}
        for member in self.members:
            if member.warmth:
                member.expert.set_annotation(self.problem, self.hidden)
                found[member.name] = member.on_held_out(planes, token)
        self.held_out = HeldOut.of(self.problem.labels, planes, found)
        for member in self.members:
            if member.name in found:
                member.judge(self.held_out)
        self.set_annotation(self.problem)

    def foresee(self, problem: Problem, token: CancelToken) -> None:
        """Keep for the estimate what the experts find on slices that only another annotation has, before they learn it.

        Those that would have to fit first are left out, and so is everything while fewer than ``FEWEST_PLANES`` slices
        are known. The experts' weights stay: on one slice after another they were chosen worse than without.
        """
        self._training.wait()
        if len(self.problem.labels.planes) < FEWEST_PLANES:
            return
        same = problem.box == self.problem.box and problem.factors == self.problem.factors
        planes = [plane for plane in problem.labels.planes if same and plane not in self.problem.labels.planes]
        able = [member for member in self.members if member.warmth and member.expert.ready]
        if planes and able:
            found = {member.name: member.expert.predict_planes(planes, token) for member in able}
            new = HeldOut.of(problem.labels, planes, found)
            self.held_out = new if self.held_out is None else self.held_out.with_more(new)

    def estimate(self, counts: np.ndarray) -> float | None:
        """Mean IoU to expect of what was predicted last, from its ``expected_counts`` off the labels, where known."""
        return None if self.held_out is None else self.held_out.estimate(self._blend, counts)

    def state_dict(self, *, weights_only: bool = False) -> dict[str, Any]:
        """The state that :meth:`load_state_dict` needs to go on to the same result, or for a warm start alone."""
        self._training.wait()
        name_of = "weights_dict" if weights_only else "state_dict"
        return {
            "experts": {name: getattr(expert, name_of)() for name, expert in self._trainable()},
            "counts": {one.name: one.counts.tolist() for one in self.members if one.counts is not None},
            "judged": {member.name: [member.judged, member.warm] for member in self.members},
            "hidden": [[plane.axis, plane.index] for plane in sorted(self.hidden)],
            "held_out": None if self.held_out is None else self.held_out.state(small=weights_only),
        }

    def load_state_dict(self, state: Mapping[str, Any], *, warm_start: bool = False) -> None:
        """Go on from :meth:`state_dict`, or start with its weights; ValueError, and no change, if they do not fit."""
        self._training.wait()
        experts, held_out = state["experts"], state["held_out"]
        if held_out is not None:
            held_out = HeldOut.restored(held_out, self.problem.classes)
        found = [findings(state, member.name, self.problem.classes - 1) for member in self.members]
        if not warm_start:
            self.set_annotation(self.problem, frozenset(Plane(*key) for key in state["hidden"]))
        load_all({name: expert for name, expert in self._trainable() if name in experts}, experts, warm_start)
        self.held_out = held_out
        for member, (counts, judged, warm) in zip(self.members, found, strict=True):
            member.counts, member.judged, member.warm = counts, judged, warm
