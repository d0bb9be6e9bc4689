"""Ablation of the ``fast`` preset: one change at a time, several volumes and seeds.

    python Testing/Benchmarks ablation --data FOLDER --seconds 60 --budgets 3,3,2 --seeds 0 1 2
    python Testing/Benchmarks ablation --list
    python Testing/Benchmarks ablation --only "no prior" "half as wide"

IoU is measured on the voxels off the annotated slices, after ``--seconds``. Results are appended to ``results.csv``,
all changes of one seed before the next; a second run does what is missing. ``ablation.md`` is written at the end (and
by ``--report`` alone).
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

from Benchmarks.accuracy.changes import BASELINE, Change, all_changes
from Benchmarks.shared.rows import Row, Table
from Benchmarks.shared.scoring import annotate, unseen_iou
from Benchmarks.shared.volumes import Case, add_volume_arguments, chosen_cases

from SparseSegLib.densify import densify

KEY = ("volume", "budget", "change", "budget_seconds", "seed")


def main() -> None:
    """Run what is missing and write the report."""
    arguments = parse()
    changes = chosen_changes(arguments.only)
    if arguments.list:
        print("\n".join(change.name for change in changes))
        return
    results = Table(arguments.output / "results.csv", KEY)
    if not arguments.report:
        for seed in arguments.seeds:
            for case in chosen_cases(arguments):
                for budget in arguments.budgets:
                    run_case(case, budget, seed, changes, arguments.seconds, results)
    write_report(results.rows(), arguments.output)


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_volume_arguments(parser)
    parser.add_argument("--budgets", nargs="+", default=["3,3,2"], metavar="X,Y,Z", help="slices per axis, or everyK")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--only", nargs="+", metavar="CHANGE", help="some changes; the unchanged preset runs anyway")
    parser.add_argument("--list", action="store_true", help="only print the names of the changes")
    parser.add_argument("--report", action="store_true", help="only write the report of what was measured")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark-output/ablation"))
    return parser.parse_args()


def chosen_changes(only: list[str] | None) -> list[Change]:
    """The changes (those that are named, if any is), the unchanged preset first."""
    changes = all_changes()
    unknown = set(only or ()) - {change.name for change in changes}
    if unknown:
        sys.exit(f"No such change: {', '.join(sorted(unknown))}. --list names them.")
    return [change for change in changes if only is None or change.name in {BASELINE, *only}]


def run_case(case: Case, budget: str, seed: int, changes: list[Change], seconds: float, results: Table) -> None:
    """All changes on one volume with one annotation and seed."""
    base = {"volume": case.name, "budget": budget, "budget_seconds": seconds, "seed": seed}
    missing = [change for change in changes if not results.has({**base, "change": change.name})]
    if not missing:
        return
    volume, truth = case.load()
    labels = annotate(truth, volume, budget)
    for change in missing:
        result = densify(volume, labels, change.make(seconds, seed))
        figures = {"steps": result.steps, "seconds": round(result.seconds, 2), "estimate": result.estimate}
        row = {**base, "change": change.name, **figures, "iou": unseen_iou(result.labels, truth, labels)}
        results.append(row)


def write_report(rows: list[Row], folder: Path) -> None:
    """Write ``ablation.md`` into the folder, and print it."""
    texts = [table(rows, seconds) for seconds in sorted({row["budget_seconds"] for row in rows})]
    text = "\n\n".join(texts) or "Nothing was measured."
    (folder / "ablation.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def table(rows: list[Row], seconds: float) -> str:
    """Each change's mean IoU and its difference to the unchanged preset, as Markdown, the worst change last.

    Differences are taken run by run (same volume, annotation and seed); ± is the standard error of their mean. The
    columns after that are differences per volume and annotation, mean over seeds.
    """
    found: dict[str, dict[tuple[str, str, int], Row]] = defaultdict(dict)
    for row in rows:
        if row["budget_seconds"] == seconds:
            found[row["change"]][row["volume"], row["budget"], row["seed"]] = row
    usual = found.get(BASELINE, {})
    places = list(dict.fromkeys(key[:2] for key in usual))
    head = ["change", "runs", "steps", "IoU", "difference", *(f"{volume} ({budget})" for volume, budget in places)]
    lines = []
    for name, runs in found.items():
        shared = [key for key in runs if key in usual]
        if shared:
            differences = {key: runs[key]["iou"] - usual[key]["iou"] for key in shared}
            lines.append((-mean(differences.values()), _line(name, [runs[key] for key in shared], differences, places)))
    lines.sort(key=lambda item: item[0])
    title = f"After {seconds:g} s, seeds: {len({key[2] for key in usual})}"
    table = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|", *(line for _, line in lines)]
    return title + "\n\n" + "\n".join(table)


def _line(
    name: str,
    runs: list[Row],
    differences: dict[tuple[str, str, int], float],
    places: list[tuple[str, str]],
) -> str:
    spread = stdev(differences.values()) / len(differences) ** 0.5 if len(differences) > 1 else None
    difference = f"{mean(differences.values()):+.3f}" + ("" if spread is None else f" ± {spread:.3f}")
    steps, score = mean(row["steps"] for row in runs), mean(row["iou"] for row in runs)
    cells = [name, str(len(runs)), f"{steps:.0f}", f"{score:.3f}"]
    cells.append("" if name == BASELINE else difference)
    for place in places:
        here = [value for key, value in differences.items() if key[:2] == place]
        cells.append("" if name == BASELINE or not here else f"{mean(here):+.3f}")
    return "| " + " | ".join(cells) + " |"
