"""Learning from wrong labels: plain, with quality awareness, and with overfitting control too (thesis, table 3.1).

    python Testing/Experiments noisy_labels                                   generated radiographs, 2D
    python Testing/Experiments noisy_labels --data FOLDER/hippocampus         hippocampus, 3D
    python Testing/Experiments noisy_labels --full --device cuda

The labels of 0, 25, 50 and 75 % of the training cases are dilated or eroded: on radiographs by 5 to 13 pixels (or 1 to
8: ``--levels 1-8``) of an image of 256 pixels, fewer where images are smaller; on volumes by 1 to 3 voxels. Test cases
have the right labels. All methods take the same steps from the same weights on the same cases. Volumes are computed one
by one, and weighted against the others of a group. Written are a row for each method and noise, and the mean weights of
clean and noisy cases during the training, relative to equal weights.

In volumes a voxel matters much: 3 of them taken off a hippocampus leave 6 % of it, 3 put on make it three times as
large. So the quality network starts to learn only when segmentations are roughly right (``quality_from``), and the loss
favors neither small labels, as cross-entropy does, nor large ones, as Dice does: it is their sum.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from Benchmarks.shared.rows import Row, Table
from Experiments.papers.generated import RADIOGRAPH_SIZE, STRUCTURES, radiograph
from Experiments.papers.methods import (
    HIPPOCAMPUS,
    LabeledVolume,
    add_common_arguments,
    drawn_volume,
    fitting_steps,
    read_hippocampus,
    segment,
    steps_of,
    table,
    write_table,
)

from SparseSegLib.devices import choose_device
from SparseSegLib.evaluation import dice
from SparseSegLib.networks import create_network
from SparseSegLib.networks.objective import Loss
from SparseSegLib.noisy import QualityNetwork, QualityWeighting, noisy_labels, per_sample
from SparseSegLib.training.losses import soft_dice, weighted_cross_entropy
from SparseSegLib.training.schedule import cosine_rate

METHODS: dict[str, float | None] = {"plain": 0.0, "QAM": None, "QAM + OCM": 2.0}  # λ
LEVELS = {"5-13": (5, 13), "1-8": (1, 8)}
SHARES = (0.0, 0.25, 0.5, 0.75)
RATE = 5e-3
QUALITY_RATES = {2: 2e-3, 3: 1e-3}  # a group has 16 images, but eight volumes: it takes longer to distinguish them
JUDGE_FROM = 0.3  # in volumes
CURVE_POINTS = 50
LOSSES: dict[str, Loss] = {
    "entropy": weighted_cross_entropy,
    "dice": soft_dice,
    "both": lambda logits, target: 2 * weighted_cross_entropy(logits, target) + soft_dice(logits, target),
}
SEEN = (24, 32, 24)  # (z, y, x) voxels of a volume's middle that a step sees


@dataclass
class Experiment:
    """What is the same for all methods: cases with right labels, noise, networks."""

    names: tuple[str, ...]
    train: list[LabeledVolume]
    test: list[LabeledVolume]
    levels: list[tuple[int, int]]
    group: int
    dimensions: int
    network: tuple[str, dict[str, object]]
    widths: tuple[int, ...]
    loss: Loss
    quality_from: float = 0.0  # fraction of the training from which the quality network learns
    seen: tuple[int, int, int] = HIPPOCAMPUS


@dataclass
class Training:
    """One method on one set of labels."""

    experiment: Experiment
    labels: list[np.ndarray]
    noisy: np.ndarray
    strength: float | None
    seed: int
    device: torch.device
    total: int
    taken: int = 0
    curve: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        made, classes = self.experiment, len(self.experiment.names) + 1
        name, arguments = made.network
        self.network = create_network(name, len(made.train[0].image), classes, **arguments).to(self.device)
        self.weighting = QualityWeighting(
            QualityNetwork(len(made.train[0].image), classes, made.dimensions, made.widths), self.strength
        ).to(self.device)
        self.optimizer = torch.optim.Adam(
            [
                {"params": self.network.parameters(), "lr": RATE},
                {"params": self.weighting.parameters(), "lr": QUALITY_RATES[made.dimensions]},
            ]
        )
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.rng = np.random.default_rng(self.seed)
        self.generator = torch.Generator(self.device).manual_seed(self.seed)
        self.losses = per_sample(made.loss)

    def step(self) -> None:
        """One step on a group of cases."""
        chosen = self.rng.choice(len(self.labels), self.experiment.group, replace=False)
        factor = cosine_rate(self.taken, self.taken / self.total)
        begun = self.taken >= self.experiment.quality_from * self.total
        for group, rate in zip(self.optimizer.param_groups, (self.rates[0], begun * self.rates[1]), strict=True):
            group["lr"] = factor * rate
        self.optimizer.zero_grad()
        self.network.train()
        weights = self._propagate(self._samples(chosen))
        self.optimizer.step()
        self.taken += 1
        shares = (weights * len(weights)).cpu().numpy()
        clean, noisy = shares[~self.noisy[chosen]], shares[self.noisy[chosen]]
        self.curve.append([float(part.mean()) if len(part) else float("nan") for part in (clean, noisy)])

    def _propagate(self, samples: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        """Add the gradients of a group; the weights of its cases."""

        def losses_of(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return self.losses(self.network(image), target)

        if self.strength != 0:
            return self.weighting.accumulate(samples, losses_of)[1]
        count = sum(len(image) for image, _ in samples)
        for image, target in samples:
            (losses_of(image, target).sum() / count).backward()
        return torch.full((count,), 1 / count)

    def _samples(self, chosen: np.ndarray) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Volumes one by one; images, which fit into memory together, as one batch."""
        cases = [(self.experiment.train[number], self.labels[number]) for number in chosen]
        if self.experiment.dimensions == 3:
            seen = self.experiment.seen
            wrong = [LabeledVolume(one.name, one.image, labels) for one, labels in cases]
            return [drawn_volume(one, self.generator, size=seen) for one in wrong]
        image = torch.stack([one.image for one, _ in cases]).to(self.device)
        target = torch.from_numpy(np.stack([labels for _, labels in cases])).to(self.device)
        return [(image, target)]

    def scores(self) -> list[float]:
        """Dice of each structure on the test cases."""
        self.network.eval()
        found = [(segment(self.network, case, self.device), case.labels) for case in self.experiment.test]
        return [
            mean(dice(ours == value, truth == value) for ours, truth in found)
            for value in range(1, len(self.experiment.names) + 1)
        ]


