"""``sparseseg densify``: from a volume and a few annotated slices to a dense segmentation."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from SparseSegLib.annotation.plane_list import planes_path
from SparseSegLib.cli.arguments import (
    LARGEST_SEED,
    add_series,
    box,
    chosen_series,
    not_negative,
    positive,
    times,
    whole,
)
from SparseSegLib.cli.console import Console
from SparseSegLib.cli.outputs import LABEL_ENDINGS, check_outputs, is_same
from SparseSegLib.cli.placed import Placed
from SparseSegLib.cli.watch import WATCH_SECONDS, Watch
from SparseSegLib.cli.work_folder import work_folder
from SparseSegLib.cli.working import finish_job
from SparseSegLib.errors import UsageError
from SparseSegLib.jobs import Job, write_job
from SparseSegLib.models import ModelLibrary

NAME = "densify"
SUMMARY = "segment a volume from a few annotated slices"
DESCRIPTION = """\
Train a network on the annotated slices of one volume, in a process of its own, and segment the whole volume with it.

  sparseseg densify t1.nrrd -l drawn.seg.nrrd -o dense.seg.nrrd
  sparseseg densify t1.nrrd t2.nrrd -l drawn.nrrd -o dense.nrrd --seconds 180     two channels, three minutes
  sparseseg densify ct/ -l liver.seg.nrrd -o liver.nrrd --job work/               keep the job; run again to go on
  sparseseg densify brain.ome.zarr -l drawn.ome.zarr -o dense.ome.zarr            OME-Zarr; .tif likewise
  sparseseg densify t2.nrrd -l drawn.seg.nrrd -o dense.nrrd --start Liver         a model, adapted to this volume
  sparseseg densify ct.nrrd -l drawn.seg.nrrd -o dense.nrrd --cluster local:4     a large volume, on Dask workers
  sparseseg densify t1.nrrd -l drawn.seg.nrrd -o dense.nrrd --watch               again whenever drawn.seg.nrrd is saved

