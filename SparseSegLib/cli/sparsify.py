"""``sparseseg sparsify``: make a sparse annotation from a dense one, for experiments."""

from __future__ import annotations

import argparse
from pathlib import Path

from SparseSegLib.annotation import sparsify, sparsify_every, values_in, write_sparse_labels
from SparseSegLib.annotation.plane_list import planes_path
from SparseSegLib.cli.arguments import add_series, one_series, whole
from SparseSegLib.cli.console import Console
from SparseSegLib.cli.outputs import LABEL_ENDINGS, check_new, check_outputs
from SparseSegLib.errors import UsageError
from SparseSegLib.io import default_segment, read_labels

NAME = "sparsify"
SUMMARY = "make an annotation of a few slices from a dense labelmap"
DESCRIPTION = """\
Keep only a few slices of a dense labelmap, evenly spaced through the object's bounding box, as if a user had annotated
them. Everything else becomes unlabeled.

  sparseseg sparsify truth.nrrd -o sparse.nrrd --slices 3 3 2       3 sagittal, 3 coronal, 2 axial slices
  sparseseg sparsify truth.nrrd -o sparse.nrrd --every 8            every 8th axial slice"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("labels", type=Path, help="dense labels")
    parser.add_argument("-o", "--output", type=Path, required=True, help="sparse labels to write (255 is unlabeled)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--slices", type=whole(0), nargs=3, default=(3, 3, 2), metavar=("X", "Y", "Z"), help="slices per axis"
    )
    how.add_argument("--every", type=whole(1), metavar="K", help="every K-th slice along --axis instead")
    parser.add_argument("--axis", choices="xyz", default="z", help="axis of the image for --every (default: z)")
    add_series(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there already")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Write the sparse labels."""
    if max(arguments.slices) == 0:
        raise UsageError("There must be at least one slice.", "Give positive numbers, for example --slices 3 3 2.")
    _check(arguments)
    uid = one_series(arguments.labels, arguments.series)
    dense, geometry, segments = read_labels(arguments.labels, series_uid=uid)
    known = {segment.value: segment.name for segment in segments}
    own = tuple(value for value in values_in(dense) if value)
    names = tuple(known.get(value, default_segment(value).name) for value in own)
    if arguments.every:
        labels = sparsify_every(dense, geometry, arguments.every, "zyx".index(arguments.axis), names, own)
    else:
        x, y, z = arguments.slices
        labels = sparsify(dense, geometry, (z, y, x), names, own)
    write_sparse_labels(labels, arguments.output)
    values = {"output": str(arguments.output), "planes": len(labels.planes), "labeled_share": labels.labeled.mean()}
    text = f"{arguments.output}: {len(labels.planes)} annotated slices, {values['labeled_share']:.1%} of all voxels"
    console.result(values, text)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse a result that could not be written, or that would replace something."""
    check_outputs(
        [arguments.output],
        [arguments.labels, planes_path(arguments.labels)],
        overwrite=arguments.overwrite,
        endings=LABEL_ENDINGS,
        beside=(".planes.json",),
    )
    if not arguments.overwrite:
        check_new(planes_path(arguments.output))
