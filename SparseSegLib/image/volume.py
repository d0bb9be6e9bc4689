"""A volume: an image of one or more channels and where it lies in space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from SparseSegLib.errors import GeometryError, VolumeError
from SparseSegLib.image.geometry import Box, Geometry, Interpolation, resample

_AT_ONCE = 1 << 24  # voxels that are checked together


@dataclass(frozen=True, eq=False)
class Volume:
    """An image with its geometry.

    Parameters
    ----------
    array : np.ndarray
        (C, Z, Y, X); a (Z, Y, X) array gets one channel. Of an image that is left on the disk (`open_volume`) something
        of which boxes are arrays: see `part`.
    geometry : Geometry
        The grid that all channels share.
    name : str
        What to call it in messages, usually the file's name.
    """

    array: np.ndarray
    geometry: Geometry
    name: str = ""

    def __post_init__(self) -> None:
        if self.array.ndim == 3:
            object.__setattr__(self, "array", self.array[None])
        if self.array.ndim != 4 or self.array.shape[1:] != self.geometry.shape:
            raise GeometryError(
                f"An array of shape {self.array.shape} does not fit a grid of shape {self.geometry.shape}."
            )

    @property
    def channels(self) -> int:
        """The number of channels."""
        return self.array.shape[0]

    @property
    def on_disk(self) -> bool:
        """Whether the voxels are read where they are needed, and only then."""
        return not isinstance(self.array, np.ndarray)

    def part(self, box: Box) -> np.ndarray:
        """Return the voxels in a box as (C, z, y, x); not to be changed."""
        return self.array[(slice(None), *box)]

    def crop(self, box: Box) -> Volume:
        """Return the part in a box that lies inside the volume; the voxels are shared, not copied."""
        if any(part.start < 0 or part.stop > size for part, size in zip(box, self.geometry.shape, strict=True)):
            raise GeometryError("The box reaches beyond the volume.")
        return replace(self, array=self.part(box), geometry=self.geometry.crop(box))

    def loaded(self) -> Volume:
        """Return the volume with all of its voxels in memory, float32 where it is on a disk."""
        if not self.on_disk:
            return self
        z, y, x = (slice(0, size) for size in self.geometry.shape)
        return replace(self, array=self.part((z, y, x)).astype(np.float32))

    def resampled(self, target: Geometry, *, order: Interpolation = "linear", fill: float = 0) -> Volume:
        """Return the volume on another grid; ``fill`` is the value outside the field of view."""
        channels = [resample(channel, self.geometry, target, order=order, fill=fill) for channel in self.loaded().array]
        return replace(self, array=np.stack(channels), geometry=target)


def check_volume(volume: Volume, box: Box | None = None) -> None:
    """Refuse a volume that nothing can be learned from.

    Parameters
    ----------
    volume : Volume
    box : where its voxels are looked at; everywhere by default

    Raises
    ------
    VolumeError
        If it is a single slice, or a channel has NaN or infinite voxels or is constant.
    """
    name = f'The volume "{volume.name}"' if volume.name else "The volume"
    check_has_depth(volume.geometry, name)
    slabs = list(_slabs(volume, box))
    ends = np.array([[(channel.min(), channel.max()) for channel in volume.part(slab)] for slab in slabs])
    for number in range(volume.channels):
        where = f" in channel {number + 1}" if volume.channels > 1 else ""
        low, high = ends[:, number].min(), ends[:, number].max()  # NaN and infinity show in these, without a mask
        if not (np.isfinite(low) and np.isfinite(high)):
            count = sum(int((~np.isfinite(volume.part(slab)[number])).sum()) for slab in slabs)
            raise VolumeError(
                f"{name} has {count} voxels{where} that are not a number or infinite.",
                "Replace them with a number, for example the value of the background, and try again.",
            )
        if low == high:
            raise VolumeError(
                f"{name} has the same value, {low:g}, everywhere{where}.",
                "Check that the right image was chosen, and that it was exported with its voxels.",
            )


def _slabs(volume: Volume, box: Box | None) -> Iterator[Box]:
    """Yield a box of a volume, all of it by default, in parts of a few million voxels."""
    depth, height, width = volume.geometry.shape
    z, y, x = box or (slice(0, depth), slice(0, height), slice(0, width))
    most = max(1, _AT_ONCE // ((y.stop - y.start) * (x.stop - x.start)))
    for start in range(z.start, z.stop, most):
        yield slice(start, min(start + most, z.stop)), y, x


def check_has_depth(geometry: Geometry, name: str = "The volume") -> None:
    """Raise VolumeError if a grid is only one voxel thick: a 2D image."""
    if min(geometry.shape) < 2:
        raise VolumeError(
            f"{name} is a 2D image: it is only one voxel thick.",
            "Choose a volume of several slices; for a folder of slices, choose the folder rather than one file.",
        )
