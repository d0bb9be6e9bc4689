"""The next slice worth annotating."""

from __future__ import annotations

import numpy as np

from SparseSegLib.annotation import Plane

REACH = 10.0  # a slice tells something of others as far as this part of the volume's extent


def suggest_slice(
    uncertainty: np.ndarray, planes: tuple[Plane, ...], spacing: tuple[float, float, float]
) -> Plane | None:
    """The plane with the largest expected gain.

    The gain is the squared uncertainty summed over the plane (squared, so that a little doubt all over the
    background does not outweigh a real question). Neighboring slices look alike: a slice also settles what its
    neighbors ask, less and less with their distance, so that the middle of a doubtful part comes before its end; and
    near planes of the same orientation that are annotated already it is worth less, 1/20 of the volume away 63 %.

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
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        gain = np.square(uncertainty).sum(others) * np.prod([spacing[other] for other in others])
        gain = _shared(gain, len(gain) / REACH) * spacing[axis]
        known = [plane.index for plane in planes if plane.axis == axis]
        if known:
            distance = np.abs(np.arange(len(gain))[:, None] - np.array(known)[None]).min(1)
            gain = gain * (1 - np.exp(-distance / max(1.0, len(gain) / 20)))
        index = int(gain.argmax())
        if gain[index] > most:
            best, most = Plane(axis, index), float(gain[index])
    return best


def _shared(gain: np.ndarray, reach: float) -> np.ndarray:
    """What each slice settles of its own and the others' ``gain``, falling off by e over ``reach`` slices."""
    places = np.arange(len(gain))
    return np.exp(-np.abs(places[:, None] - places[None]) / reach) @ gain
