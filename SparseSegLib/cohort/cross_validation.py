"""Cross-validation: each fold is segmented by a model that learned from all the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from SparseSegLib.cohort.cohort import Cohort
from SparseSegLib.cohort.scoring import CaseScores
from SparseSegLib.cohort.trainer import Files
from SparseSegLib.control import Control
from SparseSegLib.training.distributed import current_team


def cross_validate(
    cohort: Cohort,
    folds: Sequence[Sequence[int]],
    chosen: Sequence[int],
    folder: Path,
    files: Files,
    control: Control,
) -> list[CaseScores]:
    """Train a model for each fold on the cases of all others, and score it on the fold's own.

    Parameters
    ----------
    cohort : Cohort
    folds : numbers of the cases that each fold leaves out
    chosen : which folds to train, from 1
    folder : where the bundles ``fold-1``, ``fold-2`` … come to lie; in the first process of a team
    files : a checkpoint ``c.pt`` and a log folder ``l`` become ``c-fold-1.pt`` and ``l/fold-1`` and so on
    control : ``stop`` finishes the present training and leaves out the folds that come after it

    Returns
    -------
    The scores of the cases that were left out, in the first process of a team; nothing in the others.
    """
    rows: list[CaseScores] = []
    for fold in chosen:
        left_out = folds[fold - 1]
        others = [number for number in range(len(cohort.files)) if number not in left_out]
        control.events.message(f"Fold {fold} of {len(folds)}: {len(others)} cases to learn from.")
        own, name = _own(files, fold), f"{cohort.about.name} fold {fold}"
        card, model = cohort.train_on(others, folder / f"fold-{fold}", own, control, name)
        if current_team().first:
            rows += cohort.score(fold, left_out, card, model, control)
        if current_team().agree(control.token.stopped):
            break
    return rows


def _own(files: Files, fold: int) -> Files:
    """The files of one fold."""
    checkpoint, log = files.checkpoint, files.log
    return replace(
        files,
        checkpoint=checkpoint and checkpoint.with_name(f"{checkpoint.stem}-fold-{fold}{checkpoint.suffix}"),
        log=log and log / f"fold-{fold}",
    )
