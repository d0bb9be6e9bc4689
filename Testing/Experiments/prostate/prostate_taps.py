"""Our prostate model and TAPS on the same volumes, in one run: overlap, distances, seconds, megabytes.

    python Testing/Experiments prostate_taps --data FOLDER --model prostate-vnet
    python Testing/Experiments prostate_taps --data FOLDER --model BUNDLE --taps-python venv/bin/python --json rows.json
    python Testing/Experiments prostate_taps --data FOLDER --wrong ct.nii.gz brain.nii.gz

TAPS is the PyPI package lavlab-taps (a SegResNet, ONNX; MIT). It needs packages of its own: give it a virtual
environment (python -m venv venv; venv/bin/pip install lavlab-taps) and name its Python; without, its rows are left out.
FOLDER has NAME_t2.nii.gz with NAME_prostate.nii.gz, or NAME_pseudo_prostate.nii.gz, which was made by TAPS itself:
there TAPS agrees with its own result, and the row is about how close ours comes to TAPS, not how good either is. Only
masks of experts measure that. Both models run in a process of their own each; the seconds are from file to file, the
first volume's included.

The PROMISE12 challenge (Litjens et al. 2014) gives each measure a score that is linear in it: a perfect segmentation
has 100, the second observer's mean 85, and none has less than 0. Give the second observer's Dice and 95 % Hausdorff
distance with --observer, and the scores of the whole gland's are added. V-Net's paper reports Dice 0.869, Hausdorff
5.71 mm and a score of 82.39 over all of the challenge's measures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from Experiments.prostate.cases import ProstateCase, find_cases

from SparseSegLib.devices import choose_device
from SparseSegLib.errors import DependencyError, ModelError, SparseSegError, VolumeError
from SparseSegLib.evaluation import evaluate
from SparseSegLib.image import resample
from SparseSegLib.io import read_labels, read_volume, write_image
from SparseSegLib.models import ModelLibrary, load_network
from SparseSegLib.prediction.predictor import Predictor

HERE = Path(__file__).resolve().parent
OBSERVER_SCORE = 85.0
COLUMNS = ("method", "volume", "mask", "Dice", "Hausdorff mm", "95 % mm", "ml", "of", "s", "remarks")
MEANS = ("method", "masks", "volumes", "Dice", "±", "Hausdorff mm", "95 % mm", "s", "model MB", "memory MB")


@dataclass(frozen=True)
class Run:
    """The output of a method's process: a line for each volume, and its size."""

    lines: list[dict[str, Any]]
    size: dict[str, float] = field(default_factory=dict)


def main(given: Sequence[str] | None = None) -> int:
    """Run both and print the tables; the exit code."""
    arguments = _parser().parse_args(given)
    try:
        rows, sizes = compare(arguments)
    except SparseSegError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    _print(rows, sizes)
    refusals = look_at_wrong_images(arguments)
    if arguments.json:
        measured = {"rows": rows, "sizes": sizes, "refusals": refusals}
        arguments.json.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    return 0


def compare(arguments: argparse.Namespace) -> tuple[list[dict[str, Any]], dict[str, dict[str, float]]]:
    """A row for each method and volume, and each method's megabytes."""
    cases = find_cases(arguments.data)
    bundle = ModelLibrary().find(arguments.model).path.resolve()
    methods = {"SparseSeg": [sys.executable, str(HERE / "run_ours.py"), arguments.device, str(bundle)]}
    try:
        methods["TAPS"] = taps_command(arguments.taps_python, arguments.device)
    except DependencyError as error:
        print(f"{error} Its rows are left out.", file=sys.stderr)
    rows, sizes = [], {}
    with tempfile.TemporaryDirectory() as folder:
        images = {case.name: _as_nifti(case, Path(folder)) for case in cases}
        for method, command in methods.items():
            outputs = [Path(folder) / f"{method}-{case.name}.nii.gz" for case in cases]
            run = run_process(command, list(images.values()), outputs)
            sizes[method] = run.size
            for case, output, line in zip(cases, outputs, run.lines, strict=True):
                rows.append({"method": method, **score(case, output, arguments.observer), **line})
    return rows, sizes


def look_at_wrong_images(arguments: argparse.Namespace) -> dict[str, str]:
    """The warnings about each image that is no prostate; "" where there are none."""
    if not arguments.wrong:
        return {}
    device = choose_device(arguments.device)
    card, network = load_network(ModelLibrary().find(arguments.model).path, device)
    refusals = {}
    for path in arguments.wrong:
        try:
            Predictor(card, network, device).segment(read_volume(path))
            refusals[path.name] = ""
        except (ModelError, VolumeError) as error:
            refusals[path.name] = error.message
    print(f"\n{sum(map(bool, refusals.values()))} of {len(refusals)} wrong images are refused.")
    for name, reason in refusals.items():
        print(f"- {name}: {reason or 'ACCEPTED'}")
    return refusals


def taps_command(python: Path, device: str) -> list[str]:
    """How to run TAPS; DependencyError if that Python does not have it."""
    asked = [str(python), "-c", "import taps"]
    try:
        there = subprocess.run(asked, capture_output=True, check=False).returncode == 0
    except OSError:
        there = False
    if not there:
        raise DependencyError(
            f"{python} does not have TAPS.", "Install lavlab-taps somewhere and name its Python with --taps-python."
        )
    return [str(python), str(HERE / "run_taps.py"), "cpu" if device == "auto" else device]


