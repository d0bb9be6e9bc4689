"""One round of a densification: a training with the annotation that there is, and what it predicts."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from SparseSegLib.annotation import Plane, decoded
from SparseSegLib.control import Control, Events, Stopped, UntilStopped
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.hands import Lend, own_hands
from SparseSegLib.densify.outcome import hurries, last_prediction, planes_on_display, preview, preview_planes
from SparseSegLib.densify.pacer import Pacer
from SparseSegLib.densify.problem import Problem, next_problem
from SparseSegLib.densify.region import reached_edges
from SparseSegLib.densify.result import DensifyResult
from SparseSegLib.densify.resume import Start, fingerprint, new_ensemble, state_of, take_over
from SparseSegLib.densify.settings import DensifySettings
from SparseSegLib.errors import SparseSegError
from SparseSegLib.image import Geometry
from SparseSegLib.training.checkpoint import FOREIGN, find_checkpoint
from SparseSegLib.training.loop import TrainingLoop
from SparseSegLib.training.schedule import Plateau


class Round:
    """One training on one device.

    Parameters
    ----------
    problem : Problem
    settings : DensifySettings
    control : Control
    checkpoint : where to save, and to go on from where there is no ensemble
    device : torch.device
    ensemble : of the round before, with which a later one goes on
    lend : gives the hands that predict a large region

    Attributes
    ----------
    problem : with what was annotated meanwhile
    ensemble : Ensemble
    start : where the training began
    """

    def __init__(
        self,
        problem: Problem,
        settings: DensifySettings,
        control: Control,
        checkpoint: Path | None,
        device: torch.device,
        ensemble: Ensemble | None = None,
        lend: Lend = own_hands,
    ) -> None:
        self.problem = problem
        self.settings = settings
        self.control = control
        self.checkpoint = checkpoint
        self.device = device
        self.lend = lend
        self.estimate: float | None = None
        self._hash: str | None = None
        started = time.monotonic()
        self.ensemble = ensemble or new_ensemble(problem, settings, device)
        if problem is not self.ensemble.problem:
            self._set_annotation()
        self.start = (
            Start(first_step=self.ensemble.steps, later=True, learns_first=True) if ensemble else self._resume()
        )
        self._learns_first = self.start.learns_first and self.ensemble.has_learned
        self._looked: Any = None  # what was on display in the last preview of that alone
        spent = self.start.spent + time.monotonic() - started
        self.pacer = Pacer(
            settings,
            spent,
            self.start.first_step,
            later=self.start.later,
            learning_only=settings.counts_learning_only(in_parts=problem.in_parts),
        )
        self.result_seconds: float | None = None  # what the last prediction will take on top of the training
        self.loop = TrainingLoop(control, self.pacer.budget, checkpoint, settings.checkpoint_seconds)
        self.plateau = Plateau()

    def go(self) -> DensifyResult:
        """Train until the budget ends or someone stops it, then predict."""
        token, pacer = self.control.token, self.pacer
        _foretell(self.problem, pacer, self.control.events)
        if self._is_shown:
            self.control.events.message("Nothing new is annotated: the last result stays until this one is there.")
        while not (token.stopped and self.ensemble.steps and not self._learns_first):
            if token.canceled and self.ensemble.steps:
                self.loop.save_canceled(self._state)
            token.check()
            self._take_update()
            if pacer.may_release(self.ensemble.steps):
                self._release()
            if pacer.is_over(self.ensemble.steps) or not self.ensemble.trains:
                break
            if not self._learns_first:
                with suppress(Stopped):
                    self._preview()
            self._train()
        self._release()
        result = self._result()
        self.loop.save(lambda: {**self._state(), "finished": True}, force=True)
        return result

    def _train(self) -> None:
        """One step, and the events and the checkpoint after it."""
        loss = self.loop.step(self.ensemble, self.pacer.learned(self.ensemble.steps))
        if loss is not None:
            self._learns_first = False
            if self.settings.stop_early and self.plateau.add(loss):
                self.pacer.budget.finish_by(self.ensemble.steps, 0.8)
        self._report(self.result_seconds or 0.0)
        self.loop.save(self._state)

    def _report(self, after: float) -> None:
        """Report progress, with the seconds of work that follow the training."""
        figures = {"estimated_iou": self.estimate, "result_seconds": after or None}
        known = {name: value for name, value in figures.items() if value is not None}
        self.loop.report(self.ensemble.steps, after, **known)

    def _release(self) -> None:
        """Score the experts on the slices held out so far, and learn from these from now on."""
        if not self.ensemble.hidden:
            return
        if hurries(self.problem, self.control.token):
            self.ensemble.set_annotation(self.problem)
        else:
            self.ensemble.fit_weights(self.control.token)

    def _take_update(self) -> None:
        labels = self.control.updates.take()
        if labels is None:
            return
        try:
            problem = next_problem(self.problem, labels, *self.settings.region_choice)
        except SparseSegError as error:
            self.control.events.message(f"The new annotation is not used: {error}")
            return
        other_classes = problem.full.own_values != self.problem.full.own_values
        self.problem, self._hash = problem, None
        if other_classes:
            self.control.events.message("The annotation has other classes now: starting over.")
            self.ensemble = new_ensemble(problem, self.settings, self.device)
            self.start = Start()
        else:
            self._set_annotation()
        self.pacer.extend(self.ensemble.steps, restart=other_classes)
        self._learns_first, self._looked = self.ensemble.has_learned, None
        self.control.events.message(f"{len(labels.planes)} annotated slices from now on.")

    @property
    def _is_shown(self) -> bool:
        """Whether the result on display is of just this annotation."""
        return self.settings.shown == self.problem.full.digest

    def _set_annotation(self) -> None:
        """Go on with the problem as it is now; its new slices tell how good the result has been."""
        if self.settings.estimate:
            self.ensemble.foresee(self.problem, self.control.token)
        self.ensemble.set_annotation(self.problem)

    def _preview(self) -> None:
        planned = self.pacer.next_preview(self.problem)
        if not self.ensemble.can_predict or (planned is None and not self.problem.is_small):
            return
        worth_it = not (self.settings.shown and planned and planned[0].quick)  # beside what was predicted carefully
        if not self._is_shown and not (worth_it and self.control.looks.content == self._looked):
            self._preview_planes()
        if planned is None:
            return
        request, within = planned
        started = time.monotonic()
        token = self.control.token if self.problem.is_small else UntilStopped(self.control.token)
        labels, counts, seconds = preview(self.ensemble, request, token, within)
        self.estimate = self.ensemble.estimate(counts)
        if worth_it:
            self._show(labels)
        if seconds is not None and self.pacer.learning_only:
            self._announce(seconds)
        self.pacer.has_previewed(self.problem, self.ensemble.seconds, time.monotonic() - started)

    def _announce(self, seconds: float) -> None:
        """Say what the result takes on top of the training."""
        if self.result_seconds is None:
            text = f"After the training the result at full resolution will take about {seconds:.0f} s."
            self.control.events.message(text)
        self.result_seconds = seconds

    def _preview_planes(self) -> None:
        """Show the slices on display before all others."""
        self._looked = self.control.looks.content
        planes = planes_on_display(self.problem, self._looked or ())
        if planes:
            self._show(preview_planes(self.ensemble, planes, self.control.token), planes)

    def _show(self, labels: np.ndarray, planes: list[Plane] | None = None) -> None:
        if not self._is_shown:
            geometry = self.problem.volume.geometry.crop(self.problem.box)
            self.control.events.preview(self._as_result(labels, geometry, planes=tuple(planes or ())))

    def _result(self) -> DensifyResult:
        found = last_prediction(self.ensemble, self.pacer, self.control.token, self._report, self.lend)
        self.estimate = self.ensemble.estimate(found.counts)
        edges, learned = reached_edges(found.labels, self.problem.box), self.problem.full.digest
        more = {"uncertainty": found.uncertainty, "next_slice": found.next_slice, "edges": edges, "annotation": learned}
        return self._as_result(found.labels, self.problem.volume.geometry, **more)

    def _as_result(self, labels: np.ndarray, geometry: Geometry, **more: Any) -> DensifyResult:
        drawn, steps, seconds = self.problem.full, self.ensemble.steps, self.pacer.budget.elapsed
        own = {"names": drawn.names, "values": drawn.values, "empty": drawn.empty}
        figures = {"estimate": self.estimate, "steps": steps, "seconds": seconds, "next_slice": None}
        labels = decoded(labels, drawn.own_values)
        return DensifyResult(**{"labels": labels, "geometry": geometry, "uncertainty": None, **own, **figures, **more})

    def _state(self) -> dict[str, Any]:
        return state_of(self.problem, self.ensemble, self.start, self._fingerprint())

    def _fingerprint(self) -> str:
        self._hash = self._hash or fingerprint(self.problem, self.settings)
        return self._hash

    def _resume(self) -> Start:
        """Take over a checkpoint if there is one."""
        state = find_checkpoint(self.checkpoint, self.control.events)
        if state is None:
            return Start()
        try:
            return take_over(state, self.ensemble, self._fingerprint(), self.settings, self.control.events)
        except torch.OutOfMemoryError:
            raise
        except FOREIGN:
            self.control.events.message("The checkpoint is of another kind of training: starting over.")
            self.ensemble = new_ensemble(self.problem, self.settings, self.device)
            return Start()


def _foretell(problem: Problem, pacer: Pacer, events: Events) -> None:
    """Say before the training that the result of a large region comes after it."""
    if problem.in_parts and pacer.learning_only:
        millions = problem.labels.array.size / 1e6
        events.message(f"The region has {millions:.3g} million voxels: its result is computed after the training.")
