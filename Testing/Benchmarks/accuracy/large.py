"""Large volumes at their own resolution: SparseSeg against a random forest, from the same slices.

    python Testing/Benchmarks large -o large-output
    python Testing/Benchmarks large --kinds trabecular --sides 320 --seeds 1 --seconds 60
    python Testing/Benchmarks large --kinds --data FOLDER

Generated volumes (see ``Benchmarks.shared.generated``), and with ``--data`` the mitochondria in the fly's electron
micrographs. Each method runs in a process of its own, and reads the image from a file. Seconds of SparseSeg are those
of its learning; the result takes as long as it takes. IoU is measured off the annotated slices; boundary IoU on the
voxels up to two voxels inside of a surface. Results are appended to ``results.csv`` as they come; a second run does
what is missing. ``table.md`` and ``plot.png`` are written at the end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from Benchmarks.shared.generated import KINDS, generate
from Benchmarks.shared.rows import Row, Table, commit
from Benchmarks.shared.scoring import annotate
from Benchmarks.shared.volumes import Case
from scipy import ndimage

from SparseSegLib.annotation import UNLABELED, SparseLabels
from SparseSegLib.comparison import segment_with
from SparseSegLib.control import Control, NullEvents
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.image import Volume

OWN, PEER = "SparseSeg", "Random forest"
KEY = ("volume", "side", "seed", "budget", "method", "budget_seconds")
SURFACE = 2  # voxels
SLAB = 32  # slices
SAMPLED_SECONDS = 0.05
FIGURES = ("iou", "boundary_iou", "learning_seconds", "result_seconds", "megavoxels_per_second", "peak_gb", "read_gb")


def main() -> None:
    """Run what is missing and write the report."""
    arguments = parse()
    if arguments.only:
        print(json.dumps(run_alone(json.loads(arguments.only), arguments)))
        return
    table = Table(arguments.output / "results.csv", KEY)
    if not arguments.report:
        for row in wanted(arguments):
            if not table.has(row):
                table.append({**row, **in_own_process(row, arguments), "engine": commit()})
    write_report(table.rows(), arguments.output)


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="*", default=[*KINDS], choices=[*KINDS, []], help="none for no generated ones")
    parser.add_argument("--sides", nargs="+", type=int, default=[256, 320, 512], help="voxels along each axis")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--data", type=Path, help="folder with fly_em/")
    parser.add_argument("--budget", default="3,3,2", metavar="X,Y,Z", help="slices per axis, or everyK")
    parser.add_argument("--seconds", type=float, default=60.0, help="of learning")
    parser.add_argument("--methods", nargs="+", default=[OWN, PEER], choices=[OWN, PEER])
    parser.add_argument("--report", action="store_true", help="only write the report of what was measured")
    parser.add_argument("-o", "--output", type=Path, default=Path("large-output"))
    parser.add_argument("--only", help=argparse.SUPPRESS)
    return parser.parse_args()


def wanted(arguments: argparse.Namespace) -> list[Row]:
    """The measurements to make, without figures."""
    volumes = [(kind, side, seed) for kind in arguments.kinds for side in arguments.sides for seed in arguments.seeds]
    if arguments.data:
        volumes += [("fly EM", 0, seed) for seed in arguments.seeds]
    return [
        {
            "volume": volume,
            "side": side,
            "seed": seed,
            "budget": "every8" if volume == "fly EM" else arguments.budget,
            "method": method,
            "budget_seconds": arguments.seconds if method == OWN else 0.0,
        }
        for volume, side, seed in volumes
        for method in arguments.methods
    ]


def in_own_process(row: Row, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of a measurement in a process of its own, whose memory is its alone."""
    command = [sys.executable, str(Path(__file__).resolve().parents[1]), "large", "--only", json.dumps(row)]
    command += ["-o", str(arguments.output), *(["--data", str(arguments.data)] if arguments.data else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def run_alone(row: Row, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of a measurement."""
    volume, truth = load(row, arguments)
    return measured(row, volume, truth)


def load(row: Row, arguments: argparse.Namespace) -> tuple[Volume, np.ndarray]:
    """The volume of a measurement, and its truth."""
    if row["volume"] != "fly EM":
        return generate(row["volume"], row["side"], row["seed"], arguments.output / "volumes")
    folder = arguments.data / "fly_em"
    return Case("fly EM", folder / "raw.nii.gz", folder / "mitochondria.nii.gz").load()


def measured(row: Row, volume: Volume, truth: np.ndarray) -> dict[str, Any]:
    """The figures of a method on a volume that is there."""
    labels = annotate(truth, volume, row["budget"])
    watch, listener = Watch(), Listener()
    started = time.monotonic()
    with watch:
        if row["method"] == OWN:
            settings = DensifySettings(budget_seconds=row["budget_seconds"], budget_counts="learning", seed=row["seed"])
            segmented = densify(volume, labels, settings, Control(events=listener)).labels
        else:
            segmented = segment_with(row["method"], volume, labels)
    seconds = time.monotonic() - started
    learning = listener.last_step - started if row["method"] == OWN else None
    result = seconds - learning if learning else None
    return {
        "voxels": truth.size,
        "iou": round(unseen_iou_in_slabs(segmented, truth, labels), 4),
        "boundary_iou": round(boundary_iou(segmented, truth), 4),
        "seconds": round(seconds, 2),
        "learning_seconds": learning,
        "result_seconds": result,
        "announced_seconds": listener.announced,
        "megavoxels_per_second": truth.size / 1e6 / (result or seconds),
        "peak_gb": watch.peak / 1e9,
        "read_gb": watch.read / 1e9,
        "steps": listener.steps,
    }


class Listener(NullEvents):
    """When the last step was taken, and how many seconds were announced for the result."""

    def __init__(self) -> None:
        self.steps, self.last_step = 0, time.monotonic()
        self.announced: float | None = None

    def progress(
        self, step: int, fraction: float, loss: float | None, seconds_left: float | None, **figures: float
    ) -> None:
        """Keep them."""
        if step > self.steps:
            self.steps, self.last_step = step, time.monotonic()
            self.announced = figures.get("result_seconds", self.announced)


class Watch:
    """Memory of this process that no file stands behind, its highest, and what was read from disks meanwhile."""

    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._done = threading.Event()
        self.peak, self.read = 0, 0

    def __enter__(self) -> Watch:
        self._before = self._read_bytes()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()
        self.read = self._read_bytes() - self._before

    def _sample(self) -> None:
        while not self._done.wait(SAMPLED_SECONDS):
            memory = self._process.memory_info()
            self.peak = max(self.peak, memory.rss - getattr(memory, "shared", 0))

    def _read_bytes(self) -> int:
        counters = getattr(self._process, "io_counters", None)
        return counters().read_bytes if counters else 0


def unseen_iou_in_slabs(segmented: np.ndarray, truth: np.ndarray, labels: SparseLabels) -> float:
    """IoU on the voxels that are not labeled."""
    both = either = 0
    for found, own, drawn in zip(segmented, truth, labels.array, strict=True):
        unseen = drawn == UNLABELED
        both += int(((found == 1) & (own == 1) & unseen).sum())
        either += int((((found == 1) | (own == 1)) & unseen).sum())
    return both / max(1, either)


def boundary_iou(segmented: np.ndarray, truth: np.ndarray) -> float:
    """IoU of what lies up to ``SURFACE`` voxels inside of either surface (Cheng et al., CVPR 2021)."""
    both = either = 0
    for start in range(0, len(truth), SLAB):
        low, stop = max(0, start - SURFACE), start + SLAB
        inside = slice(start - low, start - low + SLAB)
        first, second = (_surface(one[low : stop + SURFACE] == 1)[inside] for one in (segmented, truth))
        both += int((first & second).sum())
        either += int((first | second).sum())
    return both / max(1, either)


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask, iterations=SURFACE, border_value=1)


def write_report(rows: list[Row], folder: Path) -> None:
    """Write ``table.md`` and ``plot.png`` into the folder, and print the table."""
    if not rows:
        print("Nothing was measured.")
        return
    text = table_of(rows)
    (folder / "table.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    plot(rows, folder / "plot.png")


def means_of(rows: list[Row]) -> dict[tuple[str, float, str], dict[str, float | None]]:
    """The figures by kind, millions of voxels and method, means over the seeds."""
    groups: dict[tuple[str, float, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["volume"], row["voxels"] / 1e6, row["method"]), []).append(row)
    found = {}
    for key, group in sorted(groups.items()):
        known = {name: [row[name] for row in group if row.get(name) is not None] for name in FIGURES}
        found[key] = {name: mean(values) if values else None for name, values in known.items()} | {"seeds": len(group)}
    return found


def table_of(rows: list[Row]) -> str:
    """The means as Markdown."""
    names = (*FIGURES, "seeds")
    lines = [f"| volume | million voxels | method | {' | '.join(name.replace('_', ' ') for name in names)} |"]
    lines.append("| --- " * (len(names) + 3) + "|")
    for (volume, voxels, method), figures in means_of(rows).items():
        cells = ["" if figures[name] is None else f"{figures[name]:.3g}" for name in names]
        lines.append(f"| {volume} | {voxels:.1f} | {method} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> None:
    """Each figure over the size."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = means_of(rows)
    figure, axes = plt.subplots(2, 4, figsize=(16, 7), layout="constrained")
    for axis, name in zip(axes.flat, FIGURES, strict=False):
        for volume, method in dict.fromkeys((volume, method) for volume, _, method in found):
            points = [(own[1], value[name]) for own, value in found.items() if own[::2] == (volume, method)]
            points = [(size, value) for size, value in points if value is not None]
            if points:
                style = "-o" if method == OWN else "--x"
                axis.plot(*zip(*points, strict=True), style, label=f"{volume}, {method}")
        axis.set(title=name.replace("_", " "), xlabel="million voxels", xscale="log")
    axes.flat[0].legend(fontsize=7)
    axes.flat[-1].axis("off")
    figure.savefig(path, dpi=100)
    plt.close(figure)
