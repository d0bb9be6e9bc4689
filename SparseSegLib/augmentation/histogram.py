"""Histogram matching: the gray values of one scan get the distribution of another's, on the device that trains."""

from __future__ import annotations

import torch

LEVELS = 512
SAMPLE = 1 << 16  # voxels that a table is made from
NODES = 1 << 14  # bins of gray values while an image is changed


def quantile_tables(images: torch.Tensor, levels: int = LEVELS) -> torch.Tensor:
    """The gray values at ``levels`` equidistant quantiles, 0 to 1: ``(B, C, levels)``, ascending.

    Of large ``images`` ``(B, C, ...)`` every n-th voxel counts, n odd, so that no columns are favored. Make the tables
    of a training set once and keep them.
    """
    values = images.flatten(2)
    values = values[..., :: (values.shape[-1] // SAMPLE) | 1].sort(-1).values
    places = torch.linspace(0, values.shape[-1] - 1, levels, device=values.device)
    low = places.long()
    high = (low + 1).clamp(max=values.shape[-1] - 1)
    return values[..., low].lerp(values[..., high], (places - low).to(values.dtype))


def match_histograms(images: torch.Tensor, tables: torch.Tensor) -> torch.Tensor:
    """Change the gray values of ``images`` so that they are distributed as in other scans.

    A value that stands at some quantile of its own image becomes the other scan's value at that quantile; between the
    levels of the tables the map is linear. Where many voxels share a value (the background), its highest quantile
    counts. See Milletari et al. 2016, section 3.1.

    Parameters
    ----------
    images : (B, C, ...)
    tables : (B, C, levels)
        Quantiles of the other scans, one for each image (see :func:`quantile_tables`).

    Returns
    -------
    (B, C, ...) in the type of ``images``.
    """
    own = quantile_tables(images, tables.shape[-1])
    low, high = own[..., :1], own[..., -1:]
    step = ((high - low) / (NODES - 1)).clamp(min=torch.finfo(own.dtype).tiny)
    curve = _mapped(low + step * torch.arange(NODES, device=own.device), own, tables)
    nearest = ((images.flatten(2) - low) / step).clamp(0, NODES - 1).round().long()
    return curve.gather(-1, nearest).view_as(images)


def _mapped(values: torch.Tensor, own: torch.Tensor, tables: torch.Tensor) -> torch.Tensor:
    """The mapped ``values`` (B, C, N). Searching each of them takes long, so that is done for a few only."""
    above = torch.searchsorted(own, values, right=True).clamp(1, own.shape[-1] - 1)
    low, high = own.gather(-1, above - 1), own.gather(-1, above)
    part = ((values - low) / (high - low)).clamp(0, 1).nan_to_num(1.0)
    return tables.gather(-1, above - 1).lerp(tables.gather(-1, above), part)
