"""Train a model on several annotated volumes as a job: files in, a bundle out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.annotation import SparseLabels, read_sparse_labels
from SparseSegLib.annotation.regrid import on_grid
from SparseSegLib.cohort import (
    Case,
    Dataset,
    Example,
    TrainedModel,
    TrainSettings,
    make_dataset,
    make_example,
    median_spacing,
    train,
)
from SparseSegLib.cohort.dataset import for_all, naming
from SparseSegLib.control import Control
from SparseSegLib.errors import AnnotationError, JobError
from SparseSegLib.geometry import Geometry
from SparseSegLib.io import default_color, default_segment, read_labels, read_volume, volume_name
from SparseSegLib.models import ModelCard, ModelLabel, Preprocessing, save_bundle
from SparseSegLib.protocol import CHECKPOINT_FILE
from SparseSegLib.worker.densify_task import leave_one_core_free

ABOUT = ("name", "summary", "intended_use", "data", "license")
HIGHEST = 254


@dataclass(frozen=True)
class _Source:
    """The files of a case; ``dense`` labels say something about every voxel."""

    name: str
    volumes: list[Path]
    labels: Path
    dense: bool
    resample: bool


def train_task(folder: Path, job: dict[str, Any], control: Control) -> tuple[dict[str, str], dict[str, Any]]:
    """Run ``cohort.train`` on the job's files.

    Inputs: ``cases``, each with ``volumes`` (paths, the channels), ``labels`` (path), ``dense`` and ``resample``
    (bool). Settings: those of ``TrainSettings``; for the card ``name``, ``summary``, ``intended_use``, ``data``,
    ``license``, ``channels`` (names) and ``terminologies`` (by the class's name); ``bundle``, the result's name.
    """
    chosen = dict(job["settings"])
    about = {key: str(chosen.pop(key)) for key in ABOUT if key in chosen}
    channels, terminologies = chosen.pop("channels", None), dict(chosen.pop("terminologies", {}))
    bundle = Path(str(chosen.pop("bundle", "bundle"))).name
    try:
        settings = TrainSettings(**chosen)
        sources = [_source(folder, case) for case in job["inputs"]["cases"]]
    except (TypeError, KeyError) as error:
        raise JobError(f"The job asks for something that train does not know: {error}.") from error
    if not sources:
        raise AnnotationError("There are no annotated volumes to learn from.", "Give at least one.")
    leave_one_core_free()
    dataset = _dataset(sources, settings, control)
    model = train(dataset, settings, control, folder / CHECKPOINT_FILE)
    card = _card(dataset, settings, model, about, channels)
    save_bundle(folder / bundle, _with_labels(card, dataset, sources, terminologies), model.weights)
    return {"bundle": bundle}, dict(card.figures)


def _source(folder: Path, case: dict[str, Any]) -> _Source:
    volumes = [folder / path for path in case["volumes"]]
    name = str(case.get("name") or volume_name(volumes[0]))
    return _Source(name, volumes, folder / case["labels"], bool(case.get("dense")), bool(case.get("resample")))


def _dataset(sources: list[_Source], settings: TrainSettings, control: Control) -> Dataset:
    """Read the cases one by one, twice where the spacing is not known before; an error names all bad ones."""
    spacing = settings.spacing
    passes = 1 if spacing else 2
    done = 0

    def count() -> None:
        nonlocal done
        control.token.check()
        control.events.progress(0, 0.0, None, None, cases_read=done // passes)
        done += 1

    def geometry(source: _Source) -> Geometry:
        count()
        case = _read(source)
        case.check()
        return case.volume.geometry

    def example(source: _Source, spacing: tuple[float, float, float]) -> Example:
        count()
        return make_example(_read(source), spacing)

    if spacing is None:
        spacing = median_spacing(for_all([lambda source=source: geometry(source) for source in sources]))  # type: ignore[misc]
    chosen = spacing
    examples = for_all([lambda source=source: example(source, chosen) for source in sources])  # type: ignore[misc]
    dataset = make_dataset(examples, chosen)
    for text in _oddities(dataset):
        control.events.message(text)
    return dataset


def _read(source: _Source) -> Case:
    with naming(source.name):
        volume = read_volume(source.volumes[0] if len(source.volumes) == 1 else source.volumes)
        if source.dense:
            labels = _read_dense(source, volume.geometry)
        else:
            labels = read_sparse_labels(source.labels, volume.geometry, resample_to=source.resample)
    return Case(source.name, volume, labels)


def _read_dense(source: _Source, reference: Geometry) -> SparseLabels:
    """Labels of which every voxel counts, those of value 0 as background; what Slicer cropped away is background."""
    array, geometry, segments = read_labels(source.labels)
    if not 0 <= array.min() <= array.max() <= HIGHEST:
        raise AnnotationError(
            f"{source.labels} has the values {array.min()} to {array.max()}; classes are 1 to {HIGHEST}.",
            "Number the classes 1, 2, 3 and so on.",
        )
    names = {segment.value: segment.name for segment in segments}
    known = tuple(names.get(value, default_segment(value).name) for value in range(1, max(names, default=0) + 1))
    labels = SparseLabels(array.astype(np.uint8), geometry, names=known)
    moved = on_grid(labels, reference, source.labels.name, resample_to=source.resample)
    return SparseLabels(np.where(moved.labeled, moved.array, 0).astype(np.uint8), reference, names=known)


def _oddities(dataset: Dataset) -> Iterator[str]:
    """What the user may not have meant: a class that is in the annotation of some cases only."""
    for value, name in enumerate(dataset.names, start=1):
        lacking = [example.name for example in dataset.examples if not (example.labels == value).any()]
        if lacking:
            yield f"{name} is not in the annotation of {', '.join(lacking[:5])}{' and others' if lacking[5:] else ''}."


def _card(
    dataset: Dataset, settings: TrainSettings, model: TrainedModel, about: dict[str, str], channels: list[str] | None
) -> ModelCard:
    names = tuple(str(name) for name in channels or [])
    if names and len(names) != dataset.channels:
        raise JobError(f"{len(names)} names of channels were given, and there are {dataset.channels}.")
    count = len(dataset.examples)
    return ModelCard(
        name=about.get("name") or "Model",
        network=settings.network,
        arguments=model.arguments,
        preprocessing=Preprocessing(
            dataset.spacing, names or tuple(f"channel {number}" for number in range(1, dataset.channels + 1))
        ),
        window=model.window,
        labels=(),
        summary=about.get("summary", ""),
        intended_use=about.get("intended_use", ""),
        data=about.get("data") or f"{count} annotated volume{'s' if count > 1 else ''}",
        license=about.get("license", ""),
        date=date.today().isoformat(),
        mirrored=settings.mirror,
        figures={
            "steps": model.steps,
            "seconds": round(model.seconds, 2),
            "loss": round(model.loss or 0.0, 5),
            "cases": count,
        },
    )


def _with_labels(card: ModelCard, dataset: Dataset, sources: list[_Source], terminologies: dict[str, str]) -> ModelCard:
    """The card with the classes, in the colors of the first case that has them."""
    colors: dict[str, tuple[float, float, float]] = {}
    for source in sources:
        for segment in read_labels(source.labels)[2]:
            colors.setdefault(segment.name.strip().casefold(), segment.color)
    labels = [
        ModelLabel(value, name, colors.get(name.casefold(), default_color(value)), str(terminologies.get(name, "")))
        for value, name in enumerate(dataset.names, start=1)
    ]
    return replace(card, labels=tuple(labels))
