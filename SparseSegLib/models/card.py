"""A model's card: what it segments, how its images are prepared, what it learned from. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from SparseSegLib.models.fields import Fields

FORMAT = 1
NOTICE = "Not for clinical use."


@dataclass(frozen=True)
class ModelLabel:
    """A structure that the model segments.

    Attributes
    ----------
    value : 1..n, in order; also the channel of the network's output (0 is background)
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
    """What is done to an image before the network sees it.

    Attributes
    ----------
    spacing : (z, y, x) mm of the grid that the network works on
    channels : names of the input channels, in order
    orientation : "LPS": the axes are flipped and exchanged so that x, y, z run mostly to the left, back and head
    normalization : "percentiles": each channel's 1st to 99th percentile becomes −1…1, clipped at ±2
    """

    spacing: tuple[float, float, float]
    channels: tuple[str, ...]
    orientation: str = "LPS"
    normalization: str = "percentiles"


@dataclass(frozen=True)
class ModelCard:
    """Everything about a model but its weights.

    Attributes
    ----------
    name : what the library lists it as
    network, arguments : entry of the network registry, and what its class takes
    preprocessing : Preprocessing
    window : (z, y, x) voxels that the network sees at once
    labels : the structures, values 1..n
    summary, intended_use : a sentence each
    data, license : what it was trained on, and under which license it may be used
    date : of the training, YYYY-MM-DD
    mirrored : whether it learned from mirrored images too (then it can average over mirrored images)
    figures : what was measured, by name
    sha256 : of the weights' file
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
    date: str = ""
    mirrored: bool = False
    figures: Mapping[str, float | int | str] = field(default_factory=dict)
    sha256: str = ""

    @property
    def classes(self) -> int:
        """Number of classes, background included."""
        return len(self.labels) + 1


def card_to_json(card: ModelCard) -> dict[str, Any]:
    """The card as ``model.json`` holds it."""
    return {
        "format": FORMAT,
        "name": card.name,
        "summary": card.summary,
        "intended_use": card.intended_use,
        "notice": NOTICE,
        "network": {"name": card.network, "arguments": dict(card.arguments)},
        "preprocessing": asdict(card.preprocessing),
        "window": list(card.window),
        "labels": [asdict(label) for label in card.labels],
        "training": {
            "data": card.data,
            "license": card.license,
            "date": card.date,
            "mirrored": card.mirrored,
            "figures": dict(card.figures),
        },
        "weights": {"file": "weights.pt", "sha256": card.sha256},
    }


def card_from_json(content: Any, source: str) -> ModelCard:
    """The card that ``model.json`` holds; ``source`` is what to call the bundle in messages.

    Raises ModelError if a field is missing or cannot be, or the format is of another version. Fields that are not known
    are passed over.
    """
    fields = Fields(content, source)
    fields.version("format", FORMAT)
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
        date=training.text("date", ""),
        mirrored=training.flag("mirrored"),
        figures=training.plain("figures"),
        sha256=weights.digest("sha256"),
    )
    if [label.value for label in card.labels] != list(range(1, len(card.labels) + 1)):
        raise fields.wrong("labels", "must have the values 1, 2, 3 and so on")
    if len({label.name for label in card.labels}) != len(card.labels):
        raise fields.wrong("labels", "must have different names")
    return card


def _preprocessing(fields: Fields) -> Preprocessing:
    z, y, x = fields.numbers("spacing", 3, low=1e-6, high=1e6)
    return Preprocessing(
        spacing=(z, y, x),
        channels=fields.texts("channels"),
        orientation=fields.choice("orientation", ("LPS",)),
        normalization=fields.choice("normalization", ("percentiles",)),
    )


def _label(fields: Fields) -> ModelLabel:
    red, green, blue = fields.numbers("color", 3, low=0, high=1)
    value = fields.whole("value", 1, 254)
    return ModelLabel(value, fields.text("name"), (red, green, blue), fields.text("terminology", ""))
