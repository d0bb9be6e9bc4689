"""The suggested next slice: IoU after adding slices by suggestion, at random and evenly.

    python Testing/Benchmarks next_slice --data FOLDER -o benchmark-output/next-slice --seeds 0 1 2

Every volume starts with one slice per axis and gets five more, one after another: the slice that SparseSeg suggests,
one drawn at random, or the middle of the widest gap. After each slice SparseSeg goes on for ``--seconds`` (20) from the
last weights, as a user would let it; or for ``--steps``, so that a busy computer makes no difference. All ways start
from the same first result.

Two IoUs are kept: over the whole volume, where annotated voxels are right in any case, which is what the user has in
the end; and on the voxels off the annotated slices, which favors annotating the difficult ones. Results are appended to
``results.csv``; a second run does what is missing. ``table.md`` and ``plot.png`` are written at the end (and by
``--report`` alone).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from Benchmarks.shared.rows import Row, Table
from Benchmarks.shared.scoring import annotate, names_of, unseen_iou
from Benchmarks.shared.volumes import Case, add_volume_arguments, chosen_cases

from SparseSegLib.annotation import Plane, SparseLabels, keep_planes
from SparseSegLib.densify import DensifyResult, DensifySettings, densify
from SparseSegLib.evaluation import iou
from SparseSegLib.image import Volume

WAYS = ("suggested", "random", "even")
KEY = ("volume", "way", "seed", "start", "slices", "budget_seconds", "budget_steps")

Extent = tuple[range, range, range]
"""Where the objects lie along z, y and x."""
Choice = Callable[[SparseLabels, DensifyResult], Plane | None]
"""Which plane to annotate next."""


def main() -> None:
    """Run what is missing and write the report."""
    arguments = parse()
    results = Table(arguments.output / "results.csv", KEY)
    if not arguments.report:
        for seed in arguments.seeds:
            for case in chosen_cases(arguments):
                run_case(case, seed, arguments, results)
    write_report(results.rows(), arguments.output)


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_volume_arguments(parser)
    parser.add_argument("--start", default="1,1,1", metavar="X,Y,Z", help="slices per axis to begin with")
    parser.add_argument("--slices", type=int, default=5, help="how many to add")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--seconds", type=float, default=20.0, help="after every slice")
    parser.add_argument("--steps", type=int, help="training steps after every slice, instead of seconds")
    parser.add_argument("--experts", nargs="+", help="of the preset, only these")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--report", action="store_true", help="only write the report of what was measured")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark-output/next-slice"))
    return parser.parse_args()


def run_case(case: Case, seed: int, arguments: argparse.Namespace, results: Table) -> None:
    """All ways on one volume with one seed; a way is written down when it has all its slices."""
    base = {"volume": case.name, "seed": seed, "start": arguments.start, "slices": arguments.slices}
    base |= {"budget_seconds": arguments.seconds, "budget_steps": arguments.steps or 0}
    wanted = [{**base, "way": way} for way in arguments.ways]
    missing = [row for row in wanted if not results.has(row)]
    if not missing:
        return
    volume, truth = case.load()
    labels = annotate(truth, volume, arguments.start)
    budget = {"budget_steps": arguments.steps} if arguments.steps else {"budget_seconds": arguments.seconds}
    settings = DensifySettings(arguments.preset, **budget, seed=seed, experts=arguments.experts)
    with tempfile.TemporaryDirectory() as folder:
        start = Path(folder) / "start.pt"
        first = densify(volume, labels, settings, checkpoint=start)
        for row in missing:
            checkpoint = Path(folder) / f"{row['way']}.pt"
            shutil.copyfile(start, checkpoint)
            choice = choice_of(row["way"], objects_extent(truth), seed)
            trial = Trial(volume, truth, settings, checkpoint)
            results.append({**row, **trial.add_slices(labels, first, choice, arguments.slices)})


class Trial:
    """A volume that gets annotated slice by slice.

    Parameters
    ----------
    volume, truth : the volume, and its objects ``(Z, Y, X)``
    settings : what each densification runs with
    checkpoint : the weights to go on from; changed
    """

    def __init__(self, volume: Volume, truth: np.ndarray, settings: DensifySettings, checkpoint: Path) -> None:
        self.volume = volume
        self.truth = truth
        self.settings = settings
        self.checkpoint = checkpoint

    def add_slices(self, labels: SparseLabels, result: DensifyResult, choice: Choice, count: int) -> Row:
        """Annotate ``count`` more slices; the planes, and the IoUs before and after each."""
        planes: list[Plane] = []
        everywhere, unseen = [self._iou(result)], [unseen_iou(result.labels, self.truth, labels)]
        for _ in range(count):
            plane = choice(labels, result)
            if plane is None:
                break
            planes.append(plane)
            labels = labels.merge(keep_planes(self.truth, self.volume.geometry, [plane], names_of(self.truth)))
            result = densify(self.volume, labels, self.settings, checkpoint=self.checkpoint)
            everywhere.append(self._iou(result))
            unseen.append(unseen_iou(result.labels, self.truth, labels))
        return {"planes": [[plane.axis, plane.index] for plane in planes], "iou": everywhere, "iou_unseen": unseen}

    def _iou(self, result: DensifyResult) -> float:
        return round(iou(result.labels > 0, self.truth > 0), 4)


def choice_of(way: str, extent: Extent, seed: int) -> Choice:
    """The next slice of a strategy, one of ``WAYS``."""
    if way == "suggested":
        return lambda labels, result: result.next_slice
    if way == "even":
        return lambda labels, result: widest_gap(labels, extent)
    rng = np.random.default_rng(seed)
    return lambda labels, result: random_plane(labels, extent, rng)


def objects_extent(truth: np.ndarray) -> Extent:
    """The range of indices that the objects of ``(Z, Y, X)`` cover along each axis."""
    z, y, x = (range(int(places.min()), int(places.max()) + 1) for places in np.nonzero(truth))
    return z, y, x


def random_plane(labels: SparseLabels, extent: Extent, rng: np.random.Generator) -> Plane | None:
    """A plane through the objects that is not annotated: any axis, any index; None if all are annotated."""
    free = [
        [index for index in places if Plane(axis, index) not in labels.planes] for axis, places in enumerate(extent)
    ]
    axes = [axis for axis, places in enumerate(free) if places]
    if not axes:
        return None
    axis = int(rng.choice(axes))
    return Plane(axis, int(rng.choice(free[axis])))


def widest_gap(labels: SparseLabels, extent: Extent) -> Plane | None:
    """The plane in the middle of the widest gap between annotated planes, as a fraction of the objects' extent.

    The ends of the extent count as annotated. Of gaps that are equally wide, to a voxel's width, the one across x comes
    first, then y, then z. None where no gap has room.
    """
    best: tuple[float, Plane] | None = None
    for axis in (2, 1, 0):
        places = extent[axis]
        inner = {plane.index for plane in labels.planes if plane.axis == axis and plane.index in places}
        edges = sorted({places[0], *inner, places[-1]})
        for low, high in pairwise(edges):
            share = (high - low) / len(places)
            if high - low > 1 and (best is None or share > best[0] + 1 / len(places)):
                best = share, Plane(axis, (low + high) // 2)
    return None if best is None else best[1]


def write_report(rows: list[Row], folder: Path) -> None:
    """Write ``table.md`` and ``plot.png`` into the folder, and print the table."""
    if not rows:
        print("Nothing was measured.")
        return
    text = "\n\n".join(
        f"{title}, mean over seeds\n\n{table(rows, name)}"
        for name, title in (("iou", "IoU of the whole volume"), ("iou_unseen", "IoU off the annotated slices"))
    )
    (folder / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    plot(rows, folder / "plot.png")


def table(rows: list[Row], name: str) -> str:
    """``iou`` or ``iou_unseen`` after every slice, per volume and way, and over all volumes, as Markdown."""
    most = max(len(row[name]) for row in rows)
    head = ["volume", "way", "seeds", "at first", *(f"+{number}" for number in range(1, most))]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    groups: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for row in rows:
        groups[row["volume"], row["way"]].append(_filled(row[name], most))
    for (volume, way), curves in groups.items():
        values = " | ".join(f"{mean(column):.3f}" for column in zip(*curves, strict=True))
        lines.append(f"| {volume} | {way} | {len(curves)} | {values} |")
    for way in dict.fromkeys(row["way"] for row in rows):
        gains = [curve[-1] - curve[0] for (_, of), curves in groups.items() if of == way for curve in curves]
        spread = f" ± {stdev(gains):.3f}" if len(gains) > 1 else ""
        lines.append(f"| all | {way} | {len(gains)} runs | gain {mean(gains):+.3f}{spread} |" + " |" * (most - 1))
    return "\n".join(lines)


def _filled(curve: list[float], count: int) -> list[float]:
    """A curve that ended early, because nothing was left to annotate, goes on at its last value."""
    return curve + [curve[-1]] * (count - len(curve))


def plot(rows: list[Row], path: Path) -> None:
    """IoU of the whole volume over the number of added slices, a panel per volume."""
    from matplotlib.figure import Figure

    volumes = list(dict.fromkeys(row["volume"] for row in rows))
    figure = Figure(figsize=(4 * len(volumes), 4), layout="constrained")
    most = max(len(row["iou"]) for row in rows)
    for axes, volume in zip(figure.subplots(1, len(volumes), squeeze=False)[0], volumes, strict=True):
        for way in dict.fromkeys(row["way"] for row in rows):
            curves = [_filled(row["iou"], most) for row in rows if (row["volume"], row["way"]) == (volume, way)]
            if curves:
                style = {"linewidth": 2.2, "marker": "o"} if way == "suggested" else {"linestyle": "--", "marker": "."}
                axes.plot(range(most), [mean(column) for column in zip(*curves, strict=True)], label=way, **style)
        axes.set_title(volume)
        axes.set_xlabel("added slices")
    figure.axes[0].set_ylabel("IoU of the whole volume")
    figure.axes[-1].legend(fontsize=8)
    figure.savefig(path, dpi=110)
