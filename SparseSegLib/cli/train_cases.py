"""The cases that an argument of ``sparseseg train`` names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from SparseSegLib.cli.console import Console
from SparseSegLib.errors import FileError, UsageError
from SparseSegLib.io.folders import IMAGE_ENDINGS, files_by_name

FOLDERS = "A folder of cases has the folders images and labels."


def cases_of(given: str, console: Console) -> list[dict[str, Any]]:
    """The cases of files joined by commas, of a folder with ``images`` and ``labels``, or of a ``dataset.json``."""
    path = Path(given)
    if path.is_dir():
        return _cases_in(path, console)
    if path.suffix.lower() == ".json":
        return _described_cases(path)
    images, comma, labels = given.rpartition(",")
    if not comma or not images or not labels:
        raise UsageError(
            f"{given} is no case.",
            "Give IMAGE,LABELS, a folder that has the folders images and labels, or a dataset.json.",
        )
    volumes = [images] if Path(images).exists() else images.split(",")
    return [{"volumes": [str(Path(path).absolute()) for path in volumes], "labels": str(Path(labels).absolute())}]


def about_data(given: list[str]) -> dict[str, Any]:
    """Fields of the first ``dataset.json`` among the arguments: ``data`` and ``channels`` of the card, ``regions``."""
    for path in map(Path, given):
        if path.suffix.lower() == ".json" and path.is_file():
            description = _read(path)
            count = len(description.cases)
            data = f"{description.name}, {count} annotated volumes" if description.name else None
            return {"data": data, "channels": list(description.channels), "regions": list(description.regions)}
    return {}


def _read(path: Path) -> Any:
    from SparseSegLib.cohort.decathlon import read_description  # brings torch along

    return read_description(path)


def _described_cases(path: Path) -> list[dict[str, Any]]:
    return [
        {
            "name": files.name,
            "volumes": [str(volume.absolute()) for volume in files.volumes],
            "labels": str(files.labels.absolute()),
            "stacked": files.stacked,
            "names": {str(value): name for value, name in files.names.items()},
            "ignore": files.ignore,
        }
        for files in _read(path).files(dense=True)
    ]


def _cases_in(folder: Path, console: Console) -> list[dict[str, Any]]:
    images, labels = (
        files_by_name(folder / part, IMAGE_ENDINGS, FOLDERS, folders=True) for part in ("images", "labels")
    )
    lost = sorted(set(labels) - set(images))
    if lost:
        raise FileError(
            f"{folder / 'labels'} has {', '.join(lost[:3])}{' and others' if lost[3:] else ''}, "
            "for which there is no image.",
            "An image and its labels have the same name.",
        )
    plain = len(images) - len(labels)
    if plain:
        console.message(f"{plain} of {len(images)} images in {folder} have no labels and are left out.")
    return [
        {"volumes": [str(images[name].absolute())], "labels": str(labels[name].absolute()), "name": name}
        for name in sorted(labels)
    ]
