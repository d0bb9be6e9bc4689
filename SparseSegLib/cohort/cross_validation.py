"""Cross-validation: each fold is segmented by a model trained on all the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from SparseSegLib.cohort.cohort import Cohort
from SparseSegLib.cohort.scoring import FoldScores
from SparseSegLib.cohort.trainer import Files
from SparseSegLib.control import Control
from SparseSegLib.training.distributed import current_process_group


def cross_validate(
    cohort: Cohort,
    folds: Sequence[Sequence[int]],
    chosen: Sequence[int],
    folder: Path,
    files: Files,
    control: Control,
) -> list[FoldScores]:
    """Train a model for each fold on the cases of all others, and score it on the fold's own.

    Parameters
    ----------
    cohort : Cohort
    folds : numbers of the cases that each fold leaves out
    chosen : which folds to train, from 1
    folder : where the bundles ``fold-1``, ``fold-2`` … are written; by the first of several processes
    files : a checkpoint ``c.pt`` and a log folder ``l`` become ``c-fold-1.pt`` and ``l/fold-1`` and so on; the table of
        the labels' weights as the checkpoint
    control : ``stop`` finishes the present training and leaves out the folds that come after it

    Returns
    -------
    The scores of the cases that were left out, in the first of several processes; nothing in the others.

    Raises
    ------
    AnnotationError
        If a fold leaves no structure to learn; before any is trained.
    """
    rows: list[FoldScores] = []
    kept = {fold: [n for n in range(len(cohort.files)) if n not in folds[fold - 1]] for fold in chosen}
    for others in kept.values():
        cohort.split(others)  # the last fold's error should not come after hours
    for fold, others in kept.items():
        control.events.message(f"Fold {fold} of {len(folds)}: {len(others)} cases to learn from.")
        own, name = _own(files, fold), f"{cohort.about.name} fold {fold}"
        card, model = cohort.train_on(others, folder / f"fold-{fold}", own, control, name)
        if current_process_group().first:
            rows += cohort.score(fold, folds[fold - 1], card, model, control)
        if current_process_group().broadcast(control.token.stopped):
            break
    return rows


def _own(files: Files, fold: int) -> Files:
    """The files of one fold; its training never starts with weights that may have seen the cases that it leaves out."""

    def named(path: Path | None) -> Path | None:
        return path and path.with_name(f"{path.stem}-fold-{fold}{path.suffix}")

    return replace(
        files,
        checkpoint=named(files.checkpoint),
        log=files.log and files.log / f"fold-{fold}",
        warm_start=False,
        label_weights=named(files.label_weights),
    )
