"""``sparseseg train``: from several annotated volumes to a model."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from SparseSegLib.cli.arguments import LARGEST_SEED, add_card_texts, add_series, chosen_series, positive, whole
from SparseSegLib.cli.console import Console
from SparseSegLib.cli.outputs import check_folder, check_outputs, note_outputs
from SparseSegLib.cli.train_cases import about_data, cases_of
from SparseSegLib.cli.train_distributed import in_process_group, train_distributed
from SparseSegLib.cli.work_folder import WorkFolder, work_folder
from SparseSegLib.cli.working import finish_job
from SparseSegLib.errors import UsageError
from SparseSegLib.files import atomic_path
from SparseSegLib.io import volume_name
from SparseSegLib.jobs import Job, write_job
from SparseSegLib.models import ModelLibrary, copy_bundle
from SparseSegLib.models.files import is_bundle

SHOWN = 5  # cases with labels to look at again
LIGHT = 0.5  # relative to equal weights: below, labels are worth a look
RECIPES = "usual, milletari2016, milletari2016-logistic or myronenko2018"
NAME = "train"
SUMMARY = "train a model on several annotated volumes"
DESCRIPTION = """\
Train one network on several volumes, each annotated on a few slices or all over, to segment volumes that nobody
annotated.

  sparseseg train --sparse a.nrrd,a-drawn.seg.nrrd b.nrrd,b-drawn.seg.nrrd -o liver/
  sparseseg train --sparse study/ -o liver.zip --seconds 3600       study/images/X and study/labels/X belong together
  sparseseg train --dense study/ -o liver/                          labels of every voxel
  sparseseg train --dense Task09_Spleen/dataset.json -o spleen/     as in the Medical Segmentation Decathlon
  sparseseg train --sparse study/ -o liver/ --job work/             keep the job; run again, or longer, to go on
  sparseseg train --dense study/ -o liver/ --validate 4 --log log/  4 volumes choose the weights; log/training.csv
  sparseseg train --dense study/ -o folds/ --folds 5                cross-validation: 5 models, folds.csv
  sparseseg train --dense study/ -o folds/ --folds 5 --cluster tcp://head:8786       a fold on each Dask worker
  sparseseg train --dense study/ -o prostate/ --recipe milletari2016          the V-Net paper; needs a GPU
  sparseseg train --dense brats/dataset.json -o tumor/ --recipe myronenko2018 --regions nested      the BraTS winner
  sparseseg train --dense study/ -o liver/ --noisy-labels           also reports whose labels to look at again
  sparseseg train --sparse mine/ -o liver-mine/ --start liver --seconds 120     a model, adapted to these volumes
  torchrun --nproc-per-node 4 -m SparseSegLib.cli train --dense study/ -o liver/        4 GPUs

A case is IMAGE,LABELS, or T1,T2,LABELS for two channels. Labels are as for sparseseg densify; segments of the same name
are the same structure. All volumes are brought to one orientation and spacing. Use the model with sparseseg segment."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    kinds = parser.add_argument_group("what to learn from")
    text = "IMAGE,LABELS pairs, a folder with images/ and labels/, or a dataset.json"
    kinds.add_argument("--sparse", nargs="+", default=[], metavar="CASE", help=f"sparsely annotated: {text}")
    kinds.add_argument("--dense", nargs="+", default=[], metavar="CASE", help=f"annotated all over: {text}")
    add_series(kinds)
    kinds.add_argument("--resample", action="store_true", help="bring labels of another grid to their volume's")
    kinds.add_argument(
        "--validate",
        metavar="N|CASE",
        help="choose the best weights by N of the cases, or by others: then they are dense if --sparse is not given",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="BUNDLE", help="folder or .zip to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a model that is there already")
    parser.add_argument("--add", action="store_true", help="also put the model into your library")
    card = parser.add_argument_group("the model's card")
    card.add_argument("--name", help="name of the model (default: the output's)")
    add_card_texts(card)
    _add_training(parser.add_argument_group("how to train"))


