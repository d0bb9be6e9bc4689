"""SparseSeg against the classical methods, from the same slices, in one run.

    python Testing/Benchmarks/densify.py --data FOLDER -o benchmark-output
    python Testing/Benchmarks/densify.py --volume liver=ct.nii.gz,organs.nii.gz,5 --budgets 3,3,2 --seconds 60

IoU is measured on the voxels off the annotated slices. Results are appended to ``results.jsonl`` as they come; a second
run does what is missing. ``table.md`` and ``plot.png`` are written at the end (and by ``--report`` alone).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from report import write_report
from volumes import Case, development_cases

from SparseSegLib.annotation import SparseLabels, sparsify, sparsify_every
from SparseSegLib.comparison import METHODS, segment_with
from SparseSegLib.control import Control, NullEvents
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.evaluation import iou
from SparseSegLib.volume import Volume

BUDGETS = ("1,1,1", "2,2,1", "3,3,2", "5,5,3", "every8")


class FirstPreview(NullEvents):
    """Remembers when the first preview came."""

    def __init__(self) -> None:
        self.seconds: float | None = None

    def preview(self, result: Any) -> None:
        """Keep the time of the first one."""
        if self.seconds is None:
            self.seconds = result.seconds


def main() -> None:
    """Run what is missing and write the report."""
    arguments = parse()
    arguments.output.mkdir(parents=True, exist_ok=True)
    results = arguments.output / "results.jsonl"
    if not arguments.report:
        cases = development_cases(arguments.data) if arguments.data else []
        cases += [Case.parse(text) for text in arguments.volume]
        for budget in arguments.budgets:
            for case in cases:
                run_case(case, budget, arguments, results)
    write_report(results, arguments.output)


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the usual development volumes")
    parser.add_argument("--volume", action="append", default=[], metavar="NAME=IMAGE,LABELS[,VALUES]")
    parser.add_argument("--budgets", nargs="+", default=BUDGETS, metavar="X,Y,Z", help="slices per axis, or everyK")
    parser.add_argument("--seconds", nargs="+", type=float, default=[20.0, 60.0, 180.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--prior", help="parts of the prior, with commas; 'none' for none")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--report", action="store_true", help="only write the report of what was measured")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark-output"))
    return parser.parse_args()


def annotate(truth: Any, volume: Volume, budget: str) -> SparseLabels:
    """The annotation of a budget: ``x,y,z`` slices per axis, or ``everyK`` axial slices."""
    if budget.startswith("every"):
        return sparsify_every(truth, volume.geometry, int(budget[5:]), names=("object",))
    x, y, z = map(int, budget.split(","))
    return sparsify(truth, volume.geometry, (z, y, x), names=("object",))


def run_case(case: Case, budget: str, arguments: argparse.Namespace, results: Path) -> None:
    """All methods on one volume with one annotation."""
    done = {_key(row) for row in read(results)}
    volume, truth = case.load()
    labels = annotate(truth, volume, budget)
    unseen = ~labels.labeled
    base = {"volume": case.name, "budget": budget, "labeled": float(labels.labeled.mean())}

    def record(method: str, budget_seconds: float, seed: int, run: Any) -> None:
        row = {**base, "method": method, "budget_seconds": budget_seconds, "seed": seed}
        if _key(row) in done:
            return
        start = time.monotonic()
        segmented, figures = run()
        row |= {"seconds": round(time.monotonic() - start, 2), **figures}
        row["iou"] = round(iou((segmented > 0) & unseen, (truth > 0) & unseen), 4)
        print(json.dumps(row), flush=True)
        with open(results, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    for name in () if arguments.no_peers else METHODS:
        record(name, 0.0, 0, lambda name=name: (segment_with(name, volume, labels), {}))
    for seconds in arguments.seconds:
        for seed in arguments.seeds:
            prior = arguments.prior and tuple(part for part in arguments.prior.split(",") if part != "none")
            settings = DensifySettings(arguments.preset, seconds, seed=seed, prior=prior)
            name = "SparseSeg" if prior is None and arguments.preset == "fast" else f"{arguments.preset} {prior}"
            record(name, seconds, seed, lambda settings=settings: ours(volume, labels, settings))


def ours(volume: Volume, labels: SparseLabels, settings: DensifySettings) -> tuple[Any, dict[str, Any]]:
    """SparseSeg's labels and figures."""
    events = FirstPreview()
    result = densify(volume, labels, settings, Control(events=events))
    figures = {"estimate": result.estimate, "steps": result.steps, "first_preview": events.seconds}
    return result.labels, figures


def read(results: Path) -> list[dict[str, Any]]:
    """All rows that were measured so far."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("volume", "budget", "method", "budget_seconds", "seed"))


if __name__ == "__main__":
    main()
