"""One slice of a volume, in any of the three orientations, and 3D data seen from it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from SparseSegLib.image import Box
from SparseSegLib.prior.types import Shape3, Spacing3


@dataclass(frozen=True)
class SliceView:
    """A slice ``(U, V)`` of a volume ``(Z, Y, X)``: the plane ``index`` across ``axis``, or what lies of it in a part.

    ``U`` and ``V`` are the two other axes in their order in the array. Spacing is (z, y, x) in mm. ``part`` is the box
    of the volume to which the slice is cut; None for all of it.
    """

    axis: int
    index: int
    shape: Shape3
    spacing: Spacing3
    part: Box | None = None

    @property
    def axes(self) -> tuple[int, int]:
        """The array axes that run along ``U`` and ``V``."""
        first, second = (axis for axis in range(3) if axis != self.axis)
        return first, second

    @property
    def box(self) -> Box:
        """The part of the volume that is looked at; without one the slice itself."""
        if self.part is not None:
            return self.part
        z, y, x = (
            slice(self.index, self.index + 1) if axis == self.axis else slice(0, side)
            for axis, side in enumerate(self.shape)
        )
        return z, y, x

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the pixels lie along ``U`` and ``V``."""
        first, second = self.axes
        box = self.box
        return box[first], box[second]

    @property
    def size(self) -> tuple[int, int]:
        """``(U, V)`` in voxels."""
        first, second = self.window
        return first.stop - first.start, second.stop - second.start

    def positions(self, axis: int) -> torch.Tensor:
        """Voxel index along ``axis`` of every pixel, in a shape that broadcasts to ``(U, V)``."""
        if axis == self.axis:
            return torch.full((1, 1), float(self.index))
        side = self.box[axis]
        line = torch.arange(side.start, side.stop, dtype=torch.float32)
        return line[:, None] if axis == self.axes[0] else line[None, :]

    def see_plane(self, values: torch.Tensor, plane_axis: int) -> torch.Tensor:
        """Project values that live on a plane across ``plane_axis`` onto this slice.

        ``values`` is ``(K, P, Q)`` over the plane's own two axes; every pixel gets the value at the foot of its
        perpendicular on the plane. The result broadcasts to ``(K, U, V)``.
        """
        if plane_axis == self.axis:
            return values[(slice(None), *self.window)]
        plane_axes = [axis for axis in range(3) if axis != plane_axis]
        line = values.select(1 + plane_axes.index(self.axis), self.index)
        shared = next(axis for axis in plane_axes if axis != self.axis)
        line = line[:, self.box[shared]]
        return line[:, :, None] if shared == self.axes[0] else line[:, None, :]

    def cut(self, volume: torch.Tensor) -> torch.Tensor:
        """This slice of a volume ``(..., Z, Y, X)``, as ``(..., U, V)``."""
        return volume.select(volume.ndim - 3 + self.axis, self.index)[(..., *self.window)]
