"""Active learning: Dice over the number of annotated slices, suggested or drawn at random.

    python Testing/Experiments active_learning --data FOLDER -o benchmark-output/active-learning --seeds 0 1 2

A pool of volumes (``--pool``) is annotated slice by slice. The first two volumes have three slices each; then, one
after another, ``--slices`` more are added: the slice of the volume that ``sparseseg suggest`` would name, or one drawn
at random (any volume, any axis, through its object). Where a suggested slice misses the object, the nearest one that
shows it is annotated, as a user would. After each slice the training goes on for ``--seconds`` from its
last weights. The Dice is that of ``--test`` volumes that are never annotated. Both ways start from the same weights.
Results are appended to ``results.csv``; a second run does what is missing. ``table.md`` and ``plot.png`` are written
at the end.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

import numpy as np
from Benchmarks.accuracy.next_slice import objects_extent, random_plane
from Benchmarks.shared.rows import Row, Table
from Experiments.cohorts.subjects import Subject, add_cohort_arguments, fit, subjects_of

from SparseSegLib.annotation import Plane, keep_planes
from SparseSegLib.cohort import TrainSettings
from SparseSegLib.cohort.next_case import suggest_slices, view_case
from SparseSegLib.control import CancelToken
from SparseSegLib.evaluation import dice
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.preprocessing.for_model import prepare_for

WAYS = ("suggested", "random")
KEY = ("way", "seed", "pool", "test", "slices", "budget_seconds")
NAMES = ("object",)
FIRST = 2  # volumes that have slices from the start
START = "1,1,1"

Planes = dict[str, tuple[Plane, ...]]
"""The annotated slices of each volume."""
Choice = Callable[[Predictor, Planes], tuple[str, Plane]]
"""Which slice of which volume to annotate next."""


def main() -> None:
    """Run what is missing and write the report."""
    arguments = parse()
    results = Table(arguments.output / "results.csv", KEY)
    for seed in arguments.seeds:
        run(seed, arguments, results)
    write_report(results.rows(), arguments.output)


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_cohort_arguments(parser)
    parser.add_argument("--pool", type=int, default=20, help="volumes that may be annotated")
    parser.add_argument("--test", type=int, default=20, help="volumes to measure on")
    parser.add_argument("--slices", type=int, default=12, help="how many to add")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--seconds", type=float, default=30.0, help="of training after every slice")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark-output/active-learning"))
    return parser.parse_args()


def run(seed: int, arguments: argparse.Namespace, results: Table) -> None:
    """All ways with one seed; a way is written down when it has all its slices."""
    base: Row = {"seed": seed, "pool": arguments.pool, "test": arguments.test, "slices": arguments.slices}
    base["budget_seconds"] = arguments.seconds
    missing = [way for way in arguments.ways if not results.has({**base, "way": way})]
    if not missing:
        return
    subjects = [one.merged() for one in subjects_of(arguments, arguments.pool + arguments.test, seed)]
    pool, unseen = subjects[: arguments.pool], subjects[arguments.pool :]
    settings = TrainSettings(budget_seconds=arguments.seconds, seed=seed, device=arguments.device)
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start.pt"
        planes: Planes = {one.name: one.spread_planes(START) for one in pool[:FIRST]}
        first = fit(cases_of(pool, planes), settings, start)
        for way in missing:
            checkpoint = Path(folder) / f"{way}.pt"
            shutil.copyfile(start, checkpoint)
            choice = suggested(pool) if way == "suggested" else at_random(pool, seed)
            curve, chosen = [mean_dice(first, unseen)], []
            predictor, known = first, dict(planes)
            for _ in range(arguments.slices):
                name, plane = choice(predictor, known)
                known[name] = (*known.get(name, ()), plane)
                chosen.append([name, plane.axis, plane.index])
                predictor = fit(cases_of(pool, known), settings, checkpoint)
                curve.append(mean_dice(predictor, unseen))
            results.append({**base, "way": way, "dice": curve, "chosen": chosen})


def cases_of(pool: Sequence[Subject], planes: Planes) -> list:
    """The training cases: a volume counts once one of its slices shows the object."""
    cases = []
    for one in pool:
        known = planes.get(one.name, ())
        if known and (keep_planes(one.truth, one.volume.geometry, known).array == 1).any():
            cases.append(one.annotated(known, NAMES))
    return cases


def suggested(pool: Sequence[Subject]) -> Choice:
    """The slice that the model suggests."""

    def choose(predictor: Predictor, planes: Planes) -> tuple[str, Plane]:
        views = []
        for one in pool:
            image, grid = prepare_for(one.volume, predictor.card.preprocessing)
            probabilities = predictor.probabilities(image, CancelToken(), lambda fraction: None)
            known = planes.get(one.name, ())
            views.append(view_case(one.name, probabilities, grid, one.volume.geometry, known))
        (best,) = suggest_slices(views)
        axis = best.plane.axis
        extent = objects_extent(next(one.truth for one in pool if one.name == best.name))[axis]
        return best.name, Plane(axis, min(max(best.plane.index, extent[0]), extent[-1]))

    return choose


def at_random(pool: Sequence[Subject], seed: int) -> Choice:
    """Any volume, and any slice through its object."""
    rng = np.random.default_rng(seed)

    def choose(predictor: Predictor, planes: Planes) -> tuple[str, Plane]:
        while True:
            one = pool[int(rng.integers(len(pool)))]
            labels = keep_planes(one.truth, one.volume.geometry, planes.get(one.name, ()))
            plane = random_plane(labels, objects_extent(one.truth), rng)
            if plane is not None:
                return one.name, plane

    return choose


def mean_dice(predictor: Predictor, subjects: Sequence[Subject]) -> float:
    """Mean Dice of the object."""
    return round(mean(dice(predictor.segment(one.volume) > 0, one.truth > 0) for one in subjects), 4)


def write_report(rows: Sequence[Row], folder: Path) -> None:
    """Write ``table.md`` and ``plot.png``, and print the table."""
    if not rows:
        print("Nothing was measured.")
        return
    text = table(rows)
    (folder / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for way, curve in curves(rows).items():
        axes.plot(range(len(curve)), curve, marker="o" if way == "suggested" else ".", label=way)
    axes.set_xlabel("added slices")
    axes.set_ylabel("mean Dice of volumes never annotated")
    axes.legend()
    figure.savefig(folder / "plot.png", dpi=110)


def curves(rows: Sequence[Row]) -> dict[str, list[float]]:
    """The mean over seeds of every way, as far as all of its curves go."""
    found = {}
    for way in dict.fromkeys(row["way"] for row in rows):
        of_way = [row["dice"] for row in rows if row["way"] == way]
        found[way] = [mean(values) for values in zip(*of_way, strict=False)]
    return found


def table(rows: Sequence[Row]) -> str:
    """Dice after every slice, mean over seeds, and its mean over the whole curve, as Markdown."""
    found = curves(rows)
    most = max(map(len, found.values()))
    head = ["way", "seeds", "at first", *(f"+{number}" for number in range(1, most)), "mean of the curve"]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for way, curve in found.items():
        count = len([row for row in rows if row["way"] == way])
        values = [f"{value:.3f}" for value in curve] + [""] * (most - len(curve))
        lines.append("| " + " | ".join([way, str(count), *values, f"{mean(curve):.3f}"]) + " |")
    return "\n".join(lines)
