"""Plausibility checks of a result: warnings where image or segmentation do not look like the training volumes'."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from SparseSegLib.errors import ModelError
from SparseSegLib.evaluation import dice
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.models import ModelCard
from SparseSegLib.models.card import Expectations
from SparseSegLib.models.fields import HINT
from SparseSegLib.networks.ensemble import Ensemble
from SparseSegLib.prediction.components import largest_component
from SparseSegLib.preprocessing.grid import oriented
from SparseSegLib.units import length_text, volume_text

Size = tuple[int, int, int]

SLACK = 1.3  # times the largest distance among the training volumes
LEAST_DEVIATION = 0.05  # of a channel, relative to the mean deviation of all


@dataclass(frozen=True)
class Found:
    """A model's segmentation of a volume, on the model's grid.

    Attributes
    ----------
    mask : (Z, Y, X) bool, where any structure is the most probable
    certainty : (Z, Y, X) float32, the probability of any structure
    grid : Geometry
    """

    mask: np.ndarray
    certainty: np.ndarray
    grid: Geometry


def check_layer(card: ModelCard, network: nn.Module) -> None:
    """Raise ModelError if the card names a layer that the network does not have."""
    layer = card.expectations.layer if card.expectations else ""
    if layer and layer not in dict(network.named_modules()):
        raise ModelError(f"The model card of {card.name} is damaged: its network has no layer {layer}.", HINT)


def volume_warnings(volume: Volume, expected: Expectations) -> list[str]:
    """Warnings about a volume as it was read."""
    warnings = []
    grid = oriented(volume.geometry)
    extent = [part * step for part, step in zip(grid.shape, grid.spacing, strict=True)]
    limits = zip(extent, expected.extent_low, expected.extent_high, strict=True)
    if not all(low <= part <= high for part, low, high in limits):
        warnings.append(
            f"its field of view is {_by_x(extent)} mm, and the model's training volumes have "
            f"{_by_x(expected.extent_low)} to {_by_x(expected.extent_high)} mm"
        )
    negative = float((volume.array < 0).mean())
    if negative > expected.negative:
        warnings.append(f"{negative:.0%} of its voxels are below zero, as in a CT")
    return warnings


def image_warnings(image: torch.Tensor, expected: Expectations) -> list[str]:
    """Warnings about a preprocessed image (C, Z, Y, X)."""
    smooth = min(_smoothness(channel) for channel in image) >= expected.smoothness
    return [] if smooth else ["it is mostly noise"]


def finding_warnings(found: Found, expected: Expectations) -> list[str]:
    """Warnings about what was found."""
    voxel = math.prod(found.grid.spacing) / 1000
    if not found.mask.any():
        return ["nothing was found in it"]
    warnings = []
    piece = largest_component(found.mask)
    volume, (low, high) = float(piece.sum()) * voxel, expected.volume
    if not low <= volume <= high:
        warnings.append(f"what was found has {volume_text(volume)}, and {low:g} to {high:g} ml are usual")
    confidence = float(found.certainty[piece].mean())
    if confidence < expected.confidence:
        warnings.append(f"the model is unsure about what it found (probability {confidence:.2f})")
    compact, place = _shape(piece, found.grid)
    if compact < expected.compactness:
        warnings.append("what was found has an unusual shape")
    if place > expected.off_center:
        warnings.append(f"what was found lies {length_text(place, 2)} from the middle of the image")
    return warnings


def expected_dice(found: Found) -> float:
    """The Dice that the probabilities let expect of the largest piece, if they are right; 0 where nothing is found."""
    piece = largest_component(found.mask)
    voxels = float(piece.sum()) + float(found.certainty.sum())
    return 2 * float(found.certainty[piece].sum()) / voxels if piece.any() else 0.0


def expected_dice_warnings(found: Found, expected: Expectations) -> list[str]:
    """Warnings about a result that is likely to have faults, though the image is one that the model is for."""
    dice_expected = expected_dice(found)
    if dice_expected >= expected.expected_dice:
        return []
    return [f"the model is unsure about its outline (it expects a Dice of {dice_expected:.2f})"]


def features_warnings(features: np.ndarray | None, expected: Expectations) -> list[str]:
    """Warnings about the features (see :func:`features_around`).

    Raises ModelError if the layer has another number of channels than the expectations.
    """
    if features is None or not expected.layer:
        return []
    if len(features) != len(expected.mean):
        raise ModelError(
            f"The model card is damaged: the layer {expected.layer} has {len(features)} channels, and the card expects "
            f"{len(expected.mean)}.",
            HINT,
        )
    distance = feature_distance(features, expected)
    if distance <= expected.distance:
        return []
    return [
        f"it looks different from what the model learned from (distance {distance:.1f}, limit {expected.distance:.1f})"
    ]


def feature_distance(features: np.ndarray, expected: Expectations) -> float:
    """Root mean square over the channels of how many standard deviations features lie from the training volumes'."""
    return float(np.sqrt(np.mean(((features - expected.mean) / np.asarray(expected.deviation)) ** 2)))


