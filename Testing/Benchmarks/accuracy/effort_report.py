"""The effort benchmark's tables and plot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from Benchmarks.shared.rows import Row

OWN = "SparseSeg"
CORRECTED = 5
"""So many slices after the first one, corrected in place, are compared with the same ones drawn from nothing."""
TARGETS = (0.85, 0.90)
AFTER = 8
"""The number of slices after which tools are compared; the last one, where a curve has fewer."""

Curves = dict[str, list[Row]]
"""The curves of one structure by the name of the tool: SparseSeg's of all seeds, another tool's single one."""


@dataclass(frozen=True)
class Effort:
    """What it takes until an IoU is reached, or what was spent where it is not."""

    slices: float
    voxels: float
    seconds: float
    reached: bool

    @classmethod
    def until(cls, row: Row, target: float) -> Effort:
        """The first point of a curve with an IoU of ``target``."""
        there = [number for number, value in enumerate(row["iou"]) if value >= target]
        place = there[0] if there else len(row["iou"]) - 1
        return cls(place + 1, row["voxels"][place], row["seconds"][place], bool(there))

    @classmethod
    def mean(cls, efforts: Sequence[Effort]) -> Effort:
        """Of several seeds; reached if all of them reached it."""
        slices, voxels = mean(one.slices for one in efforts), mean(one.voxels for one in efforts)
        return cls(slices, voxels, mean(one.seconds for one in efforts), all(one.reached for one in efforts))

    def cells(self) -> list[str]:
        """Slices, voxels and seconds; more than that, where it was not reached."""
        more = "" if self.reached else "> "
        return [f"{more}{self.slices:.3g}", f"{more}{self.voxels:.0f}", f"{more}{self.seconds:.0f}"]


@dataclass(frozen=True)
class Share:
    """What SparseSeg's user spends for the IoU of the best other tool, over what that tool's user spent.

    Attributes
    ----------
    peer : the other tool's curve
    own : SparseSeg's effort
    """

    peer: Row
    own: Effort

    @property
    def percent(self) -> tuple[float, float]:
        """Of the slices, and of the voxels."""
        place = _place(self.peer)
        return 100 * self.own.slices / (place + 1), 100 * self.own.voxels / self.peer["voxels"][place]


def write_report(rows: list[Row], folder: Path) -> None:
    """Write ``table.md``, ``plot.png`` and ``summary.png`` into the folder, and print the tables."""
    if not rows:
        print("Nothing was measured.")
        return
    found = by_structure(rows)
    after = f"after {AFTER} slices (or all, if fewer)"
    text = f"Until an IoU is reached; IoU of the volume, and both off the slices, {after}\n\n{until_table(found)}"
    if corrected := corrected_table(found):
        text += f"\n\nCorrected in place, and the same slices drawn from nothing\n\n{corrected}"
    if shared := share_table(found):
        text += f"\n\nFor the IoU that the best other tool has {after}\n\n{shared}"
    (folder / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    plot(found, folder / "plot.png")
    if shared:
        plot_summary(found, folder / "summary.png")


def by_structure(rows: list[Row]) -> dict[str, Curves]:
    """The curves by structure and tool, as they were measured."""
    found: dict[str, Curves] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        is_own = row["method"] == OWN
        name = f"{OWN} {row['budget_seconds']:g} s, {row['way']}" if is_own else row["method"]
        found[row["volume"]][name].append(row)
    return found


def least(curves: Sequence[Row], target: float) -> Effort:
    """What a tool needs until an IoU, in the mean over its seeds."""
    return Effort.mean([Effort.until(row, target) for row in curves])


def until_table(found: dict[str, Curves]) -> str:
    """A line per structure and tool, as Markdown."""
    head = ["structure", "tool", "IoU", "IoU off", "surface Dice off"]
    head += [f"{what} to {target:.2f}" for target in TARGETS for what in ("slices", "voxels", "seconds")]
    lines = [_line(head), _line(["---"] * len(head))]
    for structure, tools in found.items():
        for name, curves in tools.items():
            scores = [
                f"{mean(row[key][_place(row)] for row in curves):.3f}"
                for key in ("iou", "iou_unseen", "surface_dice_unseen")
            ]
            efforts = [cell for target in TARGETS for cell in least(curves, target).cells()]
            lines.append(_line([structure, name, *scores, *efforts]))
    return "\n".join(lines)


def corrected_table(found: dict[str, Curves]) -> str:
    """IoU after five corrected slices, and after a fresh start from the same ones; voxels changed, and drawn instead.

    The first slice is drawn from nothing either way, and does not count. Empty where fewer slices were measured.
    """
    lines = []
    for structure, tools in found.items():
        for name, curves in tools.items():
            rows = [row for row in curves if row.get("iou_afresh") is not None]
            if rows:
                ious = [mean(row["iou"][CORRECTED] for row in rows), mean(row["iou_afresh"] for row in rows)]
                changed, drawn = (
                    mean(row[key][CORRECTED] - row[key][0] for row in rows) for key in ("voxels", "drawn")
                )
                cells = [f"{value:.3f}" for value in ious] + [f"{changed:.0f}", f"{drawn:.0f}"]
                lines.append(_line([structure, name, *cells, f"{100 * changed / drawn:.0f}"]))
    head = ["structure", "tool", "IoU", "afresh", "voxels changed", "drawn", "% of voxels"]
    return "\n".join([_line(head), _line(["---"] * len(head)), *lines]) if lines else ""


def shares(found: dict[str, Curves]) -> dict[str, dict[str, Share]]:
    """By SparseSeg's name and structure, where another tool was measured too."""
    known: dict[str, dict[str, Share]] = defaultdict(dict)
    for structure, tools in found.items():
        peers = _others(tools)
        for name, curves in tools.items():
            if curves[0]["method"] == OWN and peers:
                peer = max(peers, key=lambda row: row["iou"][_place(row)])
                known[name][structure] = Share(peer, least(curves, peer["iou"][_place(peer)]))
    return known


