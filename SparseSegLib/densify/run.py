"""Densify: from a volume and a few annotated slices to a dense segmentation, within a budget."""

from __future__ import annotations

import hashlib
import math
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels, decoded
from SparseSegLib.control import Control, Stopped, UntilStopped
from SparseSegLib.densify.finish import region_labels, suggest, whole
from SparseSegLib.densify.held_out import choose_refinement, mean_iou
from SparseSegLib.densify.patch_learner import PatchLearner
from SparseSegLib.densify.problem import Problem, make_problem
from SparseSegLib.densify.refinement import USUAL, Refinement, refine
from SparseSegLib.densify.result import DensifyResult
from SparseSegLib.densify.settings import DensifySettings, SliceRecipe
from SparseSegLib.densify.slice_learner import SliceLearner
from SparseSegLib.devices import choose_device
from SparseSegLib.errors import SparseSegError, UsageError
from SparseSegLib.image import Volume
from SparseSegLib.training.budget import Budget
from SparseSegLib.training.checkpoint import FOREIGN, find_checkpoint
from SparseSegLib.training.loop import TrainingLoop, on_device_or_cpu
from SparseSegLib.training.schedule import Plateau

HELD_OUT_UNTIL = 0.4
AFTER_UPDATE = 0.6
PREVIEW_AFTER_UPDATE = 3.0  # seconds
PREVIEW_SHARE = 0.1  # of the time, at most
PREDICTION_SHARE = 0.35  # of the time; slices are left out of the last prediction and interpolated where it takes more
MOST_STRIDE = 4
MOST_QUICK_VOXELS = 1_500_000  # of a region in which refinements cost no time to speak of
TEACHING_SHARE = 0.05  # of the time: a forest that takes longer to learn is not taught again what was held out from it
VOLUME_SECONDS = 40.0  # on a CPU: in less time a 3D network learns nothing worth the core that it takes
VOLUME_VOXELS = 2_500  # of a region for each of the seconds; in a larger one it learns too little, too
HURRY_SECONDS = 4.0  # for a prediction and for a refinement of a larger region, where somebody asked to stop
TIMED_SHARE = 1 / 16  # of a larger region: what is refined to tell how long all of it will take


def densify(
    volume: Volume,
    labels: SparseLabels,
    settings: DensifySettings | None = None,
    control: Control | None = None,
    checkpoint: Path | None = None,
) -> DensifyResult:
    """Train a network on the annotated slices of one volume and segment all of it.

    Parameters
    ----------
    volume : Volume
        ``(C, Z, Y, X)``, any gray values.
    labels : SparseLabels
        On the same grid.
    settings : DensifySettings
    control : Control
        Whom to tell of progress and previews, and who may stop, cancel or bring more annotation.
    checkpoint : path, optional
        Where to save every few seconds. If the file exists, the training goes on from it: to the same result where
        annotation and settings are the same, else with its weights as a start.

    Raises
    ------
    VolumeError, AnnotationError, GeometryError
        For input that cannot be worked on; nothing has been changed then.
    UsageError
        If there is no such network, or none for volumes.
    Canceled
        When the token says so; the checkpoint stays.
    ResourceError
        When memory does not suffice on any device.
    """
    settings = settings or DensifySettings()
    control = control or Control()
    device = choose_device(settings.device)
    problem = make_problem(volume, labels, settings.margin, settings.recipe.most_voxels)

    def train(device: torch.device) -> DensifyResult:
        nonlocal problem
        run = _Run(volume, problem, settings, control, checkpoint, device)
        try:
            return run.go()
        finally:
            problem = run.problem  # with what was annotated meanwhile

    return on_device_or_cpu(device, train, control, "Use a smaller region or the fast preset.")


