"""Prediction of whole volumes with a 3D network that was trained on patches."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import nn

from SparseSegLib.inference.tiling import Size3, predict_valid, predict_windows


def predict_patches(
    network: nn.Module,
    image: torch.Tensor,
    *,
    classes: int,
    patch: Size3,
    device: torch.device,
    check: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """Class probabilities ``(K, Z, Y, X)`` float32 on the CPU of ``image`` (C, Z, Y, X), tile by tile without seams.

    Parameters
    ----------
    patch : (z, y, x) voxels of the network's input
    check : called before every tile; may raise to end the work
    """

    def predict(part: torch.Tensor) -> torch.Tensor:
        return network(part).softmax(1)

    z, y, x = output_size(network, patch)
    if getattr(network, "padded", True):
        return predict_windows(predict, image, classes=classes, window=(z, y, x), device=device, check=check)
    return predict_valid(
        predict,
        image.cpu(),
        classes=classes,
        margin=int(network.margin),  # type: ignore[arg-type]
        tile=(z, y, x),
        multiple=int(network.multiple),  # type: ignore[arg-type]
        device=device,
        check=check,
    )


def output_size(network: nn.Module, patch: Size3) -> Size3:
    """(z, y, x) voxels that come out where ``patch`` goes in."""
    margin = getattr(network, "margin", 0)
    z, y, x = (side - 2 * margin for side in patch)
    return z, y, x


def count_tiles(network: nn.Module, patch: Size3, shape: Size3) -> int:
    """The number of tiles of :func:`predict_patches` for a volume of ``shape`` (z, y, x), for the progress."""
    tile = output_size(network, patch)
    if getattr(network, "padded", True):
        sizes = [min(part, whole) for part, whole in zip(tile, shape, strict=True)]
        return prod(-(-(whole - part) // max(1, part // 2)) + 1 for part, whole in zip(sizes, shape, strict=True))
    multiple = int(network.multiple)  # type: ignore[arg-type]
    return prod(-(-whole // (part - part % multiple or part)) for part, whole in zip(tile, shape, strict=True))
