"""Measures a prostate bundle on scans of other kinds, made from the patients' own: thick and thin slices, small and
large fields of view, a prostate off the middle, oblique, sagittal and coronal slices, coils and bias fields.

    python Testing/Experiments prostate_scans --bundle work/fold-3 --data FOLDER --names case00 case04

Give patients that the bundle did not learn from. Every scan is segmented as ``sparseseg segment`` does it, and scored
on its own slices against the expert's mask that was brought there.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from Experiments.prostate.patients import Patient, chosen_patients

from SparseSegLib.devices import choose_device
from SparseSegLib.errors import ModelError, SparseSegError
from SparseSegLib.evaluation import dice
from SparseSegLib.image import Geometry, Volume, resample
from SparseSegLib.models import load_network
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.preprocessing.grid import on_grid, oriented

Change = Callable[[Volume], Volume]


def main(given: Sequence[str] | None = None) -> int:
    """Print a table with a row for each kind of scan; the exit code."""
    arguments = _parser().parse_args(given)
    try:
        patients = chosen_patients(arguments.data, arguments.names)
        card, network = load_network(arguments.bundle)
        predictor = Predictor(card, network, choose_device(arguments.device), force=True)
        print(as_table({name: measure(predictor, patients, change) for name, change in CHANGES.items()}))
    except SparseSegError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def measure(predictor: Predictor, patients: Sequence[Patient], change: Change) -> list[tuple[float, bool]]:
    """The Dice of each patient's changed scan, and whether the model warned of it."""
    found = []
    for patient in patients:
        volume = change(patient.case.volume())
        mask, geometry = patient.case.truth()
        truth = resample(mask.astype(np.float32), geometry, volume.geometry) >= 0.5
        try:
            labels = predictor.segment(volume)
            found.append((dice(labels > 0, truth), bool(predictor.warnings)))
        except ModelError:
            found.append((0.0, True))
    return found


def as_table(rows: dict[str, list[tuple[float, bool]]]) -> str:
    """Mean and worst Dice of each kind of scan, and how many were warned of, in Markdown."""
    lines = ["| scan | patients | Dice | worst | warned of |", "| --- | --- | --- | --- | --- |"]
    for name, found in rows.items():
        dices = [value for value, _ in found]
        warned = sum(warned for _, warned in found)
        lines.append(f"| {name} | {len(found)} | {statistics.mean(dices):.3f} | {min(dices):.3f} | {warned} |")
    return "\n".join(lines)


def with_spacing(z: float, y: float, x: float) -> Change:
    """Slices of another thickness and resolution: (z, y, x) mm of a grid whose axes run to the head, back and left."""
    return lambda volume: _resampled(volume, oriented(volume.geometry).with_spacing((z, y, x)))


def with_field_of_view(size: float) -> Change:
    """``size`` mm of the slices around their middle; beyond what was scanned is air."""

    def change(volume: Volume) -> Volume:
        _, y, x = zip(volume.geometry.shape, volume.geometry.spacing, strict=True)
        return _within(volume, *(_around(count, size / step) for count, step in (y, x)))

    return change


def off_the_middle(y: float, x: float) -> Change:
    """The slices without a margin, so that their content moves by (y, x) mm towards it."""

    def change(volume: Volume) -> Volume:
        _, *sides = zip(volume.geometry.shape, volume.geometry.spacing, strict=True)
        cuts = [round(2 * part / step) for part, (_, step) in zip((y, x), sides, strict=True)]
        return _within(volume, *(slice(cut, count) for cut, (count, _) in zip(cuts, sides, strict=True)))

    return change


def tilted(degrees: float) -> Change:
    """Slices turned about the axis from right to left."""

    def change(volume: Volume) -> Volume:
        here = oriented(volume.geometry)
        angle = np.deg2rad(degrees)
        turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
        direction = turn @ np.asarray(here.direction).reshape(3, 3)
        middle = here.index_to_physical((np.array(here.shape) - 1) / 2)
        moved = Geometry(here.shape, here.spacing, (0.0, 0.0, 0.0), tuple(direction.ravel()))
        origin = middle - moved.index_to_physical((np.array(here.shape) - 1) / 2)
        return _resampled(volume, Geometry(here.shape, here.spacing, tuple(origin), tuple(direction.ravel())))

    return change


def with_bias_field(strength: float) -> Change:
    """Brighter towards the back, by e to the ``strength`` from the middle to the border."""

    def change(volume: Volume) -> Volume:
        ramp = np.exp(strength * np.linspace(-1, 1, volume.array.shape[2], dtype=np.float32))[:, None]
        return Volume((volume.array - volume.array.min()) * ramp, volume.geometry, volume.name)

    return change


CHANGES: dict[str, Change] = {
    "as it is": lambda volume: volume,
    "slices of 5 mm": with_spacing(5.0, 0.8, 0.8),
    "slices of 1.5 mm": with_spacing(1.5, 0.8, 0.8),
    "3D, 1 mm": with_spacing(1.0, 1.0, 1.0),
    "sagittal, 3 mm": with_spacing(1.0, 1.0, 3.0),
    "coronal, 3 mm": with_spacing(1.0, 3.0, 1.0),
    "field of view of 120 mm": with_field_of_view(120.0),
    "field of view of 400 mm": with_field_of_view(400.0),
    "20 mm off the middle": off_the_middle(0.0, 20.0),
    "35 mm off the middle": off_the_middle(25.0, 25.0),
    "tilted by 20 degrees": tilted(20.0),
    "with a bias field": with_bias_field(1.0),
}


def _resampled(volume: Volume, grid: Geometry) -> Volume:
    return Volume(on_grid(volume, grid), grid, volume.name)


def _around(count: int, size: float) -> slice:
    side = round(size)
    start = (count - side) // 2
    return slice(start, start + side)


def _within(volume: Volume, y: slice, x: slice) -> Volume:
    """The part of every slice in a box; air beyond."""
    grid = volume.geometry.crop((slice(0, volume.geometry.shape[0]), y, x))
    return volume.resampled(grid, fill=float(volume.array.min()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of the volumes and masks")
    parser.add_argument("--names", nargs="+", required=True, help="of the patients")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return parser
