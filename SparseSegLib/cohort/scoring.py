"""Scores of a model on annotated volumes that it was not trained on."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite, nan
from typing import Any

import numpy as np

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.cohort.dataset import Case, renumbering
from SparseSegLib.evaluation import LabelScores, Spread, dice, evaluate, iou, scores_as_dict
from SparseSegLib.evaluation.cohort import cell_text
from SparseSegLib.image import Geometry
from SparseSegLib.models.regions import structures
from SparseSegLib.prediction.predictor import Predictor

COLUMNS = ("dice", "iou", "hausdorff", "hausdorff95", "average_surface_distance", "volume", "reference_volume")


@dataclass(frozen=True)
class FoldScores:
    """The scores of a case that a fold left out, one for each structure that is in the case or was found there.

    Where the model learned regions, those of several structures follow.
    """

    fold: int
    case: str
    scores: tuple[LabelScores, ...]


def score_case(predictor: Predictor, case: Case, classes: Sequence[str]) -> tuple[LabelScores, ...]:
    """Segment a case and compare with its annotation, on its own grid, structure by structure.

    A structure that is in neither has no score; labels are the values that structures have in the model's results.
    Where the annotation is sparse only labeled voxels count, and there are no distances: no surface is known. Regions
    of several structures have scores of their own.
    """
    found = predictor.segment(case.volume)
    truth = renumbering(case.names, classes)[case.labels.array]
    rows = _scores(found, truth, dict(enumerate(classes, start=1)), case.volume.geometry)
    own = predictor.card.values
    if len(own) == len(classes):
        rows = tuple(replace(row, label=own[row.label - 1]) for row in rows)
    for values in structures(predictor.card.arguments.get("regions", "separate"), len(classes)):
        if len(values) > 1:
            name = " + ".join(classes[value - 1] for value in values)
            there = np.where(truth == UNLABELED, UNLABELED, np.isin(truth, values)).astype(np.uint8)
            rows += _scores(np.isin(found, values).astype(np.uint8), there, {1: name}, case.volume.geometry)
    return rows


def _scores(
    found: np.ndarray, truth: np.ndarray, names: Mapping[int, str], geometry: Geometry
) -> tuple[LabelScores, ...]:
    """The scores of labels ``(Z, Y, X)`` by their values."""
    labeled = truth != UNLABELED
    if labeled.all():
        return evaluate(found, truth, geometry, names=names)
    millilitres = float(np.prod(geometry.spacing)) / 1000
    rows = []
    for value, name in names.items():
        ours, theirs = (found == value) & labeled, truth == value
        if not (ours.any() or theirs.any()):
            continue
        volume = int((found == value).sum()) * millilitres
        rows.append(LabelScores(value, name, dice(ours, theirs), iou(ours, theirs), nan, nan, nan, volume, nan))
    return tuple(rows)


def scores_as_csv(rows: Sequence[FoldScores]) -> str:
    """A line for each case and structure; distances in mm, volumes in ml, empty where something is not known."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["fold", "case", "structure", *COLUMNS])
    for row in rows:
        for score in row.scores:
            values = (getattr(score, column) for column in COLUMNS)
            cells = (f"{value:.5g}" if isfinite(value) else "" for value in values)
            writer.writerow([row.fold, cell_text(row.case), cell_text(score.name), *cells])
    return out.getvalue()


def scores_as_json(rows: Sequence[FoldScores]) -> dict[str, Any]:
    """All scores, and for each structure the mean Dice over the cases that have a score for it.

    The standard deviation is that of a sample; None with a single case.
    """
    by_name: dict[str, list[float]] = {}
    for row in rows:
        for score in row.scores:
            by_name.setdefault(score.name, []).append(score.dice)
    return {
        "dice": {name: _summary(Spread.of(found)) for name, found in by_name.items()},
        "cases": [{"fold": row.fold, "case": row.case, "scores": scores_as_dict(row.scores)} for row in rows],
    }


def _summary(spread: Spread) -> dict[str, float | int | None]:
    deviation = round(spread.deviation, 5) if isfinite(spread.deviation) else None
    return {"mean": round(spread.mean, 5), "deviation": deviation, "cases": spread.count}