@torch.inference_mode()
def agreement_around(
    network: Ensemble, image: torch.Tensor, mask: np.ndarray, window: Size, device: torch.device
) -> float | None:
    """Mean Dice of what each network finds with what all find, in a window of ``image`` (C, Z, Y, X) around ``mask``.

    None if the mask is empty.
    """
    if not mask.any():
        return None
    part = _window(image, np.argwhere(mask).mean(0), window)[None].to(device)
    each = torch.stack([member(part).softmax(1) for member in network.members])
    found, together = (each.argmax(2) > 0).cpu().numpy(), (each.mean(0).argmax(1) > 0).cpu().numpy()
    return float(np.mean([dice(one, together) for one in found]))


def agreement_warnings(agreement: float | None, expected: Expectations) -> list[str]:
    """Warnings about what several networks found (see :func:`agreement_around`)."""
    if agreement is None or agreement >= expected.agreement:
        return []
    return [f"the model's networks disagree about what they found (Dice {agreement:.2f})"]


@torch.inference_mode()
def features_around(
    network: nn.Module, layer: str, image: torch.Tensor, mask: np.ndarray, window: Size, device: torch.device
) -> np.ndarray | None:
    """Mean output ``(channels,)`` of a layer for a window of ``image`` (C, Z, Y, X) around the middle of ``mask``.

    None if the mask is empty.
    """
    if not mask.any():
        return None
    middle = np.argwhere(mask).mean(0)
    return layer_means(network, layer, _window(image, middle, window)[None].to(device))[0]


@torch.inference_mode()
def layer_means(network: nn.Module, layer: str, images: torch.Tensor) -> np.ndarray:
    """Mean output ``(B, channels)`` of a network's layer for images ``(B, C, z, y, x)``.

    Raises ModelError if the layer does not make one feature map.
    """
    maps: list[torch.Tensor] = []
    handle = network.get_submodule(layer).register_forward_hook(lambda module, inputs, output: maps.append(output))
    try:
        network(images)
    finally:
        handle.remove()
    if not maps or not isinstance(maps[0], torch.Tensor) or maps[0].ndim != 5:
        raise ModelError(f"The layer {layer}, which the model card names, makes no feature map.", HINT)
    return maps[0].float().mean((2, 3, 4)).cpu().numpy()


def with_features(expected: Expectations, layer: str, features: np.ndarray) -> Expectations:
    """Expectations with the features ``(N, channels)`` of training volumes."""
    mean, deviation = features.mean(0), features.std(0)
    deviation = np.maximum(deviation, max(1e-6, LEAST_DEVIATION * float(deviation.mean())))
    known = replace(
        expected,
        layer=layer,
        mean=tuple(float(f"{value:.5g}") for value in mean),
        deviation=tuple(float(f"{value:.5g}") for value in deviation),
    )
    return replace(known, distance=round(SLACK * max(feature_distance(row, known) for row in features), 3))


def _smoothness(channel: torch.Tensor) -> float:
    """Correlation of voxels (Z, Y, X) with their neighbors along y and x; 1 for a constant image."""
    correlations = []
    for axis in (1, 2):
        size = channel.shape[axis] - 1
        pair = torch.stack([channel.narrow(axis, 0, size).flatten(), channel.narrow(axis, 1, size).flatten()])
        correlations.append(float(torch.corrcoef(pair)[0, 1].nan_to_num(1.0)))
    return min(correlations)


def _shape(piece: np.ndarray, grid: Geometry) -> tuple[float, float]:
    """Fraction of the ellipsoid with its moments that a piece fills, up to 1; distance from the grid's middle, mm."""
    spacing = np.asarray(grid.spacing)
    points = np.argwhere(piece) * spacing
    moments = np.cov(points.T) + np.diag(spacing**2) / 12 if len(points) > 1 else np.diag(spacing**2) / 12
    ellipsoid = 4 / 3 * math.pi * math.sqrt(max(0.0, float(np.linalg.det(5 * moments))))
    middle = (np.asarray(grid.shape) - 1) / 2 * spacing
    return min(1.0, len(points) * math.prod(grid.spacing) / ellipsoid), float(np.linalg.norm(points.mean(0) - middle))


def _window(image: torch.Tensor, middle: np.ndarray, window: Size) -> torch.Tensor:
    """The part of an image around a voxel, moved inside; smaller where the image is."""
    for axis, (place, wanted) in enumerate(zip(middle, window, strict=True), start=1):
        size = min(wanted, image.shape[axis])
        start = min(max(0, round(float(place) - size / 2)), image.shape[axis] - size)
        image = image.narrow(axis, start, size)
    return image


def _by_x(sizes: Sequence[float]) -> str:
    """(z, y, x) mm as text, x first."""
    return " × ".join(f"{size:.0f}" for size in reversed(sizes))
