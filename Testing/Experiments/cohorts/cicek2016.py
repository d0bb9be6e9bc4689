"""The experiments of the 3D U-Net paper (Çiçek et al. 2016), on volumes of one kind, beside the paper's figures.

    python Testing/Experiments cicek2016 1 --data FOLDER     semi-automated: 3 folds over annotated slices
    python Testing/Experiments cicek2016 2 --data FOLDER     IoU against the number of annotated slices
    python Testing/Experiments cicek2016 3 --data FOLDER     fully automated: leave one volume out
    python Testing/Experiments cicek2016 1 2 3 --cohort FOLDER --full      the paper's networks; needs a GPU

The paper's own volumes cannot be had; these are the first ``--volumes`` (3) of the cohort, the objects taken as one.
Each volume has ``--slices`` annotated slices (x, y, z) in tables 1 and 3. Without ``--full`` the networks are small and
train for ``--seconds`` each (120), so that a table takes less than half an hour on two cores; with it they have the
paper's widths and 70 000 steps.

Table 1: one network per fold, trained on two thirds of the slices of all volumes together, IoU on the voxels of the
others. Table 2: one network per volume and number of slices, IoU on the voxels off its slices (the paper's columns are
three sets of slices). Table 3: IoU of the volume that was left out. "2D with BN" sees axial slices one by one.

Results are appended to ``results.csv``; a second run does what is missing. With ``--cluster`` (``local:2`` or
``tcp://HOST:PORT``) the trainings run on Dask workers, which need the project on their PYTHONPATH and the volumes
at the same paths.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from Benchmarks.shared.rows import Row, Table
from Experiments.cohorts.subjects import Subject, add_cohort_arguments, fit, subjects_of

from SparseSegLib.annotation import Plane
from SparseSegLib.batch.cluster import connect
from SparseSegLib.cohort import TrainSettings
from SparseSegLib.evaluation import iou

NAMES = ("object",)
FOLDS = 3
PATCH = (116, 132, 132)  # what the paper's network takes (z, y, x)
STEPS = 70_000
BUDGETS = ("1,1,1", "2,2,1", "3,3,2", "5,5,3")
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "3D without BN": ("unet3d-half", {"norm": "none"}),
    "3D with BN": ("unet3d-half", {"norm": "batch"}),
    "2D with BN": ("unet2d-slices", {}),
}
FULL: dict[str, tuple[str, dict[str, Any]]] = {
    "3D without BN": ("cicek2016", {"norm": "none"}),
    "3D with BN": ("cicek2016", {}),
    "2D with BN": ("unet2d-slices", {"base": 64}),
}
PAPER: dict[int, dict[str, tuple[float, float, float]]] = {
    1: {
        "3D without BN": (0.822, 0.857, 0.846),
        "3D with BN": (0.855, 0.871, 0.863),
        "2D with BN": (0.785, 0.820, 0.782),
    },
    2: {
        "1,1,1": (0.331, 0.483, 0.475),
        "2,2,1": (0.676, 0.579, 0.738),
        "3,3,2": (0.761, 0.808, 0.835),
        "5,5,3": (0.856, 0.849, 0.872),
    },
    3: {
        "3D without BN": (0.655, 0.734, 0.779),
        "3D with BN": (0.761, 0.798, 0.554),
        "2D with BN": (0.619, 0.698, 0.325),
    },
}
"""The paper's IoU: tables 1 and 3 by network, table 2 by slices (in yz, xz and xy)."""
TITLES = {
    1: "Table 1, semi-automated: IoU on the slices of each fold",
    2: "Table 2, 3D with BN: IoU off the annotated slices (x, y, z)",
    3: "Table 3, fully automated: IoU of the volume left out",
}
KEY = ("table", "row", "column", "budget_seconds", "slices", "volumes", "full", "seed")


@dataclass(frozen=True)
class Trial:
    """A cell of a table: the row is a network or a number of slices, the column a fold or a volume (0, 1, …)."""

    table: int
    row: str
    column: int


