"""Ablation of the thesis's network: its table 2.1 on the hippocampus, mean over folds.

    python Testing/Experiments thesis_ablation --data FOLDER/hippocampus
    python Testing/Experiments thesis_ablation --data FOLDER/hippocampus --full --device cuda --minutes 240

Five rows: U-Net, and one after another the residual modules, squeeze-and-excitation, recurrent refinement with the loss
on each pass, and the Dice loss beside cross-entropy. Both parts of the hippocampus are one structure, as the thesis's
target is. Every row takes the same steps of one volume, from the same seed, on the same folds; by default with a
network of fewer channels, levels and passes, and part of the cases.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from Benchmarks.shared.rows import Row, Table
from Experiments.papers.methods import (
    LabeledVolume,
    add_common_arguments,
    drawn_volume,
    fitting_steps,
    folds,
    read_hippocampus,
    segment,
    steps_of,
    table,
    write_table,
)

from SparseSegLib.devices import choose_device
from SparseSegLib.evaluation import dice
from SparseSegLib.networks import create_network
from SparseSegLib.networks.objective import training_loss
from SparseSegLib.training.averaging import AveragedWeights
from SparseSegLib.training.losses import soft_dice, weighted_cross_entropy
from SparseSegLib.training.schedule import cosine_rate

RATE = 2e-3  # the thesis's 1e-4 is for 100 000 iterations
FULL_RATE = 5e-4
PARTS = {
    "U-Net": {"residual": False, "squeeze": False, "passes": 1},
    "+ residual": {"squeeze": False, "passes": 1},
    "+ squeeze-and-excitation": {"passes": 1},
    "+ recurrent refinement": {},
    "+ Dice loss": {},
}
THESIS = {
    "U-Net": 0.747,
    "+ residual": 0.753,
    "+ squeeze-and-excitation": 0.755,
    "+ recurrent refinement": 0.757,
    "+ Dice loss": 0.763,
}


class Training:
    """One row of the table on one fold."""

    def __init__(
        self, row: str, train: list[LabeledVolume], total: int, seed: int, device: torch.device, *, full: bool
    ) -> None:
        torch.manual_seed(seed)
        name = "resunet_se" if full else "resunet-se-small"
        self.network = create_network(name, len(train[0].image), 2, **PARTS[row]).to(device)
        self.averaged = AveragedWeights(self.network)
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.rate = FULL_RATE if full else RATE
        self.dice = row == "+ Dice loss"
        self.train, self.total, self.taken = train, total, 0
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator(device).manual_seed(seed)

    def loss(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Cross-entropy, and Dice in the last row."""
        entropy = weighted_cross_entropy(logits, target)
        return entropy + soft_dice(logits, target) if self.dice else entropy

    def step(self) -> None:
        """One step on one volume."""
        image, labels = drawn_volume(self.train[self.rng.integers(len(self.train))], self.generator)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * cosine_rate(self.taken, self.taken / self.total)
        self.optimizer.zero_grad()
        training_loss(self.network.train(), image, labels, self.loss).backward()
        self.optimizer.step()
        self.averaged.update(self.network)
        self.taken += 1


def main() -> None:
    """Measure what is not measured yet, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with images/ and labels/ of the hippocampus")
    parser.add_argument("--cases", type=int, help="volumes to use (default: 60; all with --full)")
    parser.add_argument("--folds", type=int, default=3)
    add_common_arguments(parser, "thesis-ablation")
    arguments = parser.parse_args()
    results = Table(arguments.output / "results.csv", ("row", "fold", "seed"))
    if not arguments.report:
        run(arguments, results)
    report(results.rows(), arguments.output)


def run(arguments: argparse.Namespace, results: Table) -> None:
    """Train every row on every fold."""
    device = choose_device(arguments.device)
    cases = read_hippocampus(arguments.data, arguments.cases or (131 if arguments.full else 60))
    cases = [replace(case, labels=(case.labels > 0).astype(np.uint8)) for case in cases]
    parts = folds(len(cases), arguments.folds)

    def training(row: str, fold: int, seed: int, total: int) -> Training:
        learned = [case for number, case in enumerate(cases) if number not in parts[fold]]
        return Training(row, learned, total, seed, device, full=arguments.full)

    def kinds() -> list[Callable[[], None]]:
        return [training(row, 0, 0, 1000).step for row in PARTS]

    count = len(PARTS) * arguments.folds * len(arguments.seeds)
    steps = steps_of(results, arguments.steps, lambda: fitting_steps(kinds(), count, arguments.minutes))
    for seed in arguments.seeds:
        for fold, held in enumerate(parts):
            for row in PARTS:
                if results.has({"row": row, "fold": fold, "seed": seed}):
                    continue
                one = training(row, fold, seed, steps)
                for _ in range(steps):
                    one.step()
                found = [dice(segment(one.averaged.network, cases[n], device) > 0, cases[n].labels > 0) for n in held]
                figures = {"steps": steps, "dice": mean(found), "cases": len(found)}
                results.append({"row": row, "fold": fold, "seed": seed, **figures})


def report(rows: list[Row], folder: Path) -> None:
    """Write the table beside the thesis's."""
    if not rows:
        print("Nothing was measured.")
        return
    lines = []
    for name in PARTS:
        found = [row["dice"] for row in rows if row["row"] == name]
        if found:
            spread = f"{stdev(found):.3f}" if len(found) > 1 else ""
            lines.append([name, mean(found), spread, len(found), THESIS[name]])
    text = table(["network", "Dice", "± over folds", "trainings", "thesis (its own data)"], lines)
    text += f"\n\nAfter {rows[0]['steps']} steps of one volume each."
    write_table(folder / "thesis-ablation.md", text)
