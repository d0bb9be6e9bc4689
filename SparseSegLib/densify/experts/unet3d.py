"""3D networks on patches of the image alone (Çiçek et al. 2016): no prior, but all of a small region at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts.base import Request, TrainableExpert
from SparseSegLib.densify.problem import Problem
from SparseSegLib.errors import UsageError
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
        self.trainer.learn_from([LabeledImage(problem.image, problem.without(hidden).array)])

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
            trainer.images[0][(slice(None), *box)],
            classes=trainer.classes,
            patch=trainer.recipe.patch,
            device=trainer.device,
            check=token.check,
        )
        inside = (
            slice(side.start - around.start, side.stop - around.start)
            for side, around in zip(request.box, box, strict=True)
        )
        return found[(slice(None), *inside)]

    def _around(self, request: Request) -> tuple[slice, ...]:
        """The request's box and a patch's half around it, so that its border looks as it does from within."""
        margins = [side // 2 for side in self.trainer.recipe.patch]
        shape = self.trainer.images[0].shape[1:]
        return tuple(
            slice(max(0, side.start - margin), min(size, side.stop + margin))
            for side, margin, size in zip(request.box, margins, shape, strict=True)
        )

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
            z, y, x = map(min, own.patches.patch, problem.image.shape[1:])
            self.recipe = replace(own.patches, patch=(z, y, x))

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
            z, y, x = within((z, y, x), self.recipe.patch, self.images[number].shape[1:]).tolist()
        return z, y, x
