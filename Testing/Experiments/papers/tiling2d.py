"""Prediction of images of any size with a 2D network of valid convolutions, tile by tile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch


def predict_image(
    predict: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    *,
    classes: int,
    margin: int,
    tile: int,
    multiple: int,
) -> torch.Tensor:
    """Overlap-tile prediction of one image (Ronneberger et al. 2015, figure 2).

    Input tiles overlap by the margin that the network loses, output tiles touch; beyond the image its mirror image is
    seen. The result is the same as of one pass over the whole mirrored image, because tiles start at multiples of the
    network's pooling.

    Parameters
    ----------
    predict : maps ``(1, C, y, x)`` to ``(1, K, y − 2·margin, x − 2·margin)``
    image : (1, C, Y, X)
    classes : K
    margin : pixels lost on every side
    tile : side of the output of one pass, at least ``multiple``; must suit the network
    multiple : product of the poolings

    Returns
    -------
    (1, K, Y, X), on the image's device.
    """
    step = tile - tile % multiple
    height, width = image.shape[-2:]
    rows, columns = (_mirrored(size, margin, step, tile, image.device) for size in (height, width))
    out = image.new_empty(len(image), classes, height, width)
    side = tile + 2 * margin
    for y in range(0, height, step):
        for x in range(0, width, step):
            part = image.index_select(2, rows[y : y + side]).index_select(3, columns[x : x + side])
            values = predict(part)
            below, right = min(tile, height - y), min(tile, width - x)
            out[..., y : y + below, x : x + right] = values[..., :below, :right]
    return out


def _mirrored(size: int, margin: int, step: int, tile: int, device: torch.device) -> torch.Tensor:
    """Indices that read an axis with its mirror image on both sides, as far as the last tile reaches."""
    last = (size - 1) // step * step
    indices = np.pad(np.arange(size), (margin, margin + max(0, last + tile - size)), mode="reflect")
    return torch.from_numpy(indices).to(device)
