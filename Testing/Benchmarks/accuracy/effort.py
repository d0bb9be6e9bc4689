"""The effort curve: how many slices, voxels and seconds a simulated user needs, with SparseSeg and with others.

    python Testing/Benchmarks effort --data FOLDER -o benchmark-output/effort

The user (``SparseSegLib.evaluation.SimulatedUser``) draws the slice across z that shows most of the structure, waits
for ``--seconds`` of SparseSeg, and corrects the result in place on the next slice: the one that SparseSeg suggests, or
the middle of the widest gap. SparseSeg goes on from its last weights each time. With the other tools the user knows how
many slices it will be, draws them from nothing, and runs the tool once.

Per number of slices: voxels drawn or changed and seconds of waiting, both in all, IoU over the volume, and off the
annotated slices IoU and normalized surface Dice. A curve is one row of ``results.csv``; a second run does what is
missing. ``table.md`` and ``plot.png`` are written at the end (and by ``--report`` alone).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from Benchmarks.accuracy.effort_report import CORRECTED, OWN, write_report
from Benchmarks.accuracy.next_slice import Extent, objects_extent, widest_gap
from Benchmarks.shared.rows import Row, Table, commit
from Benchmarks.shared.scoring import names_of, unseen_iou
from Benchmarks.shared.volumes import Case, development_cases, shipped_case, special_cases

from SparseSegLib.annotation import Plane, SparseLabels
from SparseSegLib.comparison import segment_with
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.errors import DependencyError
from SparseSegLib.evaluation import SimulatedUser, iou, surface_dice
from SparseSegLib.evaluation.simulated_user import Choice, Segmented, suggested
from SparseSegLib.image import Volume

OWN_WAYS = ("suggested", "even")
PEERS = ("Fill between slices", "Grow from seeds", "Random forest")
PLACES = ("along z", "along z to its ends", "along all axes")
SPECIAL = ("four organs", "two kidneys")
KEY = ("volume", "method", "way", "seed", "slices", "budget_seconds")


def main() -> None:
    """Run what is missing and write the report."""
    arguments = parse()
    results = Table(arguments.output / "results.csv", KEY)
    if not arguments.report:
        for case in chosen_structures(arguments):
            run_case(case, arguments, results)
    write_report(results.rows(), arguments.output)


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with the development volumes, sarcoma/ and spleen/")
    parser.add_argument("--cases", nargs="+", metavar="NAME", help="of the structures in --data, only these")
    own = "a structure of your own; without any, and without --data, the white matter that comes with SparseSeg"
    parser.add_argument("--volume", action="append", default=[], metavar="NAME=IMAGE,LABELS[,VALUES]", help=own)
    parser.add_argument("--slices", type=int, default=8, help="how many, at most")
    parser.add_argument("--seconds", type=float, default=10.0, help="after every slice")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--methods", nargs="+", choices=(OWN, *PEERS), default=(OWN, *PEERS))
    parser.add_argument("--ways", nargs="+", choices=OWN_WAYS, default=OWN_WAYS, help="of SparseSeg's user")
    parser.add_argument("--report", action="store_true", help="only write the report of what was measured")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark-output/effort"))
    return parser.parse_args()


def chosen_structures(arguments: argparse.Namespace) -> list[Case]:
    """The structures that the arguments name."""
    cases = []
    if arguments.data:
        cases = [case for case in structures(arguments.data) if not arguments.cases or case.name in arguments.cases]
    cases += [Case.parse(text) for text in arguments.volume]
    return cases or [shipped_case()]


def structures(folder: Path) -> list[Case]:
    """Ten structures: the usual ones, two special ones, and three of images that nothing was chosen or trained on."""
    tumors = [
        Case(f"sarcoma {number}", *(folder / f"sarcoma/STS_00{number}_{kind}.nii.gz" for kind in ("t1", "tumor")))
        for number in (1, 8)
    ]
    special = [case for case in special_cases(folder) if case.name in SPECIAL]
    spleen = Case("spleen", folder / "spleen/ct.nii.gz", folder / "spleen/spleen.nii.gz")
    return [*development_cases(folder), *special, *tumors, spleen]


def run_case(case: Case, arguments: argparse.Namespace, results: Table) -> None:
    """All curves of one structure; one is written down when it is complete."""
    wanted = [row for row in planned(case.name, arguments) if not results.has(row)]
    if not wanted:
        return
    volume, truth = case.load()
    user = SimulatedUser(truth, volume.geometry, names_of(truth))
    for row in wanted:
        try:
            curve = own_curve(volume, user, row) if row["method"] == OWN else peer_curve(volume, user, row)
        except DependencyError as error:
            print(f"{row['method']} is left out. {error}", file=sys.stderr)
            continue
        results.append({**row, **curve})


def planned(name: str, arguments: argparse.Namespace) -> list[Row]:
    """The keys of all curves of one structure."""
    base = {"volume": name, "slices": arguments.slices}
    own = [
        {**base, "method": OWN, "way": way, "seed": seed, "budget_seconds": arguments.seconds}
        for seed in arguments.seeds
        for way in arguments.ways
    ]
    peers = [{**base, "method": method, "way": "best", "seed": 0, "budget_seconds": 0.0} for method in PEERS]
    return [row for row in own + peers if row["method"] in arguments.methods]


def own_curve(volume: Volume, user: SimulatedUser, row: Row) -> Row:
    """SparseSeg, corrected in place round by round."""
    settings = DensifySettings(budget_seconds=row["budget_seconds"], seed=row["seed"])
    curve = Curve(user)
    planes, drawn, afresh = [], [], None
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "weights.pt"

        def tool(labels: SparseLabels) -> Segmented:
            return densify(volume, labels, settings, checkpoint=checkpoint)

        voxels, seconds = 0, 0.0
        for one in user.rounds(tool, row["slices"], choice_of(row["way"], objects_extent(user.truth))):
            voxels, seconds = voxels + one.voxels, seconds + one.seconds
            planes.append([one.plane.axis, one.plane.index])
            drawn.append(user.draw(one.labels.planes)[1])
            curve.add(one.labels, one.result.labels, voxels, seconds)
            if len(planes) == 1 + CORRECTED:
                afresh = whole_iou(densify(volume, one.labels, settings).labels, user.truth)
    return {"engine": commit(), "planes": planes, **curve.columns, "drawn": drawn, "iou_afresh": afresh}


def choice_of(way: str, extent: Extent) -> Choice:
    """The next slice, in one of ``OWN_WAYS``."""
    return suggested if way == "suggested" else lambda labels, result: widest_gap(labels, extent)


def peer_curve(volume: Volume, user: SimulatedUser, row: Row) -> Row:
    """Another tool, run once for each number of slices, which are drawn from nothing.

    They lie where most of them give the best IoU.
    """
    extent = objects_extent(user.truth)

    def add(curve: Curve, way: str, count: int) -> None:
        labels, voxels = user.draw(places(way, extent, count))
        start = time.monotonic()
        segmented = segment_with(row["method"], volume, labels)
        curve.add(labels, segmented, voxels, time.monotonic() - start)

    last = {way: Curve(user) for way in PLACES}
    for way, curve in last.items():
        add(curve, way, row["slices"])
    best = max(PLACES, key=lambda way: last[way].columns["iou"])
    curve = Curve(user)
    for count in range(1, row["slices"]):
        add(curve, best, count)
    return {"place": best, **{name: [*values, *last[best].columns[name]] for name, values in curve.columns.items()}}


def places(way: str, extent: Extent, count: int) -> list[Plane]:
    """``count`` slices in one of ``PLACES``, evenly spaced over where the objects lie.

    k slices along an axis lie at the fractions 1/(k + 1) … k/(k + 1) of the extent; to its ends, at 0 … 1. Along all
    axes, x has the first of three slices, y the second, and z the third.
    """
    if way == "along all axes":
        shared = enumerate(((count + 0) // 3, (count + 1) // 3, (count + 2) // 3))
        return [plane for axis, some in shared for plane in _spread(axis, extent[axis], some, ends=False)]
    return _spread(0, extent[0], count, ends=way == "along z to its ends" and count > 1)


def _spread(axis: int, extent: range, count: int, *, ends: bool) -> list[Plane]:
    fractions = np.linspace(0, 1, count) if ends else np.arange(1, count + 1) / (count + 1)
    return [Plane(axis, round(extent[0] + (extent[-1] - extent[0]) * fraction)) for fraction in fractions.tolist()]


class Curve:
    """The columns of one curve, a value per number of slices.

    Parameters
    ----------
    user : who has the truth
    """

    def __init__(self, user: SimulatedUser) -> None:
        self.user = user
        self.columns: dict[str, list[float]] = {
            name: [] for name in ("voxels", "seconds", "iou", "iou_unseen", "surface_dice_unseen")
        }

    def add(self, labels: SparseLabels, segmented: np.ndarray, voxels: int, seconds: float) -> None:
        """What a segmentation ``(Z, Y, X)`` from an annotation is worth, and what both took in all."""
        truth = self.user.truth
        objects = range(1, int(truth.max()) + 1)
        spacing = self.user.geometry.spacing
        unseen = ~labels.labeled
        surfaces = [surface_dice(segmented == k, truth == k, spacing, unseen) for k in objects]
        values = {
            "voxels": voxels,
            "seconds": round(seconds, 2),
            "iou": whole_iou(segmented, truth),
            "iou_unseen": unseen_iou(segmented, truth, labels),
            "surface_dice_unseen": round(float(np.mean(surfaces)), 4),
        }
        for name, value in values.items():
            self.columns[name].append(value)


def whole_iou(segmented: np.ndarray, truth: np.ndarray) -> float:
    """IoU over the volume, the mean over the structures."""
    return round(float(np.mean([iou(segmented == k, truth == k) for k in range(1, int(truth.max()) + 1)])), 4)
