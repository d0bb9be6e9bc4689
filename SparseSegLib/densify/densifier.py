"""Rounds of densification of one volume, between which nothing is forgotten."""

from __future__ import annotations

from pathlib import Path

import torch

from SparseSegLib.annotation import SparseLabels
from SparseSegLib.control import Control
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.experts import ExpertRecipe
from SparseSegLib.densify.hands import Lend, own_hands
from SparseSegLib.densify.problem import Problem, make_problem, next_problem
from SparseSegLib.densify.rehearsal import rehearse
from SparseSegLib.densify.result import DensifyResult
from SparseSegLib.densify.resume import fingerprint, new_ensemble, weights_of
from SparseSegLib.densify.round import Round
from SparseSegLib.densify.settings import DensifySettings
from SparseSegLib.devices import choose_device
from SparseSegLib.errors import UsageError
from SparseSegLib.image import Volume, check_volume
from SparseSegLib.memory import give_back_memory
from SparseSegLib.training.checkpoint import FOREIGN, find_checkpoint, save_checkpoint
from SparseSegLib.training.loop import on_device_or_cpu


class Densifier:
    """Learns one volume in rounds, each with more annotation than the last one.

    A round goes on with the weights, optimizers and features of the round before; what depends on the image alone is
    computed once.

    Parameters
    ----------
    volume : Volume
        ``(C, Z, Y, X)``, any gray values.
    settings : DensifySettings
        Of the first round, and of the later ones until others are given.
    control : Control
        Receives progress and previews, and may stop, cancel or bring more annotation during a round.
    checkpoint : path, optional
        Where to save every few seconds and after each round. If the file exists, the first round goes on from it.
    lend : callable, optional
        Gives the hands that predict a large region, as `on_cluster.hands_of` makes it; by default this process's own.

    Raises
    ------
    UsageError
        If there is no such device.

    Example
    -------
    >>> densifier = Densifier(volume)
    >>> first = densifier.learn(labels)
    >>> second = densifier.learn(labels_with_one_more_slice)
    """

    def __init__(
        self,
        volume: Volume,
        settings: DensifySettings | None = None,
        control: Control | None = None,
        checkpoint: Path | None = None,
        lend: Lend = own_hands,
    ) -> None:
        self.volume = volume
        self.settings = settings or DensifySettings()
        self.control = control or Control()
        self.checkpoint = checkpoint
        self.lend = lend
        self.device = choose_device(self.settings.device)
        self._problem: Problem | None = None
        self._ensemble: Ensemble | None = None

    def prepare(self) -> None:
        """Do ahead what the next round needs and can be done without its labels. Raises VolumeError for a bad image."""
        if self._problem is None:
            if not self.volume.on_disk:  # of which the region is looked at, once it is known
                check_volume(self.volume)
            rehearse(self.settings, self.volume.channels, self.device)
        elif self._ensemble is not None:
            self._problem.reconsider()

    def learn(self, labels: SparseLabels, settings: DensifySettings | None = None) -> DensifyResult:
        """One round: train on the annotated slices and segment all of the volume.

        The first round has all of the budget, later ones have ``AFTER_UPDATE`` of it. With other classes than before it
        is a first one again, and so it is with ``settings`` that have other networks, another seed or another device
        than those before: the networks start over, and what was computed from the image stays.

        Raises
        ------
        VolumeError, AnnotationError, GeometryError
            For input that cannot be worked on; nothing has been changed then.
        UsageError
            If there is no such network or device, or no network for volumes.
        Canceled
            When the token says so; the checkpoint stays.
        ResourceError
            When memory does not suffice on any device.
        """
        before, settings = self.settings, settings or self.settings
        device = self.device if settings.device == before.device else choose_device(settings.device)
        if self._problem is None:
            problem = make_problem(self.volume, labels, *settings.region_choice)
        else:
            problem = next_problem(self._problem, labels, *settings.region_choice)
            if problem.full.own_values != self._problem.full.own_values or _networks(settings) != _networks(before):
                self._ensemble = None
            elif self._ensemble is None:
                self._ensemble = self._restored(self._problem)
        self.settings, self.device = settings, device
        ensemble, self._ensemble = self._ensemble, None

        def train(device: torch.device) -> DensifyResult:
            nonlocal problem, ensemble
            known, ensemble = ensemble, None
            run = Round(problem, settings, self.control, self.checkpoint, device, known, self.lend)
            try:
                result = run.go()
            finally:
                problem = run.problem  # with what was annotated meanwhile
            self.device, self._problem, self._ensemble = device, problem, run.ensemble
            return result

        return on_device_or_cpu(self.device, train, self.control, "Use a smaller region or the fast preset.")

    def save_weights(self, path: Path) -> None:
        """Write what was learned so far as a checkpoint to start from elsewhere: the weights that predict.

        Raises ResourceError if the disk is full, and UsageError before the first round.
        """
        if self._problem is None or self._ensemble is None:
            raise UsageError("Nothing was learned yet.", "Learn a round first.")
        save_checkpoint(path, weights_of(self._problem, self._ensemble))

    def release(self) -> None:
        """Give back the memory that only a round needs: the next one computes features anew, and reads the checkpoint.

        Without a checkpoint everything stays.
        """
        if self._problem is None or self.checkpoint is None:
            return
        self._ensemble = None
        self._problem = self._problem.bare()
        give_back_memory()

    def _restored(self, problem: Problem) -> Ensemble | None:
        """The ensemble as it was saved at the end of the last round; None if the checkpoint is of something else."""
        state = find_checkpoint(self.checkpoint, self.control.events)
        if state is None or state.get("fingerprint") != fingerprint(problem, self.settings):
            return None
        ensemble = new_ensemble(problem, self.settings, self.device)
        try:
            ensemble.load_state_dict(state["ensemble"])
        except FOREIGN:
            return None
        return ensemble


def _networks(settings: DensifySettings) -> tuple[tuple[ExpertRecipe, ...], int, str]:
    """What an ensemble is made from; with anything else that is the same, it goes on."""
    return settings.recipes, settings.seed, settings.device
