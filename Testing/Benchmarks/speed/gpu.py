"""Speed of SparseSeg on a GPU, in one command.

    python Testing/Benchmarks gpu
    python Testing/Benchmarks gpu --device cpu --quick      (only to try it out)

Three things: the seconds until a preview of the shipped MR volume, annotated on 5, 5 and 3 slices, reaches IoU 0.87 on
the other voxels; training steps per second of the 3D U-Net and the V-Net in float32 and bf16 against MONAI's networks;
the fraction of the training time that goes into cutting and augmenting patches. Writes ``gpu.json`` and ``gpu.md``.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from Benchmarks.shared.rows import Row
from Benchmarks.shared.scoring import annotate, unseen_iou
from Benchmarks.shared.volumes import shipped_case
from Benchmarks.speed.throughput import elapsed, measure_all

from SparseSegLib.annotation import SparseLabels
from SparseSegLib.control import CancelSource, Control, NullEvents
from SparseSegLib.densify import PRESETS, DensifySettings, densify
from SparseSegLib.densify.experts.slice_unet import SliceUNetExpert
from SparseSegLib.densify.experts.unet3d import UNet3DExpert
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.devices import choose_device, describe_device
from SparseSegLib.errors import UsageError
from SparseSegLib.image import Volume, place

SLICES = "5,5,3"
TARGET = 0.87
MARGIN = 0.1
PRESETS_TO_TIME = ("fast", "balanced")
PRESETS_TO_AUGMENT = ("fast", "unet3d", "cicek2016")


def main() -> None:
    """Measure all three and write them down."""
    arguments = parse()
    try:
        device = choose_device(arguments.device)
    except UsageError as error:
        sys.exit(str(error))
    volume, truth = shipped_case().load()
    labels = annotate(truth, volume, SLICES)
    quick = arguments.quick
    found: Row = {"device": describe_device(device), "torch": torch.__version__, "cuda": torch.version.cuda}
    found |= {"cudnn": torch.backends.cudnn.version(), "python": platform.python_version(), "quick": quick}
    found["iou"] = [
        seconds_to_iou(preset, volume, truth, labels, device, arguments.seconds)
        for preset in (PRESETS_TO_TIME[:1] if quick else PRESETS_TO_TIME)
    ]
    found["augmentation"] = [
        augmentation_share(preset, volume, labels, device, 2 if quick else 50)
        for preset in (PRESETS_TO_AUGMENT[:2] if quick else PRESETS_TO_AUGMENT)
    ]
    found["networks"] = measure_all(device, 0.1 if quick else arguments.step_seconds, quick=quick)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "gpu.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (arguments.output / "gpu.md").write_text(tables(found) + "\n", encoding="utf-8")
    print(tables(found))


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny networks and few steps: the figures mean nothing")
    parser.add_argument("--seconds", type=float, default=60.0, help="the longest time that the IoU may take")
    parser.add_argument("--step-seconds", type=float, default=5.0, help="how long each network is timed")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmark-output/gpu"))
    return parser.parse_args()


class Watch(NullEvents):
    """Scores every preview, and stops the work when one is good enough.

    Parameters
    ----------
    volume, truth, labels : what the previews are compared on
    source : stops the work
    """

    def __init__(self, volume: Volume, truth: np.ndarray, labels: SparseLabels, source: CancelSource) -> None:
        self.volume, self.truth, self.labels = volume, truth, labels
        self.source = source
        self.curve: list[tuple[float, float]] = []

    def preview(self, result: Any) -> None:
        """Keep its time and IoU."""
        self.keep(result)
        if self.reached is not None:
            self.source.stop()

    def keep(self, result: Any) -> None:
        """Add a preview or the final result to the curve."""
        dense = place(result.labels, result.geometry, self.volume.geometry)
        self.curve.append((round(result.seconds, 2), unseen_iou(dense, self.truth, self.labels)))

    @property
    def reached(self) -> float | None:
        """Seconds until the target was reached; None before."""
        return next((seconds for seconds, score in self.curve if score >= TARGET), None)


def seconds_to_iou(
    preset: str, volume: Volume, truth: np.ndarray, labels: SparseLabels, device: torch.device, seconds: float
) -> Row:
    """Densify until a preview reaches ``TARGET``, or ``seconds`` are over.

    Counted from the call on; the first call in a process includes what CUDA takes to start.
    """
    source = CancelSource()
    watch = Watch(volume, truth, labels, source)
    settings = DensifySettings(preset, seconds, device=str(device), preview_seconds=0.5)
    result = densify(volume, labels, settings, Control(token=source.token, events=watch))
    watch.keep(result)
    row = {"preset": preset, "target": TARGET, "seconds": watch.reached, "steps": result.steps, "curve": watch.curve}
    print(row, flush=True)
    return row


def augmentation_share(preset: str, volume: Volume, labels: SparseLabels, device: torch.device, count: int) -> Row:
    """The time of drawing a batch (cutting, deforming, gray values) against that of whole training steps."""
    recipe = PRESETS[preset].experts[0]
    problem = make_problem(volume, labels, MARGIN, PRESETS[preset].most_voxels)
    expert = recipe.make(problem, 0, device)
    assert isinstance(expert, SliceUNetExpert | UNet3DExpert)
    expert.set_annotation(problem, frozenset())
    for _ in range(2):
        expert.step(1.0)
    drawing = sum(elapsed(expert.draw, device, 1) for _ in range(count)) / count
    stepping = sum(elapsed(lambda: expert.step(1.0), device, 1) for _ in range(count)) / count
    row = {"preset": preset, "draw_ms": round(1000 * drawing, 2), "step_ms": round(1000 * stepping, 2)}
    row["share"] = round(drawing / stepping, 4)
    print(row, flush=True)
    return row


def tables(found: Row) -> str:
    """Everything as Markdown, the device's name first."""
    title = f"{found['device']}; torch {found['torch']}, CUDA {found['cuda']}, cuDNN {found['cudnn']}"
    if found["quick"]:
        title += " (quick: the figures mean nothing)"
    iou = [[row["preset"], _number(row["seconds"], 1) or "not reached", row["steps"]] for row in found["iou"]]
    share = [[row["preset"], row["draw_ms"], row["step_ms"], f"{row['share']:.1%}"] for row in found["augmentation"]]
    networks = [
        [
            row["network"],
            row["precision"],
            row["format"],
            _number(row.get("steps_per_second"), 2) or "out of memory",
            _number(row.get("tflop_per_second"), 1),
            _number(row.get("memory_gib"), 1),
            _input(row),
            f"{row['parameters'] / 1e6:.1f}" if "parameters" in row else "",
        ]
        for row in found["networks"]
    ]
    head = ["network", "precision", "memory format", "steps/s", "TFLOP/s", "GiB", "input", "million parameters"]
    parts = [
        title,
        f"Seconds to IoU {TARGET} on the shipped MR volume from ({SLICES}) slices",
        _table(["preset", "seconds", "steps"], iou),
        "Drawing and augmenting a batch, as a fraction of a training step",
        _table(["preset", "drawing, ms", "step, ms", "share"], share),
        "Training steps",
        _table(head, networks),
    ]
    return "\n\n".join(parts)


def _input(row: Row) -> str:
    return f"{row['batch']} × {'×'.join(map(str, row['size']))}" if "size" in row else ""


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, cells)) + " |" for cells in lines)
