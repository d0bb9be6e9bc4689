"""``sparseseg segment``: segment any number of volumes with a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from SparseSegLib.batch import named_cases
from SparseSegLib.batch.finding import cases_of
from SparseSegLib.cli.arguments import add_series, chosen_series
from SparseSegLib.cli.console import Console
from SparseSegLib.cli.kept import keep_log
from SparseSegLib.cli.outputs import check_folder, check_name, is_same
from SparseSegLib.cli.work_folder import work_folder
from SparseSegLib.cli.working import WITH_LOG, error_of, finish_job
from SparseSegLib.errors import UsageError
from SparseSegLib.jobs import Job, write_job
from SparseSegLib.models import ModelLibrary
from SparseSegLib.text import printable
from SparseSegLib.units import volume_text

NAME = "segment"
SUMMARY = "segment volumes with a trained model"
FORMATS = ("seg.nrrd", "nrrd", "nii.gz", "nii", "mha", "tif", "ome.zarr")
DESCRIPTION = """\
Segment volumes with a model of your library, or with a bundle (folder or zip). Each result is NAME.seg.nrrd, or in the
format that --format says, on the very grid of its volume, with the names and colors of the model's structures. A
volume that cannot be segmented is reported and does not stop the others. Beside the results come report.csv (seconds,
voxels and ml of each structure, errors) and contact-sheet.png, a row of slices per case. The same command again does
what is missing; the result of another scan or model is replaced only with --overwrite.

  sparseseg segment t2.nrrd --model Prostate -o results/
  sparseseg segment study/ --model liver.zip -o results/            every volume, or DICOM folder, in the folder
  sparseseg segment t1.nrrd,t2.nrrd --model Tumor -o results/       a model of two channels
  sparseseg segment ct/ --model Pelvis -o results/                  DICOM; a model for CT takes whole CT scans only
  sparseseg segment brain.ome.zarr --model Cells -o results/ --format ome.zarr
  sparseseg segment study/ --model Liver -o results/ --cluster local:4
  sparseseg segment study/ --model Liver -o results/ --cluster tcp://head:8786      Dask workers

sparseseg models list shows the library. Look at every result: not for clinical use."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "volumes", nargs="+", metavar="IMAGE|FOLDER", help="image, DICOM folder, folder of either, or CHANNEL,CHANNEL"
    )
    parser.add_argument("-m", "--model", required=True, help="name in the library, or path of a bundle")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where the results go")
    add_series(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        metavar="FORMAT",
        default=FORMATS[0],
        help=f"of the results: {', '.join(FORMATS)} (default: {FORMATS[0]})",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results of something else")
    parser.add_argument("--flips", action="store_true", help="average over mirrored images; up to eight times slower")
    parser.add_argument("--force", action="store_true", help="also segment images that the model is not for")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument(
        "--cluster", metavar="WHERE", help="Dask workers: local:N, tcp://HOST:PORT or a scheduler file; see cluster.md"
    )
    parser.add_argument("--job", type=Path, help="folder for the log, to keep")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Run the job; the exit code is that of the first case that failed."""
    bundle = ModelLibrary().find(arguments.model).path
    _check_output(arguments.output)
    cases = cases_with_series(arguments, console)
    _check_results(arguments, cases)
    with work_folder(arguments.job) as work:
        write_job(work.path, "segment", {"cases": cases}, _settings(arguments, bundle))
        figures = finish_job(Job(work.path), console)["figures"]
        done = figures["cases"]
        unexpected = any(case.get("code") in WITH_LOG for case in done)
        log = keep_log(work.path, temporary=work.temporary) if unexpected else None
    for case in done:
        if "file" in case:
            case["file"] = str(arguments.output / case["file"])
    errors = [case for case in done if "error" in case]
    failed = [
        error_of({**case, "message": case["error"]}, log if case["code"] in WITH_LOG else None) for case in errors
    ]
    for case, error in zip(errors, failed, strict=True):
        case["hint"] = error.hint
    if len(failed) == len(done):
        raise failed[0]
    lines = [_in_words(case) for case in done]
    lines += [str(arguments.output / name) for name in (figures["report"], *figures["contact_sheets"]) if name]
    console.result(figures, "\n".join(lines))
    return failed[0].exit_code if failed else 0


def cases_with_series(arguments: argparse.Namespace, console: Console) -> list[dict[str, Any]]:
    """The cases of the arguments ``volumes``, with the series to read that ``--series`` chooses."""
    cases = [case for given in arguments.volumes for case in cases_of(given, console.message)]
    if arguments.series:
        for case, series in zip(
            cases, chosen_series([case["volumes"] for case in cases], arguments.series), strict=True
        ):
            case["series"] = series
    return cases


def _check_results(arguments: argparse.Namespace, cases: list[dict[str, Any]]) -> None:
    """Refuse results that would replace what is read."""
    sources = [Path(path) for case in cases for path in case["volumes"]]
    for case in named_cases(cases, Path(), f".{arguments.format}"):
        path = arguments.output / case.file
        check_name(path)
        if path.exists() and any(is_same(path, source) for source in sources):
            raise UsageError(f"{path} is read, and cannot be the result, too.", "Choose another folder.")


def _settings(arguments: argparse.Namespace, bundle: Path) -> dict[str, Any]:
    settings = {
        "model": str(bundle.absolute()),
        "output": str(arguments.output.absolute()),
        "ending": f".{arguments.format}",
        "keep": not arguments.overwrite,
        "report": True,
        "flips": arguments.flips,
        "force": arguments.force,
        "device": arguments.device,
        "cluster": arguments.cluster,
    }
    return {key: value for key, value in settings.items() if value is not None}


def _check_output(output: Path) -> None:
    """Refuse to work where the results could not go."""
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file.", "Give a folder.")
    check_folder(output if output.is_dir() else output.absolute().parent)


def _in_words(case: dict[str, Any]) -> str:
    if "error" in case:
        return printable(f"{case['name']}: not segmented. {case['error']} {case['hint']}".strip())
    warnings = f" ({case['doubts']})" if "doubts" in case else ""
    amounts = ", ".join(f"{name} {volume_text(volume)}" for name, volume in case["volume_ml"].items())
    return printable(f"{case['file']}: {amounts}{warnings}")
