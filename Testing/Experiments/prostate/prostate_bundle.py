"""Writes a run of ``prostate_experts`` as a model bundle, and measures that on the patients that the run left out.

    python Testing/Experiments prostate_bundle --run OUTPUT/all -o prostate-vnet
    python Testing/Experiments prostate_bundle --run OUTPUT/fold-3 -o work/fold-3 --data FOLDER

The bundle is what users get: half precision, its own preprocessing, the largest component. With --data the patients of
FOLDER that the run did not learn from are segmented with it, as ``sparseseg segment`` does, and their table printed.
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

from Experiments.prostate.card import CARD
from Experiments.prostate.patients import Patient, find_patients
from Experiments.prostate.prostate_experts import WEIGHTS
from Experiments.prostate.scores import Row, as_table, score_mask, summarize

from SparseSegLib.devices import choose_device
from SparseSegLib.errors import SparseSegError
from SparseSegLib.models import ModelCard, Preprocessing, load_network, save_bundle
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.training.checkpoint import load_checkpoint


def main(given: Sequence[str] | None = None) -> int:
    """Write the bundle, and measure it if there is data; the exit code."""
    arguments = _parser().parse_args(given)
    try:
        made_by = write_bundle(arguments.run, arguments.output)
        if arguments.data:
            patients = [one for one in find_patients(arguments.data) if one.name not in made_by["patients"]]
            rows = measure(arguments.output, patients, arguments.device, flips=arguments.flips)
            print(f"{as_table(rows)}\n{json.dumps(summarize(rows))}")
    except SparseSegError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def write_bundle(run: Path, output: Path) -> dict[str, Any]:
    """Write the weights of a run as a bundle; what the run was made by: recipe, seed and names of its patients."""
    state = load_checkpoint(run / WEIGHTS)
    made_by: dict[str, Any] = json.loads(state["made_by"])
    save_bundle(output, make_card(made_by, state["steps"]), state["weights"], half=True)
    return made_by


def make_card(made_by: dict[str, Any], steps: int) -> ModelCard:
    """The card of a network that learned from experts' masks."""
    recipe, names = made_by["recipe"], made_by["patients"]
    z, y, x = recipe["spacing"]
    depth, height, width = recipe["window"]
    return replace(
        CARD,
        network=recipe["network"],
        arguments=recipe["arguments"],
        preprocessing=Preprocessing((z, y, x), ("T2",), field_of_view=(height * y, width * x)),
        window=(depth, height, width),
        summary="The prostate on axial T2-weighted MRI, by a V-Net (Milletari et al. 2016) for thick slices.",
        intended_use=(
            "Research: a first outline of the prostate, to be looked at and corrected. Not for clinical use. It looks "
            f"at the middle {height * y:g} × {width * x:g} mm of the slices."
        ),
        data=f"{len(names)} patients of PROMISE12 with its experts' masks: {', '.join(names)}. {steps} steps.",
        date=date.today().isoformat(),
        expectations=None,
    )


def measure(bundle: Path, patients: Sequence[Patient], device: str, *, flips: bool) -> list[Row]:
    """The figures of patients, each segmented with a bundle on its own slices."""
    card, network = load_network(bundle)
    predictor = Predictor(card, network, choose_device(device), flips=flips)
    return [score_mask(patient, predictor.segment(patient.case.volume())) for patient in patients]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, metavar="FOLDER", help="of a run that is done")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the bundle, a folder or .zip")
    parser.add_argument("--data", type=Path, help="folder of the volumes and masks")
    parser.add_argument("--flips", action="store_true", help="average over mirrored images, as the runs do")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return parser
