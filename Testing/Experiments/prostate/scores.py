"""Scores of a prostate network on unseen patients, on their own slices, and its confidence."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from Experiments.prostate.learner import CLASSES, Recipe
from Experiments.prostate.middle import middle_box
from Experiments.prostate.patients import Patient, Prepared
from torch import nn

from SparseSegLib.evaluation import dice, evaluate
from SparseSegLib.image import Geometry
from SparseSegLib.inference import Mirrored, predict_patches
from SparseSegLib.prediction.components import largest_component
from SparseSegLib.prediction.plausibility import Found, expected_dice
from SparseSegLib.preprocessing.grid import labels_on

Row = dict[str, Any]
COLUMNS = ("name", "center", "dice", "hausdorff95", "hausdorff", "ml", "reference_ml")


@dataclass(frozen=True, eq=False)
class Finding:
    """A network's prediction for a patient: probabilities ``(Z, Y, X)`` float32 on ``grid``."""

    probability: torch.Tensor
    grid: Geometry


@torch.inference_mode()
def find(network: nn.Module, prepared: Prepared, recipe: Recipe, mirror: str = "x") -> Finding:
    """Predict the middle of a patient; ``mirror`` are the axes of mirror images to average over."""
    box = middle_box(prepared.image.shape, recipe.window[1:])
    device = next(network.parameters()).device
    probabilities = predict_patches(
        Mirrored(network, mirror) if mirror else network,
        prepared.image[box][None],
        classes=CLASSES,
        patch=recipe.window,
        device=device,
    )
    return Finding(probabilities[1], prepared.grid.crop(box))


def segmented(finding: Finding, target: Geometry) -> np.ndarray:
    """The largest piece of what was found, ``(Z, Y, X)`` uint8 on ``target``."""
    both = torch.stack([1 - finding.probability, finding.probability])
    return largest_component(labels_on(both, finding.grid, target) == 1).astype(np.uint8)


def score_patient(patient: Patient, finding: Finding) -> Row:
    """The figures of what was found, on the patient's own slices."""
    return score_mask(patient, segmented(finding, patient.case.truth()[1]))


def score_mask(patient: Patient, mask: np.ndarray) -> Row:
    """Dice, distances in mm and volumes in ml of a mask ``(Z, Y, X)`` on the patient's own slices."""
    truth, geometry = patient.case.truth()
    scores = evaluate(mask, truth, geometry, labels=[1])[0]
    return {
        "name": patient.name,
        "center": patient.center,
        "dice": round(scores.dice, 4),
        "hausdorff95": _known(scores.hausdorff95),
        "hausdorff": _known(scores.hausdorff),
        "ml": round(scores.volume, 1),
        "reference_ml": round(scores.reference_volume, 1),
    }


def sureness(finding: Finding, others: dict[str, Finding]) -> Row:
    """Indicators of a poor result that need no truth.

    Parameters
    ----------
    others : what else was found, by name, as by one view or by other weights; the agreement with each is a Dice
    """
    p = finding.probability.numpy()
    mask = p > 0.5
    if not mask.any():
        return {"found": False}
    piece = largest_component(mask)
    entropy = -(p * np.log(np.clip(p, 1e-7, 1)) + (1 - p) * np.log(np.clip(1 - p, 1e-7, 1)))
    return {
        "found": True,
        "mean_probability": round(float(p[piece].mean()), 4),
        "expected_dice": round(expected_dice(Found(mask, p, finding.grid)), 4),
        "unsure_share": round(float(((p > 0.2) & (p < 0.8)).sum() / piece.sum()), 4),
        "entropy": round(float(entropy.sum() / piece.sum()), 4),
        "largest_share": round(float(piece.sum() / mask.sum()), 4),
        **{
            f"agreement_{name}": round(dice(other.probability.numpy() > 0.5, mask), 4) for name, other in others.items()
        },
    }


def summarize(rows: Sequence[Row]) -> Row:
    """Mean, standard deviation and worst of the Dice, distances and volumes; the mean Dice of each center."""
    dices = [row["dice"] for row in rows]
    distances = [row["hausdorff95"] for row in rows if row["hausdorff95"] is not None]
    errors = [100 * (row["ml"] / row["reference_ml"] - 1) for row in rows]
    centers = sorted({row["center"] for row in rows})
    worst = min(rows, key=lambda row: row["dice"])
    return {
        "patients": len(rows),
        "dice": round(statistics.mean(dices), 4),
        "deviation": round(statistics.stdev(dices), 4) if len(dices) > 1 else None,
        "worst": f"{worst['name']} {worst['dice']}",
        "hausdorff95": round(statistics.mean(distances), 2) if distances else None,
        "volume_error_percent": round(statistics.mean(errors), 1),
        "absolute_volume_error_percent": round(statistics.mean(map(abs, errors)), 1),
        "centers": {
            center: round(statistics.mean(row["dice"] for row in rows if row["center"] == center), 4)
            for center in centers
        },
    }


def as_table(rows: Sequence[Row]) -> str:
    """All patients in Markdown."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *([row[column] for column in COLUMNS] for row in rows)]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def save_finding(path: Path, finding: Finding) -> None:
    """Keep what was found, to be analyzed without the network."""
    grid = finding.grid
    np.savez_compressed(
        path,
        probability=finding.probability.numpy().astype(np.float16),
        spacing=grid.spacing,
        origin=grid.origin,
        direction=grid.direction,
    )


def _known(distance: float) -> float | None:
    """A distance in mm, or None where nothing was found."""
    return round(distance, 2) if np.isfinite(distance) else None
