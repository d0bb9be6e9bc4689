"""SparseSeg against other methods, from the same slices, in one run.

    python Testing/Benchmarks densify --data FOLDER -o benchmark-output
    python Testing/Benchmarks densify --volume liver=ct.nii.gz,organs.nii.gz,5 --budgets 3,3,2 --seconds 60
    python Testing/Benchmarks densify --data FOLDER --peers all --seeds 0 1 2

The peers are the classical methods of ``SparseSegLib.comparison``; the networks nnU-Net and a MONAI U-Net, which train
on the same slices for the same seconds; and Biomedisa's interpolation, which has no budget and takes as long as it
takes. Networks and Biomedisa need ``pip install -r Testing/Benchmarks/peers/requirements.txt``. A method whose packages
are not installed is left out.

IoU is measured on the voxels off the annotated slices. Results are appended to ``results.csv`` as they come; a second
run does what is missing. ``table.md`` and ``plot.png`` are written at the end (and by ``--report`` alone).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from Benchmarks.accuracy.report import write_report
from Benchmarks.peers import NETWORKS, segment_with_peer
from Benchmarks.shared.rows import Row, Table, commit
from Benchmarks.shared.scoring import annotate, unseen_iou
from Benchmarks.shared.volumes import Case, add_volume_arguments, chosen_cases

from SparseSegLib.annotation import SparseLabels
from SparseSegLib.comparison import METHODS, segment_with
from SparseSegLib.control import Control, NullEvents
from SparseSegLib.densify import DensifyResult, DensifySettings, densify
from SparseSegLib.errors import DependencyError
from SparseSegLib.image import Volume, place

GROUPS = ("classical", "networks", "biomedisa", "all", "none")
BUDGETS = ("1,1,1", "2,2,1", "3,3,2", "5,5,3", "every8")
KEY = ("volume", "budget", "method", "budget_seconds", "seed")

Segmented = tuple[np.ndarray, dict[str, Any]]
"""Classes ``(Z, Y, X)``, and a method's figures of its run."""


class FirstPreview(NullEvents):
    """Keeps the first preview."""

    def __init__(self) -> None:
        self.result: DensifyResult | None = None

    def preview(self, result: Any) -> None:
        """Keep the first one."""
        if self.result is None:
            self.result = result

    def figures(self, volume: Volume, truth: np.ndarray, labels: SparseLabels) -> dict[str, Any]:
        """When it came, and how good it was."""
        if self.result is None:
            return {"first_preview": None}
        dense = place(self.result.labels, self.result.geometry, volume.geometry)
        return {"first_preview": self.result.seconds, "first_iou": unseen_iou(dense, truth, labels)}


def main() -> None:
    """Run what is missing and write the report."""
    arguments = parse()
    table = Table(arguments.output / "results.csv", KEY)
    if not arguments.report:
        recorder = Recorder(table)
        for budget in arguments.budgets:
            for case in chosen_cases(arguments):
                run_case(case, budget, arguments, recorder)
    write_report(table.rows(), arguments.output)


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_volume_arguments(parser)
    parser.add_argument("--budgets", nargs="+", default=BUDGETS, metavar="X,Y,Z", help="slices per axis, or everyK")
    parser.add_argument("--seconds", nargs="+", type=float, default=[20.0, 60.0, 180.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--prior", help="parts of the prior, with commas; 'none' for none")
    parser.add_argument("--peers", choices=GROUPS, default="classical", help="see above")
    parser.add_argument("--no-peers", dest="peers", action="store_const", const="none", help="short for --peers none")
    parser.add_argument("--peer-seconds", nargs="+", type=float, help="for the networks, instead of --seconds")
    parser.add_argument("--report", action="store_true", help="only write the report of what was measured")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark-output"))
    return parser.parse_args()


class Recorder:
    """Runs methods that have not run yet, and records their scores.

    Parameters
    ----------
    table : the measurements to go on with
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.left_out: set[str] = set()

    def record(self, row: Row, truth: np.ndarray, labels: SparseLabels, run: Callable[[], Segmented]) -> None:
        """Complete ``row`` (which has all of ``KEY``) with what ``run`` reaches, unless that was done before."""
        if row["method"] in self.left_out or self.table.has(row):
            return
        start = time.monotonic()
        try:
            segmented, figures = run()
        except DependencyError as error:
            self.left_out.add(row["method"])
            print(f"{row['method']} is left out. {error}", file=sys.stderr)
            return
        seconds = round(time.monotonic() - start, 2)
        self.table.append({**row, "seconds": seconds, **figures, "iou": unseen_iou(segmented, truth, labels)})


def run_case(case: Case, budget: str, arguments: argparse.Namespace, recorder: Recorder) -> None:
    """All methods on one volume with one annotation."""
    volume, truth = case.load()
    labels = annotate(truth, volume, budget)
    base = {"volume": case.name, "budget": budget, "labeled": float(labels.labeled.mean())}

    def record(method: str, seconds: float, seed: int, run: Callable[[], Segmented]) -> None:
        row = {**base, "method": method, "budget_seconds": seconds, "seed": seed}
        recorder.record(row, truth, labels, run)

    if arguments.peers in ("classical", "all"):
        for name in METHODS:
            record(name, 0.0, 0, partial(classical, name, volume, labels))
    prior = arguments.prior and tuple(part for part in arguments.prior.split(",") if part != "none")
    own_name = (
        "SparseSeg" if prior is None and arguments.preset == "fast" else f"{arguments.preset} {prior or ''}".strip()
    )
    for seconds in arguments.seconds:
        for seed in arguments.seeds:
            settings = DensifySettings(arguments.preset, seconds, seed=seed, prior=prior)
            record(own_name, seconds, seed, partial(ours, volume, truth, labels, settings))
    if arguments.peers in ("biomedisa", "all"):
        record("Biomedisa", 0.0, 0, partial(segment_with_peer, "Biomedisa", volume, labels, 0.0, 0))
    if arguments.peers in ("networks", "all"):
        for seconds in arguments.peer_seconds or arguments.seconds:
            for seed in arguments.seeds:
                for name in NETWORKS:
                    record(name, seconds, seed, partial(segment_with_peer, name, volume, labels, seconds, seed))


def classical(name: str, volume: Volume, labels: SparseLabels) -> Segmented:
    """The labels of a method that has no budget."""
    return segment_with(name, volume, labels), {}


def ours(volume: Volume, truth: np.ndarray, labels: SparseLabels, settings: DensifySettings) -> Segmented:
    """SparseSeg's labels and figures."""
    events = FirstPreview()
    result = densify(volume, labels, settings, Control(events=events))
    figures = {"estimate": result.estimate, "steps": result.steps, "engine": commit()}
    return result.labels, figures | events.figures(volume, truth, labels)