Labels: 0 is background, 255 is unlabeled, other values are structures and come back; or a .seg.nrrd whose finished
slices are found (or are listed beside it in FILE.planes.json). Press Ctrl-C to cancel; with --job nothing is lost, the
next run goes on. With --watch Ctrl-C ends the round that runs, once there is a result. A file that is there is replaced
only with --overwrite, or if the same job made it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("volumes", type=Path, nargs="+", metavar="VOLUME", help="image file or DICOM folder; channels")
    parser.add_argument("-l", "--labels", type=Path, required=True, help="sparse labels")
    parser.add_argument("-o", "--output", type=Path, required=True, help="dense labels to write")
    parser.add_argument(
        "-u", "--uncertainty", type=Path, help="also write the uncertainty (0 to 1, of a large region to 255)"
    )
    parser.add_argument(
        "--preset", default="fast", help="fast, balanced, thorough, unet3d or cicek2016 (default: fast)"
    )
    parser.add_argument("--network", help="train this one on patches instead, as vnet-small; sparseseg info lists them")
    parser.add_argument(
        "--start", metavar="MODEL", help="a model of your library, or a bundle, whose network joins in and learns on"
    )
    parser.add_argument(
        "--seconds", type=positive, help="budget in seconds, prediction included (default: the preset's)"
    )
    parser.add_argument(
        "--budget-counts",
        choices=("everything", "learning"),
        help="what --seconds count (default: everything; learning where the region has millions of voxels)",
    )
    parser.add_argument(
        "--steps", type=whole(1), help="budget in training steps instead; repeatable with the same --seed"
    )
    parser.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument(
        "--margin", type=not_negative, default=0.1, help="room around the objects, as a fraction of their extent"
    )
    parser.add_argument(
        "--coarser",
        type=times,
        default=1.0,
        metavar="TIMES",
        help="work at voxels up to so many times as long as the image's (default: 1, at its own resolution)",
    )
    parser.add_argument(
        "--region",
        type=box,
        metavar="X:X,Y:Y,Z:Z",
        help="work on these voxels instead, as 10:90,0:128,5:40; the first one, and the one after the last",
    )
    parser.add_argument(
        "--prior", metavar="PARTS", help="of distance,interpolation,appearance,walk,coordinates, or none"
    )
    parser.add_argument("--experts", metavar="NAMES", help="some of the preset's only, as slice-unet,extra-trees")
    parser.add_argument("--no-estimate", action="store_true", help="hold no slices out to estimate the IoU")
    parser.add_argument("--stop-early", action="store_true", help="end sooner when the loss no longer falls")
    parser.add_argument("--resample", action="store_true", help="bring labels of another grid to the volume's")
    add_series(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    parser.add_argument(
        "--watch",
        type=positive,
        nargs="?",
        const=WATCH_SECONDS,
        metavar="SECONDS",
        help="go on when the labels' file changes, until it has not changed for so long (default: an hour)",
    )
    parser.add_argument(
        "--cluster",
        metavar="WHERE",
        help="Dask workers that predict a large region: local:N, tcp://HOST:PORT or a scheduler file; see cluster.md",
    )
    parser.add_argument("--job", type=Path, help="folder to work in and keep; a later run with it goes on from there")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Run the job and copy its results to where they are wanted."""
    wanted = {"dense": arguments.output}
    if arguments.uncertainty:
        wanted["uncertainty"] = arguments.uncertainty
    _check(arguments, list(wanted.values()))
    inputs = _inputs(arguments, wanted)
    with work_folder(arguments.job) as work:
        write_job(work.path, "densify", inputs, _settings(arguments))
        placed = Placed(work, wanted, console)
        if arguments.watch:
            finish_job(Job(work.path), console, Watch(arguments.labels, placed))
        else:
            placed.take(finish_job(Job(work.path), console))


def _check(arguments: argparse.Namespace, outputs: list[Path]) -> None:
    """Refuse results that could not be written before an hour of work goes into them."""
    inputs = [*arguments.volumes, arguments.labels, planes_path(arguments.labels)]
    if arguments.watch and arguments.labels.is_dir():
        raise UsageError(f"--watch needs labels in one file, and {arguments.labels} is a folder.", "Leave it out.")
    check_outputs(outputs, inputs, overwrite=arguments.overwrite, endings=LABEL_ENDINGS, job=arguments.job)
    for name in ("dense", "uncertainty"):
        own = arguments.job and arguments.job / _settings(arguments)[name]
        if own and any(is_same(own, source) for source in inputs):
            raise UsageError(f"The job would write over {own}, which is read.", "Copy it to another folder first.")


def _inputs(arguments: argparse.Namespace, outputs: dict[str, Path]) -> dict[str, Any]:
    return {
        "volumes": [str(path.absolute()) for path in arguments.volumes],
        "series": chosen_series([arguments.volumes], arguments.series)[0],
        "labels": str(arguments.labels.absolute()),
        "resample": arguments.resample,
        "outputs": {name: str(path.absolute()) for name, path in outputs.items()},
    }


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    prior = None
    if arguments.prior is not None:
        prior = [part for part in arguments.prior.split(",") if part and part != "none"]
    settings = {
        "preset": arguments.preset,
        "network": arguments.network,
        "start": arguments.start and str(ModelLibrary().find(arguments.start).path.absolute()),
        "budget_seconds": arguments.seconds,
        "budget_steps": arguments.steps,
        "seed": arguments.seed,
        "device": arguments.device,
        "margin": arguments.margin,
        "budget_counts": arguments.budget_counts,
        "coarser": arguments.coarser,
        "region": arguments.region,
        "prior": prior,
        "experts": None if arguments.experts is None else arguments.experts.split(","),
        "estimate": not arguments.no_estimate,
        "stop_early": arguments.stop_early,
        "stay": arguments.watch,
        "cluster": arguments.cluster,
        "dense": "dense" + _ending(arguments.output),
        "uncertainty": "uncertainty" + _ending(arguments.uncertainty or Path("u.nrrd")),
    }
    return {key: value for key, value in settings.items() if value is not None}


def _ending(path: Path) -> str:
    return next(end for end in (".seg.nrrd", ".nii.gz", path.suffix) if path.name.lower().endswith(end.lower()))
