"""``sparseseg segment``: segment any number of volumes with a model."""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from SparseSegLib.atomic import atomic_path
from SparseSegLib.cli.console import Console
from SparseSegLib.cli.working import error_of, finish_job
from SparseSegLib.errors import FileError, UsageError
from SparseSegLib.jobs import Job, write_job
from SparseSegLib.models import ModelLibrary

NAME = "segment"
SUMMARY = "segment volumes with a trained model"
DESCRIPTION = """\
Segment volumes with a model of your library, or with a bundle (folder or zip). Each result is NAME.seg.nrrd, on the
very grid of its volume, with the names and colors of the model's structures. A volume that cannot be segmented is told
and does not stop the others.

  sparseseg segment t2.nrrd --model Prostate -o results/
  sparseseg segment study/ --model liver.zip -o results/            every volume in the folder
  sparseseg segment t1.nrrd,t2.nrrd --model Tumor -o results/       a model of two channels
  sparseseg segment study/ --model Liver -o results/ --job work/    keep the job; run again to go on

sparseseg models list shows the library. Look at every result: not for clinical use."""

ENDINGS = (".nrrd", ".nhdr", ".nii", ".nii.gz", ".mha", ".mhd")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "volumes", nargs="+", metavar="IMAGE|FOLDER", help="image, DICOM folder, folder of images, or CHANNEL,CHANNEL"
    )
    parser.add_argument("-m", "--model", required=True, help="name in the library, or path of a bundle")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where the results go")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there already")
    parser.add_argument("--flips", action="store_true", help="average over mirrored images; eight times slower")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--job", type=Path, help="folder to work in and keep; a later run passes over what is done")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run the job and copy its results; the exit code is that of the first case that failed."""
    bundle = ModelLibrary().find(arguments.model).path
    cases = [case for given in arguments.volumes for case in cases_of(given)]
    _check_output(arguments.output, cases, overwrite=arguments.overwrite)
    folder = arguments.job or Path(tempfile.mkdtemp(prefix="sparseseg-"))
    settings = {"model": str(bundle.absolute()), "flips": arguments.flips, "device": arguments.device}
    try:
        write_job(folder, "segment", {"cases": cases}, settings)
        ending = finish_job(Job(folder), console)
        done = ending["figures"]["cases"]
        arguments.output.mkdir(parents=True, exist_ok=True)
        for case in done:
            if "file" in case:
                case["file"] = str(_place(folder / case["file"], arguments.output / case["file"]))
    finally:
        if arguments.job is None:
            shutil.rmtree(folder, ignore_errors=True)
    failed = [error_of({**case, "message": case["error"]}) for case in done if "error" in case]
    if len(failed) == len(done):
        raise failed[0]
    console.result({"cases": done}, "\n".join(_in_words(case) for case in done))
    return failed[0].exit_code if failed else 0


def cases_of(given: str) -> list[dict[str, Any]]:
    """The cases that one argument names: a file, channels joined by commas, a DICOM folder, or a folder of volumes."""
    path = Path(given)
    if path.is_dir():
        inside = sorted(file for file in path.iterdir() if _is_volume(file))
        return [{"volumes": [str(file.absolute())]} for file in inside or [path]]
    if not path.exists() and "," in given:
        return [{"volumes": [str(Path(part).absolute()) for part in given.split(",")]}]
    return [{"volumes": [str(path.absolute())]}]


def _is_volume(file: Path) -> bool:
    name = file.name.lower()
    return file.is_file() and name.endswith(ENDINGS) and not name.startswith(".") and not name.endswith(".seg.nrrd")


def _check_output(output: Path, cases: list[dict[str, Any]], *, overwrite: bool) -> None:
    """Refuse to work where the results could not go, or would replace what is there."""
    from SparseSegLib.io import volume_name

    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file.", "Give a folder.")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"The folder {output.absolute().parent} does not exist.", "Create it first.")
    there = [output / f"{volume_name(case['volumes'][0])}.seg.nrrd" for case in cases]
    taken = [path for path in there if path.exists()]
    if taken and not overwrite:
        raise UsageError(f"{taken[0]} is there already.", "Choose another folder, or add --overwrite.")


def _place(source: Path, target: Path) -> Path:
    """Copy a result to its place, whole or not at all."""
    if not source.is_file():
        raise FileError(f"The result {source} is missing.", "Run the command again.")
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
    return target


def _in_words(case: dict[str, Any]) -> str:
    if "error" in case:
        return f"{case['name']}: not segmented. {case['error']} {case['hint']}".strip()
    return f"{case['file']}: " + ", ".join(f"{name} {volume:.2f} ml" for name, volume in case["volume_ml"].items())
