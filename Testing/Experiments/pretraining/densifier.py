"""Trains the generalist of `densify` for hours, on problems that are made on the way.

    python Testing/Experiments densifier --hours 8 -o work/generalist

The same command goes on after it was ended, from the last checkpoint, on a CPU or a GPU; more --hours than before go
on, too. The hours are those of the training itself. While a file OUTPUT/PAUSE exists it waits. Problems are generated
volumes (``Experiments.synthesis.worlds``), and with --data real ones out of a folder with the usual development
volumes, made by other processes (--processes); the newest lie in OUTPUT/problems. OUTPUT/log.txt reports the progress.

OUTPUT/curve.csv has a row for every look at problems of OUTPUT/judges, two thirds of which are of kinds that are never
learned from: the mean IoU of the network, of a random walker, of the slice U-Net that comes with SparseSeg, and of
interpolated outlines, on the same slices. OUTPUT/generalist.pt has the averaged weights in half precision at the last
look. To use them, put the file into Resources/Pretrained.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from Benchmarks.shared.rows import Table
from Experiments.pretraining.generalist_learner import GeneralistLearner, Recipe, evaluate, summarized
from Experiments.pretraining.supply import Supply, judges
from Experiments.resumable.log import Log, wait_while
from Experiments.resumable.program import add_usual_options, begin, checkpoint_of, run_alone

from SparseSegLib.control import CancelToken
from SparseSegLib.densify.experts.generalist import FILE, save_generalist
from SparseSegLib.devices import choose_device
from SparseSegLib.training.checkpoint import save_checkpoint

CHECKPOINT, CURVE, LOG, PAUSE = "checkpoint.pt", "curve.csv", "log.txt", "PAUSE"
LOG_STEPS = 50
FREE = ("problems", "slices", "precision")
"""What another machine may do otherwise when it goes on."""


def main(given: Sequence[str] | None = None, token: CancelToken | None = None) -> int:
    """Train until the hours are over; the exit code. ``token``, or Ctrl-C, may end it early, with a checkpoint."""
    arguments = _parser().parse_args(given)
    begin(arguments)
    return run_alone(arguments.output, token, lambda stop: Training(arguments, stop).go())


class Training:
    """One training of one network.

    Attributes
    ----------
    spent : seconds of training so far, earlier runs included
    """

    def __init__(self, arguments: argparse.Namespace, token: CancelToken) -> None:
        self.arguments, self.token, self.output = arguments, token, arguments.output
        self.log = Log(self.output / LOG)
        self.recipe = _recipe(arguments)
        self.device = choose_device(arguments.device)
        self.learner = GeneralistLearner(self.recipe, arguments.seed, self.device)
        self.spent = 0.0
        self._loss: float | None = None
        kept = {name: value for name, value in asdict(self.recipe).items() if name not in FREE}
        self.fingerprint = json.dumps({"recipe": kept, "seed": arguments.seed}, sort_keys=True)
        self._resume()

    def go(self) -> None:
        """Train to the end, unless it is stopped."""
        arguments = self.arguments
        if self._over:
            self.log(f"{self.spent / 3600:.2f} hours are done; more --hours go on")
            return
        self.log(f"problems to be judged by: {arguments.judges}")
        self.judges = judges(self.output / "judges", arguments.seed, arguments.judges, arguments.processes)
        self.supply = Supply(
            self.output / "problems", arguments.data, arguments.seed, arguments.processes, arguments.kept, self.log
        )
        try:
            self._train()
        finally:
            self.supply.close()
        self._save()
        if self._over:
            self._look()
            self.log("done")
        else:
            self.log("ended; the same command goes on")

    @property
    def _over(self) -> bool:
        steps = self.arguments.steps
        return self.learner.steps >= steps if steps else self.spent >= 3600 * self.arguments.hours

    @property
    def _done(self) -> float:
        """The fraction that is done."""
        steps = self.arguments.steps
        return self.learner.steps / steps if steps else min(1.0, self.spent / (3600 * self.arguments.hours))

    def _train(self) -> None:
        arguments, learner = self.arguments, self.learner
        least = min(arguments.kept, max(self.recipe.problems, arguments.least))
        saved, looked = time.monotonic(), self.spent
        if not learner.steps:
            self._look()
        while not self._over and not self.token.stopped:
            if (self.output / PAUSE).exists():
                self._pause()
            begun = time.monotonic()
            if len(self.supply.problems) < least:
                self.supply.refresh()
                time.sleep(0.05 if arguments.processes else 0)
                continue
            if learner.steps % arguments.every == 0:
                self.supply.refresh()
            loss = learner.step(self.supply.problems, self._done)
            self._loss = loss if self._loss is None else 0.98 * self._loss + 0.02 * loss
            seconds = time.monotonic() - begun
            self.spent += seconds
            if learner.steps % LOG_STEPS == 0:
                self._report(seconds)
            if time.monotonic() - saved >= arguments.checkpoint_seconds:
                self._save()
                saved = time.monotonic()
            if self.spent - looked >= arguments.look_seconds:
                self._look()
                looked = self.spent

    def _pause(self) -> None:
        self._save()
        self.log(f"paused at step {self.learner.steps} until {self.output / PAUSE} is removed")
        wait_while(self.output / PAUSE, self.token)
        self.log("goes on")

    def _report(self, seconds: float) -> None:
        drawn = self.learner.steps * self.recipe.problems / max(1, self.supply.made)
        self.log(
            f"step {self.learner.steps}  {self.spent / 3600:.2f} hours  loss {self._loss:.4f}  {seconds:.2f} s a step  "
            f"{self.supply.made} problems, each drawn {drawn:.1f} times"
        )

    def _look(self) -> None:
        """Evaluate, add a row to the curve, and write the weights."""
        network = self.learner.averaged.network
        figures = summarized(evaluate(network, self.judges, self.device))
        made = {"step": self.learner.steps, "hours": round(self.spent / 3600, 4), "problems": self.supply.made}
        Table(self.output / CURVE).append({**made, "loss": round(self._loss or 0.0, 4), **figures})
        self.log(f"step {self.learner.steps}  IoU: {json.dumps(figures)}")
        save_generalist(self.output / FILE, network)

    def _save(self) -> None:
        state: dict[str, Any] = {
            "made_by": self.fingerprint,
            "loss": self._loss,
            "spent": self.spent,
            "learner": self.learner.state(),
        }
        save_checkpoint(self.output / CHECKPOINT, state)

    def _resume(self) -> None:
        state = checkpoint_of(self.output / CHECKPOINT, self.fingerprint)
        if state is None:
            return
        self.learner.restore(state["learner"])
        self._loss, self.spent = state["loss"], state["spent"]
        self.log(f"goes on after {self.learner.steps} steps, {self.spent / 3600:.2f} hours")


def _recipe(arguments: argparse.Namespace) -> Recipe:
    return Recipe(
        widths=tuple(arguments.widths),
        problems=arguments.batch,
        slices=arguments.slices,
        learning_rate=arguments.rate,
        precision=arguments.precision,
    )


def _parser() -> argparse.ArgumentParser:
    default = Recipe()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--hours", type=float, default=8.0, help="of training, earlier runs included")
    parser.add_argument("--steps", type=int, help="instead of hours")
    parser.add_argument("--data", type=Path, help="folder with the usual development volumes")
    parser.add_argument("--processes", type=int, default=1, help="that make problems; 0: the training itself does")
    parser.add_argument("--kept", type=int, default=160, help="newest problems that are drawn from")
    parser.add_argument("--least", type=int, default=16, help="problems to begin with")
    parser.add_argument("--every", type=int, default=2, help="steps from one look for new problems to the next")
    parser.add_argument("--judges", type=int, default=48, help="problems to be judged by")
    parser.add_argument("--widths", nargs="+", type=int, default=list(default.widths), help="of the network")
    parser.add_argument("--batch", type=int, default=default.problems, help="problems of a step")
    parser.add_argument("--slices", type=int, default=default.slices, help="of each of them")
    parser.add_argument("--rate", type=float, default=default.learning_rate, help="highest learning rate")
    add_usual_options(parser, default.precision)
    parser.add_argument("--look-seconds", type=float, default=900.0, help="of training between two looks")
    return parser
