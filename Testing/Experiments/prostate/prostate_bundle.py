"""Writes a run of ``prostate_experts`` as a model bundle, and measures that on the patients that the run left out.

    python Testing/Experiments prostate_bundle --run OUTPUT/fold-3 --data FOLDER -o work/fold-3 --scores fold-3.json
    python Testing/Experiments prostate_bundle --run OUTPUT/all --data FOLDER -o prostate-vnet --figures fold-*.json

The bundle is what users get: half precision, its own preprocessing, the largest component, and the plausibility checks,
which know the features of the patients that it learned from. The patients of FOLDER that it did not learn from are
segmented with it, as ``sparseseg segment --force`` does, and --scores keeps their figures. --figures are such files of
other runs, whose means the card is to have.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from Experiments.prostate.card import make_card
from Experiments.prostate.learner import Recipe
from Experiments.prostate.patients import Patient, find_patients
from Experiments.prostate.prostate_experts import WEIGHTS
from Experiments.prostate.scores import Row, as_table, score_mask, summarize
from torch import nn

from SparseSegLib.control import CancelToken
from SparseSegLib.devices import choose_device
from SparseSegLib.errors import SparseSegError
from SparseSegLib.files import write_json
from SparseSegLib.models import ModelCard, load_network, save_bundle
from SparseSegLib.networks import create_network
from SparseSegLib.prediction.components import largest_component
from SparseSegLib.prediction.plausibility import Found, expected_dice, features_around, with_features
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.preprocessing.for_model import prepare_for
from SparseSegLib.training.checkpoint import load_checkpoint

CPU = "cpu"


def main(given: Sequence[str] | None = None) -> int:
    """Write the bundle, and measure it on patients that it did not learn from; the exit code."""
    arguments = _parser().parse_args(given)
    try:
        patients = find_patients(arguments.data)
        rows = [row for path in arguments.figures for row in json.loads(path.read_text(encoding="utf-8"))]
        learned = write_bundle(arguments.run, arguments.output, patients, rows, arguments.device)
        left_out = [one for one in patients if one.name not in learned]
        if left_out:
            rows = measure(arguments.output, left_out, arguments.device, flips=arguments.flips)
            print(f"{as_table(rows)}\n{json.dumps(summarize(rows))}")
            if arguments.scores:
                write_json(arguments.scores, rows)
    except SparseSegError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def write_bundle(
    run: Path, output: Path, patients: Sequence[Patient], rows: Sequence[Row] = (), device: str = CPU
) -> list[str]:
    """Write the weights of a run as a bundle; the names of the patients that it learned from.

    Parameters
    ----------
    patients : those that it learned from are among them
    rows : figures of patients that were left out by other runs of the same settings, for the card
    """
    state = load_checkpoint(run / WEIGHTS)
    made_by: dict[str, Any] = json.loads(state["made_by"])
    names: list[str] = made_by["patients"]
    card = replace(
        make_card(Recipe(**made_by["recipe"])),
        data=(
            f"{len(names)} patients of the training set of PROMISE12 (MICCAI 2012) with its experts' masks, from four "
            f"centers, one of them with endorectal coils: {', '.join(names)}. The slices are the original ones, every "
            "second pixel; their spacing is assumed per center."
        ),
        date=date.today().isoformat(),
        figures={"steps": state["steps"], **(figures_of(rows) if rows else {})},
    )
    network = create_network(card.network, 1, card.classes, **card.arguments).eval()
    network.load_state_dict(state["weights"])
    card = knowing(card, network, [one for one in patients if one.name in names], device)
    save_bundle(output, card, state["weights"], half=True)
    return names


def figures_of(rows: Sequence[Row]) -> dict[str, Any]:
    """The figures of patients that were left out, for a card."""
    summary = summarize(rows)
    return {
        "cross-validated patients": len(rows),
        "cross-validated Dice": summary["dice"],
        "its standard deviation": summary["deviation"],
        "its lowest": summary["worst"],
        **{f"Dice of {center}": value for center, value in summary["centers"].items()},
        "Hausdorff 95 % mm": summary["hausdorff95"],
        "volume error %": summary["volume_error_percent"],
        "absolute volume error %": summary["absolute_volume_error_percent"],
    }


def knowing(card: ModelCard, network: nn.Module, patients: Sequence[Patient], device: str) -> ModelCard:
    """The card with the deepest features of the network around what it finds in patients."""
    assert card.expectations is not None
    predictor = Predictor(card, network, choose_device(device))
    layer = f"left.{len(list(network.get_submodule('left').children())) - 1}"
    features = []
    for patient in patients:
        image, found = find_with(predictor, patient)
        piece = largest_component(found.mask)
        around = features_around(network, layer, image, piece, card.window, predictor.device)
        if around is not None:
            features.append(around)
    return replace(card, expectations=with_features(card.expectations, layer, np.stack(features)))


def find_with(predictor: Predictor, patient: Patient) -> tuple[torch.Tensor, Found]:
    """A patient's image ``(1, Z, Y, X)`` as the model sees it, and what it finds in it."""
    image, grid = prepare_for(patient.case.volume(), predictor.card.preprocessing)
    probabilities = predictor.probabilities(image, CancelToken(), lambda fraction: None)
    return image, Found(probabilities.argmax(0).numpy() > 0, 1 - probabilities[0].numpy(), grid)


def measure(bundle: Path, patients: Sequence[Patient], device: str, *, flips: bool) -> list[Row]:
    """The figures of patients, each segmented with a bundle on its own slices, with what the model warned of."""
    card, network = load_network(bundle)
    predictor = Predictor(card, network, choose_device(device), flips=flips, force=True)
    rows = []
    for patient in patients:
        row = score_mask(patient, predictor.segment(patient.case.volume()))
        expected = round(expected_dice(find_with(predictor, patient)[1]), 4)
        rows.append({**row, "expected_dice": expected, "warnings": predictor.warnings})
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="of a run that is done")
    parser.add_argument("--data", type=Path, required=True, help="folder of the volumes and masks")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the bundle, a folder or .zip")
    parser.add_argument("--scores", type=Path, help="file for the figures of the patients that the run left out")
    parser.add_argument("--figures", type=Path, nargs="+", default=[], help="such files, for the card")
    parser.add_argument("--flips", action="store_true", help="average over mirrored images, as the runs do")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return parser
