"""Data sets described by a ``dataset.json`` in the manner of the Medical Segmentation Decathlon."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SparseSegLib.atomic import PathLike
from SparseSegLib.cohort.files import HIGHEST, CaseFiles
from SparseSegLib.errors import FileError
from SparseSegLib.io import volume_name

HINT = "It must name training (a list of image and label), labels, and modality, as in the Decathlon."


@dataclass(frozen=True)
class Description:
    """What a ``dataset.json`` says.

    Attributes
    ----------
    name : of the data set; may be empty
    channels : names of the image's channels
    structures : names of the classes 1..n; a value without a name has an empty one
    cases : name, image files (several are channels) and labels file of each training case
    """

    name: str
    channels: tuple[str, ...]
    structures: tuple[str, ...]
    cases: tuple[tuple[str, tuple[Path, ...], Path], ...]

    def files(self, *, dense: bool, resample: bool = False) -> list[CaseFiles]:
        """The cases; several channels in one file lie along its fourth axis."""
        return [
            CaseFiles(
                name,
                images,
                labels,
                dense,
                resample,
                stacked=len(images) == 1 < len(self.channels),
                names=self.structures,
            )
            for name, images, labels in self.cases
        ]


def read_description(path: PathLike) -> Description:
    """Read a ``dataset.json``; paths in it are relative to it.

    ``labels`` may be ``{"0": "background", "1": "liver"}`` or the other way round; channels are called ``modality`` or
    ``channel_names``; an image may be a list of files, a channel each.

    Raises
    ------
    FileError
        If it is missing or no such description, or names files that are not there.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise FileError(f"There is no file {path}.", "Check the path.") from None
    except (OSError, ValueError) as error:
        raise FileError(f"{path} cannot be read: {error}.", HINT) from error
    if not isinstance(content, dict) or not isinstance(content.get("training"), list) or not content["training"]:
        raise FileError(f"{path} lists no training cases.", HINT)
    try:
        cases = tuple(_case(path, entry) for entry in content["training"])
        structures = _structures(path, content["labels"])
        channels = _channels(content.get("modality") or content.get("channel_names") or {"0": "image"})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileError(f"{path} is no description of a data set: {error!r}.", HINT) from error
    _check_channels(path, cases, channels)
    _check_there(path, cases)
    return Description(str(content.get("name", "")), channels, structures, cases)


def _case(path: Path, entry: dict[str, Any]) -> tuple[str, tuple[Path, ...], Path]:
    images = [entry["image"]] if isinstance(entry["image"], str) else list(entry["image"])
    files = tuple(path.parent / image for image in images)
    return volume_name(files[0]), files, path.parent / entry["label"]


def _structures(path: Path, labels: dict[str, Any]) -> tuple[str, ...]:
    """Names of the values 1..n."""
    by_value = all(str(key).isdigit() for key in labels)
    named = {int(key): str(value) for key, value in (labels.items() if by_value else _turned(labels))}
    values = sorted(value for value in named if value)
    if not values or not 1 <= values[0] <= values[-1] <= HIGHEST:
        raise FileError(f"{path} has the label values {values}; structures are 1 to {HIGHEST}.", HINT)
    return tuple(named.get(value, "") for value in range(1, values[-1] + 1))


def _turned(labels: dict[str, Any]) -> list[tuple[int, str]]:
    return [(int(value), name) for name, value in labels.items()]


def _channels(names: dict[str, Any] | Sequence[str]) -> tuple[str, ...]:
    if isinstance(names, dict):
        return tuple(str(names[key]) for key in sorted(names, key=int))
    return tuple(str(name) for name in names)


def _check_channels(path: Path, cases: Sequence[tuple[str, tuple[Path, ...], Path]], channels: Sequence[str]) -> None:
    for name, images, _ in cases:
        if len(images) > 1 and len(images) != len(channels):
            raise FileError(
                f"{path} names {len(channels)} channels ({', '.join(channels)}), and {name} has {len(images)} images.",
                "Name each channel under modality or channel_names.",
            )


def _check_there(path: Path, cases: Sequence[tuple[str, tuple[Path, ...], Path]]) -> None:
    missing = [str(file) for _, images, labels in cases for file in (*images, labels) if not file.exists()]
    if missing:
        raise FileError(
            f"{path} names {len(missing)} files that are not there: {', '.join(missing[:3])}"
            f"{' and others' if missing[3:] else ''}.",
            "Unpack the data set beside it, or correct the paths.",
        )
