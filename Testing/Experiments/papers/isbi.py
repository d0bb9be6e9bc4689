"""The 2D U-Net on electron microscopy, with and without the weight map and averaging over turned images.

    python Testing/Experiments isbi --data FOLDER/isbi_em
    python Testing/Experiments isbi --data FOLDER/isbi_em --full --device cuda --minutes 120

Learned from 20 slices of the ISBI 2012 stack and tested on the other 10 (every third). Valid convolutions with
mirrored overlap tiles, elastic deformation from a 3×3 grid, and dropout, as in the paper; by default with a quarter of
its channels and one level less. Written are the pixel error at one half, and the Rand F-score on what is no membrane
(twice the product of scikit-image's precision and recall over their sum, membrane pixels of the truth left out), at one
half and at the best of several thresholds, as the challenge has it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from Benchmarks.shared.rows import Row, Table
from Experiments.papers.border_weights import border_weights, mapped_cross_entropy
from Experiments.papers.elastic import deform_slices
from Experiments.papers.methods import add_common_arguments, fitting_steps, steps_of, table, write_table
from Experiments.papers.rotations import predict_rotated
from Experiments.papers.tiling2d import predict_image
from scipy import ndimage
from skimage.io import imread
from skimage.metrics import adapted_rand_error

from SparseSegLib.devices import choose_device
from SparseSegLib.errors import FileError
from SparseSegLib.networks import create_network
from SparseSegLib.training.schedule import cosine_rate

RATE = 1e-3
THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
WAYS = ("without", "with")
TURNS = (1, 7)


class Training:
    """One network, with or without the weight map."""

    def __init__(
        self, images: np.ndarray, cells: np.ndarray, mapped: bool, total: int, seed: int, arguments: argparse.Namespace
    ) -> None:
        torch.manual_seed(seed)
        self.device = choose_device(arguments.device)
        chosen = {} if arguments.full else {"base": 16, "levels": 4}
        self.network = create_network("ronneberger2015", 1, 2, **chosen).to(self.device)
        if arguments.optimizer == "sgd":
            self.optimizer: torch.optim.Optimizer = torch.optim.SGD(self.network.parameters(), lr=RATE, momentum=0.99)
        else:
            self.optimizer = torch.optim.Adam(self.network.parameters(), lr=RATE)
        weights = np.stack([weight_map(one) if mapped else np.ones(one.shape, np.float32) for one in cells])
        self.stack = torch.from_numpy(np.stack([images, weights], 1)).to(self.device)  # deformed together
        self.labels = torch.from_numpy(cells.astype(np.uint8)).to(self.device)
        self.patch = self.network.valid_size(arguments.patch + 2 * self.network.margin)
        self.total, self.taken = total, 0
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def step(self) -> None:
        """One step on one patch of one slice."""
        images, labels = self._draw()
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * cosine_rate(self.taken, self.taken / self.total)
        margin = self.network.margin
        middle = slice(margin, self.patch - margin)
        logits = self.network.train()(images[:, :1])
        loss = mapped_cross_entropy(logits, labels[:, middle, middle], images[:, 1, middle, middle])
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.taken += 1

    def _draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """A patch with its mirror image beyond the slice's border, deformed, turned and flipped at random."""
        number = int(self.rng.integers(len(self.stack)))
        reach, side, margin = self.patch, self.stack.shape[-1], self.network.margin
        places = np.pad(np.arange(side), margin, mode="reflect")
        start = self.rng.integers(0, len(places) - reach + 1, size=2)
        y, x = (torch.from_numpy(places[begin : begin + reach]).to(self.device) for begin in start)
        images = self.stack[number][:, y][:, :, x][None]
        images, labels = deform_slices(images, self.labels[number][y][:, x][None], self.generator)
        turns, flip = int(self.rng.integers(4)), bool(self.rng.integers(2))
        images, labels = images.rot90(turns, (2, 3)), labels.rot90(turns, (1, 2))
        if flip:
            images, labels = images.flip(3), labels.flip(2)
        images = images.clone()
        images[:, 0] = images[:, 0] * float(np.exp(0.1 * self.rng.normal())) + 0.1 * float(self.rng.normal())
        return images, labels

    @torch.inference_mode()
    def predict(self, image: np.ndarray, turns: int) -> np.ndarray:
        """Probability ``(Y, X)`` of being inside a cell."""
        network = self.network.eval()
        margin, multiple = network.margin, network.multiple
        tile = network.valid_size(256 + 2 * margin) - 2 * margin

        def whole(part: torch.Tensor) -> torch.Tensor:
            return predict_image(
                lambda x: network(x).softmax(1), part, classes=2, margin=margin, tile=tile, multiple=multiple
            )

        found = predict_rotated(whole, torch.from_numpy(image)[None, None].to(self.device), turns)
        return found[0, 1].cpu().numpy()


