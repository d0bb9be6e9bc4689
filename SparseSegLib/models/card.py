"""A model's card: what it segments, how its images are prepared, what it learned from. Standard library only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from SparseSegLib.models.fields import Fields

SAFETENSORS = "weights.safetensors"
STATE_DICT = "weights.pt"
FORMATS = {1: STATE_DICT, 2: SAFETENSORS}
"""The file of the weights, by the version of the format."""
NOTICE = "Not for clinical use."
NORMALIZATIONS = ("percentiles", "nonzero")
BIAS_FIELDS = ("none", "n4")
MODALITIES = ("CT", "MR", "PT", "US")
MOST_MEMBERS = 64
MOST_LABELS = 254
HIGHEST_VALUE = 2**31 - 1
MIRRORS = ("z", "y", "x", "zy", "zx", "yx", "zyx")


@dataclass(frozen=True)
class ModelLabel:
    """A structure that the model segments.

    Attributes
    ----------
    value : what its voxels have in results; the channels of the network's output are in the order of the labels (0 is
        background)
    name : what the user calls it
    color : (red, green, blue), each 0 to 1
    terminology : 3D Slicer's terminology entry of the segment, or ""
    """

    value: int
    name: str
    color: tuple[float, float, float]
    terminology: str = ""


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing of an image for the network.

    Attributes
    ----------
    spacing : (z, y, x) mm of the grid that the network works on
    channels : names of the input channels, in order
    orientation : "LPS": the axes are flipped and exchanged so that x, y, z run mostly to the left, back and head
    bias_field : one of ``BIAS_FIELDS``; "n4": each channel is divided by its bias field first; "none": it is not
    normalization : "percentiles": each channel's 1st to 99th percentile becomes −1…1, clipped at ±2; "nonzero": the
        voxels of each channel but zeros get mean 0 and standard deviation 1, for skull-stripped images
    field_of_view : (y, x) mm around the middle of the slices that the network sees, and that gray values are normalized
        by; None for all of them
    """

    spacing: tuple[float, float, float]
    channels: tuple[str, ...]
    orientation: str = "LPS"
    normalization: str = "percentiles"
    bias_field: str = "none"
    field_of_view: tuple[float, float] | None = None


@dataclass(frozen=True)
class Expectations:
    """Limits of plausible images and segmentations of the model; all else is refused.

    Attributes
    ----------
    image : what such an image is called in messages, for example "an axial T2 MRI of the prostate"
    extent_low, extent_high : (z, y, x) mm that a field of view has at least and at most
    negative : the largest fraction of voxels below zero, which CT has and MR has not
    smoothness : the least correlation of neighboring voxels on the model's grid; noise has less
    volume : (low, high) ml of all structures together
    confidence : the least mean probability of what is found
    compactness : the least fraction of the ellipsoid with the same moments that the largest piece fills
    off_center : how far from the middle of the field of view the largest piece may lie, mm
    layer, mean, deviation, distance : the network's layer whose mean output, in a window around what is found, is
        compared with that of the training volumes, channel by channel; the root mean square of the differences in
        standard deviations may be ``distance``. Without a layer nothing is compared.
    agreement : of several networks, the least mean Dice between what each of them finds and what all find together:
        where they learned from the same kind of images, they differ on another kind
    expected_dice : what the probabilities let the Dice expect; below it a result is not refused, but comes with a
        warning
    """

    image: str
    extent_low: tuple[float, ...]
    extent_high: tuple[float, ...]
    negative: float
    smoothness: float
    volume: tuple[float, ...]
    confidence: float
    compactness: float
    off_center: float
    layer: str = ""
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    distance: float = 0.0
    agreement: float = 0.0
    expected_dice: float = 0.0


