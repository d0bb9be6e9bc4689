"""Train models on several annotated volumes as a job: files in, bundles out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from SparseSegLib.batch.cluster import connect
from SparseSegLib.cohort import (
    About,
    CaseFiles,
    Cohort,
    Dataset,
    Files,
    FoldScores,
    TrainSettings,
    cross_validate,
    hold_out,
    make_dataset,
    read_examples,
    scores_as_csv,
    scores_as_json,
    split_folds,
)
from SparseSegLib.cohort.adapt import adapted, in_order_of, inherited
from SparseSegLib.control import Control
from SparseSegLib.errors import AnnotationError, JobError, SparseSegError, UsageError
from SparseSegLib.files import write_json, write_text
from SparseSegLib.io import read_labels, volume_name
from SparseSegLib.memory import prepare_for_tensors
from SparseSegLib.protocol import CHECKPOINT_FILE
from SparseSegLib.training.distributed import current_process_group
from SparseSegLib.worker.densify_task import leave_one_core_free

ABOUT = ("name", "summary", "intended_use", "data", "license", "modality")
SCORES = "folds"
LABEL_WEIGHTS = "label-weights.csv"


@dataclass(frozen=True)
class _Order:
    """The content of a job, checked."""

    cases: tuple[CaseFiles, ...]
    validation: tuple[CaseFiles, ...]
    settings: TrainSettings
    about: About
    files: Files
    bundle: str
    held_out: int
    folds: int
    fold: int | None
    cluster: str

    @property
    def split(self) -> list[list[int]]:
        """The numbers of the cases that each fold leaves out."""
        return split_folds([case.name for case in self.cases], self.folds, self.settings.seed)


def train_task(folder: Path, job: dict[str, Any], control: Control) -> tuple[dict[str, str], dict[str, Any]]:
    """Train one model, or one for each fold, on the job's files.

    Inputs: ``cases`` and optionally ``validation``, each a list of ``volumes`` (paths, the channels), ``labels``
    (path), ``name``, ``dense``, ``resample`` and ``stacked`` (bool), ``names`` (by values, or a list for 1..n) and
    ``ignore`` (see ``CaseFiles``). Settings: those of ``TrainSettings``; for the card ``name``, ``summary``,
    ``intended_use``, ``data``, ``license``, ``modality``, ``channels`` (names) and ``terminologies`` (by the class's
    name); ``bundle``, the result's name; ``held_out``, how many cases choose the weights; ``folds`` and ``fold`` for
    cross-validation, ``cluster`` (see ``connect``) to train its folds elsewhere; ``log`` (folder) and ``tensorboard``
    (bool). With ``noisy_labels`` there is a table ``label_weights``, one for each fold.
    """
    folder = folder.absolute()  # workers of a cluster are elsewhere
    order = _order(folder, job)
    if current_process_group().size == 1:
        leave_one_core_free()
    if order.folds:
        return _cross_validate(folder, order, control)
    cohort = _cohort(order, control)
    card, model = cohort.train_on(range(len(order.cases)), folder / order.bundle, order.files, control)
    if not model.label_weights:
        return {"bundle": order.bundle}, dict(card.figures)
    figures = {**card.figures, "label_weights": [asdict(weight) for weight in model.label_weights]}
    return {"bundle": order.bundle, "label_weights": LABEL_WEIGHTS}, figures


def _order(folder: Path, job: dict[str, Any]) -> _Order:
    """The job's content, checked."""
    chosen, inputs = dict(job["settings"]), job["inputs"]
    about: dict[str, Any] = {key: str(chosen.pop(key)) for key in ABOUT if key in chosen}
    channels, terminologies = chosen.pop("channels", ()), dict(chosen.pop("terminologies", {}))
    bundle = Path(str(chosen.pop("bundle", "bundle"))).name
    held_out, folds, fold = int(chosen.pop("held_out", 0)), int(chosen.pop("folds", 0)), chosen.pop("fold", None)
    log = folder / str(chosen.pop("log", "log"))
    tensorboard, cluster = bool(chosen.pop("tensorboard", False)), str(chosen.pop("cluster", ""))
    files = Files(folder / CHECKPOINT_FILE, log, tensorboard, label_weights=folder / LABEL_WEIGHTS)
    try:
        settings = TrainSettings(**chosen)
        if settings.start:
            settings, about = adapted(settings), {**inherited(settings.start), **about}
        cases = _distinct(tuple(_case(folder, case) for case in inputs["cases"]))
        validation = tuple(_case(folder, case) for case in inputs.get("validation", ()))
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise JobError(f"The job asks for something that train does not know: {error}.") from error
    if not cases:
        raise AnnotationError("There are no annotated volumes to learn from.", "Give at least one.")
    _check_split(cases, validation, settings.seed, held_out, folds, fold)
    if cluster and not folds:
        raise UsageError("A cluster trains folds, and none are asked for.", "Give the number of folds, or no cluster.")
    named = About(**about, channels=tuple(str(name) for name in channels or ()), terminologies=terminologies)
    return _Order(cases, validation, settings, named, files, bundle, held_out, folds, fold, cluster)


