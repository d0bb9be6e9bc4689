"""Border loss and valid input sizes of U-Nets with two 3-wide convolutions per level."""

from __future__ import annotations

from torch import nn


class ValidSizes(nn.Module):
    """A U-Net of ``levels`` levels that is ``padded``, or else gives back less than it takes.

    It is the same along each axis, in two dimensions as in three.
    """

    padded: bool
    levels: int

    @property
    def margin(self) -> int:
        """Voxels that the output loses on every side; 0 with padding."""
        if self.padded:
            return 0
        lost = 2  # two convolutions at the bottom, one voxel per side each
        for _ in range(self.levels - 1):
            lost = 2 * lost + 4
        return lost

    def valid_size(self, size: int) -> int:
        """The smallest input size along an axis, not below ``size``, at which every pooling halves an even number."""
        if self.padded:
            return size
        while not self._fits(size):
            size += 1
        return size

    def _fits(self, size: int) -> bool:
        for _ in range(self.levels - 1):
            size -= 4
            if size <= 0 or size % 2:
                return False
            size //= 2
        return size > 4
