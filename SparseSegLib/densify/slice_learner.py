"""The slice learner: a 2D U-Net on slices with their neighbors and the annotation prior, in every orientation."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Collection, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from SparseSegLib.annotation import UNLABELED, Plane
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.forest_opinion import WORSE, ForestOpinion
from SparseSegLib.densify.held_out import choose_held_out, classes_of
from SparseSegLib.densify.known_before import KnownBefore
from SparseSegLib.densify.pretrained import Opinions
from SparseSegLib.densify.problem import Problem
from SparseSegLib.densify.settings import SliceRecipe
from SparseSegLib.densify.slice_augmentation import SlicePatch, cut_patches, sampling_grid, vary_gray_values
from SparseSegLib.densify.slice_bank import SliceBank, features, slab
from SparseSegLib.densify.volume_opinion import EVERY, VolumeOpinion
from SparseSegLib.networks.one_versus_rest import OneVersusRest, channels_about
from SparseSegLib.networks.slice_unet import SliceUNet
from SparseSegLib.prior import AnnotationPrior, PlaneSource, SliceView
from SparseSegLib.training.averaging import AveragedWeights
from SparseSegLib.training.losses import class_weights, soft_dice, weighted_cross_entropy

PIXELS_AT_ONCE = 300_000
STEPS_PER_VARIANT = 8
MANY_PIXELS = 16_000
"""Labeled pixels above which the network need not fear to learn by heart, and knows better than the pretrained one."""


class SliceLearner:
    """Learns from annotated slices, each seen with a prior that does not know it; predicts whole volumes.

    Parameters
    ----------
    problem : Problem
    recipe : SliceRecipe
    prior_parts : parts of the annotation prior to use, instead of the recipe's
    seed : int
    device : torch.device
    estimate : hold out some annotated slices at first
    """

    def __init__(
        self,
        problem: Problem,
        recipe: SliceRecipe,
        prior_parts: tuple[str, ...],
        seed: int,
        device: torch.device,
        *,
        estimate: bool = False,
    ) -> None:
        self.recipe = recipe
        self.parts = prior_parts
        self.device = device
        self.batch = max(1, round(recipe.batch / (problem.classes - 1) ** 0.5))
        self.rng = np.random.default_rng(seed)
        self.steps = 0
        self.forest = ForestOpinion(seed) if recipe.forest else None
        self._set(problem)
        suits = recipe.volume and VolumeOpinion.suits(problem)
        self.volume = VolumeOpinion(problem, seed, device) if suits else None
        self.before = KnownBefore(recipe, self._subjects, self._gray_channels, problem.classes, seed, device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _network(self._subjects, problem.classes, recipe.widths)
        self.network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = AveragedWeights(self.network, recipe.averaging)
        self.hold_out(choose_held_out(self.prior.sources) if estimate else frozenset())

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Made when first needed: with it, torch imports its compiler, for which the first preview need not wait."""
        recipe = self.recipe
        return torch.optim.AdamW(self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)

    def _set(self, problem: Problem) -> None:
        self.problem = problem
        self.prior = AnnotationPrior(problem.image, problem.labels, problem.classes, problem.spacing, self.parts)
        self.much_is_labeled = bool(problem.labels.labeled.sum() >= MANY_PIXELS)
        self.hidden_share = 0.0 if self.much_is_labeled else self.recipe.part_dropout
        if self.forest is not None:
            self.forest.meet(problem)

    def hold_out_others(self, learned: Collection[Plane]) -> None:
        """Hold out some of the planes on the working grid that are not among those ``learned`` from before."""
        self.hold_out(choose_held_out(self.prior.sources, learned))

    def hold_out(self, held_out: frozenset[int]) -> None:
        """From now on neither learn from these sources nor let a prior know them."""
        self.bank = SliceBank(self.problem, self.prior, held_out, self.recipe.neighbors, self.device)
        counts = np.zeros(self.problem.classes)
        for target in self.bank.targets:
            seen = target.labels[target.labels != UNLABELED]
            counts += np.bincount(seen.numpy(), minlength=self.problem.classes)
        self.weights = class_weights(counts, exponent=self.recipe.balance).to(self.device)
        self.before.meet(self.prior, self.bank, self.weights, much_is_labeled=self.much_is_labeled)
        if self.before.is_all(self.averaged.steps) and self.is_judged:
            self.before.try_gray_values(self._held_out_inputs())
        if self.forest is not None:
            self.forest.forget()
        if self.volume is not None:
            self.volume.meet(self.problem, self.held_out_planes())

    def replace(self, problem: Problem) -> None:
        """Go on with another annotation of the same volume; weights and optimizer stay."""
        self._set(problem)
        self.hold_out(frozenset())

    @property
    def _gray_channels(self) -> int:
        return self.problem.image.shape[0] * (2 * self.recipe.neighbors + 1)

    @property
    def _subjects(self) -> list[int]:
        """Of each input channel, the class that it speaks of; 0 for all."""
        return [0] * self._gray_channels + self.prior.subjects

    def step(self, rate: float) -> float:
        """One training step with ``rate`` times the learning rate, and beside it the volume's network's; the loss."""
        if self.volume is None or not self.volume.share:
            return self._step(rate)
        if self.steps % EVERY == 0:
            self.volume.begin_step(rate)
        with self.volume.beside():
            return self._step(rate)

    def _step(self, rate: float) -> float:
        if self.steps % STEPS_PER_VARIANT == 0 and len(self.bank.inputs) < self._most_entries():
            self.bank.vary(self.rng)
        inputs, labels = self._draw()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * self.recipe.learning_rate
        self.network.train()
        logits = self.network(inputs)
        loss = weighted_cross_entropy(logits, labels, self.weights) + self.recipe.dice * soft_dice(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimizer.step()
        self.averaged.update(self.network)
        self.steps += 1
        return float(loss.detach())

    def _most_entries(self) -> int:
        return len(self.bank.targets) * (1 + self.recipe.variants)

    def _draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch ``(B, C, H, W)`` of patches and their labels ``(B, H, W)``; at least one voxel is labeled."""
        while True:
            entries = self.rng.integers(len(self.bank.inputs), size=self.batch)
            numbers = [self.bank.entries[entry][0] for entry in entries]
            size = self._patch_size()
            patches = [self._patch(number, size) for number in numbers]
            places = sampling_grid(patches, size, self.recipe.moved, self.rng)
            inputs = torch.stack([self.bank.inputs[entry] for entry in entries])
            labels = torch.stack([self.bank.drawn[entry] for entry in entries])
            inputs, labels = cut_patches(inputs, labels, places, patches)
            if bool((labels != UNLABELED).any()):
                vary_gray_values(inputs, self._gray_channels, self.rng)
                self._hide_parts(inputs)
                return inputs.contiguous(memory_format=torch.channels_last), labels

    def _hide_parts(self, inputs: torch.Tensor) -> None:
        """Blank whole parts of the prior in some patches, so that the network does not rely on any one of them.

        The walk stays: of all parts it changes least between a slice that is left out and one that never was labeled.
        """
        prior = inputs[:, self._gray_channels :]
        for part, span in self.prior.spans.items():
            hidden = self.rng.random(len(inputs)) < self.hidden_share
            if part != "walk":
                prior[torch.from_numpy(hidden).to(prior.device), span] = 0

    def _patch_size(self) -> tuple[int, int]:
        height, width = (min(self.recipe.crop, -(-(side + 8) // 8) * 8) for side in self.bank.size)
        return height, width

    def _patch(self, number: int, size: tuple[int, int]) -> SlicePatch:
        """Where to cut: anywhere, or around a voxel of a random class."""
        target = self.bank.targets[number]
        extent = target.view.size
        first, second = target.view.axes
        spacing = (target.view.spacing[first], target.view.spacing[second])
        if self.rng.random() < 0.5:
            seen = target.labels.unique()
            label = seen[seen != UNLABELED][int(self.rng.integers(int((seen != UNLABELED).sum())))]
            places = torch.nonzero(target.labels == label)
            center = tuple(places[int(self.rng.integers(len(places)))].tolist())
        else:
            center = tuple(self.rng.uniform(0, side) for side in extent)
        low = [min(part / 2 - 4, side / 2) for part, side in zip(size, extent, strict=True)]
        row, column = (
            min(max(place, least), side - least) for place, least, side in zip(center, low, extent, strict=True)
        )
        return SlicePatch((row, column), extent, spacing)

    def views(self) -> list[list[SliceView]]:
        """All slices of the volume, in each of the orientations that were learned from."""
        axes = sorted({target.view.axis for target in self.bank.targets})
        shape = self.prior.shape
        return [[SliceView(axis, index, shape, self.prior.spacing) for index in range(shape[axis])] for axis in axes]

    def predict_slices(self, views: list[SliceView], keep: tuple[int, ...], *, guess: bool) -> torch.Tensor:
        """Class probabilities ``(N, K, U, V)`` of slices of one orientation, known to the sources ``keep``.

        What was known before the training has its share in them; with ``guess`` more than to the end, as long as the
        network has learned little.
        """
        steps, before = self.averaged.steps, self.before
        early = guess and before.is_all(steps)
        if early and (gray := before.gray_guess) is not None:
            slabs = [slab(self.problem.image, view, self.recipe.neighbors) for view in views]
            return gray.probabilities(torch.stack(slabs).to(self.device)).cpu()
        inputs = self._inputs(views, keep)
        if early:
            return before.probabilities(inputs).cpu()
        own = self.averaged.network(inputs).softmax(1)
        share = before.share_after(steps) if guess else before.lasting_share
        return (torch.lerp(own, before.probabilities(inputs), share) if share else own).cpu()

    @property
    def first_stride(self) -> int:
        """Of the slices in the first preview: what gray values alone say costs next to nothing."""
        return 2 if self.gray_values_speak else 4

    @property
    def gray_values_speak(self) -> bool:
        """Whether what is predicted now is what gray values alone say."""
        return self.before.gray_guess is not None and self.before.is_all(self.averaged.steps)

    @torch.inference_mode()
    def time_prediction(self) -> float:
        """Seconds that the network would take for the whole volume, judged by a few slices."""
        orientations = self.views()
        group = _groups(min(orientations, key=len))[0]
        started = time.monotonic()
        self.predict_slices(group, self._kept, guess=False)
        return (time.monotonic() - started) * sum(map(len, orientations)) / len(group)

    def _inputs(self, views: list[SliceView], keep: tuple[int, ...]) -> torch.Tensor:
        """What a network sees of the slices, ``(N, C, U, V)``."""
        stack = [features(self.problem.image, self.prior, view, keep, self.recipe.neighbors) for view in views]
        return torch.stack(stack).to(self.device).contiguous(memory_format=torch.channels_last)

    def ask_forest(self, token: CancelToken, most_seconds: float = math.inf) -> None:
        """From now on, until the annotation changes, let the forest have its share (see :meth:`ForestOpinion.ask`)."""
        if self.forest is None or self.forest.everywhere is not None:
            return
        self.forest.ask(self.held_out_planes(), token, most_seconds)
        if self.before.is_all(self.averaged.steps) and self.is_judged:
            self.forest.weigh_first(self._first_opinions(self.forest))

    @torch.inference_mode()
    def predict(self, token: CancelToken, stride: int = 1, *, quick: bool = False, guess: bool = True) -> torch.Tensor:
        """Class probabilities ``(K, Z, Y, X)`` on the working grid, the mean over the orientations.

        The forest has its share if it was asked, the volume's network as soon as it has learned something. With a
        ``stride`` only every so many slices are predicted and those between them are interpolated. A ``quick`` look
        takes the shortest of the orientations alone. Without ``guess`` nothing else fills in for what the network has
        not learned yet.
        """
        early = guess and self.before.is_all(self.averaged.steps)  # what speaks then is not judged by held-out slices
        keep = self.prior.everything if early else self._kept
        orientations = self.views()
        if quick:
            orientations = [min(orientations, key=len)]
        total = torch.zeros(self.problem.classes, *self.prior.shape)
        for views in orientations:
            axis, last = 1 + views[0].axis, len(views) - 1
            known: torch.Tensor | None = None
            for group in _groups(views[::stride]):
                token.check()
                slices = _filled(known, self.predict_slices(group, keep, guess=guess), stride)
                known = slices[-1]
                stop = group[-1].index + 1
                total.narrow(axis, stop - len(slices), len(slices)).add_(slices.transpose(0, 1).movedim(1, axis))
            if known is not None and stop <= last:
                total.narrow(axis, stop, last + 1 - stop).add_(known.unsqueeze(axis))
        total /= len(orientations)
        if (forest := self.forest) is not None:
            shown = forest.share_after(self.averaged.steps, much_is_labeled=self.much_is_labeled)
            total = forest.blend(total, shown if guess else forest.share)
        return total if self.volume is None else self.volume.blend(total, token, at_once=not guess)

    @property
    def _kept(self) -> tuple[int, ...]:
        """The sources that may be known while some are held out."""
        return self.prior.without(set(self.bank.held_out))

    @property
    def is_judged(self) -> bool:
        """Whether the held-out slices can tell what is better: of several structures, they have to show every one."""
        sources = self.prior.sources
        shown, drawn = (classes_of(sources, numbers) for numbers in (self.bank.held_out, self.prior.everything))
        return self.problem.classes == 2 or shown | {0} >= drawn

    def held_out_planes(self) -> list[Plane]:
        """The planes that are held out, on the working grid."""
        sources = [self.prior.sources[number] for number in sorted(self.bank.held_out)]
        return [Plane(source.axis, source.index) for source in sources if isinstance(source, PlaneSource)]

    @torch.inference_mode()
    def weigh_others(self) -> None:
        """Let the held-out slices decide how much all others have to say from now on, if they show every structure."""
        if not self.is_judged:
            return
        if self.before.network is not None and self.bank.held_out:
            opinions = []
            for inputs, drawn in self._held_out_inputs():
                own, other = (network(inputs) for network in (self.averaged.network, self.before.network))
                opinions.append((own.softmax(1)[0].cpu(), other.softmax(1)[0].cpu(), drawn))
            self.before.weigh(opinions)
        if self.forest is not None:
            self.forest.weigh(self._held_out_opinions(self.forest))
        if self.volume is not None:
            self.volume.weigh(self._with_volume(self._held_out_without_volume(), self.volume))

    @torch.inference_mode()
    def predict_held_out(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each held-out plane the predicted and the drawn labels ``(U, V)``, the sources held out not known."""
        slices = self._held_out_without_volume()
        if self.volume is not None:
            share = self.volume.share
            slices = [(others.lerp(own, share), drawn) for others, own, drawn in self._with_volume(slices, self.volume)]
        return [(probabilities.argmax(0), drawn) for probabilities, drawn in slices]

    def _held_out_without_volume(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each held-out plane what network and forest say together ``(K, U, V)``, and what is drawn ``(U, V)``."""
        if self.forest is None:
            views = self._held_out_views()
            return [(self.predict_slices([view], self._kept, guess=False)[0], drawn) for view, drawn in views]
        share = self.forest.share
        return [(own.lerp(other, share), drawn) for own, other, drawn in self._held_out_opinions(self.forest)]

    def _held_out_opinions(self, forest: ForestOpinion) -> Opinions:
        """For each held-out plane what network and forest say ``(K, U, V)``, and what is drawn ``(U, V)``."""
        hidden = self.held_out_planes()
        return [
            (self.predict_slices([view], self._kept, guess=False)[0], forest.of_slice(view, hidden), drawn)
            for view, drawn in self._held_out_views()
        ]

    @torch.inference_mode()
    def _first_opinions(self, forest: ForestOpinion) -> Opinions:
        """For each held-out plane what is known before the training and what the forest says, and what is drawn."""
        hidden = self.held_out_planes()
        return [
            (self.before.probabilities(self._inputs([view], self._kept))[0].cpu(), forest.of_slice(view, hidden), drawn)
            for view, drawn in self._held_out_views()
        ]

    def _with_volume(self, slices: list[tuple[torch.Tensor, torch.Tensor]], volume: VolumeOpinion) -> Opinions:
        """For each held-out plane what all others and the volume's network say ``(K, U, V)``, and what is drawn."""
        said = volume.everywhere(CancelToken())
        planes = self.held_out_planes()
        return [
            (others, said.select(1 + plane.axis, plane.index), drawn)
            for plane, (others, drawn) in zip(planes, slices, strict=True)
        ]

    def _held_out_inputs(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """What a network sees of the held-out slices ``(1, C, U, V)``, and what is drawn on them ``(U, V)``."""
        return ((self._inputs([view], self._kept), drawn) for view, drawn in self._held_out_views())

    def _held_out_views(self) -> Iterator[tuple[SliceView, torch.Tensor]]:
        """The held-out slices, and what is drawn on them ``(U, V)``."""
        for number in sorted(self.bank.held_out):
            source = self.prior.sources[number]
            assert isinstance(source, PlaneSource)
            yield SliceView(source.axis, source.index, self.prior.shape, self.prior.spacing), source.labels

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs to go on to the same result."""
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged.network.state_dict(),
            "averaged_steps": self.averaged.steps,
            "optimizer": self.optimizer.state_dict(),
            "rng": json.dumps(self.rng.bit_generator.state),
            "steps": self.steps,
            "share": self.before.share,
            "forest_share": WORSE if self.forest is None else self.forest.share,
            "forest_first_share": None if self.forest is None else self.forest.first_share,
            "volume": None if self.volume is None else self.volume.state(),
            "held_out": sorted(self.bank.held_out),
            "entries": [[number, list(keep)] for number, keep in self.bank.entries],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken, on the same problem."""
        self.warm_start(state)
        if self.forest is not None:
            first_share = state.get("forest_first_share")
            self.forest.first_share = None if first_share is None else float(first_share)
        if self.volume is not None and state["volume"] is not None:
            self.volume.restore(state["volume"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.steps = int(state["steps"])
        self.hold_out(frozenset(state["held_out"]))
        for number, keep in state["entries"][len(self.bank.entries) :]:
            self.bank.add(number, tuple(keep))

    def warm_start(self, state: dict[str, Any]) -> None:
        """Take over the weights of another training of the same network; ValueError if they do not fit."""
        try:
            self.network.load_state_dict(state["network"])
            self.averaged.network.load_state_dict(state["averaged"])
        except (RuntimeError, KeyError) as error:
            raise ValueError(str(error)) from error
        self.averaged.steps = int(state["averaged_steps"])
        self.before.share = float(state["share"])
        if self.forest is not None:
            self.forest.share = float(state.get("forest_share", WORSE))
        if self.volume is not None and state.get("volume") is not None:
            self.volume.warm_start(state["volume"])


def _network(subjects: list[int], classes: int, widths: tuple[int, ...]) -> nn.Module:
    """Of several structures each is asked about by itself, if the prior tells them apart."""
    if classes == 2 or not any(subjects):
        return SliceUNet(len(subjects), classes, widths)
    return OneVersusRest(SliceUNet(len(channels_about(1, subjects)), 2, widths), subjects)


def _filled(known: torch.Tensor | None, slices: torch.Tensor, stride: int) -> torch.Tensor:
    """Every ``stride``-th slice ``(N, K, U, V)`` with those between them, and between them and the one before."""
    steps = torch.arange(1, stride + 1).view(1, -1, 1, 1, 1) / stride
    first, before = (slices[:1], slices[:-1]) if known is None else (slices[:0], torch.cat([known[None], slices[:-1]]))
    after = slices[len(slices) - len(before) :]
    return torch.cat([first, torch.lerp(before[:, None], after[:, None], steps).flatten(0, 1)])


def _groups(views: list[SliceView]) -> list[list[SliceView]]:
    """Slices of one orientation in groups that fit into memory together."""
    height, width = views[0].size
    count = max(1, PIXELS_AT_ONCE // (height * width))
    return [views[start : start + count] for start in range(0, len(views), count)]
