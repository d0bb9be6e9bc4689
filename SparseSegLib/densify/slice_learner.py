"""The slice learner: a 2D U-Net on slices with their neighbors and the annotation prior, in every orientation."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED, Plane
from SparseSegLib.control import CancelToken
from SparseSegLib.densify import voxel_forest
from SparseSegLib.densify.first_guess import FirstGuess, fading_share
from SparseSegLib.densify.gray_guess import GrayGuess, is_clearly_better
from SparseSegLib.densify.held_out import choose_held_out, mean_iou
from SparseSegLib.densify.pretrained import ALIKE, FEW_PLANES, PARALLEL, fitting_share, load_pretrained
from SparseSegLib.densify.problem import Problem
from SparseSegLib.densify.settings import SliceRecipe
from SparseSegLib.densify.slice_augmentation import SlicePatch, cut_patches, sampling_grid, vary_gray_values
from SparseSegLib.densify.slice_bank import SliceBank, features, slab
from SparseSegLib.densify.voxel_forest import VoxelForest
from SparseSegLib.losses import class_weights, soft_dice, weighted_cross_entropy
from SparseSegLib.networks.slice_unet import SliceUNet
from SparseSegLib.prior import AnnotationPrior, PlaneSource, SliceView
from SparseSegLib.training.averaging import AveragedWeights

PIXELS_AT_ONCE = 300_000
STEPS_PER_VARIANT = 8
MANY_PIXELS = 16_000
"""Labeled pixels above which the network need not fear to learn by heart, and knows better than the pretrained one."""
NOTHING_YET = 0.95
"""Share of what was known before, above which the network need not be asked."""


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
        self.batch = recipe.batch
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.steps = 0
        self._set(problem, estimate=estimate)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = SliceUNet(self._channels(), problem.classes, recipe.widths)
        self.network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = AveragedWeights(self.network, recipe.averaging)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.pretrained: SliceUNet | None = None
        if recipe.pretrained and (known := load_pretrained(self._channels(), problem.classes)) is not None:
            self.pretrained = known.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.share = ALIKE
        self.forest_share = voxel_forest.ALIKE

    def _set(self, problem: Problem, *, estimate: bool = False) -> None:
        self.problem = problem
        self.prior = AnnotationPrior(problem.image, problem.labels, problem.classes, problem.spacing, self.parts)
        self.much_is_labeled = bool(problem.labels.labeled.sum() >= MANY_PIXELS)
        self.few_parallel = _few_parallel(self.prior)
        self.hidden_share = 0.0 if self.much_is_labeled else self.recipe.part_dropout
        self._forest: VoxelForest | None = None
        self._forest_hides: frozenset[int] | None = None  # which sources it did not learn from, once it has learned
        self.hold_out(choose_held_out(self.prior.sources) if estimate else frozenset())

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
        self._guess: FirstGuess | None = None
        self._gray_guess: GrayGuess | None = None
        self._gray_guess_is_chosen = False
        self._opinion: torch.Tensor | None = None

    def replace(self, problem: Problem) -> None:
        """Go on with another annotation of the same volume; weights and optimizer stay."""
        self._set(problem)

    @property
    def _gray_channels(self) -> int:
        return self.problem.image.shape[0] * (2 * self.recipe.neighbors + 1)

    def _channels(self) -> int:
        return self._gray_channels + self.prior.count

    def step(self, rate: float) -> float:
        """One training step with ``rate`` times the learning rate; the loss."""
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
            labels = torch.stack([self.bank.labels(number) for number in numbers])
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

        The pretrained network has its share in them, if there is one. With ``guess`` it, or else the first guess, has
        more to say as long as the network has learned little.
        """
        fading = fading_share(self.averaged.steps) if guess else 0.0
        if guess and (gray := self._early_gray_guess()) is not None:
            slabs = [slab(self.problem.image, view, self.recipe.neighbors) for view in views]
            return gray.probabilities(torch.stack(slabs).to(self.device)).cpu()
        inputs = self._inputs(views, keep)
        if fading > NOTHING_YET:
            return self._known_before(inputs).cpu()
        own = self.averaged.network(inputs).softmax(1)
        share = max(fading, self._pretrained_share())
        return (torch.lerp(own, self._known_before(inputs), share) if share else own).cpu()

    def _pretrained_share(self) -> float:
        if self.pretrained is None:
            return 0.0
        if self.few_parallel:
            return max(self.share, PARALLEL)
        return 0.0 if self.much_is_labeled else self.share

    def _known_before(self, inputs: torch.Tensor) -> torch.Tensor:
        """Class probabilities ``(N, K, U, V)`` of ``inputs`` that need none of the network's steps."""
        if self.pretrained is not None:
            return torch.as_tensor(self.pretrained(inputs)).softmax(1)
        if self._guess is None:
            with torch.inference_mode(False):
                self._guess = FirstGuess.of(self.bank.inputs, self._drawn(), self.weights)
        return self._guess.probabilities(inputs)

    def _drawn(self) -> list[torch.Tensor]:
        """The labels ``(U, V)`` of the bank's inputs."""
        return [self.bank.labels(number) for number, _ in self.bank.entries]

    @property
    def first_stride(self) -> int:
        """Of the slices in the first preview; what gray values alone say costs next to nothing."""
        return 4 if self._early_gray_guess() is None else 2

    def _early_gray_guess(self) -> GrayGuess | None:
        """What gray values alone say, as long as there is nothing better."""
        return self._chosen_gray_guess() if fading_share(self.averaged.steps) > NOTHING_YET else None

    @torch.inference_mode()
    def _chosen_gray_guess(self) -> GrayGuess | None:
        """Where much is labeled, and the held-out slices find it clearly better than what else was known before."""
        if not self._gray_guess_is_chosen:
            self._gray_guess_is_chosen = True
            if self.much_is_labeled and self.bank.held_out:
                self._gray_guess = self._better_gray_guess()
        return self._gray_guess

    def _better_gray_guess(self) -> GrayGuess | None:
        channels, keep = self._gray_channels, self.prior.without(set(self.bank.held_out))
        with torch.inference_mode(False):
            gray = [inputs[:channels] for inputs in self.bank.inputs]
            guess = GrayGuess.of(gray, self._drawn(), self.weights, self.seed)
        ours, others = [], []
        for view, drawn in self._held_out_views():
            inputs = self._inputs([view], keep)
            ours.append((guess.probabilities(inputs[:, :channels])[0].cpu(), drawn))
            others.append((self._known_before(inputs)[0].cpu(), drawn))
        return guess if is_clearly_better(ours, others, self.problem.classes) else None

    def _inputs(self, views: list[SliceView], keep: tuple[int, ...]) -> torch.Tensor:
        """What a network sees of the slices, ``(N, C, U, V)``."""
        stack = [features(self.problem.image, self.prior, view, keep, self.recipe.neighbors) for view in views]
        return torch.stack(stack).to(self.device).contiguous(memory_format=torch.channels_last)

    def ask_forest(self, token: CancelToken, most_seconds: float = math.inf) -> None:
        """From now on, until the annotation changes, let a forest on gray values have its share in what is predicted.

        Takes about a second for a million voxels; nothing, if nothing has changed. If learning takes more than
        ``most_seconds``, a forest that does not know the slices held out before is not taught anew.
        """
        if self.recipe.forest and self._opinion is None:
            self._opinion = self._taught_forest(most_seconds).everywhere(token)

    def _taught_forest(self, most_seconds: float = math.inf) -> VoxelForest:
        """A forest that knows what the network may know, or a little less."""
        problem = self.problem
        if self._forest is None:
            self._forest = VoxelForest(problem.image, problem.spacing, problem.classes, self.seed)
        hidden, held_out = self._forest_hides, self.bank.held_out
        if hidden is None or not hidden >= held_out or (hidden != held_out and self._forest.seconds <= most_seconds):
            known = problem.labels
            for plane in self.held_out_planes():
                known = known.without(plane)
            self._forest.learn(known)
            self._forest_hides = held_out
        return self._forest

    @torch.inference_mode()
    def predict(self, token: CancelToken, stride: int = 1, *, quick: bool = False, guess: bool = True) -> torch.Tensor:
        """Class probabilities ``(K, Z, Y, X)`` on the working grid, the mean over the orientations.

        The forest has its share if it was asked. With a ``stride`` only every so many slices are predicted and those
        between them are interpolated. A ``quick`` look takes the shortest of the orientations alone. Without ``guess``
        nothing else fills in for what the network has not learned yet.
        """
        early = guess and fading_share(self.averaged.steps) > NOTHING_YET  # what speaks then is not judged by anything
        keep = self.prior.everything if early else self.prior.without(set(self.bank.held_out))
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
        if self._opinion is None:
            return total
        leads = guess and self.much_is_labeled
        share = fading_share(self.averaged.steps, voxel_forest.LEADS) if leads else 0.0
        return total.lerp_(self._opinion.to(total), max(self.forest_share, share))

    def held_out_planes(self) -> list[Plane]:
        """The planes that are held out, on the working grid."""
        sources = [self.prior.sources[number] for number in sorted(self.bank.held_out)]
        return [Plane(source.axis, source.index) for source in sources if isinstance(source, PlaneSource)]

    @torch.inference_mode()
    def weigh_pretrained(self) -> None:
        """Let the held-out slices decide how much the pretrained network has to say from now on."""
        if self.pretrained is None or self.much_is_labeled or not self.bank.held_out:
            return
        keep = self.prior.without(set(self.bank.held_out))
        opinions = []
        for view, drawn in self._held_out_views():
            inputs = self._inputs([view], keep)
            own, other = (network(inputs).softmax(1)[0].cpu() for network in (self.averaged.network, self.pretrained))
            opinions.append((own, other, drawn))
        self.share = fitting_share(opinions)

    @torch.inference_mode()
    def predict_held_out(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each held-out plane the predicted and the drawn labels ``(U, V)``, the sources held out not known."""
        if not self.recipe.forest:
            keep, views = self.prior.without(set(self.bank.held_out)), self._held_out_views()
            return [(self.predict_slices([view], keep, guess=False)[0].argmax(0), drawn) for view, drawn in views]
        share = self.forest_share
        return [(own.lerp(other, share).argmax(0), drawn) for own, other, drawn in self._held_out_opinions()]

    @torch.inference_mode()
    def weigh_forest(self) -> None:
        """Let the held-out slices decide how much the forest has to say from now on."""
        if self.recipe.forest and self.bank.held_out:
            opinions, classes = self._held_out_opinions(), self.problem.classes
            own = mean_iou([(opinion.argmax(0), drawn) for opinion, _, drawn in opinions], classes)
            other = mean_iou([(opinion.argmax(0), drawn) for _, opinion, drawn in opinions], classes)
            if own is not None and other is not None:
                self.forest_share = voxel_forest.BETTER if other > own else voxel_forest.WORSE

    def _held_out_opinions(self) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """For each held-out plane what network and forest say ``(K, U, V)``, and what is drawn ``(U, V)``."""
        keep, forest = self.prior.without(set(self.bank.held_out)), self._taught_forest()
        opinions = []
        for view, drawn in self._held_out_views():
            own = self.predict_slices([view], keep, guess=False)[0]
            other = forest.slices(view.axis, range(view.index, view.index + 1)).squeeze(1 + view.axis)
            opinions.append((own, other, drawn))
        return opinions

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
            "share": self.share,
            "forest_share": self.forest_share,
            "held_out": sorted(self.bank.held_out),
            "entries": [[number, list(keep)] for number, keep in self.bank.entries],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken, on the same problem."""
        self.warm_start(state)
        self.optimizer.load_state_dict(state["optimizer"])
        self.rng.bit_generator.state = json.loads(state["rng"])
        self.steps = state["steps"]
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
        self.averaged.steps = state["averaged_steps"]
        self.share = state["share"]
        self.forest_share = state.get("forest_share", voxel_forest.ALIKE)


def _few_parallel(prior: AnnotationPrior) -> bool:
    """Whether little more is known than a few slices of one orientation."""
    planes = [source for source in prior.sources if isinstance(source, PlaneSource)]
    return len(prior.sources) == len(planes) < FEW_PLANES and len({plane.axis for plane in planes}) == 1


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
