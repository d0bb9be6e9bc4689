"""Data sets described by a ``dataset.json`` in the manner of the Medical Segmentation Decathlon or of nnU-Net."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from SparseSegLib.cohort.described_labels import described_labels
from SparseSegLib.cohort.files import CaseFiles
from SparseSegLib.errors import FileError
from SparseSegLib.files import PathLike, read_json
from SparseSegLib.io import volume_name

HINT = "It must name training (a list of image and label), labels, and modality or channel_names."
LONGEST_PATH, LONGEST_NAME = 1000, 250
FIRST_CHANNEL = "_0000"  # at the end of an image's name in nnU-Net; the second channel has _0001


@dataclass(frozen=True)
class Description:
    """The content of a ``dataset.json``.

    Attributes
    ----------
    name : of the data set; may be empty
    channels : names of the image's channels
    structures : names by the values in the labels
    cases : name, image files (several are channels) and labels file of each training case
    ignore : the value that means unlabeled, or None
    regions : sums of structures to learn, as for ``TrainSettings``; () for exclusive structures
    """

    name: str
    channels: tuple[str, ...]
    structures: Mapping[int, str]
    cases: tuple[tuple[str, tuple[Path, ...], Path], ...]
    ignore: int | None = None
    regions: tuple[str, ...] = field(default=())

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
                ignore=self.ignore,
            )
            for name, images, labels in self.cases
        ]


def read_description(path: PathLike) -> Description:
    """Read a ``dataset.json``; paths in it are relative to it, and lead to files below its folder.

    ``labels`` may be ``{"0": "background", "1": "liver"}`` or the other way round, with a value called "ignore" and
    with regions of several values as nnU-Net has them; channels are called ``modality`` or ``channel_names``; an image
    may be a list of files, a channel each. Without ``training`` the cases are the files in ``labelsTr`` that end in
    ``file_ending``.

    Raises
    ------
    FileError
        If it is missing or no such description, or names files that are not there or not below its folder.
    """
    path = Path(path)
    content = read_json(path, HINT)
    if not isinstance(content, dict):
        raise FileError(f"{path} is no description of a data set.", HINT)
    try:
        labels = described_labels(content.get("labels"))
        channels = _channels(content.get("modality") or content.get("channel_names") or {"0": "image"})
        entries = content.get("training") or list(_listed(path.parent, content.get("file_ending"), len(channels)))
        if not isinstance(entries, list) or not entries:
            raise FileError(f"{path} lists no training cases.", HINT)
        cases = tuple(_case(path, entry, len(channels)) for entry in entries)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise FileError(f"{path} is no description of a data set: {_in_words(error)}.", HINT) from error
    _check_channels(path, cases, channels)
    _check_there(path, cases)
    name = content.get("name", "")
    return Description(
        name if isinstance(name, str) else "", channels, labels.structures, cases, labels.ignore, labels.regions
    )


def _in_words(error: Exception) -> str:
    return f"a case lacks {error}" if isinstance(error, KeyError) else str(error)


def _listed(folder: Path, ending: Any, channels: int) -> Iterator[dict[str, Any]]:
    """The cases of a folder in nnU-Net's order, where the description lists none."""
    if not isinstance(ending, str) or not ending.startswith(".") or not (folder / "labelsTr").is_dir():
        return
    for label in sorted((folder / "labelsTr").iterdir()):
        if label.name.endswith(ending) and not label.name.startswith("."):
            name = label.name[: -len(ending)]
            images = [f"imagesTr/{name}_{number:04d}{ending}" for number in range(channels)]
            yield {"image": images, "label": f"labelsTr/{label.name}"}


def _case(path: Path, entry: dict[str, Any], channels: int) -> tuple[str, tuple[Path, ...], Path]:
    images = [entry["image"]] if isinstance(entry["image"], str) else list(entry["image"])
    if not images:
        raise ValueError("a case has no image")
    files = tuple(_below(path, image) for image in images)
    if len(files) == 1 and not _exists(files[0]):
        files = _channel_files(files[0], channels)
    name = volume_name(files[0])
    return name.removesuffix(FIRST_CHANNEL) or name, files, _below(path, entry["label"])


def _channel_files(image: Path, channels: int) -> tuple[Path, ...]:
    """The files of the channels of an image that nnU-Net lists without their numbers; the image if there are none."""
    name = volume_name(image)
    ending = image.name[len(name) :]
    files = tuple(image.with_name(f"{name}_{number:04d}{ending}") for number in range(channels))
    return files if all(map(_exists, files)) else (image,)


def _below(path: Path, given: Any) -> Path:
    """A path that the description names; FileError if it leads out of the folder."""
    if not isinstance(given, str) or not given.strip() or "\0" in given or len(given) > LONGEST_PATH:
        raise ValueError(f"{given!r:.50} is no path")
    if any(len(part) > LONGEST_NAME for part in Path(given).parts):
        raise ValueError(f"{given:.50} … has a name that is too long")
    folder = Path(os.path.abspath(path.parent))
    file = Path(os.path.abspath(folder / given))
    if not file.is_relative_to(folder) or file == folder:
        raise FileError(
            f"{path} names {given}, which does not lie in its folder.",
            "Let the paths lead to files beside it or below.",
        )
    return file


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a name that is too long, for one
        return False


def _channels(names: Any) -> tuple[str, ...]:
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{names!r:.50} are no names of channels")
    return tuple(names)


def _check_channels(path: Path, cases: Sequence[tuple[str, tuple[Path, ...], Path]], channels: Sequence[str]) -> None:
    for name, images, _ in cases:
        if len(images) > 1 and len(images) != len(channels):
            raise FileError(
                f"{path} names {len(channels)} channels ({', '.join(channels)}), and {name} has {len(images)} images.",
                "Name each channel under modality or channel_names.",
            )


def _check_there(path: Path, cases: Sequence[tuple[str, tuple[Path, ...], Path]]) -> None:
    missing = [str(file) for _, images, labels in cases for file in (*images, labels) if not _exists(file)]
    if missing:
        raise FileError(
            f"{path} names {len(missing)} files that are not there: {', '.join(missing[:3])}"
            f"{' and others' if missing[3:] else ''}.",
            "Unpack the data set beside it, or correct the paths.",
        )
