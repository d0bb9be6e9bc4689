"""``sparseseg densify``: from a volume and a few annotated slices to a dense segmentation."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from SparseSegLib.cli.console import Console
from SparseSegLib.cli.working import finish_job
from SparseSegLib.errors import UsageError
from SparseSegLib.jobs import Job, write_job

NAME = "densify"
SUMMARY = "segment a volume from a few annotated slices"
DESCRIPTION = """\
Train a network on the annotated slices of one volume, in a process of its own, and segment the whole volume with it.

  sparseseg densify t1.nrrd -l drawn.seg.nrrd -o dense.seg.nrrd
  sparseseg densify t1.nrrd t2.nrrd -l drawn.nrrd -o dense.nrrd --seconds 180     two channels, three minutes
  sparseseg densify ct/ -l liver.seg.nrrd -o liver.nrrd --job work/               keep the job; run again to go on

Labels: 0 is background, 255 is unlabeled, other values are structures and come back; or a .seg.nrrd whose finished
slices are found (or are listed beside it in FILE.planes.json). Press Ctrl-C to cancel; with --job nothing is lost, the
next run goes on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("volumes", type=Path, nargs="+", metavar="VOLUME", help="image file or DICOM folder; channels")
    parser.add_argument("-l", "--labels", type=Path, required=True, help="sparse labels")
    parser.add_argument("-o", "--output", type=Path, required=True, help="dense labels to write")
    parser.add_argument("-u", "--uncertainty", type=Path, help="also write the uncertainty (0 to 1)")
    parser.add_argument(
        "--preset", default="fast", help="fast, balanced, thorough, unet3d or cicek2016 (default: fast)"
    )
    parser.add_argument("--network", help="train this one on patches instead, as vnet-small; sparseseg info lists them")
    parser.add_argument("--seconds", type=float, help="budget in seconds, prediction included (default: the preset's)")
    parser.add_argument("--steps", type=int, help="budget in training steps instead; repeatable with the same --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--margin", type=float, default=0.1, help="room around the objects, as a share of their extent")
    parser.add_argument(
        "--prior", metavar="PARTS", help="of distance,interpolation,appearance,walk,coordinates, or none"
    )
    parser.add_argument("--no-refine", action="store_true", help="leave out the random walk that has the last word")
    parser.add_argument("--no-estimate", action="store_true", help="hold no slices out to estimate the IoU")
    parser.add_argument("--stop-early", action="store_true", help="end sooner when the loss no longer falls")
    parser.add_argument("--resample", action="store_true", help="bring labels of another grid to the volume's")
    parser.add_argument("--job", type=Path, help="folder to work in and keep; a later run with it goes on from there")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Run the job and copy its results to where they are wanted."""
    check_output(arguments.output, arguments.uncertainty)
    folder = arguments.job or Path(tempfile.mkdtemp(prefix="sparseseg-"))
    try:
        write_job(folder, "densify", _inputs(arguments), _settings(arguments))
        ending = finish_job(Job(folder), console)
        files, figures = ending["files"], dict(ending["figures"])
        _place(folder / files["dense"], arguments.output)
        if arguments.uncertainty:
            _place(folder / files["uncertainty"], arguments.uncertainty)
    finally:
        if arguments.job is None:
            shutil.rmtree(folder, ignore_errors=True)
    figures["output"] = str(arguments.output)
    console.result(figures, _in_words(figures))


def check_output(output: Path, uncertainty: Path | None) -> None:
    """Refuse results that could not be written before an hour of work goes into them."""
    for path in filter(None, (output, uncertainty)):
        if not path.name.lower().endswith((".nrrd", ".nii", ".nii.gz", ".mha")):
            raise UsageError(f"{path} has no ending that can be written.", "Use .seg.nrrd, .nrrd, .nii.gz or .mha.")
        if not path.absolute().parent.is_dir():
            raise UsageError(f"The folder {path.absolute().parent} does not exist.", "Create it first.")


def _inputs(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "volumes": [str(path.absolute()) for path in arguments.volumes],
        "labels": str(arguments.labels.absolute()),
        "resample": arguments.resample,
    }


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    prior = None
    if arguments.prior is not None:
        prior = [part for part in arguments.prior.split(",") if part and part != "none"]
    settings = {
        "preset": arguments.preset,
        "network": arguments.network,
        "budget_seconds": arguments.seconds,
        "budget_steps": arguments.steps,
        "seed": arguments.seed,
        "device": arguments.device,
        "margin": arguments.margin,
        "prior": prior,
        "refine": not arguments.no_refine,
        "estimate": not arguments.no_estimate,
        "stop_early": arguments.stop_early,
        "dense": "dense" + _ending(arguments.output),
        "uncertainty": "uncertainty" + _ending(arguments.uncertainty or Path("u.nrrd")),
    }
    return {key: value for key, value in settings.items() if value is not None}


def _ending(path: Path) -> str:
    return next(end for end in (".seg.nrrd", ".nii.gz", path.suffix) if path.name.lower().endswith(end.lower()))


def _place(source: Path, target: Path) -> None:
    """Move a result to its place, whole or not at all."""
    from SparseSegLib.atomic import atomic_path

    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def _in_words(figures: dict[str, Any]) -> str:
    lines = [f"{figures['output']}: {figures['steps']} steps in {figures['seconds']:.0f} s"]
    if figures["estimated_iou"] is not None:
        lines.append(f"IoU about {figures['estimated_iou']:.2f} on annotated slices that training had not seen")
    if figures["next_slice"]:
        place = figures["next_slice"]
        lines.append(f"next slice worth annotating: {place['axis']} = {place['index']}")
    return "\n".join(lines)
