"""Label quality in a cohort: weights of the patches by how good their labels seem, and their mean for each case."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch

from SparseSegLib.evaluation.cohort import cell_text
from SparseSegLib.noisy import QualityNetwork, QualityWeighting

WIDTHS = (8, 16, 32, 32)
SHARE = 0.1  # of the learning rate; a quality network that learns as fast decides before anything is known
FROM = 100  # steps; before, losses depend on how large a structure is labeled rather than how well
FEWEST = 2  # patches per step: the weights of a step are relative to one another
USUAL = 4


@dataclass(frozen=True)
class LabelWeight:
    """The weight of a case's labels.

    Attributes
    ----------
    case : its name
    mean : over the later half of its patches, when the quality network is trained, relative to equal weights: below 1
        its labels were trusted less than others
    patches : how many were seen in all
    """

    case: str
    mean: float
    patches: int


class LabelQuality:
    """Weights the patches of each step by the quality of their labels (thesis 2019, section 3.2).

    A small network beside the one that segments scores image and labels together; see
    :class:`~SparseSegLib.noisy.QualityWeighting`, which computes one patch at a time.

    Parameters
    ----------
    channels, classes : int, of images and labels
    seed : of the quality network's first weights
    device : torch.device
    """

    def __init__(self, channels: int, classes: int, seed: int, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            quality = QualityNetwork(channels, classes, 3, WIDTHS)
        self.weighting = QualityWeighting(quality).to(device)
        self.optimizer = torch.optim.Adam(self.weighting.parameters())
        self._weights: dict[int, list[float]] = {}  # of each case, relative to equal weights

    def learn(
        self,
        samples: Sequence[tuple[torch.Tensor, torch.Tensor]],
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        cases: Sequence[int],
    ) -> float:
        """Leave the gradients of the weighted loss in both networks; the loss.

        Parameters
        ----------
        samples : patches ``(1, C, z, y, x)`` and their labels ``(1, z, y, x)``
        loss : maps one of them to a number, through the network that segments
        cases : the index of the case that each comes from
        """
        self.optimizer.zero_grad(set_to_none=True)
        total, weights = self.weighting.accumulate(samples, lambda image, labels: loss(image, labels)[None])
        for case, weight in zip(cases, weights.tolist(), strict=True):
            self._weights.setdefault(case, []).append(weight * len(samples))
        return total

    def step(self, learning_rate: float) -> None:
        """Step the quality network's optimizer, at a tenth of the ``learning_rate`` of the network that segments."""
        for group in self.optimizer.param_groups:
            group["lr"] = SHARE * learning_rate
        self.optimizer.step()

    def weights(self, names: Sequence[str]) -> tuple[LabelWeight, ...]:
        """The weights of the labels of the cases with these names, the lowest first; without cases never drawn."""
        found = [
            LabelWeight(names[case], mean(weights[len(weights) // 2 :]), len(weights))
            for case, weights in self._weights.items()
        ]
        return tuple(sorted(found, key=lambda one: (one.mean, one.case)))

    def state(self) -> dict[str, Any]:
        """The state for :meth:`restore`."""
        return {
            "weighting": self.weighting.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "weights": {case: list(weights) for case, weights in self._weights.items()},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken."""
        self.weighting.load_state_dict(state["weighting"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._weights = {case: list(weights) for case, weights in state["weights"].items()}


def weights_as_csv(rows: Sequence[LabelWeight]) -> str:
    """One row per case, as CSV: see :class:`LabelWeight`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["case", "mean_weight", "patches"])
    writer.writerows([cell_text(row.case), f"{row.mean:.4f}", row.patches] for row in rows)
    return out.getvalue()
