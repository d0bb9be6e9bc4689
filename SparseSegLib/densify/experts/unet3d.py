"""3D networks on patches of the image alone (Çiçek et al. 2016): no prior, but all of a small region at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.augmentation import cut, random_places
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts.base import Request, TrainableExpert
from SparseSegLib.densify.problem import Problem
from SparseSegLib.errors import UsageError
from SparseSegLib.image import Box
from SparseSegLib.image.region_image import InMemory, RegionImage
from SparseSegLib.inference import predict_patches
from SparseSegLib.patches import LabeledImage, PatchRecipe, PatchTrainer, within
from SparseSegLib.training.losses import soft_dice


@dataclass(frozen=True)
class UNet3DRecipe:
    """Configuration of a 3D network trained on patches around labeled voxels.

    Attributes
    ----------
    patches : network, patch size, batch, learning rate and augmentation
    optimizer : ``"sgd"`` as in the paper, or ``"adamw"``, which takes a few hundred steps where SGD takes thousands
    dice : weight of the soft Dice beside the cross-entropy in the loss
    still : fraction of the patches that are neither turned nor scaled
    most_voxels : of a region that it learns in time, None for any
    least_seconds : of a budget in which it learns something on a CPU
    voxels_per_second : of a region, at most, on a CPU
    every : of the ensemble's steps, it takes each ``every``-th
    padded : whether only a padded network will do
    """

    name: ClassVar[str] = "unet3d"
    patches: PatchRecipe = field(default_factory=PatchRecipe)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    dice: float = 0.0
    still: float = 0.0
    most_voxels: int | None = None
    least_seconds: float = 0.0
    voxels_per_second: float | None = None
    every: int = 1
    padded: bool = False
    prior_weight: float = 1.0
    warmup: int = 0

    def suits(self, problem: Problem, seconds: float | None, device: torch.device) -> bool:
        """Whether the region is small enough for it to learn in time."""
        voxels = problem.labels.array.size
        if self.most_voxels is not None and voxels > self.most_voxels:
            return False
        if device.type != "cpu" or seconds is None:
            return True
        in_time = self.voxels_per_second is None or voxels <= self.voxels_per_second * seconds
        return in_time and seconds >= self.least_seconds

    def make(self, problem: Problem, seed: int, device: torch.device) -> UNet3DExpert:
        """The untrained expert; UsageError if the network is none for volumes."""
        expert = UNet3DExpert(problem, self, seed, device)
        if self.padded and not expert.trainer.pads:
            raise UsageError(
                f"The network {self.patches.network} is not padded, and takes patches of certain sizes only.",
                "Use the preset cicek2016, or another network.",
            )
        return expert


class UNet3DExpert(TrainableExpert):
    """Learns from patches around labeled voxels of one volume; predicts with overlapping windows.

    Parameters
    ----------
    problem : Problem
    recipe : UNet3DRecipe
    seed : int
    device : torch.device
    """

    def __init__(self, problem: Problem, recipe: UNet3DRecipe, seed: int, device: torch.device) -> None:
        self.trainer = _Trainer(problem, recipe, seed, device)
        self.every = recipe.every

    @property
    def steps(self) -> int:  # type: ignore[override]
        """Training steps so far."""
        return self.trainer.steps

    @property
    def trained(self) -> int:  # type: ignore[override]
        """Steps behind the weights that predict, those of an earlier training included."""
        return self.trainer.averaged.steps

    def set_annotation(self, problem: Problem, hidden: frozenset[Plane]) -> None:
        """Learn from this annotation from now on, ``hidden`` planes left out."""
        self.problem = problem
        self.trainer.learn_from_region(problem.image, problem.without(hidden).array)

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The next batch of patches ``(B, C, z, y, x)`` and their labels ``(B, z, y, x)``."""
        return self.trainer.draw()

    def step(self, rate: float) -> float:
        """One training step with ``rate`` times the learning rate; the loss."""
        return self.trainer.step(rate)

    def shrink(self) -> int:
        """Take half as many patches per step from now on; how many these are, or 0 if there is one already."""
        return self.trainer.shrink()

    @torch.inference_mode()
    def predict(self, request: Request, token: CancelToken) -> torch.Tensor:
        """Class probabilities ``(K, z, y, x)`` of the request's box."""
        trainer = self.trainer
        box = self._around(request)
        found = predict_patches(
            trainer.averaged.network,
            trainer.part(box),
            classes=trainer.classes,
            patch=trainer.recipe.patch,
            device=trainer.device,
            check=token.check,
        )
        inside = (
            slice(places.start - around.start, places.stop - around.start, places.step)
            for places, around in zip(request.places, box, strict=True)
        )
        return found[(slice(None), *inside)]

    def _around(self, request: Request) -> Box:
        """The request's box and a patch's half around it, so that its border looks as it does from within."""
        margins = [side // 2 for side in self.trainer.recipe.patch]
        shape = self.problem.image.sides
        z, y, x = (
            slice(max(0, side.start - margin), min(size, side.stop + margin))
            for side, margin, size in zip(request.box, margins, shape, strict=True)
        )
        return z, y, x

    def weights_dict(self) -> dict[str, Any]:
        """The averaged weights, which predict."""
        return self.trainer.weights_dict()

    def state_dict(self) -> dict[str, Any]:
        """The state that :meth:`load_state_dict` needs to go on to the same result."""
        return self.trainer.state()

    def load_state_dict(self, state: Mapping[str, Any], *, warm_start: bool = False) -> None:
        """Go on where :meth:`state_dict` was taken, or start from its weights alone."""
        (self.trainer.warm_start if warm_start else self.trainer.restore)(dict(state))


class _Trainer(PatchTrainer):
    """Patches of one volume.

    A network that pads sees in a patch where the volume ends. So its patches are no larger than the volume and lie
    within it, as its windows will; they only hang over where they are rotated or scaled at random.
    """

    def __init__(self, problem: Problem, own: UNet3DRecipe, seed: int, device: torch.device) -> None:
        super().__init__(own.patches, len(problem.image), problem.classes, seed, device)
        self.own = own
        self.augmentation = replace(self.augmentation, still=own.still)
        self.pads = getattr(self.network, "padded", True)
        if self.pads:
            z, y, x = map(min, own.patches.patch, problem.image.sides)
            self.recipe = replace(own.patches, patch=(z, y, x))

    def learn_from_region(self, image: RegionImage, labels: np.ndarray) -> None:
        """Draw patches from a region's image and its labels ``(Z, Y, X)`` from now on."""
        self.region = image
        values = image.values if isinstance(image, InMemory) else torch.empty(len(image), 0, 0, 0)
        self.learn_from([LabeledImage(values, labels)])

    def part(self, box: Box) -> torch.Tensor:
        """The gray values ``(C, z, y, x)`` in a box of the region."""
        return self.images[0][(slice(None), *box)] if isinstance(self.region, InMemory) else self.region.part(box)

    def _cut_from(self, number: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Patches of a region, of which only what is around them is read where it is large."""
        if isinstance(self.region, InMemory):
            return super()._cut_from(number, count)
        patches = []
        for _ in range(count):
            center = torch.tensor([self.center(number)], dtype=torch.float32)
            places = random_places(center, self.recipe.patch, self.augmentation, self.generator)
            low, high = (
                places.flatten(0, -2).amin(0).floor().long() - 1,
                places.flatten(0, -2).amax(0).ceil().long() + 2,
            )
            z, y, x = (
                slice(max(0, min(start, side - 1)), min(side, max(stop, 1)))
                for start, stop, side in zip(low.tolist(), high.tolist(), self.region.sides, strict=True)
            )
            start = torch.tensor([z.start, y.start, x.start], device=places.device)
            image, labels = self.region.part((z, y, x)), self.labels[number][z, y, x]
            patches.append(cut(image.to(self.device), labels.to(self.device), places - start))
        return torch.cat([image for image, _ in patches]), torch.cat([labels for _, labels in patches])

    def make_optimizer(self) -> torch.optim.Optimizer:
        """SGD with momentum, or AdamW."""
        if self.own.optimizer == "sgd":
            return super().make_optimizer()
        return torch.optim.AdamW(self.network.parameters(), lr=self.recipe.learning_rate, weight_decay=1e-2, fused=True)

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Weighted cross-entropy and soft Dice over the labeled voxels."""
        loss = super().loss(logits, labels)
        return loss + self.own.dice * soft_dice(logits, labels) if self.own.dice else loss

    def center(self, number: int) -> tuple[float, float, float]:
        """(z, y, x) of the middle of the next patch: a labeled voxel, or as near as the volume allows."""
        z, y, x = super().center(number)
        if self.pads:
            z, y, x = within((z, y, x), self.recipe.patch, self.region.sides).tolist()
        return z, y, x
