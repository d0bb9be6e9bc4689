"""A slice U-Net that has learned to densify many other volumes, before it sees the user's.

It reads the very channels that a slice learner reads: gray values of a slice and its neighbors, and the annotation
prior. So it has an opinion of any volume at once, which is what is shown first, and which stays worth hearing where few
slices say little: the learner blends it in, as far as held-out slices prefer that. The weights are for one image
channel and one structure; ``Testing/Benchmarks/pretraining.py`` makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.networks.slice_unet import SliceUNet
from SparseSegLib.resources import resource_folders

FOLDERS = resource_folders("Pretrained")
FILE = "slice-unet.pt"
WORSE, ALIKE, BETTER = 0.0, 0.15, 0.5  # share of its opinion in a prediction, by how well it does on held-out slices
CLEARLY = 0.05  # IoU
FEW_PLANES = 8
PARALLEL = 0.4  # its share at the least where fewer planes than that are annotated, all in one orientation: a learner,
# which sees each of them from the next one only, never sees what lies halfway between two, and may learn them by heart

Opinions = Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
"""Of some slices: what a learner and the pretrained network say ``(K, U, V)``, and what is drawn ``(U, V)``."""


def save_pretrained(path: Path, network: SliceUNet) -> None:
    """Write the weights in half precision."""
    weights = network.state_dict()
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    torch.save({"arguments": network.arguments, "weights": half}, path)


def load_pretrained(in_channels: int, classes: int) -> SliceUNet | None:
    """The network that comes with SparseSeg, ready to predict; None if it is not for so many channels and classes."""
    path = next((folder / FILE for folder in FOLDERS if (folder / FILE).is_file()), None)
    if path is None:
        return None
    saved = torch.load(path, map_location="cpu", weights_only=True)
    if (saved["arguments"]["in_channels"], saved["arguments"]["classes"]) != (in_channels, classes):
        return None
    network = SliceUNet(**saved["arguments"])
    network.load_state_dict(saved["weights"])
    return network.eval().requires_grad_(False)


def fitting_share(opinions: Opinions) -> float:
    """How much the pretrained network should have to say, by its IoU with what is drawn and the learner's."""
    own, other = (_iou([(opinion[which], opinion[2]) for opinion in opinions]) for which in (0, 1))
    if abs(other - own) <= CLEARLY:
        return ALIKE
    return BETTER if other > own else WORSE


def _iou(pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Of the structure, on all slices together."""
    overlap = union = 0
    for probabilities, drawn in pairs:
        found, wanted = probabilities.argmax(0) > 0, (drawn > 0) & (drawn != UNLABELED)
        overlap += int((found & wanted).sum())
        union += int(((found | wanted) & (drawn != UNLABELED)).sum())
    return overlap / union if union else 0.0
