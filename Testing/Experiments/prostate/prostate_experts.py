"""Trains the prostate network on experts' masks: a cross-validation by patient, then one network of all patients.

    python Testing/Experiments prostate_experts --data FOLDER -o OUTPUT
    python Testing/Experiments prostate_experts --data FOLDER -o OUTPUT --runs 1 --loss logistic
    python Testing/Experiments prostate_experts --data FOLDER -o OUTPUT --report

FOLDER has NAME_t2.nii.gz with NAME_prostate.nii.gz, and cases.csv with the center of each. The runs are done one after
another, each in a folder of its own; those that are done stay as they are, so the same command goes on after it was
ended, from the last checkpoint and to the same weights as in one go. OUTPUT/log.txt reports the progress. While a file
OUTPUT/PAUSE exists it waits. A run of a fold ends with the figures of the patients that it left out (scores.json) and
what was found in them (found/NAME.npz); every run ends with its weights (weights.pt). Settings are chosen on folds 1
and 2, and figures reported of the others.

The paper's table 2 compares the Dice loss with a re-weighted logistic one: --loss dice and --loss logistic, in equal
steps, each with an output of its own; --network vnet is the paper's own network, for a GPU.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from Experiments.prostate.learner import LOSSES, ProstateLearner, Recipe
from Experiments.prostate.patients import Patient, Prepared, find_patients, prepare_patient, stratified_folds
from Experiments.prostate.scores import Row, as_table, find, save_finding, score_patient, summarize, sureness
from Experiments.resumable.log import Log, wait_while
from Experiments.resumable.program import add_usual_options, begin, checkpoint_of, run_alone

from SparseSegLib.control import CancelToken
from SparseSegLib.devices import choose_device
from SparseSegLib.errors import UsageError
from SparseSegLib.files import write_json
from SparseSegLib.networks import network_names
from SparseSegLib.training.checkpoint import save_checkpoint

FOLDS = 5
ALL = "all"
CHOSEN_ON = ("fold-1", "fold-2")  # settings are; the others are reported
CHECKPOINT, WEIGHTS, SCORES, PAUSE, LOG = "checkpoint.pt", "weights.pt", "scores.json", "PAUSE", "log.txt"
LOG_STEPS = 20
SEEDS = 1000  # between the seeds of two runs


@dataclass(frozen=True)
class Run:
    """One training: the patients that it learns from, and those that it leaves out; ``number`` makes its seed."""

    name: str
    number: int
    learned: list[Patient]
    left_out: list[Patient]


def main(given: Sequence[str] | None = None, token: CancelToken | None = None) -> int:
    """Do all runs; the exit code. ``token``, or Ctrl-C, may end it early, with a checkpoint."""
    arguments = _parser().parse_args(given)
    begin(arguments)
    if arguments.report:
        report(arguments.output)
        return 0
    return run_alone(arguments.output, token, lambda stop: train_all(arguments, stop))


def train_all(arguments: argparse.Namespace, token: CancelToken) -> None:
    """All chosen runs that are not done."""
    log, recipe, device = Log(arguments.output / LOG), _recipe(arguments), choose_device(arguments.device)
    runs = make_runs(find_patients(arguments.data), arguments.runs, arguments.seed)
    for run in runs:
        folder = arguments.output / run.name
        if (folder / WEIGHTS).exists():
            continue
        folder.mkdir(exist_ok=True)
        names = ", ".join(patient.name for patient in run.left_out) or "nobody"
        log(f"{run.name}: learns from {len(run.learned)} patients, leaves out {names}")
        training = Training(run, recipe, arguments.seed + SEEDS * run.number, device, folder, log)
        training.checkpoint_seconds = arguments.checkpoint_seconds
        training.look_steps = arguments.look_steps
        if not training.go(token, arguments.output / PAUSE):
            log("ended; the same command goes on")
            return
    log("all runs are done")


def make_runs(patients: Sequence[Patient], wanted: Sequence[str], seed: int) -> list[Run]:
    """The runs by name, ``1`` to ``5`` for a fold and ``all``; UsageError for another name or too few patients."""
    if len(patients) < FOLDS:
        raise UsageError(f"{len(patients)} patients cannot be split into {FOLDS} folds.", "Give more.")
    runs = {ALL: Run(ALL, 0, list(patients), [])}
    for number, left_out in enumerate(stratified_folds(patients, FOLDS, seed), start=1):
        kept = [patient for patient in patients if patient not in left_out]
        runs[str(number)] = Run(f"fold-{number}", number, kept, left_out)
    unknown = [name for name in wanted if name not in runs]
    if unknown:
        raise UsageError(f"There is no run {unknown[0]}.", f"Choose among {', '.join(sorted(runs))}.")
    return [runs[name] for name in wanted]


class Training:
    """One run: its steps, its checkpoints, and its figures in the end.

    Attributes
    ----------
    checkpoint_seconds : between two checkpoints
    look_steps : steps between two evaluations on the patients that are left out, which decide nothing
    """

    checkpoint_seconds = 120.0
    look_steps = 1100

    def __init__(self, run: Run, recipe: Recipe, seed: int, device: torch.device, folder: Path, log: Log) -> None:
        self.run, self.recipe, self.folder, self.log = run, recipe, folder, log
        self.learner = ProstateLearner([self._prepared(one) for one in run.learned], recipe, seed, device)
        self.left_out = [self._prepared(one) for one in run.left_out]
        names = [patient.name for patient in run.learned]
        self.fingerprint = json.dumps({"recipe": asdict(recipe), "seed": seed, "patients": names}, sort_keys=True)
        self._loss: float | None = None
        self._resume()

    def go(self, token: CancelToken, pause: Path) -> bool:
        """Train to the end and write the figures; whether it was not stopped before."""
        learner, recipe = self.learner, self.recipe
        saved = begun = time.monotonic()
        counted = learner.steps
        while learner.steps < recipe.steps:
            if pause.exists() or token.stopped:
                self._save()
                if token.stopped:
                    return False
                self._wait(pause, token)
                begun, counted = time.monotonic(), learner.steps
                continue
            loss = learner.step()
            self._loss = loss if self._loss is None else 0.98 * self._loss + 0.02 * loss
            now = time.monotonic()
            if learner.steps % LOG_STEPS == 0:
                self._report((now - begun) / (learner.steps - counted))
                begun, counted = now, learner.steps
            if now - saved >= self.checkpoint_seconds:
                self._save()
                saved = now
            if learner.steps % self.look_steps == 0 and learner.steps < recipe.steps and self.left_out:
                rows = [score_patient(one.patient, find(self._network, one, recipe)) for one in self.left_out]
                self.log(f"{self.run.name}  step {learner.steps}  left out: {json.dumps(summarize(rows))}")
                begun, counted = time.monotonic(), learner.steps
        self._finish()
        return True

    @property
    def _network(self) -> torch.nn.Module:
        return self.learner.averaged.network

    def _prepared(self, patient: Patient) -> Prepared:
        return prepare_patient(patient, self.recipe.spacing, self.recipe.window[1:])

    def _report(self, seconds: float) -> None:
        left = (self.recipe.steps - self.learner.steps) * seconds / 60
        self.log(
            f"{self.run.name}  step {self.learner.steps}/{self.recipe.steps}  loss {self._loss:.4f}  "
            f"{seconds:.2f} s per step  {left:.0f} minutes left"
        )

    def _wait(self, pause: Path, token: CancelToken) -> None:
        """Do nothing while the file is there."""
        self.log(f"{self.run.name}  paused at step {self.learner.steps} until {pause} is removed")
        wait_while(pause, token)
        self.log(f"{self.run.name}  goes on")

    def _finish(self) -> None:
        """Write what was found in the patients that were left out, the figures, and the weights, which end the run."""
        self._save()
        rows = [self._score(one) for one in self.left_out]
        if rows:
            write_json(self.folder / SCORES, {"summary": summarize(rows), "patients": rows})
            self.log(f"{self.run.name}  done: {json.dumps(summarize(rows))}\n{as_table(rows)}")
        save_checkpoint(
            self.folder / WEIGHTS,
            {"weights": self._network.state_dict(), "made_by": self.fingerprint, "steps": self.learner.steps},
        )

    def _score(self, prepared: Prepared) -> Row:
        """The figures of a patient, and how sure the network is."""
        recipe = self.recipe
        found = find(self._network, prepared, recipe)
        others = {
            "one_view": find(self._network, prepared, recipe, mirror=""),
            "last_weights": find(self.learner.network.eval(), prepared, recipe, mirror=""),
        }
        (self.folder / "found").mkdir(exist_ok=True)
        save_finding(self.folder / "found" / f"{prepared.patient.name}.npz", found)
        return {**score_patient(prepared.patient, found), **sureness(found, others)}

    def _save(self) -> None:
        state: dict[str, Any] = {"made_by": self.fingerprint, "loss": self._loss, "learner": self.learner.state()}
        save_checkpoint(self.folder / CHECKPOINT, state)

    def _resume(self) -> None:
        state = checkpoint_of(self.folder / CHECKPOINT, self.fingerprint)
        if state is None:
            return
        self.learner.restore(state["learner"])
        self._loss = state["loss"]
        self.log(f"{self.run.name}  goes on after {self.learner.steps} steps")


def report(output: Path) -> None:
    """Print the figures of all folds that are done: all, those that settings were chosen on, and the others."""
    rows: dict[str, list[Row]] = {}
    for path in sorted(output.glob(f"fold-*/{SCORES}")):
        rows[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))["patients"]
    print(as_table([row for part in rows.values() for row in part]))
    parts = {
        "folds 1 and 2": [row for name, part in rows.items() if name in CHOSEN_ON for row in part],
        "the others": [row for name, part in rows.items() if name not in CHOSEN_ON for row in part],
        "all": [row for part in rows.values() for row in part],
    }
    for name, part in parts.items():
        if part:
            print(f"{name}: {json.dumps(summarize(part))}")


def _recipe(arguments: argparse.Namespace) -> Recipe:
    return Recipe(
        network=arguments.network,
        arguments=json.loads(arguments.arguments),
        steps=arguments.steps,
        batch=arguments.batch,
        learning_rate=arguments.rate,
        loss=arguments.loss,
        precision=arguments.precision,
    )


def _parser() -> argparse.ArgumentParser:
    default = Recipe()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the volumes and masks")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    runs = [str(number) for number in range(1, FOLDS + 1)] + [ALL]
    parser.add_argument("--runs", nargs="+", default=runs, metavar="RUN", help="1 to 5 for a fold, all; in this order")
    parser.add_argument("--steps", type=int, default=default.steps, help="of each run")
    parser.add_argument("--batch", type=int, default=default.batch, help="samples per step")
    parser.add_argument("--rate", type=float, default=default.learning_rate, help="highest learning rate")
    parser.add_argument("--loss", choices=sorted(LOSSES), default=default.loss)
    parser.add_argument("--network", choices=network_names(), default=default.network)
    parser.add_argument("--arguments", default="{}", metavar="JSON", help="what the network's class takes")
    add_usual_options(parser, default.precision, Training.checkpoint_seconds)
    parser.add_argument(
        "--look-steps", type=int, default=Training.look_steps, help="between two evaluations on the left out"
    )
    parser.add_argument("--report", action="store_true", help="print the figures of what is done")
    return parser