def _add_training(how: argparse._ArgumentGroup) -> None:
    start = "begin with the weights of a model of your library, or of a bundle: adapt it to your own scanner"
    how.add_argument("--start", metavar="MODEL", help=start)
    how.add_argument("--recipe", default="usual", help=f"{RECIPES} (default: usual)")
    networks = "unet3d-half, unet3d-small, unet3d, vnet-small, vnet and others (default: the recipe's)"
    how.add_argument("--network", help=networks)
    regions = "nested regions: nested (each contains all after it), or sums of names, as in edema+core core"
    how.add_argument("--regions", nargs="+", metavar="REGION", help=regions)
    spacing = "mm to work at (default: the recipe's; usual: the median)"
    how.add_argument("--spacing", type=positive, nargs=3, metavar=("X", "Y", "Z"), help=spacing)
    patch = "voxels of the network's input (default: the recipe's; usual: what suits the volumes)"
    how.add_argument("--patch", type=whole(1), nargs=3, metavar=("X", "Y", "Z"), help=patch)
    how.add_argument("--batch", type=whole(1), help="patches per step and process (default: the recipe's; usual: 1)")
    noisy = "give labels that look wrong a lower weight, and write a table of the weight of each case"
    how.add_argument("--noisy-labels", action="store_true", help=noisy)
    normalization = "of gray values: percentiles, or nonzero for skull-stripped images (default: the recipe's)"
    how.add_argument("--normalization", help=normalization)
    bias_field = "none, or n4: correct it in every volume, here and before a prediction (default: the recipe's)"
    how.add_argument("--bias-field", help=bias_field)
    mirror = "learn from mirrored images too; not for left and right (default: the recipe's)"
    how.add_argument("--mirror", action=argparse.BooleanOptionalAction, help=mirror)
    budget = how.add_mutually_exclusive_group()
    seconds = "budget of the training in seconds (default: the recipe's; usual: 600)"
    budget.add_argument("--seconds", type=positive, help=seconds)
    budget.add_argument(
        "--steps", type=whole(1), help="budget in training steps instead; repeatable with the same --seed"
    )
    how.add_argument("--seed", type=whole(0, LARGEST_SEED), default=0)
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    how.add_argument("--precision", default="auto", help="auto, float32 or bf16 (default: bf16 on GPUs that have it)")
    how.add_argument(
        "--folds", type=whole(0), default=0, metavar="K", help="cross-validate: K models, scored on the rest"
    )
    how.add_argument("--fold", type=whole(1), metavar="N", help="of these, train only this one (1 to K)")
    cluster = "with --folds: train them on Dask workers: local:N, tcp://HOST:PORT or a scheduler file; see cluster.md"
    how.add_argument("--cluster", metavar="WHERE", help=cluster)
    how.add_argument("--log", type=Path, metavar="FOLDER", help="write training.csv there")
    how.add_argument("--tensorboard", action="store_true", help="with --log: write for TensorBoard, too")
    how.add_argument("--job", type=Path, help="folder to work in and keep; a later run with it goes on from there")


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Train, in a job or as one of several processes, and put what comes out where it is wanted."""
    inputs = _inputs(arguments, console)
    _check(arguments, _sources(inputs))
    settings = _settings(arguments)
    with work_folder(arguments.job) as work:
        if in_process_group():
            ending = train_distributed(work.path, inputs, settings, console)
        else:
            write_job(work.path, "train", inputs, settings)
            try:
                ending = finish_job(Job(work.path), console)
            finally:
                work.keep = any(is_bundle(path) for path in work.path.iterdir())
        result = None if ending is None else _deliver(ending, work, arguments)
    if result is not None:
        console.result(*result)


def _sources(inputs: dict[str, Any]) -> list[Path]:
    """All files and folders that are read."""
    cases = [*inputs["cases"], *inputs.get("validation", ())]
    return [Path(path) for case in cases for path in (*case["volumes"], case["labels"])]


def _check(arguments: argparse.Namespace, sources: Sequence[Path]) -> None:
    """Raise UsageError for arguments that do not go together, before any work."""
    output = arguments.output
    if arguments.folds:
        if output.suffix.lower() == ".zip" or output.is_file():
            raise UsageError("Cross-validation makes several models.", "Give a folder as the output.")
        if arguments.add:
            raise UsageError("Cross-validation makes several models, which are not added to the library.")
    elif output.is_dir() and not (output / "model.json").is_file() and any(output.iterdir()):
        raise UsageError(f"{output} has other files in it.", "Choose a new folder.")
    elif output.is_file() and output.suffix.lower() != ".zip":
        raise UsageError(f"{output} is a file.", "Choose a new folder, or a name that ends in .zip.")
    _check_output(arguments, sources)
    if _held_out(arguments) == 0:
        raise UsageError("No case would validate.", "Give --validate 1 or more, cases of their own, or leave it out.")
    if arguments.cluster and not arguments.folds:
        raise UsageError("A cluster trains the folds of a cross-validation.", "Give --folds, or leave --cluster out.")
    if arguments.tensorboard and arguments.log is None:
        raise UsageError("TensorBoard needs a folder.", "Give one with --log.")
    if arguments.add:
        _check_name(arguments.name or volume_name(output))


def _check_output(arguments: argparse.Namespace, sources: Sequence[Path]) -> None:
    """Refuse an output that cannot be written, or that would replace something."""
    output = arguments.output
    start = [ModelLibrary().find(arguments.start).path] if arguments.start else []
    new = arguments.folds or (output.is_dir() and not any(output.iterdir()))
    table = [] if arguments.folds or not arguments.noisy_labels else [_weights_table(output)]
    check_outputs(
        [output, *table],
        [*sources, *start],
        overwrite=arguments.overwrite or bool(new),
        folders=output.suffix.lower() != ".zip",
        job=arguments.job,
    )
    if arguments.folds and output.is_dir() and not arguments.overwrite:
        folds = range(1, arguments.folds + 1) if arguments.fold is None else [arguments.fold]
        tables = [output / f"folds{_fold_ending(arguments)}{suffix}" for suffix in (".csv", ".json")]
        check_outputs([*(output / f"fold-{fold}" for fold in folds), *tables], folders=True, job=arguments.job)
    if arguments.log is not None:
        check_folder(next(one for one in (arguments.log, *arguments.log.absolute().parents) if one.exists()))


def _held_out(arguments: argparse.Namespace) -> int | None:
    """The number of cases held out for validation; None if others validate, or none."""
    return int(arguments.validate) if (arguments.validate or "").isdecimal() else None


def _check_name(name: str) -> None:
    if any(entry.name.casefold() == name.casefold() for entry in ModelLibrary().entries() if not entry.shipped):
        raise UsageError(f"Your library has a model {name} already.", "Choose another --name, or remove it first.")


def _inputs(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The cases to learn from and, unless they are among these, to validate with."""

    def cases(given: list[str], dense: bool) -> list[dict[str, Any]]:
        found = [case for one in given for case in cases_of(one, console)]
        return [{**case, "dense": dense, "resample": arguments.resample} for case in found]

    inputs = {"cases": [*cases(arguments.sparse, False), *cases(arguments.dense, True)]}
    if not inputs["cases"]:
        raise UsageError("There is nothing to learn from.", "Give cases with --sparse or --dense.")
    if arguments.validate and _held_out(arguments) is None:
        inputs["validation"] = cases([arguments.validate], not arguments.sparse)
    if arguments.series:
        every = [*inputs["cases"], *inputs.get("validation", ())]
        for case, series in zip(every, chosen_series([c["volumes"] for c in every], arguments.series), strict=True):
            case["series"] = series
    return inputs


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    described = about_data([*arguments.dense, *arguments.sparse])
    settings = {
        "name": arguments.name or volume_name(arguments.output),
        "summary": arguments.summary,
        "intended_use": arguments.intended_use,
        "data": arguments.data or described.get("data"),
        "channels": described.get("channels"),
        "license": arguments.license,
        "modality": arguments.modality,
        "recipe": arguments.recipe,
        "network": arguments.network,
        "start": arguments.start and str(ModelLibrary().find(arguments.start).path.absolute()),
        "regions": arguments.regions or described.get("regions") or None,
        "spacing": arguments.spacing and arguments.spacing[::-1],
        "patch": arguments.patch and arguments.patch[::-1],
        "batch": arguments.batch,
        "noisy_labels": arguments.noisy_labels,
        "normalization": arguments.normalization,
        "bias_field": arguments.bias_field,
        "mirror": arguments.mirror,
        "budget_seconds": arguments.seconds,
        "budget_steps": arguments.steps,
        "seed": arguments.seed,
        "device": arguments.device,
        "precision": arguments.precision,
        "held_out": _held_out(arguments),
        "folds": arguments.folds or None,
        "fold": arguments.fold,
        "cluster": arguments.cluster,
        "log": arguments.log and str(arguments.log.absolute()),
        "tensorboard": arguments.tensorboard or None,
    }
    return {key: value for key, value in settings.items() if value is not None}


