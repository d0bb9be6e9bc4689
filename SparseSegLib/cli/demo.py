"""``sparseseg demo``: see it work on a real volume."""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.annotation import UNLABELED, SparseLabels, sparsify, write_sparse_labels
from SparseSegLib.cli.arguments import positive
from SparseSegLib.cli.console import Console
from SparseSegLib.cli.working import finish_job
from SparseSegLib.errors import DependencyError
from SparseSegLib.evaluation import iou
from SparseSegLib.files import write_error
from SparseSegLib.image import Volume, place_text
from SparseSegLib.io import read_labels, read_volume
from SparseSegLib.jobs import Job, write_job
from SparseSegLib.resources import sample_data

NAME = "demo"
SUMMARY = "densify the sample tumor and draw a picture"
DESCRIPTION = """\
Annotate the tumor in the sample MR volume on 2 sagittal, 2 coronal and 2 axial slices, densify it in a minute, and
compare with what Slicer's Fill between slices and Grow from seeds make of the very same slices. Writes the annotation,
the dense segmentation, the uncertainty and a picture."""

IMAGE, TRUTH = "sarcoma_t1.nrrd", "sarcoma_tumor.nrrd"
SLICES = (2, 2, 2)  # z, y, x
PEERS = ("Fill between slices", "Grow from seeds")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("-o", "--output", type=Path, default=Path("demo-output"), help="folder (default: demo-output)")
    parser.add_argument("--seconds", type=positive, default=60.0, help="budget (default: 60)")
    parser.add_argument("--all-methods", action="store_true", help="also run the random walker and the random forest")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Run it all."""
    folder: Path = arguments.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(folder, error) from error
    volume = read_volume(sample_data(IMAGE))
    truth, geometry, _ = read_labels(sample_data(TRUTH))
    labels = sparsify(truth, geometry, SLICES, names=("tumor",))
    annotation = folder / "annotation.seg.nrrd"
    write_sparse_labels(labels, annotation)
    shape = " × ".join(map(str, reversed(geometry.shape)))
    console.message(
        f"T1 MR of a thigh, {shape} voxels; the tumor annotated on {len(labels.planes)} slices "
        f"({labels.labeled.mean():.1%} of all voxels)"
    )
    figures = _densify(annotation, folder, arguments.seconds, console)
    result, _, _ = read_labels(folder / "dense.seg.nrrd")
    scores = {"SparseSeg": {"iou": _score(result, truth, labels), "seconds": figures["seconds"]}}
    scores |= _peers(volume, labels, truth, console, everything=arguments.all_methods)
    values = {**figures, "scores": scores, "folder": str(folder)}
    _picture(volume, labels, result, truth, folder, scores["SparseSeg"]["iou"], console)
    console.result(values, _in_words(values))


def _densify(annotation: Path, folder: Path, seconds: float, console: Console) -> dict[str, Any]:
    """Run the job in the background process and keep its results in ``folder``."""
    job = folder / "job"
    shutil.rmtree(job, ignore_errors=True)
    inputs = {"volumes": [str(sample_data(IMAGE))], "labels": str(annotation.absolute())}
    write_job(job, "densify", inputs, {"budget_seconds": seconds})
    ending = finish_job(Job(job), console)
    for name in ending["files"].values():
        (job / name).replace(folder / name)
    shutil.rmtree(job, ignore_errors=True)
    return dict(ending["figures"])


def _score(result: np.ndarray, truth: np.ndarray, labels: SparseLabels) -> float:
    """IoU on the voxels of slices that were never annotated."""
    unseen = labels.array == UNLABELED
    return iou((result > 0) & unseen, (truth > 0) & unseen)


def _peers(
    volume: Volume, labels: SparseLabels, truth: np.ndarray, console: Console, *, everything: bool
) -> dict[str, dict[str, float]]:
    """Scores of the classical methods from the same slices; those that are not installed are left out."""
    from SparseSegLib.comparison import METHODS, segment_with

    scores = {}
    for name in METHODS if everything else PEERS:
        start = time.monotonic()
        try:
            result = segment_with(name, volume, labels)
        except DependencyError as error:
            console.message(f"{name} is left out. {error}")
            continue
        scores[name] = {"iou": _score(result, truth, labels), "seconds": round(time.monotonic() - start, 2)}
    return scores


def _picture(
    volume: Volume,
    labels: SparseLabels,
    result: np.ndarray,
    truth: np.ndarray,
    folder: Path,
    score: float,
    console: Console,
) -> None:
    from SparseSegLib.demo.picture import Scene, draw

    uncertainty = read_volume(folder / "uncertainty.nrrd").array[0]
    caption = f"SparseSeg: a tumor from {len(labels.planes)} annotated slices, IoU {score:.3f} on all others"
    try:
        draw(Scene(volume.array[0], labels, result, truth, uncertainty, caption), folder / "picture.png")
    except DependencyError as error:
        console.message(f"No picture is drawn. {error}")


def _in_words(values: dict[str, Any]) -> str:
    lines = [f"{'method':22}{'IoU':>7}{'seconds':>10}     (IoU on the voxels of slices never annotated)"]
    lines += [f"{name:22}{row['iou']:7.3f}{row['seconds']:10.1f}" for name, row in values["scores"].items()]
    if values["estimated_iou"] is not None:
        lines.append(f"SparseSeg's own estimate from slices held out early in training: {values['estimated_iou']:.3f}")
    place = values["next_slice"]
    if place:
        lines.append(f"next slice worth annotating: {place_text(place)}")
    lines.append(f"written to {values['folder']}: annotation, dense segmentation, uncertainty, picture.png")
    return "\n".join(lines)
