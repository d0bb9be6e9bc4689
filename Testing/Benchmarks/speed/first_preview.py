"""Time to the first preview after pressing the button, and its IoU.

    python Testing/Benchmarks first_preview --data FOLDER --budgets 3,3,2 --runs 3

Counted as in the module: from before the volume and the annotation are written for the worker, over the start of its
process and the import of torch, until its first ``preview`` event is read. The disk cache is warm: one run goes before.
Printed are the seconds and the IoU off the annotated slices, with that of Grow from seeds on the same slices.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import mean

import numpy as np
from Benchmarks.shared.scoring import annotate, unseen_iou
from Benchmarks.shared.volumes import add_volume_arguments, chosen_cases

from SparseSegLib.annotation import SparseLabels, write_sparse_labels
from SparseSegLib.comparison import segment_with
from SparseSegLib.errors import JobError
from SparseSegLib.image import Volume, place
from SparseSegLib.io import read_labels, write_image
from SparseSegLib.jobs import Job, write_job

RIVAL = "Grow from seeds"
LONGEST = 120.0  # seconds without a preview


def main() -> None:
    """Measure every volume and annotation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_volume_arguments(parser)
    parser.add_argument("--budgets", nargs="+", default=["3,3,2"], metavar="X,Y,Z", help="slices per axis, or everyK")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--preset", default="fast")
    arguments = parser.parse_args()
    warm = False
    print(f"| volume | slices x, y, z | seconds | IoU | {RIVAL} |\n| --- | --- | --- | --- | --- |")
    for case in chosen_cases(arguments):
        volume, truth = case.load()
        for budget in arguments.budgets:
            labels = annotate(truth, volume, budget)
            if not warm:
                first_preview(volume, labels, arguments.preset)
                warm = True
            runs = [first_preview(volume, labels, arguments.preset) for _ in range(arguments.runs)]
            seconds = [taken for taken, _ in runs]
            score = mean(unseen_iou(found, truth, labels) for _, found in runs)
            grown = unseen_iou(segment_with(RIVAL, volume, labels), truth, labels)
            times = f"{mean(seconds):.1f} (at most {max(seconds):.1f})"
            print(f"| {case.name} | {budget} | {times} | {score:.3f} | {grown:.3f} |", flush=True)


def first_preview(volume: Volume, labels: SparseLabels, preset: str) -> tuple[float, np.ndarray]:
    """Seconds from the button to the preview, and its classes ``(Z, Y, X)`` on the volume's grid."""
    with tempfile.TemporaryDirectory() as name:
        folder, start = Path(name), time.monotonic()
        paths = [f"image-{channel}.nrrd" for channel in range(volume.channels)]
        for path, channel in zip(paths, volume.array, strict=True):
            write_image(channel, volume.geometry, folder / path)
        write_sparse_labels(labels, folder / "drawn.seg.nrrd")
        write_job(folder, "densify", {"volumes": paths, "labels": "drawn.seg.nrrd"}, {"preset": preset})
        with Job(folder).start() as job:
            while time.monotonic() - start < LONGEST and job.running:
                for event in job.poll():
                    if event["event"] == "preview":
                        seconds = time.monotonic() - start
                        found, geometry, _ = read_labels(folder / event["file"])
                        return seconds, place(found.astype(np.uint8), geometry, volume.geometry)
                time.sleep(0.02)
            raise JobError(f"There was no preview: {job.ending}.")
