"""``sparseseg planes``: which slices of a labels file count as annotated."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from SparseSegLib.annotation import ObliquePlane, read_sparse_labels
from SparseSegLib.annotation.describe import plane_rows
from SparseSegLib.cli.arguments import add_series, one_series
from SparseSegLib.cli.console import Console
from SparseSegLib.image import slice_position, to_ras
from SparseSegLib.text import printable
from SparseSegLib.units import position_text

NAME = "planes"
SUMMARY = "show the annotated slices of a labels file"
DESCRIPTION = """\
Show which slices of a labels file count as annotated (every voxel on them is labeled), what is on them, and how much
is labeled in all. Positions are in 3D Slicer's RAS coordinates. Files with a .planes.json beside them say it
themselves; in others the slices are found."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("labels", type=Path, help="labels: .seg.nrrd, .nrrd, .nii.gz, .mha, DICOM SEG")
    add_series(parser)


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Print one line per plane."""
    uid = one_series(arguments.labels, arguments.series)
    labels = read_sparse_labels(arguments.labels, series_uid=uid)
    rows = plane_rows(labels)
    share = float(labels.labeled.mean())
    strokes = int(labels.strokes.sum())
    values = {
        "planes": rows,
        "oblique": [{**asdict(pose), "ras_mm": to_ras(pose.point)} for pose in labels.oblique],
        "labeled_share": share,
        "scribble_voxels": strokes,
        "names": list(labels.names),
    }
    lines = [f"{'orientation':14}{'slice':>9}{'at':>14}  segments"]
    for plane, row in zip(labels.planes, rows, strict=True):
        where = f"{row['axis']} = {row['index']}"
        position = slice_position(labels.geometry, plane.axis, plane.index)
        names = ", ".join(map(printable, row["segments"]))
        lines.append(f"{row['orientation']:14}{where:>9}{position:>14}  {names}")
    lines += [_oblique_line(pose) for pose in labels.oblique]
    count = len(rows) + len(labels.oblique)
    lines.append(f"{count} annotated slices, {strokes} scribbled voxels, {share:.1%} of all voxels labeled")
    console.result(values, "\n".join(lines))


def _oblique_line(pose: ObliquePlane) -> str:
    r, a, s = to_ras(pose.normal)
    return f"{'oblique':14}{'':9}  at {position_text(to_ras(pose.point))}, normal ({r:.4g}, {a:.4g}, {s:.4g}) in RAS"
