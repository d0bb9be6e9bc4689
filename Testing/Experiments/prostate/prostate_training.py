"""Trains the prostate model on axial T2 volumes and on generated ones, and writes it as a bundle.

    python Testing/Experiments prostate_training --data FOLDER -o work/prostate-vnet --minutes 60
    python Testing/Experiments prostate_training --data FOLDER -o work/prostate-vnet --resume     after it was ended
    python Testing/Experiments prostate_training --data FOLDER -o work/folds --cross-validate 3 --minutes 15
    python Testing/Experiments prostate_training --data FOLDER -o work/four --networks 4 --steps 4200

FOLDER has NAME_t2.nii.gz with NAME_prostate.nii.gz or NAME_pseudo_prostate.nii.gz. Cases called promise12… are never
touched: they are for testing. Half of the samples are the real volumes, changed at random; the others are painted from
their tissue maps and from phantoms (see SparseSegLib/synthesis). The weights are those of the step that did best on the
held-out volumes; --holdout none takes all volumes to learn from, and the last weights. Checkpoint and log.csv lie
beside the bundle, in NAME.training/. Ctrl-C ends the training early, with a bundle. Cross-validation trains K models
for so many minutes each, measures each volume with the one that has not seen it, and writes cross-validation.json
there; the bundle is an ensemble of all of them. --networks trains several on all volumes, each with the next seed, into
NAME.training/network-K, for a bundle of them as an ensemble; with --resume those that were ended go on, and those that
are done stay as they are. The one that comes with SparseSeg was made that way: see Resources/Documentation/prostate.md.
--figures puts further figures onto a bundle's card.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from Benchmarks.shared.rows import Table
from Experiments.prostate.card import LAYER, make_card
from Experiments.prostate.cases import PreparedCase, ProstateCase, find_cases, prepare_case, split_cases
from Experiments.prostate.fit import CHECKPOINT, LOG, FitSettings, Fitted, fit, settings_as_text
from Experiments.prostate.interrupts import stopped_by_signals
from Experiments.prostate.prostate_taps import score

from SparseSegLib.control import CancelToken, Control, NullEvents
from SparseSegLib.devices import choose_device
from SparseSegLib.errors import SparseSegError, UsageError
from SparseSegLib.io import read_volume, write_image
from SparseSegLib.models import ModelCard, combine_bundles, load_card, load_network, save_bundle
from SparseSegLib.models.bundle import load_weights
from SparseSegLib.networks import create_network
from SparseSegLib.prediction.plausibility import layer_means, with_features
from SparseSegLib.prediction.predictor import Predictor

FEATURE_SAMPLES = 6  # of each training volume
HINT = "Give --figures a JSON object of names and numbers, as --cross-validate writes it."


class Printer(NullEvents):
    """Prints messages, and now and then how far the training is."""

    SECONDS = 15.0

    def __init__(self) -> None:
        self._next = 0.0

    def progress(
        self, step: int, fraction: float, loss: float | None, seconds_left: float | None, **figures: float
    ) -> None:
        """A line every 15 seconds."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self.SECONDS
            left = "" if seconds_left is None else f"  {seconds_left / 60:.1f} minutes left"
            print(f"step {step}  {fraction:4.0%}  loss {loss or 0:.3f}{left}", flush=True)

    def message(self, text: str) -> None:
        """A line."""
        print(text, flush=True)


def main(given: Sequence[str] | None = None, token: CancelToken | None = None) -> int:
    """Train, or cross-validate; the exit code. ``token``, or Ctrl-C, may end the training early."""
    arguments = _parser().parse_args(given)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    task = cross_validate if arguments.cross_validate else train if arguments.networks is None else train_several
    try:
        with stopped_by_signals(token) as stop:
            task(arguments, Control(stop, Printer()))
    except SparseSegError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def train(arguments: argparse.Namespace, control: Control) -> None:
    """Train one model and write its bundle."""
    names = [] if arguments.holdout == ["none"] else arguments.holdout
    more = _more_figures(arguments.figures)
    train_cases, held_cases = split_cases(find_cases(arguments.data), names)
    card, settings, work = make_card(arguments, train_cases, held_cases), _settings(arguments), _work(arguments.output)
    if (work / CHECKPOINT).exists() and not arguments.resume:
        raise UsageError(f"There is a training in {work}.", "Add --resume to go on, or delete it to start over.")
    work.mkdir(parents=True, exist_ok=True)
    if not arguments.resume:
        (work / LOG).unlink(missing_ok=True)
    learned, held = ([prepare_case(case, card.preprocessing) for case in part] for part in (train_cases, held_cases))
    counts = f"volumes to learn from: {len(learned)}, held out: {len(held)}"
    control.events.message(f"{counts}; {settings_as_text(settings)}")
    fitted = fit(
        learned,
        held,
        card,
        settings,
        work,
        control,
        on_better=lambda weights: _save(arguments.output, card, weights),
    )
    card = _finished(card, fitted, learned, more)
    card = save_bundle(arguments.output, card, fitted.weights, half=True)
    control.events.message(
        f"{arguments.output}: {_megabytes(arguments.output):.1f} MB, {json.dumps(dict(card.figures))}"
    )


