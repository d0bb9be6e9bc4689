"""What was tried inside the slice learner and not taken: each replaces a piece of it for the time of a run.

The ablation measures them like its other changes. None is part of SparseSeg, so none is a setting of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import product
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from skimage.graph import MCP_Geometric

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.densify import slice_bank, slice_learner
from SparseSegLib.densify.slice_learner import SliceLearner
from SparseSegLib.image.coarse import block_means, coarsening
from SparseSegLib.networks.ensemble import Ensemble
from SparseSegLib.networks.slice_unet import SliceUNet
from SparseSegLib.prior import SliceView, annotation_prior, walk
from SparseSegLib.prior.walk import WalkPrior

GEODESIC_VOXELS = 100_000
GRAY_COST = 20.0  # mm that a step from the darkest to the brightest gray value costs
GEODESIC_REACH = 8.0  # mm at which one class is clearly nearer than the others
SNAPSHOT_RATES = (0.25, 0.12, 0.05)  # of the learning rate, at which weights are kept
SURE = 0.95  # probability above which the teacher is believed
TEACHER_FROM = 100  # steps
TEACHER_SLICES = 2  # a step
COARSE_ABOVE = 0.75  # of the learning rate: the first third of the training


class FlippedUNet(SliceUNet):
    """Averages over the four mirror images of a slice where it predicts."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, classes, U, V)``."""
        if self.training:
            return super().forward(x)
        axes = [tuple(axis for axis, turned in ((2, a), (3, b)) if turned) for a, b in product((0, 1), repeat=2)]
        parts = [super(FlippedUNet, self).forward(x.flip(turned)).softmax(1).flip(turned) for turned in axes]
        return torch.stack(parts).mean(0).clamp(min=1e-12).log()


