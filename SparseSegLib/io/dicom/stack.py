"""The slices of a scan in order, checked to be one whole and even stack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from SparseSegLib.errors import FileError, VolumeError
from SparseSegLib.image import Geometry
from SparseSegLib.io.dicom.frames import DEFAULT_ORIENTATION, Frame, volumes_apart

_UNEVEN = 0.02  # of the slice distance: what rounding in headers explains
_TILTED = 0.05  # of the slice distance: sideways move from one slice to the next
_SPACING = 1e-3  # relative: what rounding of pixel spacings explains
_FOREIGN = "Move the slices that do not belong to the scan out of the folder."


@dataclass(frozen=True)
class Stack:
    """The slices of a series that were found to be a whole and even stack.

    Parameters
    ----------
    frames : tuple of Frame
        Sorted along the slice normal.
    geometry : Geometry
        Their grid.
    """

    frames: tuple[Frame, ...]
    geometry: Geometry

    @property
    def files(self) -> tuple[str, ...]:
        """The file of each slice."""
        return tuple(frame.file for frame in self.frames)

    @property
    def step(self) -> float:
        """The distance of neighboring slices, mm."""
        return self.geometry.spacing[0]


def stack(frames: Sequence[Frame]) -> Stack:
    """Return frames in order, and their grid.

    Raises
    ------
    FileError
        If a frame has no position, orientation or pixel spacing, or they differ, or a slice is missing, or they are
        uneven or tilted.
    VolumeError
        If there are several volumes (slices at the same place, several stacks or times), or a table scales values.
    """
    _check_scaled(frames)
    _check_placed(frames)
    _check_alike(frames)
    normal = frames[0].normal
    ordered = list(frames)
    step = 1.0
    if len(ordered) > 1:
        ordered.sort(key=lambda one: float(np.array(one.position) @ normal))
        step = _check_even(ordered)
    _check_one_volume(ordered)
    first = ordered[0]
    y, x = first.spacing or (1.0, 1.0)
    direction = first.orientation or DEFAULT_ORIENTATION
    axes = np.column_stack([direction[:3], direction[3:], normal])
    origin = first.position or (0.0, 0.0, 0.0)
    geometry = Geometry((len(ordered), *first.size), (step, y, x), origin, tuple(axes.ravel()))  # type: ignore[arg-type]
    return Stack(tuple(ordered), geometry)


def _check_scaled(frames: Sequence[Frame]) -> None:
    for frame in frames:
        if frame.table:
            raise VolumeError(
                f"The values of {frame.name} are scaled by a table (Modality LUT), which is not supported.",
                "Load the scan in 3D Slicer and save it as .nrrd.",
            )


def _check_placed(frames: Sequence[Frame]) -> None:
    """Refuse frames that do not say where they are; one alone is a 2D image wherever it is."""
    if len(frames) == 1:
        return
    for field, name in (
        ("position", "position (ImagePositionPatient)"),
        ("orientation", "orientation (ImageOrientationPatient)"),
        ("spacing", "pixel spacing (PixelSpacing)"),
    ):
        without = [one for one in frames if getattr(one, field) is None]
        if without:
            some = "The slices have" if len(without) == len(frames) else f"The slice {without[0].name} has"
            raise FileError(
                f"{some} no {name}, without which they cannot be put together.",
                "Export the original scan again, not a copy or screenshots; or save the volume as .nrrd.",
            )
    if any(min(one.spacing or (1.0,)) <= 0 for one in frames):
        raise FileError("The pixel spacing of the series is not positive.", "Export the series again.")


def _check_alike(frames: Sequence[Frame]) -> None:
    if len(frames) == 1:
        return
    usual = _usual(frames)
    for other in frames:
        if other.size != usual.size:
            raise FileError(f"The slices of the series differ in size: {usual.name} and {other.name}.", _FOREIGN)
        if not np.allclose(other.orientation, usual.orientation, atol=1e-3):  # type: ignore[arg-type]
            raise FileError(
                f"The slices of the series differ in orientation: {usual.name} and {other.name}.",
                f"It may be a localizer or a reformatted image: choose another series. {_FOREIGN}",
            )
        if not np.allclose(other.spacing, usual.spacing, rtol=_SPACING, atol=0):  # type: ignore[arg-type]
            raise FileError(
                f"The slices of the series differ in pixel spacing: {_by_x(usual)} mm in {usual.name} and "
                f"{_by_x(other)} mm in {other.name}.",
                _FOREIGN,
            )
        if other.unit.upper() != usual.unit.upper():
            raise FileError(
                f"The slices of the series differ in the unit of their values: {usual.unit or 'none'} in {usual.name} "
                f"and {other.unit or 'none'} in {other.name}.",
                _FOREIGN,
            )


def _usual(frames: Sequence[Frame]) -> Frame:
    """Return the first of those that most are like: what differs from it is what does not belong."""
    kinds = [(one.size, _rounded(one.orientation, 2), _rounded(one.spacing, 4), one.unit.upper()) for one in frames]
    return frames[kinds.index(Counter(kinds).most_common(1)[0][0])]


def _rounded(values: tuple[float, ...] | None, digits: int) -> tuple[float, ...]:
    return tuple(round(value, digits) for value in values or ())


def _by_x(frame: Frame) -> str:
    y, x = frame.spacing  # type: ignore[misc]
    return f"{x:.6g} x {y:.6g}"


def _check_even(ordered: Sequence[Frame]) -> float:
    """Return the distance of the slices, mm; raises if it is not the same for all of them."""
    positions = np.array([one.position for one in ordered])
    normal = ordered[0].normal
    moves = np.diff(positions, axis=0)
    distances = moves @ normal
    typical = float(np.median(distances))
    _check_no_double(ordered, distances, typical)
    for index, distance in enumerate(distances):
        before, after = ordered[index].name, ordered[index + 1].name
        missing = round(distance / typical) - 1
        if abs(distance - typical) <= _UNEVEN * typical:
            continue
        if missing >= 1 and abs(distance - (missing + 1) * typical) <= 0.2 * typical:
            raise FileError(
                f"The series misses {missing} slice(s) between {before} and {after} (distance {distance:.4g} mm "
                f"instead of {typical:.4g} mm).",
                "Copy the missing files into the folder, or export the series again.",
            )
        raise FileError(
            f"The slices of the series are uneven: {distance:.4g} mm between {before} and {after}, but mostly "
            f"{typical:.4g} mm.",
            "Load the series in 3D Slicer, which regularizes its geometry, and save it as .nrrd.",
        )
    sideways = np.linalg.norm(moves - distances[:, None] * normal, axis=1)
    if sideways.max() > _TILTED * typical:
        raise FileError(
            "The slices of the series are tilted against the way they are stacked (a tilted gantry).",
            "Load the series in 3D Slicer, which corrects the tilt, harden its transform and save it as .nrrd.",
        )
    return float(distances.mean())


def _check_no_double(ordered: Sequence[Frame], distances: np.ndarray, typical: float) -> None:
    doubles = np.flatnonzero(distances <= 1e-3 * max(typical, 1e-6))
    if not len(doubles):
        return
    one, other = ordered[doubles[0]], ordered[doubles[0] + 1]
    found = volumes_apart(list(ordered))
    kinds = f"{len(found[1])} {found[0]} ({', '.join(found[1][:5])})" if found else ""
    raise VolumeError(
        f"The series has more than one slice at the same place: {one.name} and {other.name}.",
        f"It holds several volumes, {kinds or 'such as time points, echoes or diffusion weights'}: export one of them "
        "by itself. If the files are copies of each other, remove the copies.",
    )


def _check_one_volume(ordered: Sequence[Frame]) -> None:
    found = volumes_apart(list(ordered))
    if found is not None:
        words, values = found
        raise VolumeError(
            f"The series holds {len(values)} {words} ({', '.join(values[:5])}), not one volume.",
            "Export one of them by itself.",
        )
