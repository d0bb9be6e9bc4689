"""Densify: from a volume and a few annotated slices to a dense segmentation, within a budget."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED, Plane, SparseLabels, decoded
from SparseSegLib.control import Control, Stopped, UntilStopped
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.finish import region_labels, suggest, whole
from SparseSegLib.densify.pacer import HURRY_SECONDS, Pacer
from SparseSegLib.densify.problem import Problem, make_problem
from SparseSegLib.densify.result import DensifyResult
from SparseSegLib.densify.settings import DensifySettings
from SparseSegLib.devices import choose_device
from SparseSegLib.errors import SparseSegError
from SparseSegLib.image import Volume
from SparseSegLib.training.checkpoint import FOREIGN, find_checkpoint
from SparseSegLib.training.loop import TrainingLoop, on_device_or_cpu
from SparseSegLib.training.schedule import Plateau


def densify(
    volume: Volume,
    labels: SparseLabels,
    settings: DensifySettings | None = None,
    control: Control | None = None,
    checkpoint: Path | None = None,
) -> DensifyResult:
    """Train on the annotated slices of one volume and segment all of it.

    Parameters
    ----------
    volume : Volume
        ``(C, Z, Y, X)``, any gray values.
    labels : SparseLabels
        On the same grid.
    settings : DensifySettings
    control : Control
        Receives progress and previews, and may stop, cancel or bring more annotation.
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
    problem = make_problem(volume, labels, settings.margin, settings.most_voxels)

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
        self.fingerprint = _fingerprint(problem, settings)
        self.settings = settings
        self.control = control
        self.checkpoint = checkpoint
        self.device = device
        self.estimate: float | None = None
        started = time.monotonic()
        self.ensemble = self._new_ensemble()
        spent = self._resume()
        self.pacer = Pacer(settings, spent + time.monotonic() - started)
        self.loop = TrainingLoop(control, self.pacer.budget, checkpoint, settings.checkpoint_seconds)
        self.plateau = Plateau()

    def go(self) -> DensifyResult:
        """Train until the budget ends or someone stops it, then predict."""
        token, pacer = self.control.token, self.pacer
        while not (token.stopped and self.ensemble.steps):
            if token.canceled and self.ensemble.steps:
                self.loop.save_canceled(self._state)
            token.check()
            self._take_update()
            if pacer.may_release(self.ensemble.steps):
                self._release()
            if pacer.is_over(self.ensemble.steps) or not self.ensemble.trains:
                break
            with suppress(Stopped):
                self._preview()
            self._train()
        self._release()
        result = self._result()
        self.loop.save(lambda: {**self._state(), "finished": True}, force=True)
        return result

    def _train(self) -> None:
        """One step, and the events and the checkpoint after it."""
        loss = self.loop.step(self.ensemble)
        if loss is not None and self.settings.stop_early and self.plateau.add(loss):
            self.pacer.budget.finish_by(self.ensemble.steps, 0.8)
        self.loop.report(self.ensemble.steps, **({} if self.estimate is None else {"estimated_iou": self.estimate}))
        self.loop.save(self._state)

    def _release(self) -> None:
        """Score the experts on the slices held out so far, and learn from these from now on."""
        if not self.ensemble.hidden:
            return
        if self._hurries():
            self.ensemble.set_annotation(self.problem)
        else:
            self.ensemble.fit_weights(self.control.token)

    def _hurries(self) -> bool:
        """Whether a stop was requested, in a region so large that the last prediction takes long."""
        return self.control.token.stopped and not self.problem.is_small

    def _take_update(self) -> None:
        labels = self.control.updates.take()
        if labels is None:
            return
        try:
            problem = make_problem(self.volume, labels, self.settings.margin, self.settings.most_voxels)
        except SparseSegError as error:
            self.control.events.message(f"The new annotation is not used: {error}")
            return
        other_classes = problem.full.own_values != self.problem.full.own_values
        self.problem = problem
        self.fingerprint = _fingerprint(problem, self.settings)
        if other_classes:
            self.control.events.message("The annotation has other classes now: starting over.")
            self.ensemble = self._new_ensemble()
        else:
            self.ensemble.set_annotation(problem)
        self.pacer.extend(self.ensemble.steps, restart=other_classes)
        self.control.events.message(f"{len(labels.planes)} annotated slices from now on.")

    def _new_ensemble(self) -> Ensemble:
        settings = self.settings
        seconds = None if settings.budget_steps is not None else settings.seconds
        return Ensemble(
            self.problem, settings.recipes, settings.seed, self.device, seconds=seconds, hold_out=settings.estimate
        )

    def _preview(self) -> None:
        planned = self.pacer.next_preview(self.problem)
        if planned is None or not self.ensemble.can_predict:
            return
        request, within = planned
        token = self.control.token if self.problem.is_small else UntilStopped(self.control.token)
        probabilities = self.ensemble.predict(request, token, within=within)
        self.estimate = self.ensemble.estimate(probabilities)
        labels, _ = region_labels(self.problem, probabilities, uncertainty=False)
        geometry = self.volume.geometry.crop(self.problem.box)
        self.control.events.preview(self._as_result(labels, None, geometry, None))
        self.pacer.has_previewed(self.problem, self.ensemble.seconds)

    def _last_prediction(self) -> torch.Tensor:
        """Class probabilities of the region; quicker ones of a large region, where a stop was requested."""
        token, seconds = self.control.token, self.ensemble.seconds
        if not self._hurries():
            with suppress(Stopped):
                until = token if self.problem.is_small else UntilStopped(token)
                request = self.pacer.last_request(self.problem, seconds)
                return self.ensemble.predict(request, until, within=self.pacer.last_seconds)
        request = self.pacer.hurried_request(self.problem, seconds)
        return self.ensemble.predict(request, token, within=HURRY_SECONDS)

    def _result(self) -> DensifyResult:
        probabilities = self._last_prediction()
        self.estimate = self.ensemble.estimate(probabilities)
        labels, entropy = region_labels(self.problem, probabilities, uncertainty=True)
        assert entropy is not None
        plane = suggest(self.problem, labels, entropy)
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
            self.ensemble.steps,
            self.pacer.budget.elapsed,
            drawn.values,
            drawn.empty,
        )

    def _state(self) -> dict[str, Any]:
        held_out = {self.problem.on_working_grid(plane): plane for plane in self.problem.full.planes}
        learned = [plane for place, plane in held_out.items() if place not in self.ensemble.hidden]
        return {
            "fingerprint": self.fingerprint,
            "values": list(self.problem.full.own_values),
            "learned": [(plane.axis, plane.index) for plane in learned],
            "ensemble": self.ensemble.state_dict(),
            "finished": False,
        }

    def _resume(self) -> float:
        """Take over a checkpoint if there is one; the seconds that it has used of the budget."""
        state = find_checkpoint(self.checkpoint, self.control.events)
        if state is None:
            return 0.0
        try:
            return self._take_over(state)
        except torch.OutOfMemoryError:
            raise
        except FOREIGN:
            self.control.events.message("The checkpoint is of another kind of training: starting over.")
            self.ensemble = self._new_ensemble()
            return 0.0

    def _take_over(self, state: dict[str, Any]) -> float:
        """Go on from a checkpoint, or start with its weights; the seconds that it has used of the budget."""
        if state["fingerprint"] == self.fingerprint and not state["finished"]:
            self.ensemble.load_state_dict(state["ensemble"])
            spent = float(state["spent"])
            self.control.events.message(f"Going on after {self.ensemble.steps} steps.")
            return spent
        try:
            if state["values"] != list(self.problem.full.own_values):
                raise ValueError("the classes are others")
            self.ensemble.load_state_dict(state["ensemble"], warm_start=True)
        except ValueError:
            self.control.events.message("The last training had another network or other classes: starting over.")
        else:
            self.control.events.message("Starting from the weights of the last training.")
            if self.settings.estimate:
                learned = {self.problem.on_working_grid(Plane(*place)) for place in state["learned"]}
                self.ensemble.hold_out_new(learned)
        return 0.0


def _fingerprint(problem: Problem, settings: DensifySettings) -> str:
    """A hash of the image, the annotation, and everything else that the result depends on."""
    chosen = (settings.recipes, settings.seed, settings.margin, settings.most_voxels, settings.estimate)
    digest = hashlib.sha256(repr((chosen, settings.budget_seconds, settings.budget_steps)).encode())
    digest.update(np.ascontiguousarray(problem.image.numpy()).data)
    digest.update(np.ascontiguousarray(problem.full.array).data)
    return digest.hexdigest()
