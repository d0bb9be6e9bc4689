"""A volume on a grid of the orientation, spacing and size that a network was trained on, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from SparseSegLib.image import Box, Geometry, Volume, resample
from SparseSegLib.preprocessing.grid import Spacing, prepare
from SparseSegLib.preprocessing.orientation import reoriented

Size = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Conformed:
    """A volume as a network needs it.

    Attributes
    ----------
    image : (C, Z, Y, X) float32, normalized
    grid : the grid of ``image``
    source : the volume's own grid
    """

    image: torch.Tensor
    grid: Geometry
    source: Geometry

    def labels_here(self, labels: np.ndarray, fill: int = 0) -> np.ndarray:
        """Labels (Z, Y, X) of the volume on ``grid``, each voxel's the nearest; ``fill`` beyond the volume."""
        return resample(labels, self.source, self.grid, order="nearest", fill=fill)

    def labels_back(self, labels: np.ndarray) -> np.ndarray:
        """Labels (Z, Y, X) of ``grid`` on the volume's own grid, each voxel's the nearest; 0 beyond ``grid``.

        For smooth borders bring back probabilities (see also ``labels_on`` in ``SparseSegLib.preprocessing.grid``).
        """
        return resample(labels, self.grid, self.source, order="nearest")

    def probabilities_back(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Class probabilities (K, Z, Y, X) of ``grid`` on the volume's own grid, linear; background beyond ``grid``."""
        classes = [
            resample(values, self.grid, self.source, fill=float(label == 0))
            for label, values in enumerate(probabilities.cpu().numpy())
        ]
        return torch.from_numpy(np.stack(classes))


def conform(volume: Volume, spacing: Spacing, size: Size | None = None, orientation: str = "LPS") -> Conformed:
    """Reorient a volume, resample and normalize it, and crop or pad it around its center.

    Parameters
    ----------
    volume : (C, Z, Y, X), any orientation and spacing
    spacing : (z, y, x) mm
    size : (z, y, x) voxels; None for the volume's whole field of view
        V-Net's are 64×128×128 of 1.5×1×1 mm (Milletari et al. 2016, section 3.1). What lies beyond the volume gets the
        darkest gray value of its channel.
    orientation : where x, y and z run, see :func:`SparseSegLib.preprocessing.reoriented`
    """
    whole = reoriented(volume.geometry, orientation)
    if not np.allclose(whole.spacing, spacing, rtol=1e-3):
        whole = whole.with_spacing(spacing)
    image = prepare(volume, whole)
    if size is None:
        return Conformed(image, whole, volume.geometry)
    box = centered(whole.shape, size)
    return Conformed(_cropped(image, box), whole.crop(box), volume.geometry)


def centered(shape: Size, size: Size) -> Box:
    """The box of ``size`` (z, y, x) around the center of a grid of ``shape``; it may reach beyond."""
    starts = [(whole - part) // 2 for whole, part in zip(shape, size, strict=True)]
    z, y, x = (slice(start, start + part) for start, part in zip(starts, size, strict=True))
    return z, y, x


def _cropped(image: torch.Tensor, box: Box) -> torch.Tensor:
    """The part of (C, Z, Y, X) in a box; beyond the image is the minimum of each channel."""
    missing = []
    for part, whole in zip(reversed(box), reversed(image.shape), strict=False):
        missing += [-part.start, part.stop - whole]
    return torch.stack([F.pad(channel, missing, value=float(channel.min())) for channel in image])
