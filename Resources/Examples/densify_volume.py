"""Densify a volume from six annotated slices; show the result and where it is unsure."""

from pathlib import Path

from gallery import Panel, Sample, save_panels, tumor

from SparseSegLib.annotation import sparsify
from SparseSegLib.densify import PRESETS, DensifyResult, DensifySettings, densify
from SparseSegLib.io import open_volume, write_image, write_labels


def main(sample: Sample, folder: Path, settings: DensifySettings) -> DensifyResult:
    labels = sparsify(sample.truth, sample.geometry, per_axis=(2, 2, 2), names=("tumor",))  # as a user would draw
    result = densify(sample.volume, labels, settings)
    print(f"IoU about {result.estimate}, next slice worth annotating: {result.next_slice}")
    print(f"{settings.preset}: {PRESETS[settings.preset].summary}")

    write_labels(result.labels, result.geometry, folder / "dense.seg.nrrd", result.segments())
    write_image(result.uncertainty, result.geometry, folder / "uncertainty.nrrd")
    uncertainty = open_volume(folder / "uncertainty.nrrd")  # a large one would stay on the disk

    z = sample.middle + 2  # a slice that nobody annotated
    image = sample.volume.array[0, z]
    outlines = {"lime": sample.truth[z] == 1, "red": result.labels[z] == 1}
    panels = [Panel("truth (green), result (red)", image, outlines)]
    panels.append(Panel("uncertainty", image, None, uncertainty.array[0, z]))
    save_panels(folder / "densify_volume.jpg", panels)
    return result


if __name__ == "__main__":
    main(tumor(), Path(), DensifySettings(budget_seconds=20))
