"""The annotated slices of labels as plain values, for reports and JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from SparseSegLib.annotation.sparse_labels import UNLABELED, SparseLabels
from SparseSegLib.image import slice_place


def plane_rows(labels: SparseLabels) -> list[dict[str, Any]]:
    """Return each annotated slice on the grid: where it is (see `slice_place`), and the names of what is on it."""
    names = ["background", *labels.names]
    rows: list[dict[str, Any]] = []
    for plane in labels.planes:
        drawn = np.take(labels.array, plane.index, plane.axis)
        there = [int(value) for value in np.unique(drawn) if value not in (0, UNLABELED)]
        rows.append(
            {
                **slice_place(labels.geometry, plane.axis, plane.index),
                "segments": [names[value] if value < len(names) else str(value) for value in there],
            }
        )
    return rows
