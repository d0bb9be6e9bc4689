"""The densify benchmark's tables and plot."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from statistics import StatisticsError, correlation, mean

from margins import OWN, Comparison, Margin, Place, compare
from rows import Row, read_rows

FEWEST_PAIRS = 3  # for a correlation that says anything


def write_report(results: Path, folder: Path) -> None:
    """Write ``table.md`` and ``plot.png`` from the rows in ``results``, and print the tables."""
    rows = read_rows(results)
    if not rows:
        print("Nothing was measured.")
        return
    text = "\n\n".join(part for part in (table(rows), margins(rows), estimates(rows)) if part)
    (folder / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    plot(rows, folder / "plot.png")


def columns(rows: list[Row]) -> list[str]:
    """A column per method, and one per budget in seconds for those that have one; those that have none come first."""
    ordered = sorted(rows, key=lambda row: (row["budget_seconds"] > 0, row["method"], row["budget_seconds"]))
    return list(dict.fromkeys(column(row) for row in ordered))


def column(row: Row) -> str:
    """The column that a row belongs to."""
    return row["method"] + (f" {row['budget_seconds']:g} s" if row["budget_seconds"] else "")


def table(rows: list[Row]) -> str:
    """IoU (mean over seeds) of every volume and annotation, and the number of seeds, as Markdown."""
    cells: dict[Place, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    share = {}
    for row in rows:
        cells[row["volume"], row["budget"]][column(row)].append(row["iou"])
        share[row["volume"], row["budget"]] = row["labeled"]
    names = columns(rows)
    lines = [_line("volume", "slices x, y, z", "labeled", *names), "| --- " * (len(names) + 3) + "|"]
    for key, found in cells.items():
        values = (f"{mean(found[name]):.3f}" if found[name] else "" for name in names)
        lines.append(_line(key[0], key[1], f"{share[key]:.1%}", *values))
    counts = {name: [len(found[name]) for found in cells.values() if found[name]] for name in names}
    lines.append(_line("seeds", "", "", *(_range(min(counts[name]), max(counts[name])) for name in names)))
    return "\n".join(lines)


def margins(rows: list[Row]) -> str:
    """SparseSeg's margin over the best peer per budget in seconds: mean and worst, as Markdown; empty without a peer.

    The mean is taken over volumes and annotations, of means over seeds; ± is the standard deviation from seed to seed.
    """
    head = ["SparseSeg", "against the best of", "seeds", "annotations", "mean margin", "worst", "where"]
    head += ["worst from 2,2,1 on", "where"]
    lines = [_line(*head), "| --- " * len(head) + "|"]
    for seconds in sorted({row["budget_seconds"] for row in rows if row["method"] == OWN}):
        for name, networks in (("the classical methods", False), ("all, networks included", True)):
            found = compare(rows, seconds, networks=networks)
            if found is not None:
                lines.append(_margin_line(name, found))
    return "\n".join(lines) if len(lines) > 2 else ""


def _margin_line(name: str, found: Comparison) -> str:
    worst = (*_worst(found.worst()), *_worst(found.worst(few_slices=False)))
    return _line(f"{found.seconds:g} s", name, _range(*found.seeds), str(len(found.places)), str(found.mean), *worst)


def _worst(found: tuple[Place, Margin] | None) -> tuple[str, str]:
    return ("", "") if found is None else (str(found[1]), f"{found[0][0]} ({found[0][1]})")


def estimates(rows: list[Row]) -> str:
    """How SparseSeg's own estimate of its IoU relates to the true one, in a sentence; empty without any estimate."""
    pairs = [(row["estimate"], row["iou"]) for row in rows if row["method"] == OWN and row.get("estimate") is not None]
    if not pairs:
        return ""
    errors = [estimate - true for estimate, true in pairs]
    off, bias = mean(map(abs, errors)), mean(errors)
    text = f"{len(pairs)} estimates of the IoU: off by {off:.3f} in the mean, bias {bias:+.3f}"
    with suppress(StatisticsError):  # where all are the same
        if len(pairs) >= FEWEST_PAIRS:
            text += f", correlation with the true one r = {correlation(*zip(*pairs, strict=True)):.2f}"
    return text + "."


def plot(rows: list[Row], path: Path) -> None:
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
                style = {"linewidth": 2.2, "marker": "o"} if OWN in name else {"linestyle": "--", "marker": "."}
                axes.plot(*zip(*line, strict=True), label=name, **style)
        axes.set_title(volume)
        axes.set_xlabel("annotated voxels (%)")
        axes.set_ylim(0, 1)
    figure.axes[0].set_ylabel("IoU off the annotated slices")
    figure.axes[-1].legend(fontsize=7)
    figure.savefig(path, dpi=110)


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _range(fewest: int, most: int) -> str:
    return str(fewest) if fewest == most else f"{fewest}–{most}"
