"""The outlines of a mask, slice by slice, as radiotherapy systems need them: closed, without holes."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import find_contours

_EIGHT = np.ones((3, 3), bool)


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Return a closed outline ``(N, 2)`` of (y, x) for each part of a mask ``(Y, X)``; the last point is not the first.

    Outlines run half-way between the centers of pixels, so that filling them gives the mask again. A hole is joined to
    the outline around it by a line that runs there and back (a keyhole), since many systems support no other holes.
    """
    parts, count = ndimage.label(mask)
    return [_outline(parts == number) for number in range(1, count + 1)]


def _outline(part: np.ndarray) -> np.ndarray:
    filled = ndimage.binary_fill_holes(part)
    outline = _contour(filled, "low")
    holes, count = ndimage.label(filled & ~part, _EIGHT)
    contours = [_contour(holes == number, "high") for number in range(1, count + 1)]
    while contours:
        tree = cKDTree(outline)
        gaps = [float(tree.query(contour)[0].min()) for contour in contours]
        outline = _keyhole(outline, contours.pop(int(np.argmin(gaps))))
    return outline


def _contour(region: np.ndarray, connected: str) -> np.ndarray:
    """Return the one outline of a region without holes, counter-clockwise or not."""
    found = find_contours(np.pad(region, 1).astype(float), 0.5, fully_connected=connected)
    return max(found, key=len)[:-1] - 1


def _keyhole(outline: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return an outline that goes to a hole where it is nearest, around it the other way round, and back."""
    if np.sign(_area(outline)) == np.sign(_area(hole)):
        hole = hole[::-1]
    distance, nearest = cKDTree(outline).query(hole)
    start = int(np.argmin(distance))
    corner = int(nearest[start])
    around = np.concatenate([hole[start:], hole[: start + 1]])
    return np.concatenate([outline[: corner + 1], around, outline[corner:]])


def _area(points: np.ndarray) -> float:
    y, x = points.T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