def main() -> None:
    """Measure what is not measured yet, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with images/ and labels/ of the hippocampus")
    parser.add_argument("--size", type=int, default=72, help="pixels of a radiograph's side (256 with --full)")
    parser.add_argument("--train", type=int, help="training cases (default: 120, or 80 volumes)")
    parser.add_argument("--test", type=int, help="test cases (default: 40, or 24 volumes)")
    parser.add_argument(
        "--levels", nargs="+", choices=LEVELS, help="pixels on radiographs (default: 5-13; with --full both)"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--loss", choices=LOSSES, help="of a case (default: entropy, the thesis's; of volumes both)")
    add_common_arguments(parser, "noisy-labels")
    arguments = parser.parse_args()
    results = Table(arguments.output / "results.csv", ("method", "noise", "share", "seed"))
    if not arguments.report:
        run(arguments, results)
    report(results.rows(), arguments.output)


def run(arguments: argparse.Namespace, results: Table) -> None:
    """Train every method on every kind of noise."""
    device = choose_device(arguments.device)
    experiment = volumes(arguments) if arguments.data else radiographs(arguments)
    settings = [(0.0, experiment.levels[0])]
    settings += [(share, level) for level in experiment.levels for share in SHARES[1:]]

    def kinds() -> list[Callable[[], None]]:
        first = experiment.levels[0]
        return [training(experiment, method, 0.5, first, 0, device, 1000).step for method in arguments.methods]

    trainings = len(settings) * len(arguments.methods) * len(arguments.seeds)
    steps = steps_of(results, arguments.steps, lambda: fitting_steps(kinds(), trainings, arguments.minutes))
    for seed in arguments.seeds:
        for share, level in settings:
            noise = f"{level[0]}–{level[1]}" if share else "none"
            for method in arguments.methods:
                row = {"method": method, "noise": noise, "share": share, "seed": seed}
                if results.has(row):
                    continue
                one = training(experiment, method, share, level, seed, device, steps)
                for _ in range(steps):
                    one.step()
                scores = dict(zip(experiment.names, one.scores(), strict=True))
                curve = smoothed(one.curve) if method != "plain" else []
                results.append({**row, "steps": steps, "dice": scores, "curve": curve})


def training(
    experiment: Experiment,
    method: str,
    share: float,
    level: tuple[int, int],
    seed: int,
    device: torch.device,
    steps: int,
) -> Training:
    """A method's training on labels of which a fraction is wrong; the same ones for every method."""
    rng = np.random.default_rng(seed)
    noisy = np.zeros(len(experiment.train), bool)
    noisy[rng.permutation(len(noisy))[: round(share * len(noisy))]] = True
    labels = [
        noisy_labels(case.labels, *level, rng) if wrong else case.labels
        for case, wrong in zip(experiment.train, noisy, strict=True)
    ]
    return Training(experiment, labels, noisy, METHODS[method], seed, device, steps)


def radiographs(arguments: argparse.Namespace) -> Experiment:
    """Generated chest radiographs, as many as JSRT's with --full."""
    size = RADIOGRAPH_SIZE if arguments.full else arguments.size
    train, test = (
        (arguments.train or (165 if arguments.full else 120)),
        (arguments.test or (82 if arguments.full else 40)),
    )
    rng = np.random.default_rng(12345)
    cases = [radiograph(size, rng) for _ in range(train + test)]
    made = [LabeledVolume(str(n), torch.from_numpy(image)[None], labels) for n, (image, labels) in enumerate(cases)]
    levels = [LEVELS[name] for name in arguments.levels or (LEVELS if arguments.full else ["5-13"])]
    scaled = [
        (max(1, round(low * size / RADIOGRAPH_SIZE)), round(high * size / RADIOGRAPH_SIZE)) for low, high in levels
    ]
    network = ("slice-unet", {"widths": (32, 64, 128, 256) if arguments.full else (12, 24, 36, 48)})
    widths = (32, 64, 128, 128, 128) if arguments.full else (8, 16, 32, 32)
    group = min(32 if arguments.full else 16, train)
    loss = LOSSES[arguments.loss or "entropy"]
    return Experiment(STRUCTURES, made[:train], made[train:], scaled, group, 2, network, widths, loss)


