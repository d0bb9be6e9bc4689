"""The next slice worth annotating."""

from __future__ import annotations

import numpy as np

from SparseSegLib.annotation import Plane

REACH = 0.15
"""Reach of a slice's information: it falls off by e over this fraction of the volume's size."""
FEW = 3
"""Number of annotated slices up to which the predicted objects alone count, not the uncertainty."""


def suggest_slice(
    uncertainty: np.ndarray,
    objects: np.ndarray,
    planes: tuple[Plane, ...],
    spacing: tuple[float, float, float],
) -> Plane | None:
    """The plane that settles most of what no annotated plane settles.

    A slice settles what it shows, and of a parallel slice at the distance d the part exp(-d / reach). So the gain of a
    plane is the sum, over the slices of its orientation, of their value times the part that it settles beyond what the
    nearest annotated one does (a facility location). The value of a slice is its fraction of the squared uncertainty;
    squared, so that a little of it all over the background does not outweigh the objects. With few annotated slices a
    network knows little of what it does not know, and is most unsure beyond the objects' ends: then the value is the
    slice's fraction of the predicted objects. With n annotated slices, that counts min(1, ``FEW`` / n).

    Parameters
    ----------
    uncertainty : (Z, Y, X)
    objects : (Z, Y, X) bool, where an object is predicted
    planes : annotated planes, on the same grid
    spacing : (z, y, x) in mm

    Returns
    -------
    The plane, or None where no voxel is uncertain.
    """
    if not uncertainty.any():
        return None
    best: Plane | None = None
    most = 0.0
    reach = REACH * float(np.prod(np.multiply(uncertainty.shape, spacing))) ** (1 / 3)
    few = min(1.0, FEW / max(1, len(planes))) if objects.any() else 0.0
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        doubt = np.square(uncertainty, dtype=np.float64).sum(others)
        value = (1 - few) * doubt / doubt.sum()
        if few:
            value += few * objects.sum(others) / objects.sum()
        places = np.arange(len(value)) * spacing[axis]
        settles = np.exp(-np.abs(places[:, None] - places[None]) / reach)
        known = [plane.index for plane in planes if plane.axis == axis]
        settled = settles[known].max(0, initial=0.0)
        gain = np.maximum(settles - settled, 0) @ value
        index = int(gain.argmax())
        if gain[index] > most:
            best, most = Plane(axis, index), float(gain[index])
    return best
