"""Sparse against dense labels of many volumes: hippocampus.

    python Testing/Experiments hippocampus --data FOLDER -o benchmark-output/hippocampus

Trains on 100 volumes, of each of which three axial slices are annotated (``--slices``), for ten minutes
(``--seconds``), segments the 31 volumes that it never saw, and does the same with all slices annotated. The slices are
drawn at random, one from each third of the structure's extent, so that the volumes complete each other; with ``--even``
they lie in the middle of each third. Printed are the Dice of each part and their mean, and what the sparse training
reaches of the dense one's. To reach: 0.80, and 95 %.
Results are appended to ``results.csv``; a second run does what is missing.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import numpy as np
from Benchmarks.shared.rows import Row, Table
from Experiments.cohorts.subjects import Subject, add_cohort_arguments, fit, subjects_of

from SparseSegLib.cohort import TrainSettings
from SparseSegLib.evaluation import dice
from SparseSegLib.prediction.predictor import Predictor

NAMES = ("anterior", "posterior")
WAYS = ("sparse", "dense")
KEY = ("way", "slices", "even", "train", "test", "budget_seconds", "network", "seed")


def main() -> None:
    """Run what is missing and print the table."""
    arguments = parse()
    results = Table(arguments.output / "results.csv", KEY)
    for seed in arguments.seeds:
        for way in arguments.ways:
            run(way, seed, arguments, results)
    text = table(results.rows())
    (arguments.output / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_cohort_arguments(parser)
    parser.add_argument("--train", type=int, default=100, help="volumes to learn from")
    parser.add_argument("--test", type=int, default=31, help="volumes to segment")
    parser.add_argument("--slices", default="0,0,3", metavar="X,Y,Z", help="annotated slices per axis")
    parser.add_argument("--even", action="store_true", help="evenly spaced slices instead of random ones")
    parser.add_argument("--seconds", type=float, default=600.0, help="of each training")
    parser.add_argument("--network", default="unet3d-half")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of the split and the training")
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark-output/hippocampus"))
    return parser.parse_args()


def run(way: str, seed: int, arguments: argparse.Namespace, results: Table) -> None:
    """One training, unless that was done."""
    row: Row = {"way": way, "slices": arguments.slices, "train": arguments.train, "test": arguments.test}
    row |= {"even": arguments.even, "budget_seconds": arguments.seconds, "network": arguments.network, "seed": seed}
    if results.has(row):
        return
    subjects = subjects_of(arguments, arguments.train + arguments.test, seed)
    learn, unseen = subjects[: arguments.train], subjects[arguments.train :]
    names = NAMES if int(max(one.truth.max() for one in subjects)) == len(NAMES) else ("object",)
    if way == "sparse":
        rng = np.random.default_rng(seed)
        planes = (
            one.spread_planes(arguments.slices) if arguments.even else one.scattered_planes(arguments.slices, rng)
            for one in learn
        )
        cases = [one.annotated(chosen, names) for one, chosen in zip(learn, planes, strict=True)]
    else:
        cases = [one.dense(names) for one in learn]
    settings = TrainSettings(
        network=arguments.network, budget_seconds=arguments.seconds, seed=seed, device=arguments.device
    )
    predictor = fit(cases, settings)
    results.append(row | dict(predictor.card.figures) | score(predictor, unseen))


def score(predictor: Predictor, subjects: Sequence[Subject]) -> Row:
    """Mean Dice of each part over the volumes, and of all parts."""
    found: dict[str, list[float]] = {label.name: [] for label in predictor.card.labels}
    for one in subjects:
        labels = predictor.segment(one.volume)
        for label in predictor.card.labels:
            found[label.name].append(dice(labels == label.value, one.truth == label.value))
    parts = {name: round(mean(values), 4) for name, values in found.items()}
    return {"dice": parts, "mean_dice": round(mean(parts.values()), 4)}


def table(rows: Sequence[Row]) -> str:
    """One line per training as Markdown, and the Dice of sparse labels relative to dense ones."""
    if not rows:
        return "Nothing was measured."
    parts = list(rows[0]["dice"])
    head = ["labels", "slices x, y, z", "volumes", "unseen", "seconds", "steps", "seed", *parts, "mean"]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for row in rows:
        cells = [row["way"], row["slices"] if row["way"] == "sparse" else "all", row["train"], row["test"]]
        cells += [f"{row['budget_seconds']:g}", row["steps"], row["seed"]]
        cells += [f"{row['dice'].get(part, float('nan')):.3f}" for part in parts] + [f"{row['mean_dice']:.3f}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    dense = {_but_way(row): row["mean_dice"] for row in rows if row["way"] == "dense"}
    for row in rows:
        if row["way"] == "sparse" and _but_way(row) in dense:
            share = row["mean_dice"] / dense[_but_way(row)]
            lines.append(f"\nSeed {row['seed']}: sparse labels reach {share:.1%} of what dense ones do.")
    return "\n".join(lines)


def _but_way(row: Row) -> tuple[object, ...]:
    return tuple(row[key] for key in KEY if key != "way")
