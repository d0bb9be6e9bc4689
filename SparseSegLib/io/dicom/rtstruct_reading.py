"""Structure sets of radiotherapy (DICOM RTSTRUCT) read as labels: their outlines, filled on the slices of a scan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from skimage.draw import polygon2mask

from SparseSegLib.errors import GeometryError
from SparseSegLib.image import Geometry
from SparseSegLib.io.dicom.reading import shown
from SparseSegLib.io.dicom.values import numbers, text, whole
from SparseSegLib.io.segmentation import SegmentInfo, default_color, default_segment

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "")  # points and open lines have no voxels inside
_OFF = 0.25  # of a slice distance: how far from its slice an outline may lie


def read_structure_set(
    dataset: Dataset, file: str, reference: Geometry | None
) -> tuple[np.ndarray, Geometry, list[SegmentInfo]]:
    """Return the labels (Z, Y, X) of a structure set on the reference, and its structures; see `read_dicom_labels`.

    A voxel belongs to a structure if its center is inside of an odd number of the structure's outlines on its slice.
    """
    if reference is None:
        raise GeometryError(
            f"{shown(file)} is a structure set (RTSTRUCT): it has outlines only, no voxels.",
            "Give the scan that it was drawn on, too; or convert it to a labelmap, for example in 3D Slicer.",
        )
    described = list(dataset.get("StructureSetROISequence") or [])
    values = {whole(roi, "ROINumber", 0): value for value, roi in enumerate(described, start=1)}
    drawn = {whole(one, "ReferencedROINumber", 0): one for one in dataset.get("ROIContourSequence") or []}
    labels = np.zeros(reference.shape, np.min_scalar_type(max(1, len(values))))
    infos = []
    for roi, (number, value) in zip(described, values.items(), strict=True):
        contours = drawn.get(number, {})
        color = numbers(contours, "ROIDisplayColor", 3)
        name = text(roi, "ROIName") or default_segment(value).name
        infos.append(SegmentInfo(value, name, _share(color) if color else default_color(value)))
        _fill(labels, value, contours.get("ContourSequence") or [], reference, file)
    return labels, reference, infos


def _share(color: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = (round(min(1.0, max(0.0, part / 255)), 4) for part in color)
    return (red, green, blue)


def _fill(labels: np.ndarray, value: int, contours: Any, grid: Geometry, file: str) -> None:
    """Write the value where a structure is, slice by slice."""
    slices: dict[tuple[int, int], list[np.ndarray]] = {}
    for contour in contours:
        if text(contour, "ContourGeometricType").upper() not in _CLOSED:
            continue
        points = grid.physical_to_index(np.array(contour.ContourData, float).reshape(-1, 3))
        axis = int(np.argmin(np.ptp(points, axis=0)))
        place = round(float(points[:, axis].mean()))
        if np.abs(points[:, axis] - place).max() > _OFF or not 0 <= place < grid.shape[axis]:
            raise GeometryError(
                f"The outlines of the structure set {shown(file)} do not lie on the slices of the image.",
                "Choose the scan that it was drawn on.",
            )
        slices.setdefault((axis, place), []).append(np.delete(points, axis, axis=1))
    for (axis, place), outlines in slices.items():
        part = np.moveaxis(labels, axis, 0)[place]
        inside = np.zeros(part.shape, bool)
        for outline in outlines:
            _toggle(inside, outline)
        part[inside] = value


def _toggle(mask: np.ndarray, outline: np.ndarray) -> None:
    """Turn a mask (Y, X) over inside of an outline (N, 2), in pixels."""
    low = np.clip(np.floor(outline.min(axis=0)), 0, mask.shape).astype(int)
    high = np.clip(np.ceil(outline.max(axis=0)) + 1, low, mask.shape).astype(int)
    if (high > low).all():
        box = mask[low[0] : high[0], low[1] : high[1]]
        box ^= polygon2mask(box.shape, outline - low)
