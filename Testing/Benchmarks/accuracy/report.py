"""The densify benchmark's tables and plot."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from statistics import StatisticsError, correlation, mean

from Benchmarks.accuracy.margins import OWN, Comparison, Margin, Place, compare
from Benchmarks.shared.rows import Row

RIVAL = "Grow from seeds"
FEWEST_PAIRS = 3  # for a meaningful correlation


def write_report(rows: list[Row], folder: Path) -> None:
    """Write ``table.md`` and ``plot.png`` into the folder, and print the tables."""
    if not rows:
        print("Nothing was measured.")
        return
    parts = (table(rows), margins(rows), margins_by_annotation(rows), previews(rows), estimates(rows), engines(rows))
    text = "\n\n".join(part for part in parts if part)
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
        for name, programs in (("the classical methods", False), ("all, other programs included", True)):
            found = compare(rows, seconds, programs=programs)
            if found is not None:
                lines.append(_margin_line(name, found))
    return "\n".join(lines) if len(lines) > 2 else ""


def margins_by_annotation(rows: list[Row]) -> str:
    """The margin over the best method, programs included where they ran, for each annotation; empty without any."""
    lines = [_line("SparseSeg", "slices x, y, z", "volumes", "mean margin", "worst", "where"), "| --- " * 6 + "|"]
    for seconds in sorted({row["budget_seconds"] for row in rows if row["method"] == OWN}):
        found = compare(rows, seconds, programs=True) or compare(rows, seconds, programs=False)
        for budget in dict.fromkeys(place[1] for place in found.places) if found else ():
            here = {place: margin.value for place, margin in found.places.items() if place[1] == budget}
            worst = min(here, key=lambda place: here[place])
            cells = f"{mean(here.values()):+.3f}", f"{here[worst]:+.3f}", worst[0]
            lines.append(_line(f"{seconds:g} s", budget, str(len(here)), *cells))
    return "\n".join(lines) if len(lines) > 2 else ""


def previews(rows: list[Row]) -> str:
    """When SparseSeg's first preview came and how good it was, against Grow from seeds; empty where none was scored."""
    grown = {(row["volume"], row["budget"]): row["iou"] for row in rows if row["method"] == RIVAL}
    own = [row for row in rows if row["method"] == OWN and row.get("first_iou") is not None]
    if not own:
        return ""
    seconds = [row["first_preview"] for row in own]
    text = f"First previews: after {mean(seconds):.1f} s in the mean, at most {max(seconds):.1f} s"
    ahead = {
        f"{row['volume']}, {row['budget']}": row["first_iou"] - grown[row["volume"], row["budget"]]
        for row in own
        if (row["volume"], row["budget"]) in grown
    }
    if ahead:
        worst = min(ahead, key=lambda place: ahead[place])
        text += f"; IoU {mean(ahead.values()):+.3f} against {RIVAL}, at worst {ahead[worst]:+.3f} ({worst})"
    return text + "."


def engines(rows: list[Row]) -> str:
    """Which versions of SparseSeg were measured, if more than one was; else nothing."""
    known = sorted({row["engine"] for row in rows if row.get("engine")})
    return f"Rows of several versions: {', '.join(known)}." if len(known) > 1 else ""


def _margin_line(name: str, found: Comparison) -> str:
    worst = (*_worst(found.worst()), *_worst(found.worst(few_slices=False)))
    return _line(f"{found.seconds:g} s", name, _range(*found.seeds), str(len(found.places)), str(found.mean), *worst)


def _worst(found: tuple[Place, Margin] | None) -> tuple[str, str]:
    return ("", "") if found is None else (str(found[1]), f"{found[0][0]} ({found[0][1]})")


def estimates(rows: list[Row]) -> str:
    """SparseSeg's own estimates of its IoU against the true ones, one line per budget; empty without any."""
    known = [row for row in rows if row["method"] == OWN and row.get("estimate") is not None]
    budgets = sorted({row["budget_seconds"] for row in known})
    return "\n\n".join(_estimates([row for row in known if row["budget_seconds"] == one], one) for one in budgets)


def _estimates(rows: list[Row], seconds: float) -> str:
    pairs = [(row["estimate"], row["iou"]) for row in rows]
    errors = [estimate - true for estimate, true in pairs]
    off, bias = mean(map(abs, errors)), mean(errors)
    text = f"{seconds:g} s: {len(pairs)} estimates of the IoU: off by {off:.3f} in the mean, bias {bias:+.3f}"
    with suppress(StatisticsError):  # where all are the same
        if len(pairs) >= FEWEST_PAIRS:
            text += f", correlation with the true one r = {correlation(*zip(*pairs, strict=True)):.2f}"
    return text + "."


def plot(rows: list[Row], path: Path) -> None:
    """IoU over the fraction of annotated voxels, a panel per volume."""
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
