"""``sparseseg train``: from several annotated volumes to a model."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from SparseSegLib.cli.console import Console
from SparseSegLib.cli.working import finish_job
from SparseSegLib.errors import FileError, UsageError
from SparseSegLib.io import volume_name
from SparseSegLib.jobs import Job, write_job
from SparseSegLib.models import ModelLibrary, copy_bundle

NAME = "train"
SUMMARY = "train a model on several annotated volumes"
DESCRIPTION = """\
Train one network on several volumes, each annotated on a few slices, to segment volumes that nobody annotated.

  sparseseg train --sparse a.nrrd,a-drawn.seg.nrrd b.nrrd,b-drawn.seg.nrrd -o liver/
  sparseseg train --sparse study/ -o liver.zip --seconds 3600       study/images/X and study/labels/X belong together
  sparseseg train --dense study/ -o liver/                          labels that say something about every voxel
  sparseseg train --sparse study/ -o liver/ --job work/             keep the job; run again, or longer, to go on

A case is IMAGE,LABELS, or T1,T2,LABELS for two channels. Labels are as for sparseseg densify; segments of the same name
are the same structure. All volumes are brought to one orientation and spacing. Use the model with sparseseg segment."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    kinds = parser.add_argument_group("what to learn from")
    text = "IMAGE,LABELS pairs, or a folder with images/ and labels/"
    kinds.add_argument("--sparse", nargs="+", default=[], metavar="CASE", help=f"sparsely annotated: {text}")
    kinds.add_argument("--dense", nargs="+", default=[], metavar="CASE", help=f"annotated all over: {text}")
    kinds.add_argument("--resample", action="store_true", help="bring labels of another grid to their volume's")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="folder or .zip to write")
    parser.add_argument("--add", action="store_true", help="also put the model into your library")
    card = parser.add_argument_group("what the model's card says")
    card.add_argument("--name", help="name of the model (default: the output's)")
    card.add_argument("--summary", help="a sentence on what it does")
    card.add_argument("--intended-use", help="a sentence on what it is for")
    card.add_argument("--data", help="what it was trained on")
    card.add_argument("--license", help="under which license it may be used")
    how = parser.add_argument_group("how to train")
    networks = "unet3d-small, unet3d, vnet-small, vnet or cicek2016 (default: %(default)s)"
    how.add_argument("--network", default="unet3d-small", help=networks)
    how.add_argument("--spacing", type=float, nargs=3, metavar=("X", "Y", "Z"), help="mm to work at (default: median)")
    how.add_argument("--patch", type=int, nargs=3, metavar=("X", "Y", "Z"), help="voxels that the network sees at once")
    how.add_argument("--batch", type=int, default=1, help="patches a step (default: 1)")
    how.add_argument("--mirror", action="store_true", help="learn from mirrored images too; not for left and right")
    how.add_argument("--seconds", type=float, default=600, help="budget of the training in seconds (default: 600)")
    how.add_argument("--steps", type=int, help="budget in training steps instead; repeatable with the same --seed")
    how.add_argument("--seed", type=int, default=0)
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    how.add_argument("--job", type=Path, help="folder to work in and keep; a later run with it goes on from there")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Run the job and put the bundle where it is wanted."""
    _check_output(arguments.output)
    if arguments.add:
        _check_name(arguments.name or volume_name(arguments.output))
    cases = [_with(case, arguments) for given in arguments.sparse for case in cases_of(given, console)]
    cases += [_with(case, arguments, dense=True) for given in arguments.dense for case in cases_of(given, console)]
    if not cases:
        raise UsageError("There is nothing to learn from.", "Give cases with --sparse or --dense.")
    folder = arguments.job or Path(tempfile.mkdtemp(prefix="sparseseg-"))
    try:
        write_job(folder, "train", {"cases": cases}, _settings(arguments))
        ending = finish_job(Job(folder), console)
        copy_bundle(folder / ending["files"]["bundle"], arguments.output)
    finally:
        if arguments.job is None:
            shutil.rmtree(folder, ignore_errors=True)
    if arguments.add:
        ModelLibrary().add(arguments.output)
    figures = {**ending["figures"], "output": str(arguments.output)}
    loss = "" if figures["loss"] is None else f", loss {figures['loss']:.3f}"
    text = (
        f"{figures['output']}: {figures['cases']} cases, {figures['steps']} steps in {figures['seconds']:.0f} s{loss}"
    )
    console.result(figures, text)


def cases_of(given: str, console: Console) -> list[dict[str, Any]]:
    """The cases that one argument names: files joined by commas, or a folder with ``images`` and ``labels``."""
    folder = Path(given)
    if folder.is_dir():
        return _cases_in(folder, console)
    images, comma, labels = given.rpartition(",")
    if not comma or not images or not labels:
        raise UsageError(
            f"{given} is no case.", "Give IMAGE,LABELS or a folder that has the folders images and labels."
        )
    volumes = [images] if Path(images).exists() else images.split(",")
    return [{"volumes": [str(Path(path).absolute()) for path in volumes], "labels": str(Path(labels).absolute())}]


def _cases_in(folder: Path, console: Console) -> list[dict[str, Any]]:
    images, labels = (_by_name(folder / part) for part in ("images", "labels"))
    lost = sorted(set(labels) - set(images))
    if lost:
        raise FileError(
            f"{folder / 'labels'} has {', '.join(lost[:3])}{' and others' if lost[3:] else ''}, "
            "for which there is no image.",
            "An image and its labels have the same name.",
        )
    plain = len(images) - len(labels)
    if plain:
        console.message(f"{plain} of {len(images)} images in {folder} have no labels and are left out.")
    return [
        {"volumes": [str(images[name].absolute())], "labels": str(labels[name].absolute()), "name": name}
        for name in sorted(labels)
    ]


def _by_name(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise FileError(f"There is no folder {folder}.", "A folder of cases has the folders images and labels.")
    paths = [path for path in folder.iterdir() if not path.name.startswith(".") and path.suffix != ".json"]
    return {volume_name(path): path for path in paths}


def _with(case: dict[str, Any], arguments: argparse.Namespace, *, dense: bool = False) -> dict[str, Any]:
    return {**case, "dense": dense, "resample": arguments.resample}


def _check_output(output: Path) -> None:
    """Refuse a bundle that could not be written before an hour of work goes into it."""
    if not output.absolute().parent.is_dir():
        raise UsageError(f"The folder {output.absolute().parent} does not exist.", "Create it first.")
    if output.is_dir() and not (output / "model.json").is_file() and any(output.iterdir()):
        raise UsageError(f"{output} has other files in it.", "Choose a new folder.")
    if output.is_file() and output.suffix.lower() != ".zip":
        raise UsageError(f"{output} is a file.", "Choose a new folder, or a name that ends in .zip.")


def _check_name(name: str) -> None:
    if any(entry.name.casefold() == name.casefold() for entry in ModelLibrary().entries() if not entry.shipped):
        raise UsageError(f"Your library has a model {name} already.", "Choose another --name, or remove it first.")


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    settings = {
        "name": arguments.name or volume_name(arguments.output),
        "summary": arguments.summary,
        "intended_use": arguments.intended_use,
        "data": arguments.data,
        "license": arguments.license,
        "network": arguments.network,
        "spacing": arguments.spacing and arguments.spacing[::-1],
        "patch": arguments.patch and arguments.patch[::-1],
        "batch": arguments.batch,
        "mirror": arguments.mirror,
        "budget_seconds": arguments.seconds,
        "budget_steps": arguments.steps,
        "seed": arguments.seed,
        "device": arguments.device,
    }
    return {key: value for key, value in settings.items() if value is not None}
