"""``sparseseg evaluate``: how well a segmentation agrees with the truth, or a folder of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from SparseSegLib.cli.arguments import add_series, chosen_series, whole
from SparseSegLib.cli.console import Console
from SparseSegLib.cli.outputs import check_folder, check_new
from SparseSegLib.errors import DependencyError, FileError, SparseSegError, UsageError
from SparseSegLib.evaluation import CaseScores, scores_as_dict, scores_as_table, summarize
from SparseSegLib.evaluation.cohort_report import (
    draw_box_plot,
    promise12_table,
    summary_as_dict,
    worst_cases,
    write_scores,
)
from SparseSegLib.evaluation.files import evaluate_files, pair_up
from SparseSegLib.files import write_text
from SparseSegLib.files.zarr_folder import is_image

SCORES, SUMMARY_FILE, PLOT = "scores.csv", "summary.md", "box-plot.png"
NAME = "evaluate"
SUMMARY = "Dice, IoU and surface distances against a reference"
DESCRIPTION = """\
Compare a segmentation with a reference, label by label: Dice, IoU, Hausdorff distance, its 95th percentile, average
surface distance (all in mm), and the volumes in ml; smaller units where these would read 0. Segments of one name
belong together, or of one value where the files share no names. Of two folders, files of one name are compared: the
table has mean and standard deviation of Dice, HD95, average boundary distance (ABD) and relative volume difference
(RVD), as the PROMISE12 challenge has it, and the worst cases are named. With -o there are scores.csv, summary.md and
box-plot.png.

  sparseseg evaluate dense.seg.nrrd truth.nrrd
  sparseseg evaluate dense.seg.nrrd truth.nrrd --outside drawn.seg.nrrd     overlap off the annotated slices only
  sparseseg evaluate results/ labels/ -o evaluation/                        a whole cohort"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("segmentation", type=Path, help="labels, or a folder of them")
    parser.add_argument("reference", type=Path, help="the truth, or a folder with files of the same names")
    parser.add_argument("--outside", type=Path, metavar="LABELS", help="leave out the voxels labeled in this file")
    parser.add_argument(
        "--resample", action="store_true", help="bring a segmentation of another grid to the reference's"
    )
    parser.add_argument(
        "--worst", type=whole(0), default=5, metavar="N", help="of a cohort, name the N worst (default: 5)"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="where a cohort's files go")
    add_series(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a cohort's files that are there already")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print a row per label; of folders, the exit code is not 0 if a case is missing or could not be compared."""
    if all(path.is_dir() and not is_image(path) for path in (arguments.segmentation, arguments.reference)):
        if arguments.outside:
            raise UsageError("--outside is for single files.", "Leave it out.")
        if arguments.series:
            raise UsageError("--series is for single files and DICOM folders.", "Leave it out.")
        _check_output(arguments)
        return _run_cohort(arguments, console)
    if arguments.output:
        raise UsageError("--output is for folders.", "Leave it out, or give two folders.")
    series = chosen_series([[arguments.segmentation, arguments.reference]], arguments.series)[0]
    scores = evaluate_files(
        arguments.segmentation, arguments.reference, arguments.outside, resample=arguments.resample, series=series
    )
    console.result({"labels": scores_as_dict(scores)}, scores_as_table(scores))
    return 0


def _run_cohort(arguments: argparse.Namespace, console: Console) -> int:
    pairs = pair_up(arguments.segmentation, arguments.reference)
    cases: list[CaseScores] = []
    errors: dict[str, SparseSegError] = {}
    for number, (name, segmentation, reference) in enumerate(pairs.both):
        console.progress(number / len(pairs.both), None, name)
        try:
            cases.append(CaseScores(name, evaluate_files(segmentation, reference, resample=arguments.resample)))
        except SparseSegError as error:
            errors[name] = error
            console.message(f"{name} is left out: {error}")
    if not cases:
        raise next(iter(errors.values()))
    summary = summarize(cases, arguments.worst)
    for names, what in ((pairs.missing, "no result"), (pairs.more, "no reference and is left out")):
        if names:
            console.message(f"{', '.join(names[:5])}{' and others' if names[5:] else ''}: {what}.")
    text = [promise12_table(summary), worst_cases(summary)]
    if pairs.missing:
        text.append(f"{len(pairs.missing)} of {len(pairs.missing) + len(pairs.both)} cases have no result.")
    if errors:
        text.append(f"{len(errors)} of {len(pairs.both)} cases could not be compared: {', '.join(errors)}.")
    if arguments.output:
        _write(arguments.output, cases, summary, "\n\n".join(text), console)
    values: dict[str, Any] = {
        "labels": summary_as_dict(summary),
        "cases": [{"name": case.name, "labels": scores_as_dict(case.labels)} for case in cases],
        "missing": list(pairs.missing),
        "errors": [{"name": name, "error": error.message, "code": error.code} for name, error in errors.items()],
    }
    console.result(values, "\n".join(text))
    if errors:
        return next(iter(errors.values())).exit_code
    return FileError.exit_code if pairs.missing else 0


def _check_output(arguments: argparse.Namespace) -> None:
    """Refuse a folder that cannot be written to, or whose files would be replaced."""
    folder: Path | None = arguments.output
    if folder is None:
        return
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file.", "Give a folder.")
    existing = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    check_folder(existing)
    for name in (SCORES, SUMMARY_FILE, PLOT) if not arguments.overwrite else ():
        check_new(folder / name)


def _write(folder: Path, cases: list[CaseScores], summary: Any, text: str, console: Console) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"The folder {folder} cannot be made: {error.strerror}.", "Choose another one.") from error
    write_scores(cases, folder / SCORES)
    write_text(folder / SUMMARY_FILE, text + "\n")
    try:
        draw_box_plot(cases, summary, folder / PLOT)
    except DependencyError as error:
        console.message(f"No box plot is drawn. {error}")