class StemmedUNet(SliceUNet):
    """Works at half the resolution: four pixels become channels on the way in, channels four pixels on the way out."""

    def __init__(self, in_channels: int, classes: int, widths: tuple[int, ...]) -> None:
        super().__init__(4 * in_channels, 4 * classes, widths)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits ``(B, classes, U, V)``."""
        height, width = x.shape[-2:]
        even = F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")
        return F.pixel_shuffle(super().forward(F.pixel_unshuffle(even, 2)), 2)[..., :height, :width]


class GeodesicPrior(WalkPrior):
    """How much nearer a class is than the others, on ways that avoid changes of gray value (scikit-image's MCP).

    Takes the place of the walk, of which it only has the coarse grid.
    """

    def __init__(self, image: torch.Tensor, sources: list[Any], classes: int, spacing: tuple[float, ...]) -> None:
        self.classes = classes
        self.sources = sources
        self.factors = coarsening(image.shape[1:], spacing, GEODESIC_VOXELS)
        self._spacing = tuple(step * factor for step, factor in zip(spacing, self.factors, strict=True))
        gray = block_means(image, self.factors)[0].numpy()
        change = np.sqrt(sum(np.square(part) for part in np.gradient(gray)))
        self._costs = 1 + GRAY_COST * change / min(self._spacing)
        self._walks: dict[tuple[int, ...], torch.Tensor] = {}

    @property
    def subjects(self) -> list[int]:
        """Of each channel, the class that it speaks of."""
        return [*range(1, self.classes)]

    def _walk(self, keep: tuple[int, ...]) -> torch.Tensor:
        """From 0 to 1, ``(channels, z, y, x)``."""
        ways = np.stack([self._ways(keep, label) for label in range(self.classes)])
        others = np.stack([np.delete(ways, label, 0).min(0) for label in range(1, self.classes)])
        nearer = np.clip((others - ways[1:]) / GEODESIC_REACH, -20, 20)
        return torch.from_numpy(1 / (1 + np.exp(-nearer))).float()

    def _ways(self, keep: tuple[int, ...], label: int) -> np.ndarray:
        """Length of the shortest way from each voxel to a class, mm."""
        sources = [self.sources[number] for number in keep]
        points = [source.coordinates()[source.values() == label] for source in sources]
        starts = np.unique(torch.cat(points).numpy() // self.factors, axis=0) if points else np.empty((0, 3))
        if not len(starts):
            return np.full(self._costs.shape, 1e3, np.float32)
        lengths, _ = MCP_Geometric(self._costs, sampling=self._spacing).find_costs(starts)
        return lengths.astype(np.float32)


@contextmanager
def knowing() -> Iterator[None]:
    """Training slices whose prior knows their own labels, as that of no other slice does."""
    targets_of = slice_bank.targets_of

    def known(*arguments: Any) -> list[Any]:
        return [replace(target, sources=frozenset()) for target in targets_of(*arguments)]

    with mock.patch.object(slice_bank, "targets_of", known):
        yield


@contextmanager
def snapshots() -> Iterator[None]:
    """The averaged weights of four moments late in the training predict together."""
    step, predict_slices = SliceLearner.step, SliceLearner.predict_slices
    kept: list[SliceUNet] = []

    def remember(learner: SliceLearner, rate: float) -> float:
        loss = step(learner, rate)
        if learner.steps > TEACHER_FROM and len(kept) < len(SNAPSHOT_RATES) and rate <= SNAPSHOT_RATES[len(kept)]:
            network = SliceUNet(**learner.network.arguments).eval()
            network.load_state_dict(learner.averaged.network.state_dict())
            kept.append(network)
        return loss

    def together(learner: SliceLearner, views: list[SliceView], keep: tuple[int, ...], **more: Any) -> torch.Tensor:
        last = learner.averaged.network
        learner.averaged.network = Ensemble([last, *kept])
        try:
            return predict_slices(learner, views, keep, **more)
        finally:
            learner.averaged.network = last

    with mock.patch.multiple(SliceLearner, step=remember, predict_slices=together):
        yield


@contextmanager
def teacher() -> Iterator[None]:
    """After each step one more on slices without labels, towards what the averaged weights are sure of."""
    step = SliceLearner.step

    def taught(learner: SliceLearner, rate: float) -> float:
        loss = step(learner, rate)
        if learner.steps < TEACHER_FROM:
            return loss
        orientation = learner.views()[int(learner.rng.integers(len(learner.views())))]
        chosen = [orientation[int(place)] for place in learner.rng.integers(len(orientation), size=TEACHER_SLICES)]
        inputs = learner._inputs(chosen, learner.prior.without(set(learner.bank.held_out)))
        with torch.no_grad():
            sure, labels = learner.averaged.network(inputs).softmax(1).max(1)
        losses = F.cross_entropy(learner.network(inputs), labels, reduction="none")
        learner.optimizer.zero_grad(set_to_none=True)
        (losses * (sure > SURE)).mean().backward()
        torch.nn.utils.clip_grad_norm_(learner.network.parameters(), 2.0)
        learner.optimizer.step()
        return loss

    with mock.patch.object(SliceLearner, "step", taught):
        yield


@contextmanager
def coarse_at_first() -> Iterator[None]:
    """Patches at half the resolution in the first third of the training."""
    step, draw = SliceLearner.step, SliceLearner._draw
    rates = {}

    def noted(learner: SliceLearner, rate: float) -> float:
        rates["now"] = rate
        return step(learner, rate)

    def coarse(learner: SliceLearner) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, labels = draw(learner)
        if rates["now"] < COARSE_ABOVE or not bool((labels[:, ::2, ::2] != UNLABELED).any()):
            return inputs, labels
        return F.avg_pool2d(inputs, 2, ceil_mode=True), labels[:, ::2, ::2]

    with mock.patch.multiple(SliceLearner, step=noted, _draw=coarse):
        yield


def _instead(place: Any, name: str, other: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: mock.patch.object(place, name, other)


VARIANTS: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "": nullcontext,
    "knowing": knowing,
    "harmonic": _instead(walk, "CONTRASTS", (0.0,)),
    "geodesic": _instead(annotation_prior, "WalkPrior", GeodesicPrior),
    "flips": _instead(slice_learner, "SliceUNet", FlippedUNet),
    "stem": _instead(slice_learner, "SliceUNet", StemmedUNet),
    "snapshots": snapshots,
    "teacher": teacher,
    "coarse at first": coarse_at_first,
}
"""The variants by name; each makes a context in which ``densify`` is the variant."""
