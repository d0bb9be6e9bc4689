"""Names for the small tuples that the prior's files pass around."""

from __future__ import annotations

Shape3 = tuple[int, int, int]
"""Voxels along (z, y, x)."""

Spacing3 = tuple[float, float, float]
"""Millimeters between voxels along (z, y, x)."""
