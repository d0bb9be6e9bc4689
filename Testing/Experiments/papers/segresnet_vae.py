"""The auto-encoder branch of SegResNetVAE: Dice of nested regions from few cases, with the branch and without.

    python Testing/Experiments segresnet_vae
    python Testing/Experiments segresnet_vae --full --device cuda --minutes 120

Generated heads of four channels with tumors of nested regions (whole, core, enhancing). Both networks take the same
steps on the same cases with the paper's loss, optimizer and schedule, and predict with the mean over the eight mirror
images; several seeds, each with cases of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from Benchmarks.shared.rows import Row, Table
from Experiments.papers.generated import tumor
from Experiments.papers.methods import (
    LabeledVolume,
    add_common_arguments,
    fitting_steps,
    steps_of,
    table,
    write_table,
)

from SparseSegLib.devices import choose_device
from SparseSegLib.evaluation import dice
from SparseSegLib.networks import create_network
from SparseSegLib.networks.objective import training_loss
from SparseSegLib.networks.regions import BRATS
from SparseSegLib.networks.segresnet_vae import polynomial_rate
from SparseSegLib.preprocessing.nonzero import normalize_nonzero
from SparseSegLib.training.losses import weighted_cross_entropy

RATE = 1e-3  # the paper's 1e-4 is for 300 passes over 285 cases
FULL_RATE = 3e-4
WEIGHT_DECAY = 1e-5
WAYS = {"without": False, "with": True}
REGIONS = ("WT", "TC", "ET")


class Training:
    """The network with or without its branch, on few cases."""

    def __init__(
        self, train: list[LabeledVolume], branch: bool, total: int, seed: int, device: torch.device, *, full: bool
    ) -> None:
        torch.manual_seed(seed)
        name = "segresnet_vae" if full else "segresnet-vae-small"
        self.network = create_network(name, 4, 4, regions="nested", branch=branch).to(device)
        self.rate = FULL_RATE if full else RATE
        self.optimizer = torch.optim.Adam(self.network.parameters(), weight_decay=WEIGHT_DECAY)
        self.train, self.total, self.taken, self.device = train, total, 0, device
        self.rng = np.random.default_rng(seed)

    def step(self) -> None:
        """One step on one case, mirrored and with other gray values at random (section 3.7)."""
        case = self.train[self.rng.integers(len(self.train))]
        axes = [axis for axis in (1, 2, 3) if self.rng.integers(2)]
        gain = torch.from_numpy(self.rng.uniform(0.9, 1.1, (4, 1, 1, 1))).float()
        shift = torch.from_numpy(self.rng.uniform(-0.1, 0.1, (4, 1, 1, 1))).float()
        image = (case.image * gain + shift).flip(axes)[None].to(self.device)
        labels = torch.from_numpy(case.labels).flip([axis - 1 for axis in axes])[None].to(self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * polynomial_rate(self.taken, self.taken / self.total)
        self.optimizer.zero_grad()
        training_loss(self.network.train(), image, labels, weighted_cross_entropy).backward()
        self.optimizer.step()
        self.taken += 1

    @torch.inference_mode()
    def regions(self, case: LabeledVolume) -> np.ndarray:
        """Masks ``(3, Z, Y, X)``: the mean over the mirror images above one half."""
        image, network = case.image[None].to(self.device), self.network.eval()
        total = torch.zeros(1, 3, *case.labels.shape, device=self.device)
        for axes in (axes for count in range(4) for axes in combinations((2, 3, 4), count)):
            total += network.region_logits(image.flip(axes)).sigmoid().flip(axes)
        return (total[0] > 4).cpu().numpy()


def main() -> None:
    """Measure what is not measured yet, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=4, help="cases to learn from")
    parser.add_argument("--test", type=int, default=12)
    parser.add_argument("--size", type=int, nargs=3, metavar=("Z", "Y", "X"), help="voxels (default: 32 40 32)")
    add_common_arguments(parser, "segresnet-vae")
    parser.set_defaults(seeds=[0, 1, 2])
    arguments = parser.parse_args()
    results = Table(arguments.output / "results.csv", ("branch", "seed"))
    if not arguments.report:
        run(arguments, results)
    report(results.rows(), arguments.output)


def run(arguments: argparse.Namespace, results: Table) -> None:
    """Train with and without the branch."""
    device = choose_device(arguments.device)
    z, y, x = arguments.size or ((96, 112, 96) if arguments.full else (32, 40, 32))

    def cases(count: int, seed: int) -> list[LabeledVolume]:
        rng = np.random.default_rng(seed)
        drawn = [tumor((z, y, x), rng) for _ in range(count)]
        return [
            LabeledVolume(str(n), normalize_nonzero(torch.from_numpy(image)), labels)
            for n, (image, labels) in enumerate(drawn)
        ]

    test = cases(arguments.test, 54321)

    def kinds() -> list[Callable[[], None]]:
        return [Training(cases(1, 0), branch, 1000, 0, device, full=arguments.full).step for branch in WAYS.values()]

    count = len(WAYS) * len(arguments.seeds)
    steps = steps_of(results, arguments.steps, lambda: fitting_steps(kinds(), count, arguments.minutes))
    for seed in arguments.seeds:
        train = cases(arguments.train, seed)
        for way, branch in WAYS.items():
            if results.has({"branch": way, "seed": seed}):
                continue
            one = Training(train, branch, steps, seed, device, full=arguments.full)
            for _ in range(steps):
                one.step()
            pairs = [(one.regions(case), masks_of(case)) for case in test]
            found = {name: mean(dice(ours[n], truth[n]) for ours, truth in pairs) for n, name in enumerate(REGIONS)}
            row = {"branch": way, "seed": seed, "steps": steps, "train": len(train), "test": len(test)}
            results.append({**row, **found})


def masks_of(case: LabeledVolume) -> np.ndarray:
    """The true regions ``(3, Z, Y, X)``."""
    return BRATS.regions_of(torch.from_numpy(case.labels)[None])[0].numpy()


def report(rows: list[Row], folder: Path) -> None:
    """Write the table."""
    if not rows:
        print("Nothing was measured.")
        return
    lines = []
    means: dict[str, dict[int, float]] = {}
    for way in WAYS:
        found = [row for row in rows if row["branch"] == way]
        if found:
            means[way] = {row["seed"]: mean(row[name] for name in REGIONS) for row in found}
            figures = [mean(row[name] for row in found) for name in REGIONS]
            lines.append([way, *figures, mean(means[way].values()), len(found)])
    text = table(["branch", *REGIONS, "mean", "seeds"], lines)
    text += f"\n\nAfter {rows[0]['steps']} steps on {rows[0]['train']} cases; {rows[0]['test']} others to test on."
    if len(means) == len(WAYS):
        gains = [value - means["without"][seed] for seed, value in means["with"].items() if seed in means["without"]]
        spread = f" ± {stdev(gains):.3f} from seed to seed" if len(gains) > 1 else ""
        text += f" With the branch the mean Dice changes by {mean(gains):+.3f}{spread}."
    write_table(folder / "segresnet-vae.md", text)
