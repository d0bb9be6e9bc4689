"""What is done before and after the network, in words for whoever runs a model with another program."""

from __future__ import annotations

from SparseSegLib.models.card import ModelCard
from SparseSegLib.units import lengths_text

NORMALIZATIONS = {
    "percentiles": "In each channel, map the 1st to the 99th percentile linearly to -1 and 1, and clip to -2 and 2.",
    "nonzero": "In each channel, give the voxels other than 0 mean 0 and standard deviation 1; zeros stay 0.",
}


def preprocessing_steps(card: ModelCard) -> list[str]:
    """From an image to the network's input, a sentence each."""
    wanted = card.preprocessing
    z, y, x = wanted.spacing
    channels = ", ".join(wanted.channels)
    steps = [
        f"Channels, in this order, on one grid: {channels}.",
        "Exchange and flip the axes such that x runs to the left, y to the back and z to the head (LPS); arrays are "
        "(channel, z, y, x).",
        f"Resample linearly to {lengths_text((x, y, z))} (x, y, z) over the same field of view. Where that is coarser "
        "by a factor r, first blur along this axis by a Gaussian of a standard deviation of sqrt(r^2 - 1) / 2.355 "
        "voxels.",
        NORMALIZATIONS[wanted.normalization],
    ]
    if wanted.field_of_view is not None:
        height, width = wanted.field_of_view
        steps.insert(-1, f"Crop all slices around their middle to {width:g} x {height:g} mm (x, y), or what there is.")
    if wanted.bias_field == "n4":
        steps.insert(1, "Divide each channel by its bias field (N4, with Otsu's threshold as mask).")
    return steps


def prediction_steps(card: ModelCard, margin: int) -> list[str]:
    """From the network's input to class probabilities of the whole image, a sentence each.

    ``margin`` is how many voxels the network loses on every side.
    """
    size = " x ".join(map(str, card.window))
    windows = (
        f"Run the network on tiles of {size} voxels (z, y, x), whose outputs, {margin} voxels smaller on every side, "
        "touch each other and begin at multiples of the network's poolings; beyond the image is its mirror image."
        if margin
        else f"Run the network on windows of {size} voxels (z, y, x), which overlap by half; take the mean of the "
        "probabilities, weighted by a bump that falls towards the borders of a window."
    )
    return [windows, f"The {card.classes} classes are background, {', '.join(label.name for label in card.labels)}."]


def postprocessing_steps(card: ModelCard) -> list[str]:
    """From class probabilities to labels on the image's own grid, a sentence each."""
    values = ", ".join(f"{label.name} {label.value}" for label in card.labels)
    steps = [
        "Resample the probabilities linearly to the image's own grid, and take the most probable class of each voxel.",
        f"Give the classes their values: background 0, {values}.",
    ]
    if "largest_component" in card.postprocessing:
        steps.insert(1, "Of each structure keep the largest piece; voxels of a piece share faces.")
    return steps