def run_process(command: Sequence[str], images: Sequence[Path], outputs: Sequence[Path]) -> Run:
    """Segment all images in one process."""
    pairs = [str(path) for pair in zip(images, outputs, strict=True) for path in pair]
    done = subprocess.run([*command, *pairs], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise DependencyError(f"{Path(command[1]).name} ended with code {done.returncode}.", "See its error above.")
    *lines, size = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return Run(lines, size)


def score(case: ProstateCase, output: Path, observer: Sequence[float] | None = None) -> dict[str, Any]:
    """Compare a result, which may be missing, with the case's mask, on the volume's grid."""
    volume = case.volume()
    truth = resample(*case.truth(), volume.geometry, order="nearest")
    found = np.zeros_like(truth)
    if output.exists():
        labels, where, _ = read_labels(output)
        found = resample((labels > 0).astype(np.uint8), where, volume.geometry, order="nearest")
    scores = evaluate(found, truth, volume.geometry, labels=[1])[0]
    row = {
        "name": case.name,
        "expert": case.expert,
        "dice": round(scores.dice, 4),
        "hausdorff": _known(scores.hausdorff),
        "hausdorff95": _known(scores.hausdorff95),
        "ml": round(scores.volume, 1),
        "reference_ml": round(scores.reference_volume, 1),
    }
    if observer:
        row["dice_score"] = round(challenge_score(1 - scores.dice, 1 - observer[0]), 1)
        row["hausdorff_score"] = round(challenge_score(scores.hausdorff95, observer[1]), 1)
    return row


def _known(distance: float) -> float | None:
    """A distance in mm, or None where nothing was found."""
    return round(distance, 2) if np.isfinite(distance) else None


def challenge_score(error: float, observer: float) -> float:
    """PROMISE12's score of an error (1 − Dice, or mm): 100 for none, 85 for the second observer's, never below 0."""
    return max(0.0, 100 - (100 - OBSERVER_SCORE) * error / observer) if np.isfinite(error) else 0.0


def _as_nifti(case: ProstateCase, folder: Path) -> Path:
    """The volume as NIfTI, which both read, with its true spacing."""
    if case.image.name.endswith((".nii", ".nii.gz")) and not case.mended:
        return case.image
    volume, path = case.volume(), folder / f"{case.name}.nii.gz"
    write_image(volume.array, volume.geometry, path)
    return path


def _print(rows: list[dict[str, Any]], sizes: dict[str, dict[str, float]]) -> None:
    """Tables in Markdown: all volumes, the means, the megabytes."""
    print(_line(COLUMNS) + "\n" + _line(["---"] * len(COLUMNS)))
    for row in rows:
        mask = "expert" if row["expert"] else "pseudo"
        parts = [f"{key} {row[key]}" for key in ("dice_score", "hausdorff_score") if key in row]
        remarks = "; ".join([*parts, *([row["problem"]] if row["problem"] else [])])
        known = ("–" if row[key] is None else row[key] for key in ("dice", "hausdorff", "hausdorff95"))
        figures = (*known, row["ml"], row["reference_ml"])
        print(_line([row["method"], row["name"], mask, *figures, f"{row['seconds']:.1f}", remarks]))
    print("\n" + _line(MEANS) + "\n" + _line(["---"] * len(MEANS)))
    for method, size in sizes.items():
        for expert in (True, False):
            some = [row for row in rows if row["method"] == method and row["expert"] == expert]
            if not some:
                continue
            dices = [row["dice"] for row in some]
            cells = [
                f"{statistics.mean(dices):.3f}",
                f"{statistics.stdev(dices):.3f}" if len(dices) > 1 else "–",
                *(_mean_distance([row[key] for row in some]) for key in ("hausdorff", "hausdorff95")),
                f"{statistics.mean(row['seconds'] for row in some):.1f}",
            ]
            masks = "expert" if expert else "pseudo (TAPS)"
            megabytes = [f"{size['model_mb']:.1f}", f"{size['peak_mb']:.0f}"]
            print(_line([method, masks, len(some), *cells, *megabytes]))


def _mean_distance(distances: Sequence[float | None]) -> str:
    """The mean where something was found, and how often nothing was."""
    known = [distance for distance in distances if distance is not None]
    text = f"{statistics.mean(known):.2f}" if known else "–"
    missing = len(distances) - len(known)
    return f"{text} ({missing} without)" if missing else text


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the volumes and masks")
    parser.add_argument("--model", default="prostate-vnet", help="name in the library, or path of a bundle")
    parser.add_argument("--taps-python", type=Path, default=Path(sys.executable), help="a Python that has lavlab-taps")
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda, for both")
    parser.add_argument(
        "--observer", type=float, nargs=2, metavar=("DICE", "MM"), help="the second observer's Dice and 95 %% Hausdorff"
    )
    parser.add_argument("--wrong", type=Path, nargs="+", metavar="IMAGE", help="no prostates: are they refused?")
    parser.add_argument("--json", type=Path, help="file to write all rows to")
    return parser
