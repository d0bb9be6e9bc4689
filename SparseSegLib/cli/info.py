"""``sparseseg info``: what this installation is and what it computes on, or what files are."""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import Any

from SparseSegLib import __version__
from SparseSegLib.cli.arguments import add_series
from SparseSegLib.cli.console import Console
from SparseSegLib.cli.kept import keep_traceback
from SparseSegLib.errors import FileError, InternalError, SparseSegError, UsageError
from SparseSegLib.image import ORIENTATIONS
from SparseSegLib.text import printable
from SparseSegLib.units import lengths_text, number_text, position_text
from SparseSegLib.worker.explain import explain

NAME = "info"
SUMMARY = "what a file or folder is; or device, versions, presets, networks"
DESCRIPTION = """\
Without a file, show which device will compute, the versions of what is installed, the presets of densify, and the
networks that can be trained. With files or folders, say what each is, and what of it the other commands would refuse.

  sparseseg info
  sparseseg info t2.nrrd drawn.seg.nrrd            size, spacing, position, values, annotated slices
  sparseseg info ct/                               every DICOM series, with its UID for --series
  sparseseg info -l mask.nii.gz --json             as labels, for programs: a list, one object a file or series
  sparseseg info --report                          for a bug report: no path, no name of a user, host or patient

Positions are in 3D Slicer's RAS coordinates. The exit code is 0 if everything could be read."""
SHOWN = 20  # values, and annotated slices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="file or folder to describe")
    parser.add_argument("-l", "--labels", action="store_true", help="the files are labels")
    parser.add_argument("--report", action="store_true", help="what a bug report needs, and nothing of whose it is")
    add_series(parser)


def run(arguments: argparse.Namespace, console: Console) -> int:
    """Print the figures of the installation, or of the files; the exit code is that of the first unreadable one."""
    if arguments.report:
        return _report(arguments, console)
    if arguments.files:
        return _describe(arguments, console)
    if arguments.labels or arguments.series:
        raise UsageError("There is no file to describe.", "Give a file or folder.")
    _describe_installation(console)
    return 0


def _report(arguments: argparse.Namespace, console: Console) -> int:
    from SparseSegLib.cli.report import report

    if arguments.files or arguments.labels or arguments.series:
        raise UsageError("A report is about the installation alone.", "Leave out files, --labels and --series.")
    values = report()
    console.result(values, "\n".join(f"{name}: {text}" for name, text in values.items()))
    return 0


def _describe(arguments: argparse.Namespace, console: Console) -> int:
    entries = [entry for file in arguments.files for entry in _entries(file, arguments)]
    status = next((entry["unreadable"] for entry in entries if entry["unreadable"]), 0)
    for entry in entries:
        del entry["unreadable"]
    texts = [_in_words(entry) for entry in entries]
    if len(entries) > len(arguments.files) and any("series" in entry for entry in entries):
        texts.append("Of several series in a folder choose one with --series UID.")
    console.result(entries, "\n\n".join(texts))
    return status


