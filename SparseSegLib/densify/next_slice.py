"""The next slice worth annotating."""

from __future__ import annotations

import numpy as np

from SparseSegLib.annotation import Plane

REACH = 0.1
"""Reach of a slice's information: it falls off by e over this fraction of the volume's size."""


def suggest_slice(
    uncertainty: np.ndarray, planes: tuple[Plane, ...], spacing: tuple[float, float, float]
) -> Plane | None:
    """The plane that settles most of what is uncertain and no annotated plane settles.

    A slice settles what it shows, and of a parallel slice at the distance d the part exp(-d / reach). So the gain of a
    plane is the sum, over the slices of its orientation, of their squared uncertainty times the part that it settles
    beyond what the nearest annotated one does (a facility location; uncertainty is squared, so that a little of it all
    over the background does not outweigh the objects). Where all slices are alike, that is the middle of the widest
    gap.

    Parameters
    ----------
    uncertainty : (Z, Y, X)
    planes : annotated planes, on the same grid
    spacing : (z, y, x) in mm

    Returns
    -------
    The plane, or None where nothing is uncertain.
    """
    best: Plane | None = None
    most = 0.0
    reach = REACH * float(np.prod(np.multiply(uncertainty.shape, spacing))) ** (1 / 3)
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        doubt = np.square(uncertainty, dtype=np.float64).sum(others)
        places = np.arange(len(doubt)) * spacing[axis]
        settles = np.exp(-np.abs(places[:, None] - places[None]) / reach)
        known = [plane.index for plane in planes if plane.axis == axis]
        settled = settles[known].max(0, initial=0.0)
        gain = np.maximum(settles - settled, 0) @ doubt
        index = int(gain.argmax())
        if gain[index] > most:
            best, most = Plane(axis, index), float(gain[index])
    return best
