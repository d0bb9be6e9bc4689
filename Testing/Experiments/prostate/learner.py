"""The learner of the prostate network on experts' masks: its samples, its loss, its optimizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from Experiments.prostate.movement import Movement, moved_places
from Experiments.prostate.patients import Prepared
from Experiments.prostate.scanner import Scanner, rescan
from Experiments.resumable.learner import AveragedLearner

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.networks import create_network
from SparseSegLib.networks.objective import Loss, training_loss
from SparseSegLib.training.losses import batch_weights, vnet_dice, weighted_cross_entropy
from SparseSegLib.training.precision import computing_in

CLASSES = 2


def dice_and_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """V-Net's Dice loss and cross-entropy."""
    return vnet_dice(logits, target) + weighted_cross_entropy(logits, target)


def logistic(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The re-weighted logistic loss that V-Net's Dice is compared with (Milletari et al. 2016, table 2)."""
    return weighted_cross_entropy(logits, target, batch_weights(target, logits.shape[1]))


LOSSES: dict[str, Loss] = {"dice+ce": dice_and_entropy, "dice": vnet_dice, "logistic": logistic}


@dataclass(frozen=True)
class Recipe:
    """The configuration of a training, together with its patients and its seed.

    Attributes
    ----------
    network, arguments : entry of the network registry, and what its class takes
    spacing : (z, y, x) mm
    window : (z, y, x) voxels of a sample, and of what a prediction sees at once
    shift : standard deviation of a sample's place around the middle, (z, y, x) mm; along z beyond what lets the sample
        cover every slice
    steps, batch, learning_rate, weight_decay, warmup, longest_gradient : of AdamW, whose rate falls as a cosine
    averaging : of the weights that predict
    loss : one of ``LOSSES``
    precision : auto, float32 or bf16
    """

    network: str = "vnet-anisotropic"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    spacing: tuple[float, float, float] = (3.0, 1.25, 1.25)
    window: tuple[int, int, int] = (24, 96, 96)
    shift: tuple[float, float, float] = (4.0, 10.0, 10.0)
    steps: int = 4400
    batch: int = 2
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warmup: int = 100
    longest_gradient: float = 5.0
    averaging: float = 0.998
    loss: str = "dice+ce"
    precision: str = "auto"
    movement: Movement = field(default_factory=Movement)
    scanner: Scanner = field(default_factory=Scanner)


class ProstateLearner(AveragedLearner):
    """Trains one network on prepared patients; scans of rare centers are drawn more often.

    Attributes
    ----------
    patients : those that it learns from
    """

    def __init__(self, patients: Sequence[Prepared], recipe: Recipe, seed: int, device: torch.device) -> None:
        self.patients = patients
        self.recipe = recipe
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = create_network(recipe.network, 1, CLASSES, **recipe.arguments)
        super().__init__(network.to(device), recipe, device)
        self.generator = torch.Generator(device).manual_seed(seed)
        counts = Counter(one.patient.center for one in patients)
        self.shares = torch.tensor([counts[one.patient.center] ** -0.5 for one in patients], device=device)
        self.images = [one.image.to(device) for one in patients]
        self.masks = [one.inside.to(device) for one in patients]

    def step(self) -> float:
        """One training step; its loss."""
        image, target = self.samples()
        self.begin(self.steps / self.recipe.steps)
        with computing_in(self.precision, self.device):
            loss = training_loss(self.network, image, target, self._loss)
        return self.descend(loss)

    @torch.no_grad()
    def samples(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch ``(B, 1, z, y, x)`` and its labels ``(B, z, y, x)``, each changed at random in its own way."""
        recipe = self.recipe
        drawn = torch.multinomial(self.shares, recipe.batch, True, generator=self.generator).tolist()
        centers = torch.stack([self._center(self.images[number].shape) for number in drawn])
        places = moved_places(centers, recipe.window, recipe.spacing, recipe.movement, self.generator)
        pairs = [self._read(number, place) for number, place in zip(drawn, places, strict=True)]
        images = [rescan(image, recipe.spacing, recipe.scanner, self.generator) for image, _ in pairs]
        batch = torch.stack(images)[:, None].contiguous(memory_format=torch.channels_last_3d)
        return batch, torch.stack([target for _, target in pairs])

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs to go on to the same result."""
        return {**super().state(), "generator": self.generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken."""
        super().restore(state)
        self.generator.set_state(state["generator"])

    def _loss(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return LOSSES[self.recipe.loss](logits.float(), target)

    def _center(self, shape: Sequence[int]) -> torch.Tensor:
        """(z, y, x) voxels of the middle of a sample of a volume of ``shape``: any slices, about the middle of these.

        Whole voxels, so that a sample that is not moved shows the volume's own.
        """
        recipe, device = self.recipe, self.device
        middle = torch.tensor([(part - 1) / 2 for part in shape], device=device)
        spare = max(0, shape[0] - recipe.window[0]) / 2
        where, *_ = (torch.rand(1, generator=self.generator, device=device) * 2 - 1).tolist()
        shift = torch.tensor(recipe.shift, device=device) / torch.tensor(recipe.spacing, device=device)
        moved = torch.randn(3, generator=self.generator, device=device) * shift
        moved[0] += where * spare
        first = (middle + moved - (torch.tensor(recipe.window, device=device) - 1) / 2).round()
        return first + (torch.tensor(recipe.window, device=device) - 1) / 2

    def _read(self, number: int, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Image and labels at ``places (z, y, x, 3)``; beyond the volume its border is repeated, and unlabeled."""
        both = torch.stack([self.images[number], self.masks[number]])[None]
        size = torch.tensor(both.shape[2:], device=self.device)
        grid = ((places + 0.5) / size * 2 - 1).flip(-1)[None]
        image, inside = F.grid_sample(both, grid, align_corners=False, padding_mode="border")[0]
        target = (inside >= 0.5).to(torch.uint8)
        beyond = ((places < -0.5) | (places > size - 0.5)).any(-1)
        return image, target.masked_fill(beyond, UNLABELED)