def _deliver(ending: dict[str, Any], work: WorkFolder, arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Copy the results out of the job's folder; what came out, for programs and for people."""
    output, files, folder = arguments.output, ending["files"], work.path
    work.keep = True
    figures = {**ending["figures"], "output": str(output)}
    if arguments.folds:
        output.mkdir(exist_ok=True)
        for name in (name for name in files if name.startswith("fold-")):
            copy_bundle(folder / files[name], output / files[name])
            note_outputs(folder, [output / files[name]])
        for name in ("table", "scores"):
            source = Path(files[name])
            target = output / f"{source.stem}{_fold_ending(arguments)}{source.suffix}"
            _copy(folder / source, target)
            note_outputs(folder, [target])
        for name in (name for name in files if name.startswith("label_weights")):
            _copy(folder / files[name], output / files[name])
        lines = [f"{name}: Dice {_mean(found)}" for name, found in figures["dice"].items()]
        return figures, "\n".join([f"{output}: {len(figures['trained'])} folds", *lines])
    copy_bundle(folder / files["bundle"], output)
    note_outputs(folder, [output])
    if arguments.add:
        ModelLibrary().add(output)
    loss = f", loss {figures['loss']:.3f}" if "loss" in figures else ""
    best = f", validation Dice {figures['validation_dice']:.3f}" if "validation_dice" in figures else ""
    text = f"{output}: {figures['cases']} cases, {figures['steps']} steps in {figures['seconds']:.0f} s{loss}{best}"
    if "label_weights" in files:
        table = _weights_table(output)
        _copy(folder / files["label_weights"], table)
        note_outputs(folder, [table])
        text += f"\n{table}: {_least_trusted(figures['label_weights'])}"
    return figures, text


def _fold_ending(arguments: argparse.Namespace) -> str:
    """The suffix of the tables of a single fold."""
    return "" if arguments.fold is None else f"-{arguments.fold}"


def _weights_table(output: Path) -> Path:
    """The path of the table of the labels' weights: beside the model."""
    return output.with_name(f"{volume_name(output)}-label-weights.csv")


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as path:
        shutil.copyfile(source, path)


def _least_trusted(weights: list[dict[str, Any]]) -> str:
    """The cases with the lowest label weights, from the table, which is sorted by weight."""
    light = [f"{row['case']} {row['mean']:.2f}" for row in weights if row["mean"] < LIGHT]
    if not light:
        return "no case's labels have a much lower weight than others"
    others = " and others" if light[SHOWN:] else ""
    return f"look at the labels of {', '.join(light[:SHOWN])}{others} (1 is the mean weight)"


def _mean(found: dict[str, Any]) -> str:
    deviation = "" if found["deviation"] is None else f" ± {found['deviation']:.3f}"
    return f"{found['mean']:.3f}{deviation}"