def cross_validate(arguments: argparse.Namespace, control: Control) -> None:
    """Train K models, each without every K-th volume, measure these, and write a bundle of all models.

    Volumes that were measured by a model of the same settings are passed over.
    """
    more = _more_figures(arguments.figures)
    cases, _ = split_cases(find_cases(arguments.data), ())
    count, settings, work = arguments.cross_validate, _settings(arguments), _work(arguments.output)
    if not 2 <= count <= len(cases):
        raise UsageError(f"{count} folds of {len(cases)} volumes cannot be.", f"Choose 2 to {len(cases)}.")
    work.mkdir(parents=True, exist_ok=True)
    results = Table(work / "folds.csv")
    model = make_card(arguments, cases, [])
    made_by = repr((model.arguments, model.preprocessing, model.window, count, settings_as_text(settings)))
    measured = {row["name"]: row for row in results.rows() if row["made_by"] == made_by}
    for fold in range(count):
        left_out = [case for case in cases[fold::count] if case.name not in measured]
        if not left_out:
            continue
        kept = [case for case in cases if case not in cases[fold::count]]
        card = make_card(arguments, kept, [])
        folder = work / f"fold-{fold}"
        folder.mkdir(exist_ok=True)
        learned = [prepare_case(case, card.preprocessing) for case in kept]
        fitted = fit(learned, [], card, settings, folder, control)
        if control.token.stopped:
            break
        save_bundle(folder / "bundle", _finished(card, fitted, learned, {}), fitted.weights, half=True)
        for case in left_out:
            found = measure(folder / "bundle", case, folder, settings.device)
            measured[case.name] = {"made_by": made_by, "fold": fold, "steps": fitted.steps, **found}
            results.append(measured[case.name])
    figures = _summarize([measured[case.name] for case in cases if case.name in measured])
    if figures:
        (work / "cross-validation.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if all(case.name in measured for case in cases):
        steps = max(measured[case.name]["steps"] for case in cases)
        bundles = [work / f"fold-{fold}" / "bundle" for fold in range(count)]
        _combine(arguments.output, model, bundles, {"steps of each": steps, **figures, **more})


def train_several(arguments: argparse.Namespace, control: Control) -> None:
    """Train networks on all volumes, which differ in their seeds, and write a bundle of all of them."""
    if arguments.networks < 2:
        raise UsageError(f"{arguments.networks} networks are no ensemble.", "Give 2 or more, or --holdout none.")
    more, work = _more_figures(arguments.figures), _work(arguments.output)
    cases, _ = split_cases(find_cases(arguments.data), ())
    bundles = [work / f"network-{number}" for number in range(arguments.networks)]
    for number, bundle in enumerate(bundles):
        own = {"output": bundle, "holdout": ["none"], "seed": arguments.seed + number, "figures": None}
        train(argparse.Namespace(**{**vars(arguments), **own}), control)
        if control.token.stopped:
            return
    steps = min(load_card(bundle).figures["steps"] for bundle in bundles)
    _combine(arguments.output, make_card(arguments, cases, []), bundles, {"steps of each": steps, **more})


def _combine(output: Path, card: ModelCard, bundles: Sequence[Path], figures: dict[str, Any]) -> None:
    """Write one bundle of an ensemble of networks; ``card`` names all volumes that any of them learned from."""
    with tempfile.TemporaryDirectory() as folder:
        combined = combine_bundles(bundles, Path(folder) / "all", card.name)
        _, weights = load_weights(Path(folder) / "all")
    card = replace(card, members=combined.members, expectations=combined.expectations, figures=figures)
    save_bundle(output, card, weights, half=True)
    print(f"{output}: {_megabytes(output):.1f} MB")


def measure(bundle: Path, case: ProstateCase, folder: Path, device: str) -> dict[str, Any]:
    """Segment a case as a user would, in spite of warnings, and compare on its own grid."""
    chosen = choose_device(device)
    predictor = Predictor(*load_network(bundle, chosen), chosen, force=True)
    volume = read_volume(case.image)
    output = folder / f"{case.name}.nii.gz"
    write_image(predictor.segment(volume), volume.geometry, output)
    return {**score(case, output), "doubts": predictor.warnings}


def _summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Print a table of the volumes; mean and standard deviation over them."""
    if not rows:
        return {}
    values = np.array([row["dice"] for row in rows])
    distances = [row["hausdorff95"] for row in rows if row["hausdorff95"] is not None]
    against = "" if all(row["expert"] for row in rows) else " against pseudo-labels"
    steps = max(row["steps"] for row in rows)
    figures = {
        "cross-validated networks": f"each volume by one that had not seen it, {steps} steps",
        "cross-validated volumes": len(rows),
        "of these accepted as prostates": sum(not row["doubts"] for row in rows),
        f"cross-validated Dice{against}": round(float(values.mean()), 4),
        "its standard deviation": round(float(values.std(ddof=1)) if len(values) > 1 else 0.0, 4),
        "its lowest": round(float(values.min()), 4),
        "cross-validated Hausdorff 95 % mm": round(float(np.mean(distances)), 2) if distances else "unknown",
    }
    print("| volume | Dice | Hausdorff mm | 95 % mm | ml | of | doubts |\n| --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        cells = (row[key] for key in ("name", "dice", "hausdorff", "hausdorff95", "ml", "reference_ml", "doubts"))
        print("| " + " | ".join(map(str, cells)) + " |")
    print(json.dumps(figures))
    return figures


def _save(output: Path, card: ModelCard, weights: dict[str, torch.Tensor]) -> None:
    save_bundle(output, card, weights, half=True)


def _settings(arguments: argparse.Namespace) -> FitSettings:
    return FitSettings(
        minutes=arguments.minutes,
        steps=arguments.steps,
        batch=arguments.batch,
        seed=arguments.seed,
        device=arguments.device,
        phantoms=arguments.phantoms,
        shapes=max(1, arguments.phantoms // 3),
        validation_seconds=arguments.validation_seconds,
        checkpoint_seconds=arguments.checkpoint_seconds,
        **({"window": tuple(arguments.window)} if arguments.window else {}),
    )


def _finished(card: ModelCard, fitted: Fitted, learned: list[PreparedCase], more: dict[str, Any]) -> ModelCard:
    """The card with the training's results: figures, and the features that the plausibility check compares with."""
    figures: dict[str, Any] = {"steps": fitted.chosen_step, "seconds": round(fitted.seconds), "cases": len(learned)}
    if fitted.dice:
        figures["held-out Dice against pseudo-labels"] = round(float(np.mean(list(fitted.dice.values()))), 4)
        figures.update({f"held-out Dice {name}": round(value, 4) for name, value in fitted.dice.items()})
    network = create_network(card.network, 1, 2, **card.arguments).eval()
    network.load_state_dict(fitted.weights)
    generator = fitted.generator
    generator.settings = replace(generator.settings, window=card.window)
    features = [
        layer_means(network, LAYER, generator.realistic(anatomy)[0][None, None].cpu())[0]
        for anatomy in generator.real
        for _ in range(FEATURE_SAMPLES)
    ]
    assert card.expectations is not None
    expectations = with_features(card.expectations, LAYER, np.stack(features))
    return replace(card, figures={**figures, **more}, expectations=expectations)


def _more_figures(path: Path | None) -> dict[str, Any]:
    """The figures in a JSON file; UsageError, before hours of training, if there are none."""
    if path is None:
        return {}
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"The figures in {path} cannot be read: {error}", HINT) from error
    if not isinstance(figures, dict) or not all(isinstance(value, int | float | str) for value in figures.values()):
        raise UsageError(f"{path} has more than names and numbers.", HINT)
    return figures


