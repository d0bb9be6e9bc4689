"""The densify benchmark's table and plot."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any


def write_report(results: Path, folder: Path) -> None:
    """Write ``table.md`` and ``plot.png`` from the rows in ``results``, and print the table."""
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    text = table(rows) + "\n\n" + margins(rows)
    (folder / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    plot(rows, folder / "plot.png")


def columns(rows: list[dict[str, Any]]) -> list[str]:
    """A column per method, and one per budget in seconds for those that have one."""
    return list(dict.fromkeys(sorted((column(row) for row in rows), key=lambda name: (" s" in name, len(name), name))))


def column(row: dict[str, Any]) -> str:
    """The column that a row belongs to."""
    return row["method"] + (f" {row['budget_seconds']:g} s" if row["budget_seconds"] else "")


def table(rows: list[dict[str, Any]]) -> str:
    """IoU (mean over seeds) of every volume and annotation, as Markdown."""
    cells: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    share = {}
    for row in rows:
        cells[row["volume"], row["budget"]][column(row)].append(row["iou"])
        share[row["volume"], row["budget"]] = row["labeled"]
    names = columns(rows)
    lines = ["| volume | slices x, y, z | labeled | " + " | ".join(names) + " |", "| --- " * (len(names) + 3) + "|"]
    for key, found in cells.items():
        values = (f"{mean(found[name]):.3f}" if found[name] else "" for name in names)
        lines.append(f"| {key[0]} | {key[1]} | {share[key]:.1%} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def margins(rows: list[dict[str, Any]]) -> str:
    """SparseSeg's margin over the best classical method: mean and worst, per budget in seconds."""
    best: dict[tuple[str, str], float] = defaultdict(float)
    own: dict[float, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        key = row["volume"], row["budget"]
        if row["method"] == "SparseSeg":
            own[row["budget_seconds"]][key].append(row["iou"])
        elif not row["budget_seconds"]:
            best[key] = max(best[key], row["iou"])
    lines = ["| SparseSeg | margin over the best of the four, mean | worst | where |", "| --- | --- | --- | --- |"]
    for seconds, found in sorted(own.items()):
        margin = {key: mean(values) - best[key] for key, values in found.items() if key in best}
        if margin:
            worst = min(margin, key=lambda key: margin[key])
            where = f"{worst[0]} ({worst[1]})"
            lines.append(f"| {seconds:g} s | {mean(margin.values()):+.3f} | {margin[worst]:+.3f} | {where} |")
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """IoU over the share of annotated voxels, a panel per volume."""
    from matplotlib.figure import Figure

    volumes = list(dict.fromkeys(row["volume"] for row in rows))
    figure = Figure(figsize=(4 * len(volumes), 4), layout="constrained")
    for axes, volume in zip(figure.subplots(1, len(volumes), squeeze=False)[0], volumes, strict=True):
        for name in columns(rows):
            points: dict[float, list[float]] = defaultdict(list)
            for row in rows:
                if row["volume"] == volume and column(row) == name and "every" not in row["budget"]:
                    points[row["labeled"]].append(row["iou"])
            line = sorted((100 * share, mean(values)) for share, values in points.items())
            if line:
                style = {"linewidth": 2.2, "marker": "o"} if "SparseSeg" in name else {"linestyle": "--", "marker": "."}
                axes.plot(*zip(*line, strict=True), label=name, **style)
        axes.set_title(volume)
        axes.set_xlabel("annotated voxels (%)")
        axes.set_ylim(0, 1)
    figure.axes[0].set_ylabel("IoU off the annotated slices")
    figure.axes[-1].legend(fontsize=7)
    figure.savefig(path, dpi=110)
