"""Where a round begins: with nothing, or with what a checkpoint has."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.control import Events
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.problem import Problem
from SparseSegLib.densify.settings import DensifySettings


@dataclass(frozen=True)
class Start:
    """Where a round begins.

    Attributes
    ----------
    spent : seconds of its budget that are used already
    first_step : steps taken in earlier rounds
    later : whether it is a later round, with a part of the budget
    learns_first : whether to learn from the annotation before anything is shown, with weights that know another one
    """

    spent: float = 0.0
    first_step: int = 0
    later: bool = False
    learns_first: bool = False


def take_over(
    state: Mapping[str, Any], ensemble: Ensemble, own: str, settings: DensifySettings, events: Events
) -> Start:
    """Go on from a checkpoint, or start with its weights.

    Parameters
    ----------
    state : the checkpoint
    ensemble : gets the weights
    own : the :func:`fingerprint` of its problem; with another one, and after an end, only the weights are taken
    settings : DensifySettings
    events : are told what happens
    """
    problem = ensemble.problem
    if state["fingerprint"] == own and not state["finished"]:
        spent, first_step, later = float(state["spent"]), int(state["first_step"]), bool(state["later"])
        ensemble.load_state_dict(state["ensemble"])
        events.message(f"Going on after {ensemble.steps} steps.")
        return Start(spent, first_step, later)
    try:
        if state["values"] != list(problem.full.own_values):
            raise ValueError("the classes are others")
        ensemble.load_state_dict(state["ensemble"], warm_start=True)
    except ValueError:
        events.message("The last training had another network or other classes: starting over.")
        return Start()
    events.message("Starting from the weights of the last training.")
    if settings.estimate:
        learned = {problem.on_working_grid(Plane(*place)) for place in state["learned"]}
        ensemble.hold_out_new(learned)
    return Start(learns_first=True)


def state_of(problem: Problem, ensemble: Ensemble, start: Start, own: str) -> dict[str, Any]:
    """A checkpoint that :func:`take_over` goes on from exactly; ``own`` is the :func:`fingerprint` of its problem."""
    held_out = {problem.on_working_grid(plane): plane for plane in problem.full.planes}
    learned = [plane for place, plane in held_out.items() if place not in ensemble.hidden]
    return {
        "fingerprint": own,
        "values": list(problem.full.own_values),
        "learned": [(plane.axis, plane.index) for plane in learned],
        "ensemble": ensemble.state_dict(),
        "first_step": start.first_step,
        "later": start.later,
        "finished": False,
    }


def weights_of(problem: Problem, ensemble: Ensemble) -> dict[str, Any]:
    """A checkpoint with the weights that predict alone, in half precision."""
    return {
        "fingerprint": "",  # nothing goes on from it exactly
        "values": list(problem.full.own_values),
        "learned": [(plane.axis, plane.index) for plane in problem.full.planes],
        "ensemble": _halved(ensemble.state_dict(weights_only=True)),
        "finished": True,
    }


def _halved(state: Any) -> Any:
    """A state whose numbers have half precision, but for those that would become infinite."""
    if isinstance(state, Mapping):
        return {name: _halved(value) for name, value in state.items()}
    if not (torch.is_tensor(state) and state.is_floating_point()):
        return state
    half = state.half()
    return half if torch.equal(half.isfinite(), state.isfinite()) else state


def new_ensemble(problem: Problem, settings: DensifySettings, device: torch.device) -> Ensemble:
    """The experts that suit a problem and its budget, untrained."""
    seconds = None if settings.budget_steps is not None else settings.seconds
    return Ensemble(problem, settings.recipes, settings.seed, device, seconds=seconds, hold_out=settings.estimate)


def fingerprint(problem: Problem, settings: DensifySettings) -> str:
    """A hash of the image, the annotation, and everything else that the result depends on."""
    chosen = (settings.recipes, settings.seed, settings.region_choice, settings.estimate)
    digest = hashlib.sha256(repr((chosen, settings.budget_seconds, settings.budget_steps)).encode())
    problem.image.feed(digest.update)
    digest.update(np.ascontiguousarray(problem.full.array).data)
    return digest.hexdigest()