class _Run:
    """One training on one device."""

    def __init__(
        self,
        volume: Volume,
        problem: Problem,
        settings: DensifySettings,
        control: Control,
        checkpoint: Path | None,
        device: torch.device,
    ) -> None:
        self.volume = volume
        self.problem = problem
        self.settings = settings
        self.control = control
        self.checkpoint = checkpoint
        started = time.monotonic()
        self.estimate: float | None = None
        one = problem.classes == 2  # several structures are refined only where held-out slices say so
        self.refinement: Refinement | None = USUAL if one and _refines(settings) else None
        self.learner = _make_learner(problem, settings, device)
        spent = self._resume()
        self.budget = Budget(settings.seconds, settings.budget_steps, spent + time.monotonic() - started)
        self.loop = TrainingLoop(control, self.budget, checkpoint, settings.checkpoint_seconds)
        self.plateau = Plateau()
        self._next_preview = 0.0
        self._prediction_seconds = 0.0  # of the whole volume, as far as previews have told
        self._refinement_seconds: float | None = None  # the same, where previews are not refined

    def go(self) -> DensifyResult:
        """Train until the budget ends or someone stops it, then predict."""
        token = self.control.token
        while not (token.stopped and self.learner.steps):
            if token.canceled and self.learner.steps:
                self.loop.save_canceled(self._state)
            token.check()
            self._take_update()
            fraction = self.budget.fraction(self.learner.steps)
            if fraction >= HELD_OUT_UNTIL:
                self._release()
            if fraction >= 1 and self.learner.steps:
                break
            with suppress(Stopped):
                self._preview()
            loss = self.loop.step(self.learner)
            if loss is not None and self.settings.stop_early and self.plateau.add(loss):
                self.budget.finish_by(self.learner.steps, 0.8)
            self.loop.report(self.learner.steps, **({} if self.estimate is None else {"estimated_iou": self.estimate}))
            self.loop.save(self._state)
        self._release()
        result = self._result()
        self.loop.save(lambda: {**self._state(), "finished": True}, force=True)
        return result

    def _release(self) -> None:
        """Score the slices held out so far, and learn from them from now on."""
        learner = self.learner
        if not isinstance(learner, SliceLearner) or not learner.bank.held_out:
            return
        if self._hurries():
            learner.hold_out(frozenset())
            return
        learner.weigh_others()
        if _refines(self.settings) and self._is_small():
            problem = self.problem
            learner.ask_forest(self.control.token)
            probabilities = learner.predict(self.control.token, guess=False)  # as it will speak at the end
            refinement, estimate = choose_refinement(
                probabilities, problem.image, problem.labels, learner.held_out_planes(), problem.classes
            )
            if estimate is not None:
                self.estimate = estimate
                self.refinement = refinement if learner.is_judged else self.refinement
        else:
            estimate = mean_iou(learner.predict_held_out(), self.problem.classes)
            self.estimate = self.estimate if estimate is None else estimate
            if learner.forest is not None and learner.forest.is_better:  # walking over gray values again only blurs
                self.refinement, self._refinement_seconds = None, 0.0
        learner.hold_out(frozenset())
        self._ask_forest()

    def _ask_forest(self) -> None:
        """In a large region only once no slices are held out, when its opinion holds to the end, and in time."""
        learner = self.learner
        if isinstance(learner, SliceLearner) and not self._hurries():
            late = self.budget.steps is None and self.budget.elapsed >= self.settings.seconds
            if self._is_small() or not (learner.bank.held_out or late):
                most = math.inf if self.budget.steps is not None else TEACHING_SHARE * self.settings.seconds
                learner.ask_forest(self.control.token, most)

    def _hurries(self) -> bool:
        """Whether somebody waits for what there is, in a region so large that it takes its time."""
        return self.control.token.stopped and not self._is_small()

    def _is_small(self) -> bool:
        return self.problem.labels.array.size <= MOST_QUICK_VOXELS

    def _refined(self, probabilities: torch.Tensor, refinement: Refinement | None) -> torch.Tensor:
        if refinement is None:
            return probabilities
        return refine(probabilities, self.problem.image, torch.from_numpy(self.problem.labels.array), refinement)

    def _take_update(self) -> None:
        labels = self.control.updates.take()
        if labels is None:
            return
        try:
            problem = make_problem(self.volume, labels, self.settings.margin, self.settings.recipe.most_voxels)
        except SparseSegError as error:
            self.control.events.message(f"The new annotation is not used: {error}")
            return
        if problem.full.own_values != self.problem.full.own_values:
            self.control.events.message("The annotation has other classes now: starting over.")
            self.learner = _make_learner(problem, self.settings, self.learner.device)
        else:
            self.learner.replace(problem)
        self.problem = problem
        self.budget.extend_to(self.learner.steps, AFTER_UPDATE)
        self._next_preview = self.budget.elapsed + PREVIEW_AFTER_UPDATE
        self.control.events.message(f"{len(labels.planes)} annotated slices from now on.")

    def _preview(self) -> None:
        now, learner = self.budget.elapsed, self.learner
        if now < self._next_preview or not (learner.steps or isinstance(learner, SliceLearner)):
            return
        first = self._next_preview == 0.0
        stride = learner.first_stride if first and isinstance(learner, SliceLearner) else 4 if first else 2
        if self._is_small() or not first:
            self._ask_forest()
            now = self.budget.elapsed
        token = self.control.token if self._is_small() else UntilStopped(self.control.token)
        probabilities = learner.predict(token, stride, quick=True)
        predicted = self.budget.elapsed
        if self._is_small():
            probabilities = self._refined(probabilities, self.refinement)
        labels, _ = region_labels(self.problem, probabilities, uncertainty=False)
        geometry = self.volume.geometry.crop(self.problem.box)
        self.control.events.preview(self._as_result(labels, None, geometry, None))
        ended = self.budget.elapsed
        if self._refinement_seconds is None:
            self._refinement_seconds = 0.0 if self._is_small() else self._time_refinement(probabilities)
        if first and isinstance(learner, SliceLearner):  # the network had nothing to say in that preview
            self._prediction_seconds = learner.time_prediction()
        else:
            self._prediction_seconds = (predicted - now) * stride * len(self._orientations())
        reserve = self._prediction_seconds / self._stride() + self._refinement_seconds + 2 * (ended - predicted)
        self.budget.reserve = min(reserve, 0.4 * self.settings.seconds)
        pause = min(self.settings.preview_seconds, ended)  # at first they follow each other faster
        self._next_preview = ended + max(pause, (ended - now) / PREVIEW_SHARE)

    def _time_refinement(self, probabilities: torch.Tensor) -> float:
        """Seconds that it takes to refine the whole region, judged by some slices in its middle."""
        if self.refinement is None:
            return 0.0
        depth = probabilities.shape[1]
        count = min(depth, max(2, round(depth * TIMED_SHARE)))
        slab = slice((depth - count) // 2, (depth - count) // 2 + count)
        labels = torch.from_numpy(self.problem.labels.array[slab])
        started = self.budget.elapsed
        refine(probabilities[:, slab], self.problem.image[:, slab], labels, self.refinement)
        return (self.budget.elapsed - started) * depth / count

    def _stride(self) -> int:
        """Of the slices that are predicted at the end; all of them where steps are counted, not seconds."""
        if self.budget.steps is not None:
            return 1
        return min(MOST_STRIDE, math.ceil(self._prediction_seconds / (PREDICTION_SHARE * self.settings.seconds)) or 1)

    def _orientations(self) -> set[int]:
        return {plane.axis for plane in self.problem.labels.planes} or {0}

    def _last_prediction(self) -> torch.Tensor:
        """Class probabilities of the region; of a large one in a hurry, where somebody asks to stop before they are."""
        token = self.control.token
        if not self._hurries():
            with suppress(Stopped):
                self._ask_forest()
                whole_time = token if self._is_small() else UntilStopped(token)
                return self._refined(self.learner.predict(whole_time, self._stride()), self.refinement)
        one_way = self._prediction_seconds / len(self._orientations())
        stride = min(MOST_STRIDE, math.ceil(one_way / HURRY_SECONDS) or MOST_STRIDE)
        probabilities = self.learner.predict(token, stride, quick=True)
        known = self._refinement_seconds is not None and self._refinement_seconds <= HURRY_SECONDS
        return self._refined(probabilities, self.refinement if known else None)

    def _result(self) -> DensifyResult:
        probabilities = self._last_prediction()
        labels, entropy = region_labels(self.problem, probabilities, uncertainty=True)
        assert entropy is not None
        plane = suggest(self.problem, entropy)
        dense = whole(self.problem, labels, np.uint8)
        drawn = self.problem.full.array
        np.copyto(dense, drawn, where=drawn != UNLABELED)
        uncertainty = whole(self.problem, entropy, np.float32)
        return self._as_result(dense, uncertainty, self.volume.geometry, plane)

    def _as_result(self, labels, uncertainty, geometry, plane) -> DensifyResult:  # type: ignore[no-untyped-def]
        drawn = self.problem.full
        return DensifyResult(
            decoded(labels, drawn.own_values),
            uncertainty,
            geometry,
            drawn.names,
            self.estimate,
            plane,
            self.learner.steps,
            self.budget.elapsed,
            drawn.values,
            drawn.empty,
        )

    def _state(self) -> dict[str, Any]:
        return {
            "fingerprint": _fingerprint(self.problem, self.settings),
            "values": list(self.problem.full.own_values),
            "estimate": self.estimate,
            "refines": _refines(self.settings),
            "refinement": None if self.refinement is None else asdict(self.refinement),
            "learned": self._learned(),
            "learner": self.learner.state(),
            "finished": False,
        }

    def _learned(self) -> list[tuple[int, int]]:
        """Axis and index, in the whole volume, of the planes that are learned from."""
        held_out = self.learner.held_out_planes() if isinstance(self.learner, SliceLearner) else []
        planes = self.problem.full.planes
        return [(plane.axis, plane.index) for plane in planes if self.problem.on_working_grid(plane) not in held_out]

    def _resume(self) -> float:
        """Take over a checkpoint if there is one; the seconds that it has used of the budget."""
        state = find_checkpoint(self.checkpoint, self.control.events)
        if state is None:
            return 0.0
        beginning = self.estimate, self.refinement
        try:
            return self._take_over(state)
        except torch.OutOfMemoryError:
            raise
        except FOREIGN:
            self.control.events.message("The checkpoint is of another kind of training: starting over.")
            self.learner = _make_learner(self.problem, self.settings, self.learner.device)
            self.estimate, self.refinement = beginning
            return 0.0

    def _take_over(self, state: dict[str, Any]) -> float:
        """Go on from a checkpoint, or start with its weights; the seconds that it has used of the budget."""
        if state["fingerprint"] == _fingerprint(self.problem, self.settings) and not state["finished"]:
            self.learner.restore(state["learner"])
            self._take_findings(state)
            spent = float(state["spent"])
            self.control.events.message(f"Going on after {self.learner.steps} steps.")
            return spent
        own = list(self.problem.full.own_values)
        try:
            if state.get("values", own) != own:
                raise ValueError("the classes are others")
            self.learner.warm_start(state["learner"])
            self.control.events.message("Starting from the weights of the last training.")
        except ValueError:
            self.control.events.message("The last training had another network or other classes: starting over.")
        else:
            self._estimate_anew(state)
        return 0.0

    def _estimate_anew(self, state: dict[str, Any]) -> None:
        """Hold out slices that the weights do not know; until they tell, what the last training found holds."""
        if not isinstance(self.learner, SliceLearner) or not self.settings.estimate:
            return
        self.learner.hold_out_others({self.problem.on_working_grid(Plane(*place)) for place in state["learned"]})
        if state["refines"] == _refines(self.settings):
            self._take_findings(state)

    def _take_findings(self, state: dict[str, Any]) -> None:
        estimate, refinement = state["estimate"], state["refinement"]
        self.estimate = None if estimate is None else float(estimate)
        self.refinement = None
        if refinement is not None:
            self.refinement = Refinement(float(refinement["contrast"]), float(refinement["trust"]))


def _make_learner(problem: Problem, settings: DensifySettings, device: torch.device) -> SliceLearner | PatchLearner:
    recipe = settings.recipe
    if isinstance(recipe, SliceRecipe):
        if device.type == "cpu" and settings.budget_steps is None:
            seconds = max(VOLUME_SECONDS, problem.labels.array.size / VOLUME_VOXELS)
            recipe = replace(recipe, volume=recipe.volume and settings.seconds >= seconds)
        parts = recipe.prior if settings.prior is None else settings.prior
        return SliceLearner(problem, recipe, parts, settings.seed, device, estimate=settings.estimate)
    learner = PatchLearner(problem, recipe, settings.seed, device)
    if settings.network is not None and not getattr(learner.network, "padded", True):
        raise UsageError(
            f"The network {settings.network} is not padded, and takes patches of certain sizes only.",
            "Use the preset cicek2016, or another network.",
        )
    return learner


def _refines(settings: DensifySettings) -> bool:
    return settings.refine and isinstance(settings.recipe, SliceRecipe)


def _fingerprint(problem: Problem, settings: DensifySettings) -> str:
    """A hash of the annotation and of everything that the result depends on."""
    chosen = (
        settings.preset,
        settings.recipe,
        settings.seed,
        settings.margin,
        settings.prior,
        settings.refine,
        settings.estimate,
    )
    digest = hashlib.sha256(repr((chosen, settings.budget_seconds, settings.budget_steps)).encode())
    digest.update(np.ascontiguousarray(problem.full.array).tobytes())
    return digest.hexdigest()
