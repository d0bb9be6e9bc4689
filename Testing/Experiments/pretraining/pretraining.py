"""Pretrains the slice U-Net of `densify` on many small problems whose truth is known.

    python Testing/Experiments pretraining --data FOLDER -o work/slice-unet.pt --episodes 1000 --minutes 40
    python Testing/Experiments pretraining -o work/slice-unet.pt           generated volumes only

Each problem is a volume with a few annotated slices (``pretraining_episodes``): the network gets a slice with its
neighbors and the annotation prior, and learns to segment it. Problems are made first, by several processes at once
(``--processes``), and lie in NAME.episodes/, where a second run finds them. Every sixteenth is not learned from;
printed is the IoU on these, beside that of the prior's random walk alone. The file that comes with SparseSeg is
Resources/Pretrained/slice-unet.pt.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import mean
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from Experiments.pretraining.episodes import Episode, make_episode

from SparseSegLib.densify.experts import SliceUNetRecipe
from SparseSegLib.densify.experts.pretrained import NEIGHBORS, save_pretrained
from SparseSegLib.densify.slice_augmentation import SlicePatch, cut_patches, sampling_grid, vary_gray_values
from SparseSegLib.networks.slice_unet import SliceUNet
from SparseSegLib.training.averaging import AveragedWeights
from SparseSegLib.training.losses import soft_dice, weighted_cross_entropy
from SparseSegLib.training.schedule import cosine_rate

IN_A_FILE = 20
EVERY_HELD_OUT = 16
GRAY = 2 * NEIGHBORS + 1
RATE, WEIGHT_DECAY, AVERAGING, WARM_UP = 4e-3, 1e-2, 0.999, 200
REPORT_SECONDS = 120.0


def main() -> None:
    """Make the episodes that are missing, train, and write the weights."""
    arguments = parse()
    episodes = read_episodes(arguments)
    held_out = episodes[::EVERY_HELD_OUT]
    learned = [episode for number, episode in enumerate(episodes) if number % EVERY_HELD_OUT]
    print(f"{len(learned)} episodes to learn from, {len(held_out)} held out", flush=True)
    widths = tuple(arguments.widths)
    network = train(learned, held_out, widths, arguments.minutes, arguments.seed)
    save_pretrained(arguments.output, network)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.2f} MB; {score(network, held_out)}")


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the usual development volumes")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2, help="that make episodes")
    parser.add_argument("--minutes", type=float, default=40.0, help="of the training")
    parser.add_argument("--widths", nargs="+", type=int, default=list(SliceUNetRecipe().widths), help="of the U-Net")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True, help="file of weights to write")
    return parser.parse_args()


def read_episodes(arguments: argparse.Namespace) -> list[Episode]:
    """All episodes; those that no earlier run has made are made now."""
    folder = arguments.output.with_suffix(".episodes")
    folder.mkdir(parents=True, exist_ok=True)
    firsts = range(0, arguments.episodes, IN_A_FILE)
    with ProcessPoolExecutor(arguments.processes) as pool:
        files = list(pool.map(partial(make_file, folder, arguments.data), firsts))
    return [Episode(*parts) for file in files for parts in torch.load(file)]


def make_file(folder: Path, data: Path | None, first: int) -> Path:
    """Make the episodes from number ``first`` on, unless their file is there."""
    path = folder / f"{first:06}.pt"
    if not path.exists():
        torch.set_num_threads(1)
        made = (make_episode(number, data) for number in range(first, first + IN_A_FILE))
        torch.save([(episode.kind, episode.inputs, episode.labels) for episode in made], path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
        print(path.name, flush=True)
    return path


def train(
    learned: Sequence[Episode], held_out: Sequence[Episode], widths: tuple[int, ...], minutes: float, seed: int
) -> SliceUNet:
    """The averaged network after so many minutes."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    network = SliceUNet(len(learned[0].inputs[0]), 2, widths).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = AveragedWeights(network, AVERAGING)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
    even = torch.ones(2)
    start, step, reported = time.monotonic(), 0, 0.0
    while (elapsed := time.monotonic() - start) < 60 * minutes:
        inputs, labels = draw(learned, rng)
        for group in optimizer.param_groups:
            group["lr"] = RATE * cosine_rate(step, elapsed / (60 * minutes), WARM_UP)
        logits = network(inputs)
        loss = weighted_cross_entropy(logits, labels, even) + soft_dice(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
        optimizer.step()
        averaged.update(network)
        step += 1
        if elapsed > reported + REPORT_SECONDS:
            reported = elapsed
            print(f"step {step}, {elapsed / 60:.0f} minutes: {score(averaged.network, held_out)}", flush=True)
    return cast(SliceUNet, averaged.network)


def draw(episodes: Sequence[Episode], rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch (B, C, U, V) of patches, each from an episode of its own, and its labels (B, U, V)."""
    recipe = SliceUNetRecipe()
    size = (recipe.crop, recipe.crop)
    slices = list(_draw_slices(episodes, 2 * recipe.batch, rng))
    patches = [_patch(labels, rng) for _, labels in slices]
    most = [max(labels.shape[side] for _, labels in slices) for side in range(2)]
    inputs = torch.stack([_padded(image.float(), most) for image, _ in slices])
    labels = torch.stack([_padded(labels.long(), most) for _, labels in slices])
    inputs, labels = cut_patches(inputs, labels, sampling_grid(patches, size, recipe.moved, rng), patches)
    vary_gray_values(inputs, GRAY, rng)
    return inputs.contiguous(memory_format=torch.channels_last), labels


def _draw_slices(
    episodes: Sequence[Episode], count: int, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for number in rng.integers(len(episodes), size=count):
        episode = episodes[number]
        index = int(rng.integers(len(episode.inputs)))
        yield episode.inputs[index], episode.labels[index]


def _patch(labels: torch.Tensor, rng: np.random.Generator) -> SlicePatch:
    """Around a pixel of the structure, or anywhere."""
    places = labels.nonzero()
    height, width = labels.shape
    if rng.random() < 0.5 and len(places):
        row, column = places[int(rng.integers(len(places)))].tolist()
    else:
        row, column = rng.uniform(0, height), rng.uniform(0, width)
    return SlicePatch((row, column), (height, width), (1.0, 1.0))


def _padded(values: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """With zeros below and to the right; they are beyond the patch's extent."""
    return F.pad(values, (0, size[1] - values.shape[-1], 0, size[0] - values.shape[-2]))


@torch.inference_mode()
def score(network: torch.nn.Module, episodes: Sequence[Episode]) -> str:
    """Mean IoU over the episodes of each kind, as text; in brackets that of the random walk."""
    found: dict[str, list[tuple[float, float]]] = {}
    for episode in episodes:
        ours, walks = np.zeros(2), np.zeros(2)
        for inputs, labels in zip(episode.inputs, episode.labels, strict=True):
            truth = labels == 1
            ours += _overlap(network(inputs[None].float())[0].argmax(0) == 1, truth)
            walks += _overlap(inputs[-2] > 0, truth)
        if ours[1] and walks[1]:
            found.setdefault(episode.kind, []).append((ours[0] / ours[1], walks[0] / walks[1]))
    parts = [f"{kind} {_means(pairs)}" for kind, pairs in sorted(found.items())]
    return f"IoU {_means([pair for pairs in found.values() for pair in pairs])}: {', '.join(parts)}"


def _overlap(found: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    return np.array([int((found & truth).sum()), int((found | truth).sum())])


def _means(pairs: Sequence[tuple[float, float]]) -> str:
    return f"{mean(first for first, _ in pairs):.3f} ({mean(second for _, second in pairs):.3f})"
