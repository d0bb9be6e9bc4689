"""From NumPy arrays: a volume, an annotation with finished slices and strokes, and both as files."""

from pathlib import Path

import numpy as np
from gallery import Panel, Sample, save_panels, tumor

from SparseSegLib.annotation import (
    UNLABELED,
    Plane,
    SparseLabels,
    as_sparse_labels,
    find_planes,
    read_sparse_labels,
    write_sparse_labels,
)
from SparseSegLib.image import Geometry, Volume, as_volume, resample
from SparseSegLib.io import read_information, read_labels, read_volume, write_image


def main(sample: Sample, folder: Path) -> SparseLabels:
    voxels, drawn = sample.volume.array[0], sample.truth  # (Z, Y, X) as yours may be
    geometry = Geometry.identity(voxels.shape, spacing=(3.0, 1.0, 1.0))  # mm, in the order of the axes
    volume = Volume(voxels[None].astype(np.float32), geometry)

    plane = Plane(axis=0, index=sample.middle)
    array = np.full(voxels.shape, UNLABELED, np.uint8)
    array[plane.index] = drawn[plane.index]  # a finished slice: all of it is labeled
    array[plane.index + 3, :4] = 0  # a stroke of background, and nothing said of the rest of that slice
    labels = SparseLabels(array, geometry, planes=(plane,), names=("tumor",))
    labels.validate()
    assert find_planes(array) == [plane]  # it can be seen which slice is finished

    image = geometry.to_sitk(voxels)  # images of SimpleITK and nibabel are taken as they are
    assert as_volume(image).geometry.matches(geometry)
    assert as_sparse_labels(array, image).planes == (plane,)

    write_image(volume.array, geometry, folder / "volume.nrrd")
    write_sparse_labels(labels, folder / "drawn.seg.nrrd")
    again = read_sparse_labels(folder / "drawn.seg.nrrd", read_volume(folder / "volume.nrrd").geometry)
    assert (again.array == labels.array).all()
    print(read_information(folder / "volume.nrrd").shape, again.planes)
    print([segment.name for segment in read_labels(folder / "drawn.seg.nrrd")[2]])

    coarse = Geometry.identity(tuple(side // 2 for side in voxels.shape), spacing=(6.0, 2.0, 2.0))
    small = resample(voxels, geometry, coarse)
    stroke = again.array[plane.index + 3] == 0
    panels = [
        Panel("a finished slice", voxels[plane.index], {"lime": again.array[plane.index] == 1}),
        Panel("a stroke of background", voxels[plane.index + 3], {"cyan": stroke}),
        Panel("at half the resolution", small[plane.index // 2]),
    ]
    save_panels(folder / "own_arrays.jpg", panels)
    return again


if __name__ == "__main__":
    main(tumor(), Path())
