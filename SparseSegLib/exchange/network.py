"""A model's network as other programs get it: class probabilities out, and plain operations inside."""

from __future__ import annotations

import copy

import torch
from torch import nn

from SparseSegLib.networks.convolution import Convolution


class Probabilities(nn.Module):
    """Class probabilities ``(B, K, Z, Y, X)`` of a network that gives logits.

    The network is copied, with torch's own convolutions instead of those of the project, which have the same weights:
    written out, the shortcut that these take on a CPU would be thousands of operations.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = _plain(copy.deepcopy(network)).eval()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Probabilities for a batch ``(B, C, Z, Y, X)``."""
        return self.network(image).softmax(1)


def _plain(network: nn.Module) -> nn.Module:
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, Convolution):
                setattr(module, name, _as_torchs(child))
            elif (
                isinstance(child, nn.Conv3d | nn.ConvTranspose3d | nn.Conv2d | nn.ConvTranspose2d)
                and child.bias is None
            ):
                child.bias = nn.Parameter(torch.zeros(child.out_channels))  # PyTorch 2.13 writes another one for none
    return network


def _as_torchs(convolution: Convolution) -> nn.Conv3d:
    size = convolution.kernel_size[0]
    plain = nn.Conv3d(convolution.in_channels, convolution.out_channels, size, padding=size // 2, device="meta")
    plain.weight, plain.bias = convolution.weight, convolution.bias
    return plain