def weight_map(cells: np.ndarray) -> np.ndarray:
    """The paper's weights for cells that membranes part."""
    instances, _ = ndimage.label(cells)
    return border_weights(instances)


def read_stack(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(N, Y, X)`` float32, mean 0 and deviation 1, and cells (bool)."""
    files = sorted((folder / "image").glob("*.png"), key=lambda file: int(file.stem))
    if not files:
        raise FileError(f"There are no slices in {folder / 'image'}.", "Give the folder with image and label.")
    images = np.stack([imread(file).astype(np.float32) for file in files])
    cells = np.stack([imread(folder / "label" / file.name) > 127 for file in files])
    return (images - images.mean()) / images.std(), cells


def rand_score(truth: np.ndarray, found: np.ndarray) -> float:
    """F-score of the Rand index on the cells of the truth."""
    error, _, _ = adapted_rand_error(ndimage.label(truth)[0], ndimage.label(found)[0], ignore_labels=(0,))
    return 1 - float(error)


def main() -> None:
    """Measure what is not measured yet, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with image/ and label/")
    parser.add_argument("--patch", type=int, default=180, help="pixels of the output's side in training")
    parser.add_argument("--slices", type=int, help="use only so many (for a trial)")
    parser.add_argument("--optimizer", choices=("adam", "sgd"), default="adam", help="sgd: momentum 0.99, as the paper")
    add_common_arguments(parser, "isbi", minutes=20.0)
    arguments = parser.parse_args()
    results = Table(arguments.output / "results.csv", ("map", "seed"))
    if not arguments.report:
        run(arguments, results)
    report(results.rows(), arguments.output)


def run(arguments: argparse.Namespace, results: Table) -> None:
    """Train with and without the weight map."""
    images, cells = (values[: arguments.slices] for values in read_stack(arguments.data))
    test = np.arange(len(images)) % 3 == 2

    def training(way: str, seed: int, total: int) -> Training:
        return Training(images[~test], cells[~test], way == "with", total, seed, arguments)

    count = len(WAYS) * len(arguments.seeds)
    usual = training("without", 0, 1000).step
    steps = steps_of(results, arguments.steps, lambda: fitting_steps([usual], count, arguments.minutes))
    for seed in arguments.seeds:
        for way in WAYS:
            if results.has({"map": way, "seed": seed}):
                continue
            one = training(way, seed, steps)
            for _ in range(steps):
                one.step()
            found = {turns: [one.predict(image, turns) for image in images[test]] for turns in TURNS}
            for turns, inside in found.items():
                row = {"map": way, "seed": seed, "steps": steps, "turns": turns, "slices": len(inside)}
                results.append({**row, **scores(inside, cells[test])})


def scores(found: list[np.ndarray], truth: np.ndarray) -> dict[str, float]:
    """Means over the slices."""
    pairs = list(zip(found, truth, strict=True))
    rand = {level: mean(rand_score(cells, inside > level) for inside, cells in pairs) for level in THRESHOLDS}
    best = max(rand, key=lambda level: rand[level])
    error = mean(float(((inside > 0.5) != cells).mean()) for inside, cells in pairs)
    return {"pixel_error": error, "rand": rand[0.5], "best_rand": rand[best], "threshold": best}


def report(rows: list[Row], folder: Path) -> None:
    """Write the table."""
    if not rows:
        print("Nothing was measured.")
        return
    lines = []
    for way in WAYS:
        for turns in TURNS:
            found = [row for row in rows if (row["map"], row["turns"]) == (way, turns)]
            if found:
                figures = [mean(row[name] for row in found) for name in ("pixel_error", "rand", "best_rand")]
                lines.append([way, turns, f"{figures[0]:.4f}", *figures[1:], len(found)])
    text = table(["weight map", "turns", "pixel error", "Rand F at 0.5", "Rand F, best threshold", "seeds"], lines)
    text += f"\n\nAfter {rows[0]['steps']} steps; {rows[0]['slices']} slices to test on."
    write_table(folder / "isbi.md", text)