def _check_split(
    cases: Sequence[CaseFiles], validation: Sequence[CaseFiles], seed: int, held_out: int, folds: int, fold: Any
) -> None:
    """Raise UsageError if the cases cannot be split like this; nothing has been read yet."""
    if fold is not None and not (isinstance(fold, int) and 1 <= fold <= folds):
        raise UsageError(f"There is no fold {fold} among {folds}.", "Give folds, and a fold from 1 to their number.")
    names = [case.name for case in cases]
    left_out = split_folds(names, folds, seed) if folds else [[]]
    if held_out:
        fewest = names[max(map(len, left_out)) :]  # as many as the smallest training has
        hold_out(fewest, held_out, seed)
    known = {path.resolve() for case in cases for path in (*case.volumes, case.labels)}
    for case in validation:
        if known & {path.resolve() for path in (*case.volumes, case.labels)}:
            raise UsageError(
                f"{case.name} is among the cases to learn from, and cannot validate.",
                "Take it out of either, or give the number of cases to hold out.",
            )


def _case(folder: Path, case: dict[str, Any]) -> CaseFiles:
    volumes = tuple(folder / path for path in case["volumes"])
    return CaseFiles(
        str(case.get("name") or volume_name(volumes[0])),
        volumes,
        folder / case["labels"],
        bool(case.get("dense")),
        bool(case.get("resample")),
        bool(case.get("stacked")),
        _names(case.get("names", {})),
        None if case.get("ignore") is None else int(case["ignore"]),
        tuple(str(uid) for uid in case.get("series", ())),
    )


def _distinct(cases: Sequence[CaseFiles]) -> tuple[CaseFiles, ...]:
    """The cases with names of their own; UsageError if one is there twice under one name."""
    given = Counter((case.volumes, case.labels, case.name) for case in cases)
    for (volumes, *_), times in given.items():
        if times > 1:
            raise UsageError(f"{volumes[0]} is there {times} times.", "Give each case once.")
    seen: Counter[str] = Counter()
    found = []
    for case in cases:
        seen[case.name] += 1
        found.append(replace(case, name=f"{case.name} ({seen[case.name]})") if seen[case.name] > 1 else case)
    return tuple(found)


def _names(given: Any) -> dict[int, str]:
    """Names by value, of an object or of a list for the values 1..n."""
    pairs = given.items() if isinstance(given, Mapping) else enumerate(given, start=1)
    return {int(value): str(name) for value, name in pairs if str(name).strip()}


def _cohort(order: _Order, control: Control) -> Cohort:
    """The cohort of all cases, read from their files."""

    def on_progress(done: int) -> None:
        control.token.check()
        control.events.progress(0, 0.0, None, None, cases_read=done)

    plan, count = order.settings.plan, len(order.cases)
    cases = (*order.cases, *order.validation)
    examples, spacing = read_examples(
        cases, plan.spacing, plan.bias_field, on_progress, normalization=plan.normalization
    )
    dataset = make_dataset(examples[:count], spacing)
    if order.settings.start:
        dataset = in_order_of(order.settings.start, dataset)
    validation = make_dataset(examples[count:], spacing, dataset.names) if order.validation else None
    if validation is not None and validation.channels != dataset.channels:
        raise UsageError(
            f"The volumes for validation have {validation.channels} channels, the others {dataset.channels}.",
            "Give the same channels, in the same order, for every case.",
        )
    for text in (*_unused(order.cases, dataset), *_oddities(dataset)):
        control.events.message(text)
    about = replace(order.about, colors=_colors(order.cases))
    return Cohort(order.cases, dataset, order.settings, about, order.held_out, validation)