def main() -> None:
    """Run what is missing and print the tables."""
    arguments = parse()
    results = Table(arguments.output / "results.csv", KEY)
    missing = [one for one in trials(arguments) if not results.has(base(one, arguments))]
    for row in outcomes(missing, arguments):
        results.append(row)
    text = "\n\n".join(table(number, results.rows(), arguments) for number in arguments.tables)
    (arguments.output / "tables.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="+", type=int, choices=(1, 2, 3), help="which of the paper's tables")
    add_cohort_arguments(parser)
    parser.add_argument("--volumes", type=int, default=3)
    parser.add_argument("--slices", default="3,3,6", metavar="X,Y,Z", help="of each volume in tables 1 and 3")
    parser.add_argument("--budgets", nargs="+", default=BUDGETS, metavar="X,Y,Z", help="rows of table 2")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each training")
    parser.add_argument("--full", action="store_true", help=f"the paper's networks and {STEPS} steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--cluster", help="local:N or tcp://HOST:PORT")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark-output/cicek2016"))
    return parser.parse_args()


def trials(arguments: argparse.Namespace) -> list[Trial]:
    """All cells of the chosen tables."""
    found = []
    for number in arguments.tables:
        columns = FOLDS if number == 1 else arguments.volumes
        for row in arguments.budgets if number == 2 else SMALL:
            found += [Trial(number, row, column) for column in range(columns)]
    return found


def outcomes(missing: Sequence[Trial], arguments: argparse.Namespace) -> Iterator[Row]:
    """Run the trials here or on a cluster; rows as they come."""
    run = partial(run_trial, arguments=arguments)
    if not arguments.cluster:
        yield from map(run, missing)
        return
    with connect(arguments.cluster) as cluster:
        for index, outcome in cluster.run(run, missing):
            if isinstance(outcome, Exception):
                print(f"{missing[index]} failed: {outcome}", file=sys.stderr)
            else:
                yield outcome


def run_trial(trial: Trial, arguments: argparse.Namespace) -> Row:
    """Train and measure one cell."""
    subjects = [one.merged() for one in subjects_of(arguments, arguments.volumes)]
    make = {1: fold, 2: alone, 3: left_out}[trial.table]
    return base(trial, arguments) | make(trial, subjects, arguments)


def base(trial: Trial, arguments: argparse.Namespace) -> Row:
    """The columns that identify a row of the results."""
    row = {"table": trial.table, "row": trial.row, "column": trial.column, "volumes": arguments.volumes}
    row |= {
        "budget_seconds": arguments.seconds,
        "slices": arguments.slices,
        "full": arguments.full,
        "seed": arguments.seed,
    }
    return row


def settings_of(network: str, arguments: argparse.Namespace) -> TrainSettings:
    """How to train a network."""
    name, more = (FULL if arguments.full else SMALL)[network]
    budget = {"budget_steps": STEPS} if arguments.full else {"budget_seconds": arguments.seconds}
    patch = PATCH if name == "cicek2016" else None
    return TrainSettings(
        network=name, arguments=more, patch=patch, seed=arguments.seed, device=arguments.device, **budget
    )


def fold(trial: Trial, subjects: Sequence[Subject], arguments: argparse.Namespace) -> Row:
    """Train on the slices of the other folds of all volumes; IoU over the voxels of this fold's slices."""
    cases, held_out = [], []
    for one in subjects:
        planes = one.spread_planes(arguments.slices)
        mine = [plane for number, plane in enumerate(planes) if number % FOLDS == trial.column]
        cases.append(one.annotated([plane for plane in planes if plane not in mine], NAMES))
        held_out.append(on_planes(one.truth.shape, mine) & ~cases[-1].labels.labeled)
    predictor = fit(cases, settings_of(trial.row, arguments))
    found = np.concatenate([predictor.segment(one.volume)[m] for one, m in zip(subjects, held_out, strict=True)])
    truth = np.concatenate([one.truth[mask] for one, mask in zip(subjects, held_out, strict=True)])
    return {"iou": round(iou(found > 0, truth > 0), 4), **predictor.card.figures}


def on_planes(shape: tuple[int, ...], planes: Sequence[Plane]) -> np.ndarray:
    """Mask ``(Z, Y, X)`` of the voxels on any of the planes."""
    mask = np.zeros(shape, bool)
    for plane in planes:
        mask[plane.voxels] = True
    return mask


def alone(trial: Trial, subjects: Sequence[Subject], arguments: argparse.Namespace) -> Row:
    """Train on some slices of one volume; IoU over its voxels off these slices."""
    one = subjects[trial.column]
    case = one.annotated(one.spread_planes(trial.row), NAMES)
    predictor = fit([case], settings_of("3D with BN", arguments))
    unseen = ~case.labels.labeled
    score = iou(predictor.segment(one.volume)[unseen] > 0, one.truth[unseen] > 0)
    return {"iou": round(score, 4), "labeled": float(case.labels.labeled.mean()), **predictor.card.figures}


def left_out(trial: Trial, subjects: Sequence[Subject], arguments: argparse.Namespace) -> Row:
    """Train on slices of the other volumes; IoU of the whole volume."""
    test = subjects[trial.column]
    cases = [one.annotated(one.spread_planes(arguments.slices), NAMES) for one in subjects if one is not test]
    predictor = fit(cases, settings_of(trial.row, arguments))
    return {"iou": round(iou(predictor.segment(test.volume) > 0, test.truth > 0), 4), **predictor.card.figures}


def table(number: int, rows: Sequence[Row], arguments: argparse.Namespace) -> str:
    """One of the tables as Markdown, each IoU beside the paper's."""
    asked = base(Trial(number, "", 0), arguments)
    same = [key for key in KEY if key not in ("row", "column")]
    cells = {(row["row"], row["column"]): row["iou"] for row in rows if all(row[key] == asked[key] for key in same)}
    columns = FOLDS if number == 1 else arguments.volumes
    word = "fold" if number == 1 else "volume"
    head = ["", *(f"{word} {column + 1}" for column in range(columns)), "average", "paper", "paper's average"]
    lines = [TITLES[number], "", "| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for name in arguments.budgets if number == 2 else SMALL:
        values = [cells[name, column] for column in range(columns) if (name, column) in cells]
        shown = [f"{cells[name, column]:.3f}" if (name, column) in cells else "" for column in range(columns)]
        paper = PAPER[number].get(name, ())
        shown += [f"{mean(values):.3f}" if values else "", " / ".join(f"{value:.3f}" for value in paper)]
        lines.append("| " + " | ".join([name, *shown, f"{mean(paper):.3f}" if paper else ""]) + " |")
    return "\n".join(lines)
