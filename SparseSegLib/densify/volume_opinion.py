"""The say of a small 3D U-Net beside the slice learner's, where the region is so small that it learns in time.

The slice learner trusts the annotation prior, and sees five slices at most. A network that sees the image alone, but
all of the region at once, errs in other voxels. Where outlines follow what the image shows (many round nuclei), it is
the better of the two; where they follow what an expert knows, held-out slices tell, and it is trained no further.

Two CPU cores gain little from working on one step of such small networks together. So each of the two has half of the
cores for itself, and trains beside the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.augmentation import Augmentation
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.first_guess import fading_share
from SparseSegLib.densify.held_out import mean_iou
from SparseSegLib.densify.patch_learner import PatchLearner
from SparseSegLib.densify.pretrained import Opinions
from SparseSegLib.densify.problem import Problem
from SparseSegLib.patches import LabeledImage, PatchRecipe
from SparseSegLib.training.losses import soft_dice

MOST_VOXELS = 300_000  # of a region; in a larger one the slices learn more in the same time
PATCH = (64, 64, 64)  # voxels at most
WIDTHS = (16, 32, 64)  # channels at one half of the resolution, one quarter, one eighth; a fourth level learns no more
EVERY = 2  # steps of the slice learner, which take about as long as one of its own
WORSE, ALIKE, BETTER = 0.0, 0.3, 0.5  # share of its opinion in a prediction, by how well it does on held-out slices
CLEARLY = 0.05  # IoU
LISTENED_FROM = 100  # steps after which it has all of its share


class VolumeOpinion(PatchLearner):
    """A residual 3D U-Net on the image alone, and how much what it says counts.

    Parameters
    ----------
    problem : Problem
    seed : int
    device : torch.device

    Attributes
    ----------
    share : as held-out slices judge it; 0 means that it need not be asked again
    """

    def __init__(self, problem: Problem, seed: int, device: torch.device) -> None:
        recipe = PatchRecipe("unet3d-residual", {"widths": WIDTHS}, patch=PATCH, learning_rate=3e-3, balance=0.5)
        super().__init__(problem, recipe, seed, device)
        self.augmentation = Augmentation(deformation_deviation=0, still=0.5)
        self.share = ALIKE
        self._step: Future[float] | None = None
        self._threads = max(1, torch.get_num_threads() // 2) if device.type == "cpu" else 0
        self._worker = ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(self._threads,))

    @staticmethod
    def suits(problem: Problem) -> bool:
        """Whether the region is small enough for it to learn in time."""
        return problem.labels.array.size <= MOST_VOXELS

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW, which takes a few hundred steps where SGD takes thousands."""
        return torch.optim.AdamW(self.network.parameters(), lr=self.recipe.learning_rate, weight_decay=1e-2, fused=True)

    def meet(self, problem: Problem, hidden: Iterable[Plane]) -> None:
        """Learn from all annotated voxels but the planes ``hidden`` from now on; weights and optimizer stay."""
        self._wait()
        known = problem.labels
        for plane in hidden:
            known = known.without(plane)
        self.learn_from([LabeledImage(problem.image, known.array)])

    def begin_step(self, rate: float) -> None:
        """Take a step (see :meth:`step`) in the background on a CPU, at once on another device.

        Whatever asks for what was learned waits for it.
        """
        self._wait()
        if self._threads:
            self._step = self._worker.submit(self.step, rate)
        else:
            self.step(rate)

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Leave half of the threads to it."""
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _wait(self) -> None:
        step, self._step = self._step, None
        if step is not None:
            step.result()

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Weighted cross-entropy and soft Dice over the labeled voxels."""
        return super().loss(logits, labels) + soft_dice(logits, labels)

    def everywhere(self, token: CancelToken) -> torch.Tensor:
        """Class probabilities ``(K, Z, Y, X)`` of the region."""
        self._wait()
        return self.predict(token)

    def weigh(self, opinions: Opinions) -> None:
        """Let held-out slices decide on its share; ``opinions`` are those of all others together, and its own."""
        others, own = (mean_iou([(one[which].argmax(0), one[2]) for one in opinions], self.classes) for which in (0, 1))
        if others is not None and own is not None:
            self.share = BETTER if own > others else ALIKE if own > others - CLEARLY else WORSE

    def blend(self, probabilities: torch.Tensor, token: CancelToken, *, at_once: bool = False) -> torch.Tensor:
        """Give it its share in ``probabilities`` ``(K, Z, Y, X)``, in place: little at first, or all ``at_once``."""
        self._wait()
        steps = self.averaged.steps
        share = self.share * (1.0 if at_once and steps else 1 - fading_share(steps, LISTENED_FROM))
        return probabilities.lerp_(self.everywhere(token), share) if share else probabilities

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs to go on to the same result."""
        self._wait()
        return {**super().state(), "share": self.share}

    def warm_start(self, state: dict[str, Any]) -> None:
        """Take over the weights of another training of the same network; ValueError if they do not fit."""
        self._wait()
        super().warm_start(state)
        self.share = float(state["share"])
