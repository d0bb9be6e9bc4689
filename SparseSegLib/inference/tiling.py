"""Prediction of volumes of any size, tile by tile, without seams and in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import torch

Size3 = tuple[int, int, int]


def predict_valid(
    predict: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    *,
    classes: int,
    margin: int,
    tile: Size3,
    multiple: int,
    device: torch.device,
    check: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """Overlap-tile prediction with a network of valid convolutions (Ronneberger et al. 2015, figure 2).

    Input tiles overlap by the margin that the network loses, output tiles touch; beyond the volume its mirror image is
    seen. The result is the same as of one pass over the whole mirrored volume, because tiles start at multiples of the
    network's pooling: a tile that started elsewhere would pool other groups of voxels.

    Parameters
    ----------
    predict : maps ``(1, C, z, y, x)`` to ``(1, K, z − 2·margin, …)``
    image : (C, Z, Y, X)
    classes : K
    margin : voxels lost on every side
    tile : output size (z, y, x) of one pass; must suit the network and be a multiple of ``multiple`` where the volume
        needs more than one tile along an axis
    multiple : product of the poolings
    device : where to compute
    check : called before every tile; may raise to end the work

    Returns
    -------
    (K, Z, Y, X) float32 on the CPU.
    """
    shape = image.shape[1:]
    steps = [part - part % multiple or part for part in tile]
    mirrored = [_mirrored(size, margin, step, part) for size, step, part in zip(shape, steps, tile, strict=True)]
    out = torch.empty(classes, *shape)
    for start in product(*(range(0, size, step) for size, step in zip(shape, steps, strict=True))):
        check()
        part = image
        for axis, (begin, size) in enumerate(zip(start, tile, strict=True)):
            seen = mirrored[axis][begin : begin + size + 2 * margin]
            part = part.index_select(1 + axis, torch.from_numpy(seen))
        values = predict(part[None].to(device))[0].float().cpu()
        stop = [min(begin + size, whole) for begin, size, whole in zip(start, tile, shape, strict=True)]
        inside = tuple(slice(0, end - begin) for begin, end in zip(start, stop, strict=True))
        out[(slice(None), *map(slice, start, stop))] = values[(slice(None), *inside)]
    return out


def predict_windows(
    predict: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    *,
    classes: int,
    window: Size3,
    device: torch.device,
    check: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """Prediction with a padded network in windows that overlap by half and are blended smoothly.

    ``predict`` maps ``(1, C, z, y, x)`` to ``(1, K, z, y, x)``. Returns ``(K, Z, Y, X)`` float32 on the CPU, the mean
    of the windows weighted by a smooth bump that falls towards their borders.
    """
    shape = image.shape[1:]
    size = [min(part, whole) for part, whole in zip(window, shape, strict=True)]
    bump = _bump(size)
    total, weight = torch.zeros(classes, *shape), torch.zeros(shape)
    for start in product(*(_starts(whole, part) for whole, part in zip(shape, size, strict=True))):
        check()
        box = tuple(slice(begin, begin + part) for begin, part in zip(start, size, strict=True))
        values = predict(image[(slice(None), *box)][None].to(device))[0].float().cpu()
        total[(slice(None), *box)] += values * bump
        weight[box] += bump
    return total / weight


def _mirrored(size: int, margin: int, step: int, tile: int) -> np.ndarray:
    """Indices that read an axis with its mirror image on both sides, as far as the last tile reaches."""
    last = (size - 1) // step * step
    return np.pad(np.arange(size), (margin, margin + max(0, last + tile - size)), mode="reflect")


def _starts(whole: int, part: int) -> Iterator[int]:
    last = whole - part
    count = -(-last // max(1, part // 2)) + 1
    return (round(number * last / max(1, count - 1)) for number in range(count))


def _bump(size: list[int]) -> torch.Tensor:
    sides = [torch.hann_window(part + 2, periodic=False)[1:-1].clamp(min=1e-3) for part in size]
    return torch.einsum("z,y,x->zyx", *sides)
