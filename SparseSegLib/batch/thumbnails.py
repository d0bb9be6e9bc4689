"""A row of slices of a case with the outlines of its result, small enough to keep thousands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from SparseSegLib.files import atomic_path
from SparseSegLib.image import Volume
from SparseSegLib.models import ModelCard

FOLDER = "pictures"
SLICES = 6
HEIGHT = 128  # pixels of a slice
WIDEST = 2  # times the height
GAP = 2
ENOUGH = 1_000_000  # voxels to see how bright an image is


def picture_path(folder: Path, name: str) -> Path:
    """The path of a case's picture."""
    return folder / FOLDER / f"{name}.png"


def write_row(volume: Volume, labels: np.ndarray, card: ModelCard, folder: Path, name: str) -> None:
    """Write a picture of axial slices through the result, evenly spaced; of the whole volume if nothing was found."""
    path = picture_path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = row_of_slices(volume, labels, dict(enumerate((label.color for label in card.labels), start=1)))
    with atomic_path(path) as temporary:
        sitk.WriteImage(sitk.GetImageFromArray(picture, isVector=True), str(temporary))


def row_of_slices(
    volume: Volume, labels: np.ndarray, colors: dict[int, tuple[float, float, float]], count: int = SLICES
) -> np.ndarray:
    """A picture (rows, columns, 3) uint8: slices of the first channel side by side, outlines in ``colors`` (0 to 1)."""
    image, found = (
        sitk.DICOMOrient(volume.geometry.to_sitk(array), "LPS")
        for array in (volume.array[0].astype(np.float32, copy=False), labels.astype(np.uint8, copy=False))
    )
    (width, height, _), gray, marks = image.GetSpacing(), sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(found)
    step = max(1, round((gray.size / ENOUGH) ** (1 / 3)))
    low, high = np.percentile(gray[::step, ::step, ::step], [1, 99.5])
    places = np.flatnonzero(marks.any((1, 2)))
    first, last = (places[0], places[-1]) if places.size else (0, len(gray) - 1)
    parts = []
    for number in range(count):
        index = round(first + (last - first) * (number + 0.5) / count)
        part = np.clip((gray[index] - low) / max(high - low, 1e-6), 0, 1)
        parts.append(_outlined(part, marks[index], (height, width), colors))
        parts.append(np.zeros((HEIGHT, GAP, 3), np.uint8))
    return np.concatenate(parts[:-1], 1)


def _outlined(
    gray: np.ndarray, marks: np.ndarray, spacing: tuple[float, float], colors: dict[int, tuple[float, float, float]]
) -> np.ndarray:
    """A slice ``(Y, X)`` of values from 0 to 1 as ``HEIGHT`` rows of square pixels, with the border of each label."""
    rows, columns = gray.shape
    ratio = columns * spacing[1] / (rows * spacing[0])
    size = HEIGHT, int(np.clip(round(HEIGHT * ratio), 8, WIDEST * HEIGHT))
    y, x = ((np.arange(wanted) + 0.5) * there / wanted - 0.5 for wanted, there in zip(size, gray.shape, strict=True))
    places = np.meshgrid(y, x, indexing="ij")
    picture = np.repeat(ndimage.map_coordinates(gray, places, order=1, mode="nearest")[..., None], 3, -1)
    large = ndimage.map_coordinates(marks, places, order=0, mode="nearest")
    for label, color in colors.items():
        mask = large == label
        picture[mask & ~ndimage.binary_erosion(mask, border_value=1)] = color
    return (255 * picture).round().astype(np.uint8)
