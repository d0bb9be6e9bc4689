"""Score a segmentation against a reference: overlap, distances of surfaces, volumes."""

from pathlib import Path

import numpy as np
from gallery import Panel, Sample, save_panels, tumor

from SparseSegLib.evaluation import dice, evaluate, iou, scores_as_table, surface_dice, surface_distances


def main(sample: Sample, folder: Path) -> float:
    reference = sample.truth
    segmentation = np.roll(reference, 3, axis=2)  # someone else's: three voxels beside

    scores = evaluate(segmentation, reference, sample.geometry, names={1: "tumor"})  # one for each structure
    print(scores_as_table(scores))

    mine, theirs, spacing = segmentation == 1, reference == 1, sample.geometry.spacing
    distances = surface_distances(mine, theirs, spacing)
    print(f"Dice {dice(mine, theirs):.3f}, IoU {iou(mine, theirs):.3f}")
    print(f"surface Dice {surface_dice(mine, theirs, spacing):.3f}, 95 % within {distances.hausdorff95:.1f} mm")

    z = sample.middle
    panel = Panel("reference (green), other (red)", sample.volume.array[0, z], {"lime": theirs[z], "red": mine[z]})
    save_panels(folder / "compare_segmentations.jpg", [panel])
    return scores[0].dice


if __name__ == "__main__":
    main(tumor(), Path())
