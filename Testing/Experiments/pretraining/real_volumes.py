"""Real volumes with labels out of a folder of development volumes, each read once, labels on the image's own grid."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from SparseSegLib.image import place
from SparseSegLib.io import read_labels, read_volume

Read = tuple[np.ndarray, np.ndarray, tuple[float, float, float]]
"""Gray values (Z, Y, X) float32, labels (Z, Y, X), spacing (z, y, x) in mm."""


@cache
def read_pair(image: Path, labels: Path) -> Read:
    """An image, a file or a DICOM series, and its labels, whose file may have its axes in another order or direction.

    Raises GeometryError if the labels lie on another grid.
    """
    volume = read_volume(image)
    drawn, geometry, _ = read_labels(labels)
    drawn = place(drawn, geometry, volume.geometry)
    return volume.array[0].astype(np.float32), drawn, volume.geometry.spacing
