"""The files of a cohort: cases read one by one, so that bad ones are reported before the training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from SparseSegLib.annotation import UNLABELED, SparseLabels, encoded, find_planes, read_sparse_labels, values_in
from SparseSegLib.annotation.regrid import on_grid
from SparseSegLib.annotation.values import check_structures
from SparseSegLib.cohort.dataset import MOSTLY, Case, Example, for_all, make_example, median_spacing, naming
from SparseSegLib.cohort.stacked import read_stacked
from SparseSegLib.errors import AnnotationError
from SparseSegLib.image import Geometry
from SparseSegLib.io import default_segment, read_labels, read_volume
from SparseSegLib.preprocessing.grid import Spacing


@dataclass(frozen=True)
class CaseFiles:
    """The files of a case.

    Attributes
    ----------
    name : what to call it
    volumes : the channels, one file each; one file for all of them if ``stacked``
    labels : labelmap or segmentation
    dense : whether every voxel is labeled: 0 is background then
    resample : whether labels of another grid are brought to the volume's
    stacked : whether the channels are the fourth axis of one file
    names : of the structures by their values, where the labels' file has none
    ignore : the value of unlabeled voxels in dense labels; None for none
    series : UIDs of the DICOM series to read, one for each volume; "" where there is nothing to choose
    """

    name: str
    volumes: tuple[Path, ...]
    labels: Path
    dense: bool = False
    resample: bool = False
    stacked: bool = False
    names: Mapping[int, str] = field(default_factory=dict)
    ignore: int | None = None
    series: tuple[str, ...] = ()

    def read(self) -> Case:
        """Volume and labels; an error names the case."""
        with naming(self.name):
            volume = (
                read_stacked(self.volumes[0]) if self.stacked else read_volume(self.volumes, series_uid=self.series)
            )
            if self.dense or self.ignore is not None:
                labels = self._read_dense(volume.geometry)
            else:
                labels = read_sparse_labels(self.labels, volume.geometry, resample_to=self.resample)
            if self.names:
                self._check_named(labels)
                labels = labels.renamed(self.names)
        return Case(self.name, volume, labels)

    def _read_dense(self, reference: Geometry) -> SparseLabels:
        """Labels of which every voxel but the ignored ones counts; what Slicer cropped away is background."""
        raw, geometry, segments = read_labels(self.labels, reference)
        found = values_in(raw)
        ignored = self.ignore is not None and self.ignore in found
        if UNLABELED in found and self.ignore != UNLABELED:
            raise AnnotationError(
                f"{self.labels} has the value {UNLABELED}, which means unlabeled, and is said to be dense.",
                f"Learn from it as sparse labels, or give the structure {UNLABELED} another value.",
            )
        values = tuple(value for value in found if value not in (0, self.ignore))
        check_structures(values, str(self.labels))
        codes = {value: number for number, value in enumerate(values, start=1)}
        array = encoded(raw, {0: 0, **codes, **({self.ignore: UNLABELED} if ignored else {})})  # type: ignore[dict-item]
        known = {segment.value: segment.name for segment in segments}
        names = tuple(known.get(value, default_segment(value).name) for value in values)
        slices = ignored and (array != UNLABELED).mean() < MOSTLY
        planes = tuple(find_planes(array)) if slices else ()
        labels = SparseLabels(array, geometry, planes, names, values=values)
        labels = on_grid(labels, reference, self.labels.name, resample_to=self.resample)
        return labels if ignored else replace(labels, array=np.where(labels.labeled, labels.array, 0).astype(np.uint8))

    def _check_named(self, labels: SparseLabels) -> None:
        """Raise AnnotationError if there is a structure that has no name, though the others are named."""
        unknown = [value for value in labels.own_values if value not in self.names]
        if unknown:
            raise AnnotationError(
                f"{self.labels} has the value {unknown[-1]}, and no structure is named for it.",
                "Name all of them, or set the others to 0.",
            )


def read_examples(
    files: Sequence[CaseFiles],
    spacing: Spacing | None,
    bias_field: str = "none",
    on_progress: Callable[[int], None] = lambda done: None,
    *,
    normalization: str = "percentiles",
) -> tuple[list[Example], Spacing]:
    """Read the cases one by one, twice where the spacing is not known before; an error names all bad ones.

    Parameters
    ----------
    files : of the cases
    spacing : (z, y, x) mm to bring them to; None for the median over the cases
    bias_field : "n4" to correct the bias field of each, "none" not to
    on_progress : called before every reading with the number of cases done; may raise to end the work
    normalization : of the gray values, see :class:`~SparseSegLib.models.Preprocessing`

    Returns
    -------
    The examples, in order, and the spacing.
    """
    passes, begun = (1 if spacing else 2), 0

    def count() -> None:
        nonlocal begun
        on_progress(begun // passes)
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