def _entries(file: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The descriptions of one file; never fails, so that one bad file does not hide the others."""
    from SparseSegLib.cli.describe import describe, unreadable
    from SparseSegLib.cli.other_files import other_kind

    try:
        other = other_kind(file)
        if other is not None:
            return [other]
        uids = arguments.series or [""]
        entries = [
            one
            for uid in uids
            for one in describe(file, as_labels=arguments.labels, series_uid=uid, as_error=_as_error)
        ]
        if arguments.series:
            entries = [one for one in entries if one.get("series", {}).get("uid") in uids]
        if not entries:
            raise FileError(f"{file} has no series {', '.join(uids)}.", f"See sparseseg info {file}.")
        return entries
    except Exception as error:
        return [unreadable(file, _as_error(error))]


def _as_error(error: Exception) -> SparseSegError:
    """A reader's exception as an error for users; the traceback of an unexpected one is kept."""
    message, hint, code, _ = explain(error)
    if code == InternalError.code:
        hint = f"The details are in {keep_traceback(error)}; please report them."
    kinds = {kind.code: kind for kind in SparseSegError.__subclasses__()}
    return kinds.get(code, InternalError)(message, hint)


def _in_words(entry: dict[str, Any]) -> str:
    lines = [f"{printable(entry['file'])}: {_kind(entry)}"]
    rows: list[tuple[str, str]] = []
    if entry.get("series"):
        series = entry["series"]
        title = f"{series['modality']} {series['description']}".strip() or "without description"
        rows.append(("series", f"{title}, {series['count']} files, UID {series['uid']}"))
    if entry["size"]:
        shape = " × ".join(map(str, entry["size"]))
        rows.append(("size", f"{shape} voxels, {entry['channels'] or 1} channel(s), {entry['dtype']}"))
    if entry["spacing_mm"]:
        rows.append(("spacing", lengths_text(entry["spacing_mm"], 4)))
    if entry["origin_ras_mm"]:
        rows.append(("first voxel", f"at {position_text(entry['origin_ras_mm'])}"))
        rows.append(("axes", _axes(entry["direction_ras"])))
    if entry["range"]:
        rows.append(("values", " to ".join(number_text(value, 6) for value in entry["range"])))
    if "values" in entry:
        rows += _label_rows(entry)
    rows += [("problem", problem) for problem in entry["problems"]]
    return "\n".join([*lines, *(f"  {name:14}{printable(text)}" for name, text in rows)])


def _kind(entry: dict[str, Any]) -> str:
    what = f", {printable(entry['what'])}" if entry.get("what") else ""
    return f"{entry['kind'] or 'cannot be read'}{what}"


def _axes(rows: list[list[float]]) -> str:
    """The nearest anatomical directions of x, y and z."""
    import numpy as np

    from SparseSegLib.image import at_right_angles

    named = []
    for axis, letter in enumerate("xyz"):
        column = [row[axis] for row in rows]
        largest = max(range(3), key=lambda number: abs(column[number]))
        direction = "RAS"[largest] if column[largest] > 0 else "LPI"[largest]
        named.append(f"{letter} to {direction}{'' if abs(column[largest]) > 0.9999 else ' (oblique)'}")
    x, y, z = (ORIENTATIONS[max(range(3), key=lambda number: abs(rows[number][axis]))] for axis in range(3))
    named += [] if at_right_angles(np.array(rows)) else ["not at right angles"]
    return f"{', '.join(named)}; slices along x are {x}, along y {y}, along z {z}"


def _label_rows(entry: dict[str, Any]) -> list[tuple[str, str]]:
    pairs = [f"{value} {name}" for value, name in zip(entry["values"], entry["names"], strict=True)]
    more = f" and {len(pairs) - SHOWN} more" if pairs[SHOWN:] else ""
    rows = [("labels", (", ".join(pairs[:SHOWN]) or "none") + more)]
    places = [f"{row['orientation']} {row['axis']} = {row['index']}" for row in entry["annotated_slices"]]
    more = f" and {len(places) - SHOWN} more" if places[SHOWN:] else ""
    return [*rows, ("annotated", f"{len(places)} slices" + (f": {', '.join(places[:SHOWN])}{more}" if places else ""))]


def _describe_installation(console: Console) -> None:
    from SparseSegLib.cli.report import PACKAGES, package_version
    from SparseSegLib.densify import PRESETS
    from SparseSegLib.devices import choose_device, describe_device
    from SparseSegLib.networks import network_names

    device = choose_device()
    values: dict[str, Any] = {
        "sparseseg": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": str(device),
        "device_name": describe_device(device),
        "packages": {package: package_version(package) for package in PACKAGES},
        "presets": {name: preset.summary for name, preset in PRESETS.items()},
        "networks": network_names(),
    }
    lines = [f"sparseseg {__version__}, Python {values['python']}, {values['system']}"]
    lines += [f"device: {values['device_name']} ({values['device']})", "packages:"]
    lines += [f"  {name:14}{found or 'not installed'}" for name, found in values["packages"].items()]
    lines += ["presets:"] + [f"  {name:14}{summary}" for name, summary in values["presets"].items()]
    lines += ["networks:"] + [f"  {name}" for name in values["networks"]]
    console.result(values, "\n".join(lines))
