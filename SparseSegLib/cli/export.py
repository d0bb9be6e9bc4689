"""``sparseseg export``: a result as DICOM, for the systems that its scan came from."""

from __future__ import annotations

import argparse
from pathlib import Path

from SparseSegLib.cli.arguments import add_series, one_series
from SparseSegLib.cli.console import Console
from SparseSegLib.cli.outputs import check_outputs
from SparseSegLib.io.dicom.export import export_dicom

NAME = "export"
SUMMARY = "write a result as DICOM SEG or RTSTRUCT"
DESCRIPTION = """\
Write a segmentation as DICOM that belongs to the same patient and study as its scan, and refers to the scan's slices.

  sparseseg segment ct/ --model Organs -o results/
  sparseseg export results/ct.seg.nrrd --dicom ct/ -o results/ct_rtstruct.dcm --format rtstruct
  sparseseg export results/ct.seg.nrrd --dicom ct/ -o results/ct_seg.dcm --format seg

An earlier file is never replaced unless you say so. Look at every result: not for clinical use."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("result", type=Path, help="labels on the scan's grid, for example .seg.nrrd")
    parser.add_argument("--dicom", type=Path, required=True, metavar="FOLDER", help="folder with the scan's slices")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file to write, .dcm")
    parser.add_argument(
        "--format",
        choices=("seg", "rtstruct"),
        default="seg",
        help="seg: voxel by voxel; rtstruct: outlines for radiotherapy (default: seg)",
    )
    add_series(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there already")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Write the file."""
    output, inputs = arguments.output, [arguments.result, arguments.dicom]
    check_outputs([output], inputs, overwrite=arguments.overwrite, endings=(".dcm",))
    segments = export_dicom(
        arguments.result,
        arguments.dicom,
        arguments.output,
        arguments.format,
        series_uid=one_series(arguments.dicom, arguments.series),
        overwrite=arguments.overwrite,
    )
    names = [segment.name for segment in segments]
    console.result({"output": str(arguments.output), "segments": names}, f"{arguments.output}: {', '.join(names)}")
