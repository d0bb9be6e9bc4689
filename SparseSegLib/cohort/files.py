"""The files of a cohort: cases read one by one, so that bad ones are known before an hour of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from SparseSegLib.annotation import SparseLabels, read_sparse_labels
from SparseSegLib.annotation.regrid import on_grid
from SparseSegLib.cohort.dataset import Case, Example, for_all, make_example, median_spacing, naming
from SparseSegLib.cohort.stacked import read_stacked
from SparseSegLib.errors import AnnotationError
from SparseSegLib.geometry import Geometry
from SparseSegLib.io import default_segment, read_labels, read_volume
from SparseSegLib.preprocessing.grid import Spacing

HIGHEST = 254


@dataclass(frozen=True)
class CaseFiles:
    """Where a case lies.

    Attributes
    ----------
    name : what to call it
    volumes : the channels, one file each; one file for all of them if ``stacked``
    labels : labelmap or segmentation
    dense : whether the labels say something about every voxel: 0 is background then
    resample : whether labels of another grid are brought to the volume's
    stacked : whether the channels are the fourth axis of one file
    names : of the classes 1..n, where the labels' file has none
    series : UIDs of the DICOM series to read, one for each volume; "" where there is nothing to choose
    """

    name: str
    volumes: tuple[Path, ...]
    labels: Path
    dense: bool = False
    resample: bool = False
    stacked: bool = False
    names: tuple[str, ...] = ()
    series: tuple[str, ...] = ()

    def read(self) -> Case:
        """Volume and labels; an error names the case."""
        with naming(self.name):
            volume = (
                read_stacked(self.volumes[0]) if self.stacked else read_volume(self.volumes, series_uid=self.series)
            )
            if self.dense:
                labels = self._read_dense(volume.geometry)
            else:
                labels = read_sparse_labels(self.labels, volume.geometry, resample_to=self.resample)
                if self.names:
                    labels = SparseLabels(labels.array, labels.geometry, labels.planes, self.names, labels.oblique)
        return Case(self.name, volume, labels)

    def _read_dense(self, reference: Geometry) -> SparseLabels:
        """Labels of which every voxel counts; what Slicer cropped away is background."""
        array, geometry, segments = read_labels(self.labels)
        if not 0 <= array.min() <= array.max() <= HIGHEST:
            raise AnnotationError(
                f"{self.labels} has the values {array.min()} to {array.max()}; classes are 1 to {HIGHEST}.",
                "Number the classes 1, 2, 3 and so on.",
            )
        names = {segment.value: segment.name for segment in segments}
        known = tuple(names.get(value, default_segment(value).name) for value in range(1, max(names, default=0) + 1))
        if self.names and len(known) > len(self.names):
            raise AnnotationError(
                f"{self.labels} has the value {len(known)}, and there are {len(self.names)} structures.",
                "Name all of them, or set the others to 0.",
            )
        known = self.names or known
        labels = SparseLabels(array.astype(np.uint8), geometry, names=known)
        moved = on_grid(labels, reference, self.labels.name, resample_to=self.resample)
        return SparseLabels(np.where(moved.labeled, moved.array, 0).astype(np.uint8), reference, names=known)


def read_examples(
    files: Sequence[CaseFiles],
    spacing: Spacing | None,
    bias_field: str = "none",
    told: Callable[[int], None] = lambda done: None,
    *,
    normalization: str = "percentiles",
) -> tuple[list[Example], Spacing]:
    """Read the cases one by one, twice where the spacing is not known before; an error names all bad ones.

    Parameters
    ----------
    files : of the cases
    spacing : (z, y, x) mm to bring them to; None for the median over the cases
    bias_field : "n4" to correct the bias field of each, "none" not to
    told : hears before every reading how many cases are done; may raise to end the work
    normalization : of the gray values, as a model's card says it

    Returns
    -------
    The examples, in order, and the spacing.
    """
    passes, begun = (1 if spacing else 2), 0

    def count() -> None:
        nonlocal begun
        told(begun // passes)
        begun += 1

    def geometry(source: CaseFiles) -> Geometry:
        count()
        case = source.read()
        case.check()
        return case.volume.geometry

    def example(source: CaseFiles, spacing: Spacing) -> Example:
        count()
        return make_example(source.read(), spacing, bias_field, normalization)

    if spacing is None:
        spacing = median_spacing(for_all([partial(geometry, source) for source in files]))
    return for_all([partial(example, source, spacing) for source in files]), spacing