def volumes(arguments: argparse.Namespace) -> Experiment:
    """The hippocampus as a whole, eight volumes per group."""
    train, test = (
        (arguments.train or (87 if arguments.full else 80)),
        (arguments.test or (44 if arguments.full else 24)),
    )
    cases = [
        LabeledVolume(case.name, case.image, (case.labels > 0).astype(case.labels.dtype))
        for case in read_hippocampus(arguments.data, train + test)
    ]
    group = min(8, train)
    network = ("unet3d", {"base": 16}) if arguments.full else ("resunet-se-small", {"passes": 1, "squeeze": False})
    loss = LOSSES[arguments.loss or "both"]
    seen = HIPPOCAMPUS if arguments.full else SEEN
    test_cases = [middle(case, seen) for case in cases[train:]]
    return Experiment(
        ("hippocampus",), cases[:train], test_cases, [(1, 3)], group, 3, network, (8, 16, 16), loss, JUDGE_FROM, seen
    )


def middle(case: LabeledVolume, size: tuple[int, int, int]) -> LabeledVolume:
    """The part of a volume that a step sees; all of it along axes on which it is no larger."""
    box = [
        slice(max(0, (whole - part) // 2), max(0, (whole - part) // 2) + part)
        for whole, part in zip(case.labels.shape, size, strict=True)
    ]
    return LabeledVolume(case.name, case.image[(slice(None), *box)], case.labels[tuple(box)])


def smoothed(curve: list[list[float]]) -> list[list[float]]:
    """Means over equal parts of a training: [fraction of the steps, weight of clean cases, of noisy ones]."""
    parts = np.array_split(np.arange(len(curve)), min(CURVE_POINTS, len(curve)))
    values = np.array(curve)
    points = []
    for part in parts:
        seen = values[part]
        known = [column[~np.isnan(column)] for column in seen.T]
        means = [round(float(column.mean()), 4) if len(column) else None for column in known]
        points.append([round(float(part.mean()) / len(curve), 4), *means])
    return points


def report(rows: list[Row], folder: Path) -> None:
    """Write the table and the curve of the weights."""
    if not rows:
        print("Nothing was measured.")
        return
    names = list(rows[0]["dice"])
    lines, places = [], dict.fromkeys((row["noise"], row["share"]) for row in rows)
    for noise, share in places:
        for method in METHODS:
            found = [
                row["dice"] for row in rows if (row["noise"], row["share"], row["method"]) == (noise, share, method)
            ]
            if found:
                scores = [mean(one[name] for one in found) for name in names]
                lines.append([f"{share:.0%}", noise, method, *scores, mean(scores), len(found)])
    text = table(["noisy", "by", "method", *names, "mean", "seeds"], lines)
    text += f"\n\nDice on test cases with right labels, after {rows[0]['steps']} steps of each training."
    ratios = [
        (row["noise"], row["share"], row["method"], row["curve"][-1]) for row in rows if row["curve"] and row["share"]
    ]
    text += "".join(
        f"\n{share:.0%} noisy by {noise}, {method}: final weights: clean cases {clean:.2f}, noisy ones {wrong:.2f}."
        for noise, share, method, (_, clean, wrong) in ratios
        if clean is not None and wrong is not None
    )
    write_table(folder / "noisy-labels.md", text)
    plot(rows, folder / "weights.png")


def plot(rows: list[Row], path: Path) -> None:
    """The weights of clean and noisy cases over the training, a panel per kind of noise."""
    from matplotlib.figure import Figure

    shown = [row for row in rows if row["method"] == "QAM + OCM" and row["share"] and row["curve"]]
    if not shown:
        return
    figure = Figure(figsize=(4 * len(shown), 3.2), layout="constrained")
    for axes, row in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        points: Callable[[int], list[float]] = lambda column, row=row: [one[column] for one in row["curve"]]  # noqa: E731
        for column, name in ((1, "clean"), (2, "noisy")):
            known = [(at, value) for at, value in zip(points(0), points(column), strict=True) if value is not None]
            axes.plot(*zip(*known, strict=True), label=name)
        axes.set_title(f"{row['share']:.0%} by {row['noise']}, seed {row['seed']}")
        axes.set_xlabel("fraction of the training")
        axes.set_ylim(bottom=0)
    figure.axes[0].set_ylabel("weight, relative to equal weights")
    figure.axes[0].legend()
    figure.savefig(path, dpi=110)
