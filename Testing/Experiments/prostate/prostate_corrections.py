"""Measures what corrected slices gain on a prostate bundle's result: Dice off them after none, one, two and three.

    python Testing/Experiments prostate_corrections --bundle work/fold-3 --data FOLDER --names case00 --seconds 20

Give patients that the bundle did not learn from. A simulated user corrects the slice across z that shows most of the
prostate, then those that SparseSeg suggests; SparseSeg densifies after each, starting from the bundle's weights, and
for comparison from nothing with the slices that it suggests then. Without a slice, it is the bundle's own result.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from Experiments.prostate.patients import Patient, chosen_patients

from SparseSegLib.annotation import SparseLabels
from SparseSegLib.densify import DensifyResult, DensifySettings, densify
from SparseSegLib.devices import choose_device
from SparseSegLib.errors import SparseSegError
from SparseSegLib.evaluation import SimulatedUser, dice
from SparseSegLib.models import load_network
from SparseSegLib.prediction.predictor import Predictor

SLICES = 3


def main(given: Sequence[str] | None = None) -> int:
    """Print a table with a row for each patient and start, and the means; the exit code."""
    arguments = _parser().parse_args(given)
    try:
        patients = chosen_patients(arguments.data, arguments.names)
        settings = DensifySettings(budget_seconds=arguments.seconds, device=arguments.device)
        header = ["patient", "start", *(f"{count} slices" for count in range(SLICES + 1))]
        print("\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header))))
        ways = {"bundle": str(arguments.bundle), "nothing": ""}
        curves: dict[str, list[list[float]]] = {way: [] for way in ways}
        for patient in patients:
            for way, start in ways.items():
                dices = [uncorrected(arguments.bundle, patient, arguments.device) if start else 0.0]
                dices += corrected(patient, settings, start)
                curves[way].append(dices)
                print(_line(patient.name, way, dices), flush=True)
        for way, found in curves.items():
            print(_line("mean", way, [statistics.mean(values) for values in zip(*found, strict=True)]))
    except SparseSegError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def uncorrected(bundle: Path, patient: Patient, device: str) -> float:
    """The Dice of the bundle's own result."""
    card, network = load_network(bundle)
    labels = Predictor(card, network, choose_device(device), force=True).segment(patient.case.volume())
    return dice(labels > 0, patient.case.truth()[0] > 0)


def corrected(patient: Patient, settings: DensifySettings, start: str) -> list[float]:
    """The Dice off the corrected slices after each; ``start`` is the bundle whose weights it starts from, or ""."""
    volume, (truth, geometry) = patient.case.volume(), patient.case.truth()
    own = replace(settings, start=start)
    user = SimulatedUser(truth, geometry, ("prostate",))
    with tempfile.TemporaryDirectory() as folder:

        def tool(labels: SparseLabels) -> DensifyResult:
            return densify(volume, labels, own, checkpoint=Path(folder) / "weights.pt")

        return [_dice_off(one.labels, one.result.labels, truth) for one in user.rounds(tool, SLICES)]


def _dice_off(labels: SparseLabels, found: np.ndarray, truth: np.ndarray) -> float:
    off = ~labels.labeled
    return dice(found[off] > 0, truth[off] > 0)


def _line(name: str, way: str, dices: Sequence[float]) -> str:
    return "| " + " | ".join([name, way, *(f"{value:.3f}" for value in dices)]) + " |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the volumes and masks")
    parser.add_argument("--names", nargs="+", required=True, help="of the patients")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each round")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return parser