def _work(output: Path) -> Path:
    """Where checkpoint and log of a bundle's training lie."""
    return output.with_name(f"{output.name}.training")


def _megabytes(bundle: Path) -> float:
    files = [bundle] if bundle.is_file() else [path for path in bundle.iterdir() if path.is_file()]
    return sum(path.stat().st_size for path in files) / 1e6


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the volumes and masks")
    parser.add_argument("-o", "--output", type=Path, required=True, help="bundle to write, a folder or a zip")
    parser.add_argument("--minutes", type=float, default=60.0, help="of each training (default: 60)")
    parser.add_argument("--steps", type=int, help="instead of minutes")
    parser.add_argument("--holdout", nargs="+", default=["nci_2", "px_5"], metavar="NAME", help="or none")
    parser.add_argument("--cross-validate", type=int, metavar="K", help="K models instead, each measured")
    parser.add_argument("--networks", type=int, metavar="N", help="N models of all volumes, as an ensemble")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument("--width", type=int, default=8, help="channels of the first stage; 16 is the paper's")
    parser.add_argument("--kernel", type=int, default=3, help="5 is the paper's")
    parser.add_argument("--batch", type=int, default=1, help="samples per step")
    parser.add_argument("--spacing", type=float, nargs=3, metavar=("Z", "Y", "X"), help="mm of the model's grid")
    parser.add_argument("--window", type=int, nargs=3, metavar=("Z", "Y", "X"), help="voxels of a sample")
    parser.add_argument("--phantoms", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--validation-seconds", type=float, default=150.0)
    parser.add_argument("--checkpoint-seconds", type=float, default=60.0)
    parser.add_argument("--figures", type=Path, help="JSON of further figures for the card")
    return parser