@dataclass(frozen=True)
class ModelCard:
    """A model's card: everything but its weights.

    Attributes
    ----------
    name : what the library lists it as
    network, arguments : entry of the network registry, and what its class takes
    preprocessing : Preprocessing
    window : (z, y, x) voxels of the network's input
    labels : the structures, in the order of the network's channels; no two have one value
    summary, intended_use : a sentence each
    data, license : what it was trained on, and under which license it may be used
    modality : what DICOM scans must be, for example "CT"; "" for anything
    date : of the training, YYYY-MM-DD
    mirrored : whether it learned from mirrored images too (then it can average over mirrored images)
    mirrored_axes : along which of the axes z, y and x it then did
    postprocessing : what is done to the labels in the end; "largest_component": of each structure only the largest
        connected piece stays
    expectations : which images it is for; None refuses none
    figures : what was measured, by name
    members : how many networks the weights are of; their probabilities are averaged
    sha256 : of the weights' file
    weights_file : its name, one of ``FORMATS``: ``weights.safetensors``, in older bundles ``weights.pt``
    """

    name: str
    network: str
    preprocessing: Preprocessing
    window: tuple[int, int, int]
    labels: tuple[ModelLabel, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    intended_use: str = ""
    data: str = ""
    license: str = ""
    modality: str = ""
    date: str = ""
    mirrored: bool = False
    mirrored_axes: str = "zyx"
    postprocessing: tuple[str, ...] = ()
    expectations: Expectations | None = None
    figures: Mapping[str, float | int | str] = field(default_factory=dict)
    members: int = 1
    sha256: str = ""
    weights_file: str = SAFETENSORS

    @property
    def classes(self) -> int:
        """Number of classes, background included."""
        return len(self.labels) + 1

    @property
    def values(self) -> tuple[int, ...]:
        """The values of the classes 1..n in results."""
        return tuple(label.value for label in self.labels)

    @property
    def scans(self) -> str:
        """The modality of DICOM scans: the card's or, where it has none, "CT" if that is the channels' name."""
        only_ct = all(name.strip().casefold() == "ct" for name in self.preprocessing.channels)
        return self.modality or ("CT" if only_ct else "")


def card_to_json(card: ModelCard) -> dict[str, Any]:
    """The card as ``model.json`` holds it."""
    content: dict[str, Any] = {
        "format": next(version for version, file in FORMATS.items() if file == card.weights_file),
        "name": card.name,
        "summary": card.summary,
        "intended_use": card.intended_use,
        "notice": NOTICE,
        "network": {"name": card.network, "arguments": dict(card.arguments)},
        "preprocessing": {name: value for name, value in asdict(card.preprocessing).items() if value is not None},
        "window": list(card.window),
        "postprocessing": list(card.postprocessing),
        "labels": [asdict(label) for label in card.labels],
        "training": {
            "data": card.data,
            "license": card.license,
            "date": card.date,
            "mirrored": card.mirrored,
            "mirrored_axes": card.mirrored_axes,
            "figures": dict(card.figures),
        },
        "weights": {"file": card.weights_file, "members": card.members, "sha256": card.sha256},
    }
    if card.modality:
        content["modality"] = card.modality
    if card.expectations is not None:
        content["expectations"] = asdict(card.expectations)
    return content


def card_hash(card: ModelCard) -> str:
    """A hash (hexadecimal) of all that a model is: its weights' own, and everything else on its card."""
    return hashlib.sha256(json.dumps(card_to_json(card), sort_keys=True).encode()).hexdigest()


def card_from_json(content: Any, source: str) -> ModelCard:
    """The card that ``model.json`` holds; ``source`` is what to call the bundle in messages.

    Raises ModelError if a field is missing or cannot be, or the format is of another version. Fields that are not known
    are ignored.
    """
    fields = Fields(content, source)
    weights_file = FORMATS[fields.version("format", tuple(FORMATS))]
    network, training, weights = (fields.object(key) for key in ("network", "training", "weights"))
    card = ModelCard(
        name=fields.text("name"),
        network=network.text("name"),
        arguments=network.plain("arguments"),
        preprocessing=_preprocessing(fields.object("preprocessing")),
        window=fields.sizes("window"),
        labels=tuple(_label(label) for label in fields.objects("labels")),
        summary=fields.text("summary", ""),
        intended_use=fields.text("intended_use", ""),
        data=training.text("data", ""),
        license=training.text("license", ""),
        modality=fields.choice("modality", MODALITIES, ""),
        date=training.text("date", ""),
        mirrored=training.flag("mirrored"),
        mirrored_axes=training.choice("mirrored_axes", MIRRORS, "zyx"),
        postprocessing=fields.choices("postprocessing", ("largest_component",)),
        expectations=_expectations(fields.object("expectations")) if fields.has("expectations") else None,
        figures=training.plain("figures"),
        members=weights.whole("members", 1, MOST_MEMBERS) if weights.has("members") else 1,
        sha256=weights.digest("sha256"),
        weights_file=weights.choice("file", (weights_file,), weights_file),
    )
    if len({label.value for label in card.labels}) != len(card.labels):
        raise fields.wrong("labels", "must have different values")
    if len(card.labels) > MOST_LABELS:
        raise fields.wrong("labels", f"must be at most {MOST_LABELS}")
    if len({label.name for label in card.labels}) != len(card.labels):
        raise fields.wrong("labels", "must have different names")
    return card


def _preprocessing(fields: Fields) -> Preprocessing:
    z, y, x = fields.numbers("spacing", 3, low=1e-6, high=1e6)
    seen = fields.numbers("field_of_view", 2, low=1e-6, high=1e6) if fields.has("field_of_view") else None
    return Preprocessing(
        spacing=(z, y, x),
        channels=fields.texts("channels"),
        orientation=fields.choice("orientation", ("LPS",)),
        normalization=fields.choice("normalization", NORMALIZATIONS),
        bias_field=fields.choice("bias_field", BIAS_FIELDS, "none"),
        field_of_view=None if seen is None else (seen[0], seen[1]),
    )


def _expectations(fields: Fields) -> Expectations:
    expected = Expectations(
        image=fields.text("image"),
        extent_low=fields.numbers("extent_low", 3, low=0, high=1e6),
        extent_high=fields.numbers("extent_high", 3, low=0, high=1e6),
        negative=fields.number("negative", low=0, high=1),
        smoothness=fields.number("smoothness", low=-1, high=1),
        volume=fields.numbers("volume", 2, low=0, high=1e6),
        confidence=fields.number("confidence", low=0, high=1),
        compactness=fields.number("compactness", low=0, high=1),
        off_center=fields.number("off_center", low=0, high=1e6),
        layer=fields.text("layer", ""),
        mean=fields.numbers("mean", None, low=-1e6, high=1e6),
        deviation=fields.numbers("deviation", None, low=0, high=1e6),
        distance=fields.number("distance", low=0, high=1e6),
        agreement=fields.number("agreement", low=0, high=1) if fields.has("agreement") else 0.0,
        expected_dice=fields.number("expected_dice", low=0, high=1) if fields.has("expected_dice") else 0.0,
    )
    if len(expected.deviation) != len(expected.mean):
        raise fields.wrong("deviation", 'must have as many numbers as "mean"')
    if not all(value > 0 for value in expected.deviation):
        raise fields.wrong("deviation", "must be greater than 0")
    if expected.layer and not expected.mean:
        raise fields.wrong("mean", f"is empty, and the layer {expected.layer} is to be compared with it")
    return expected


def _label(fields: Fields) -> ModelLabel:
    red, green, blue = fields.numbers("color", 3, low=0, high=1)
    value = fields.whole("value", 1, HIGHEST_VALUE)
    return ModelLabel(value, fields.text("name"), (red, green, blue), fields.text("terminology", ""))
