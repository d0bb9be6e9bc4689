"""A slice U-Net pretrained on many other volumes, which predicts this one without any training.

It has the same input channels as the slice U-Net: gray values of a slice and its neighbors, and the annotation prior.
The weights are for one image channel and one structure (of several, each against the rest).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from SparseSegLib.annotation import Plane
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts.base import Expert, Request
from SparseSegLib.densify.problem import Problem
from SparseSegLib.densify.slice_features import SliceFeatures
from SparseSegLib.densify.slicewise import SlicewisePredictor
from SparseSegLib.files.torch_files import load_torch_file
from SparseSegLib.networks.one_versus_rest import OneVersusRest, channels_of_class
from SparseSegLib.networks.slice_unet import SliceUNet
from SparseSegLib.prior import USUAL_PARTS
from SparseSegLib.resources import resource_folders

FOLDERS = resource_folders("Pretrained")
FILE = "slice-unet.pt"
NEIGHBORS = 2  # slices on either side; with these channels it was trained


@dataclass(frozen=True)
class PretrainedRecipe:
    """The pretrained slice U-Net; only its weight can be chosen."""

    name: ClassVar[str] = "pretrained"
    prior_weight: float = 0.2
    warmup: int = 0

    def suits(self, problem: Problem, seconds: float | None, device: torch.device) -> bool:
        """For one image channel."""
        features = SliceFeatures(problem, USUAL_PARTS, NEIGHBORS)
        return load_pretrained(features.channel_classes, problem.classes) is not None

    def make(self, problem: Problem, seed: int, device: torch.device) -> PretrainedExpert:
        """The expert."""
        network = load_pretrained(SliceFeatures(problem, USUAL_PARTS, NEIGHBORS).channel_classes, problem.classes)
        assert network is not None
        return PretrainedExpert(network, device)


class PretrainedExpert(Expert):
    """Predicts slice by slice with fixed weights.

    Parameters
    ----------
    network : see :func:`load_pretrained`
    device : torch.device
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device = device

    def set_annotation(self, problem: Problem, hidden: frozenset[Plane]) -> None:
        """Predict from this annotation from now on, ``hidden`` planes left out."""
        self.problem = problem
        features = SliceFeatures(problem, USUAL_PARTS, NEIGHBORS)
        self.keep = features.known(hidden)
        self.predictor = SlicewisePredictor(features, self.network, problem.classes, self.device)

    def predict(self, request: Request, token: CancelToken) -> torch.Tensor:
        """Class probabilities ``(K, z, y, x)`` of the request's box, the mean over the orientations."""
        return self.predictor.predict(request, self.keep, token)

    def predict_planes(self, planes: Sequence[Plane], token: CancelToken) -> list[torch.Tensor]:
        """Class probabilities ``(K, U, V)`` of some slices, each seen from its own orientation."""
        return self.predictor.predict_planes(planes, self.keep, token)

    def seconds(self, request: Request) -> float:
        """Seconds that a prediction would take."""
        return self.predictor.seconds(request, self.keep)


def save_pretrained(path: Path, network: SliceUNet) -> None:
    """Write the weights in half precision."""
    weights = network.state_dict()
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    torch.save({"arguments": network.arguments, "weights": half}, path)


@cache
def _saved(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        return load_torch_file(stream, str(path))


def load_pretrained(channel_classes: Sequence[int], classes: int) -> nn.Module | None:
    """The network that comes with SparseSeg, ready to predict; None if it is not for such channels.

    ``channel_classes`` are the classes of the channels, 0 for those of all classes; it predicts several structures one
    by one. Raises FileError if its file is damaged.
    """
    path = next((folder / FILE for folder in FOLDERS if (folder / FILE).is_file()), None)
    if path is None:
        return None
    saved = _saved(path)
    suits = classes == 2 or max(channel_classes, default=0) == classes - 1
    if not suits or len(channels_of_class(1, channel_classes)) != saved["arguments"]["in_channels"]:
        return None
    network = SliceUNet(**saved["arguments"])
    network.load_state_dict(saved["weights"])
    network.eval().requires_grad_(False)
    return network if classes == 2 else OneVersusRest(network, channel_classes)