def _cross_validate(folder: Path, order: _Order, control: Control) -> tuple[dict[str, str], dict[str, Any]]:
    """Train the folds, and write their scores as a table and as JSON."""
    chosen = range(1, order.folds + 1) if order.fold is None else (order.fold,)
    if order.cluster:
        rows = _folds_on_cluster(chosen, folder, order, control)
    else:
        rows = cross_validate(_cohort(order, control), order.split, chosen, folder, order.files, control)
    done = sorted({row.fold for row in rows})
    files = {f"fold-{fold}": f"fold-{fold}" for fold in done}
    if order.settings.noisy_labels:
        table = Path(LABEL_WEIGHTS)
        files |= {f"label_weights-fold-{fold}": f"{table.stem}-fold-{fold}{table.suffix}" for fold in done}
    scores = {"folds": order.folds, "trained": done, **scores_as_json(rows)}
    if current_process_group().first:
        write_text(folder / f"{SCORES}.csv", scores_as_csv(rows))
        write_json(folder / f"{SCORES}.json", scores)
    figures = {"cases": len(order.cases), "folds": order.folds, "trained": done, "dice": scores["dice"]}
    return {**files, "table": f"{SCORES}.csv", "scores": f"{SCORES}.json"}, figures


def _folds_on_cluster(chosen: Sequence[int], folder: Path, order: _Order, control: Control) -> list[FoldScores]:
    """Train folds on a cluster's workers, which see the same files; a fold that fails does not stop the others."""
    rows: list[FoldScores] = []
    failed: dict[int, Exception] = {}
    with connect(order.cluster) as cluster:
        runs = cluster.run(_train_fold, chosen, folder, order, token=control.token)
        for done, (index, outcome) in enumerate(runs, start=1):
            fold = chosen[index]
            if isinstance(outcome, Exception):
                failed[fold] = outcome
            else:
                rows += outcome
            control.events.message(f"Fold {fold} of {order.folds} {'failed' if fold in failed else 'is done'}.")
            control.events.progress(0, done / len(chosen), None, None)
    for fold, error in failed.items():
        hint = error.hint if isinstance(error, SparseSegError) else ""
        raise JobError(f"Fold {fold} failed: {error}", hint or "The same command does what is missing.") from error
    return sorted(rows, key=lambda row: row.fold)


def _train_fold(fold: int, folder: Path, order: _Order) -> list[FoldScores]:
    """One fold, where a cluster has put it; its model goes into the job's folder."""
    prepare_for_tensors()
    control = Control()
    return cross_validate(_cohort(order, control), order.split, (fold,), folder, order.files, control)


def _oddities(dataset: Dataset) -> Iterator[str]:
    """Warnings: a class that is in the annotation of some cases only."""
    for value, name in enumerate(dataset.names, start=1):
        lacking = [example.name for example in dataset.examples if not (example.labels == value).any()]
        if lacking:
            yield f"{name} is not in the annotation of {', '.join(lacking[:5])}{' and others' if lacking[5:] else ''}."


def _unused(cases: Sequence[CaseFiles], dataset: Dataset) -> Iterator[str]:
    """Warnings: a structure that is named and that no case has."""
    known = {name.strip().casefold() for name in dataset.names}
    named = dict.fromkeys(name.strip() for case in cases for name in case.names.values())
    for name in named:
        if name.casefold() not in known:
            yield f"{name} is in none of the cases, and is left out."


def _colors(cases: Sequence[CaseFiles]) -> dict[str, tuple[float, float, float]]:
    """The color of each structure in the first case that has it, by its name in lower case."""
    colors: dict[str, tuple[float, float, float]] = {}
    for case in cases:
        for segment in read_labels(case.labels)[2]:
            name = case.names.get(segment.value, segment.name)
            colors.setdefault(name.strip().casefold(), segment.color)
    return colors
