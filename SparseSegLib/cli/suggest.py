"""``sparseseg suggest``: which volume to annotate next, and which slice of it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SparseSegLib.annotation import Plane, read_sparse_labels
from SparseSegLib.batch import BatchCase, named_cases
from SparseSegLib.cli.arguments import add_series, whole
from SparseSegLib.cli.console import Console
from SparseSegLib.cli.segment import cases_with_series
from SparseSegLib.errors import SparseSegError
from SparseSegLib.evaluation.files import labels_in
from SparseSegLib.image import Geometry, slice_place, slice_position
from SparseSegLib.io import read_volume
from SparseSegLib.models import ModelLibrary, load_network
from SparseSegLib.text import printable

if TYPE_CHECKING:
    from SparseSegLib.cohort.next_case import Suggestion

NAME = "suggest"
SUMMARY = "which volume of many to annotate next, and which slice of it"
DESCRIPTION = """\
Predict volumes with a model and list which slices to annotate next: of the volumes with the fewest annotated slices
those come first that the model segments best, and in each the slice that shows a part of the structures that no
annotated slice of any volume shows yet. Annotate them (where a slice misses the structures, the nearest one that does
not), train again with sparseseg train, and repeat.

  sparseseg suggest study/images --model liver.zip
  sparseseg suggest study/images --model liver.zip --labels study/labels       some slices are annotated already"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "volumes", nargs="+", metavar="IMAGE|FOLDER", help="image, DICOM folder, folder of either, or CHANNEL,CHANNEL"
    )
    parser.add_argument("-m", "--model", required=True, help="name in the library, or path of a bundle")
    parser.add_argument("--labels", type=Path, metavar="FOLDER", help="annotation so far, by the volumes' names")
    add_series(parser)
    parser.add_argument("--count", type=whole(1), default=5, help="how many slices to name (default: 5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print a line per slice, the most promising first; the exit code is that of the first volume that failed."""
    from SparseSegLib.cohort.next_case import suggest_slices, view_case
    from SparseSegLib.control import CancelToken
    from SparseSegLib.devices import choose_device
    from SparseSegLib.prediction.predictor import Predictor
    from SparseSegLib.preprocessing.for_model import prepare_for

    cases = named_cases(cases_with_series(arguments, console), Path())
    drawn = labels_in(arguments.labels) if arguments.labels else {}
    device = choose_device(arguments.device)
    card, network = load_network(ModelLibrary().find(arguments.model).path, device)
    predictor = Predictor(card, network, device)
    views, grids, errors = [], {}, []
    for number, case in enumerate(cases):
        console.progress(number / len(cases), None, case.name)
        try:
            volume = read_volume(case.volumes, series_uid=case.series)
            predictor.check(volume)
            image, grid = prepare_for(volume, card.preprocessing)
            probabilities = predictor.probabilities(image, CancelToken(), lambda fraction: None)
            planes = _planes(case, drawn, volume.geometry)
            views.append(view_case(case.name, probabilities, grid, volume.geometry, planes))
            grids[case.name] = volume.geometry
        except SparseSegError as error:
            errors.append(error)
            console.message(f"{case.name} is left out: {error}")
    if not views:
        raise errors[0]
    rows = [_row(one, grids[one.name]) for one in suggest_slices(views, arguments.count)]
    console.result({"suggestions": rows}, _table(rows))
    return errors[0].exit_code if errors else 0


def _planes(case: BatchCase, drawn: dict[str, Path], geometry: Geometry) -> tuple[Plane, ...]:
    path = drawn.get(case.name)
    return () if path is None else read_sparse_labels(path, geometry).planes


def _row(one: Suggestion, geometry: Geometry) -> dict[str, Any]:
    axis, index = one.plane.axis, one.plane.index
    return {
        "name": one.name,
        "expected_dice": round(one.expected_dice, 4),
        "annotated": one.annotated,
        "next_slice": slice_place(geometry, axis, index),
        "position": slice_position(geometry, axis, index),
    }


def _table(rows: list[dict[str, Any]]) -> str:
    names = [printable(row["name"]) for row in rows]
    width = max([6, *map(len, names)])
    lines = [f"{'volume':{width}}  expected Dice  annotated  next slice"]
    for name, row in zip(names, rows, strict=True):
        place = row["next_slice"]
        where = f"{place['orientation']}, {place['axis']} = {place['index']}, at {row['position']}"
        lines.append(f"{name:{width}}  {row['expected_dice']:13.3f}  {row['annotated']:9}  {where}")
    return "\n".join(lines)