def share_table(found: dict[str, Curves]) -> str:
    """What SparseSeg's user spends, in percent of the best other tool's, as Markdown; empty without another tool.

    Where the IoU was not reached, all that was spent counts, and the mean is a lower bound.
    """
    head = ["structure", "tool", "the other", "its IoU", "voxels", "seconds"]
    head += ["our slices", "voxels", "seconds", "% of slices", "% of voxels"]
    lines = [_line(head), _line(["---"] * len(head))]
    known = shares(found)
    for name, places in known.items():
        for structure, share in places.items():
            row, place = share.peer, _place(share.peer)
            other = [f"{row['method']}, {row['place']}", f"{row['iou'][place]:.3f}"]
            spent = [f"{row[key][place]:.0f}" for key in ("voxels", "seconds")]
            lines.append(_line([structure, name, *other, *spent, *share.own.cells(), *_percents([share])]))
        lines.append(_line(["mean", name, *[""] * 7, *_percents(list(places.values()))]))
    return "\n".join(lines) if known else ""


def _percents(shares: Sequence[Share]) -> list[str]:
    more = "" if all(share.own.reached for share in shares) else "> "
    return [f"{more}{mean(values):.0f}" for values in zip(*(share.percent for share in shares), strict=True)]


def plot(found: dict[str, Curves], path: Path) -> None:
    """IoU over slices and, below it, over voxels, a column per structure; five columns a row."""
    from matplotlib.figure import Figure

    wide = min(5, len(found))
    deep = 2 * -(-len(found) // wide)
    figure = Figure(figsize=(3.4 * wide, 2.8 * deep), layout="constrained")
    grid = figure.subplots(deep, wide, squeeze=False, sharey=True)
    for number, (structure, tools) in enumerate(found.items()):
        above, below = (grid[2 * (number // wide) + half][number % wide] for half in (0, 1))
        for name, curves in tools.items():
            heights, voxels = (
                [mean(at) for at in zip(*(row[key] for row in curves), strict=False)] for key in ("iou", "voxels")
            )
            style = {"linewidth": 2, "marker": "o"} if OWN in name else {"linestyle": "--", "marker": "."}
            above.plot(range(1, len(heights) + 1), heights, label=name, markersize=4, **style)
            below.plot(voxels, heights, label=name, markersize=4, **style)
        above.set(title=structure, xlabel="slices", ylim=(0, 1))
        below.set(xlabel="voxels drawn or changed")
        for axes in (above, below):
            axes.grid(alpha=0.3)
            for target in TARGETS:
                axes.axhline(target, color="gray", linewidth=0.6)
    for axes in grid[:, 0]:
        axes.set_ylabel("IoU of the whole volume")
    for axes in grid.flat:
        axes.set_visible(bool(axes.lines))
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=wide, fontsize=8)
    figure.savefig(path, dpi=110)


def plot_summary(found: dict[str, Curves], path: Path) -> None:
    """Two small plots: the mean IoU over slices, and the share of voxels for the IoU of the best other tool.

    The best other tool is chosen for each structure and number of slices anew.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
    numbers = range(1, AFTER + 1)
    for name in shares(found):
        means = [mean(_iou(row, number) for tools in found.values() for row in tools[name]) for number in numbers]
        left.plot(numbers, means, label=name, linewidth=2.4, marker="o")
    best = [mean(max(_iou(row, number) for row in _others(tools)) for tools in found.values()) for number in numbers]
    left.plot(numbers, best, label="the best other tool of each structure", linestyle="--", marker=".", color="gray")
    left.set(xlabel="annotated slices", ylabel="IoU of the whole volume", ylim=(0.3, 1))
    left.set_title(f"mean of {len(found)} structures", fontsize=11)
    left.legend(loc="lower right", fontsize=9)
    left.grid(alpha=0.3)
    name, places = next(iter(shares(found).items()))
    bars = [(share.percent[1], share.own.reached, structure) for structure, share in places.items()]
    for place, (percent, reached, structure) in enumerate(reversed(bars)):
        right.barh(place, percent, color="tab:blue", alpha=1 if reached else 0.35)
        right.text(
            percent + 1, place, f"{structure} {percent:.0f} %" + ("" if reached else ", not reached"), va="center"
        )
    right.set(xlim=(0, 100), yticks=[], xlabel=f"% of the voxels that the best other tool needs for {AFTER} slices")
    right.set_title(f"drawn until its IoU, {name}", fontsize=11)
    right.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=100)


def _others(tools: Curves) -> list[Row]:
    return [row for curves in tools.values() for row in curves if row["method"] != OWN]


def _iou(row: Row, number: int) -> float:
    """After a number of slices, or the last ones, where a curve has fewer."""
    return float(row["iou"][min(number, len(row["iou"])) - 1])


def _place(row: Row) -> int:
    """Where a curve's value after ``AFTER`` slices is, or its last one, where it ended earlier."""
    return min(AFTER, len(row["iou"])) - 1


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
