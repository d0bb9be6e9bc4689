"""A slice U-Net that has learned to densify many other volumes, before it sees the user's.

It reads the very channels that a slice learner reads: gray values of a slice and its neighbors, and the annotation
prior. So it has an opinion of any volume at once, which is what is shown first, and which stays worth hearing where few
slices say little: the learner blends it in, as far as held-out slices prefer that. The weights are for one image
channel and one structure (of several, it is asked about each); ``python Testing/Experiments pretraining`` makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from SparseSegLib.densify.held_out import mean_iou
from SparseSegLib.files import load_torch_file
from SparseSegLib.networks.one_versus_rest import OneVersusRest, channels_about
from SparseSegLib.networks.slice_unet import SliceUNet
from SparseSegLib.resources import resource_folders

FOLDERS = resource_folders("Pretrained")
FILE = "slice-unet.pt"
WORSE, ALIKE, BETTER = 0.0, 0.15, 0.5  # share of its opinion in a prediction, by how well it does on held-out slices
CLEARLY = 0.05  # IoU
FEW_PLANES = 8
PARALLEL = 0.4  # its share at the least where fewer planes than that are annotated, all in one orientation: a learner,
# which sees each of them from the next one only, never sees what lies halfway between two, and may learn them by heart
PARALLEL_OF_SEVERAL = 0.7  # the same for several structures, of which such planes show each only once or twice

Opinions = Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
"""Of some slices: what a learner and the pretrained network say ``(K, U, V)``, and what is drawn ``(U, V)``."""


def save_pretrained(path: Path, network: SliceUNet) -> None:
    """Write the weights in half precision."""
    weights = network.state_dict()
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    torch.save({"arguments": network.arguments, "weights": half}, path)


def load_pretrained(subjects: Sequence[int], classes: int) -> nn.Module | None:
    """The network that comes with SparseSeg, ready to predict; None if it is not for such channels.

    ``subjects`` are the classes that the channels speak of, 0 for all: of several structures it is asked one by one.
    Raises FileError if its file is damaged.
    """
    path = next((folder / FILE for folder in FOLDERS if (folder / FILE).is_file()), None)
    if path is None:
        return None
    with path.open("rb") as stream:
        saved = load_torch_file(stream, str(path))
    tells_apart = classes == 2 or max(subjects, default=0) == classes - 1
    if not tells_apart or len(channels_about(1, subjects)) != saved["arguments"]["in_channels"]:
        return None
    network = SliceUNet(**saved["arguments"])
    network.load_state_dict(saved["weights"])
    network.eval().requires_grad_(False)
    return network if classes == 2 else OneVersusRest(network, subjects)


def fitting_share(opinions: Opinions) -> float:
    """How much the pretrained network should have to say, by its IoU with what is drawn and the learner's."""
    if not opinions:
        return ALIKE
    classes = len(opinions[0][0])
    own, other = (mean_iou([(one[which].argmax(0), one[2]) for one in opinions], classes) or 0.0 for which in (0, 1))
    if abs(other - own) <= CLEARLY:
        return ALIKE
    return BETTER if other > own else WORSE
