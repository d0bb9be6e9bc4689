"""The orientation of a grid: where its axes run in the patient."""

from __future__ import annotations

import numpy as np

from SparseSegLib.errors import UsageError
from SparseSegLib.image import Geometry
from SparseSegLib.preprocessing.grid import oriented

TOWARDS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
"""For each letter the axis (x, y, z of LPS) that it is an end of, and the sign of that end."""


def reoriented(geometry: Geometry, orientation: str) -> Geometry:
    """The same voxels with axes exchanged and flipped, so that x, y, z run mostly towards three letters.

    ``"RAS"`` lets x run to the right, y to the front and z to the head. An oblique grid stays oblique: no axis turns by
    more than it must.

    Raises
    ------
    UsageError
        If the letters are not one each of L or R, P or A, S or I.
    """
    if sorted(TOWARDS.get(letter, (-1, 0))[0] for letter in orientation) != [0, 1, 2]:
        raise UsageError(
            f"{orientation!r} is no orientation.", "Give three letters: L or R, P or A and S or I, in any order."
        )
    grid = oriented(geometry)
    shape, spacing = grid.shape[::-1], grid.spacing[::-1]  # x, y, z
    matrix = np.reshape(grid.direction, (3, 3))
    axes = [TOWARDS[letter] for letter in orientation]
    first = np.zeros(3)
    for axis, sign in axes:
        first[2 - axis] = 0 if sign > 0 else shape[axis] - 1
    return Geometry(
        tuple(shape[axis] for axis, _ in reversed(axes)),  # type: ignore[arg-type]
        tuple(spacing[axis] for axis, _ in reversed(axes)),  # type: ignore[arg-type]
        tuple(grid.index_to_physical(first)),
        tuple(np.stack([sign * matrix[:, axis] for axis, sign in axes], 1).ravel()),
    )
