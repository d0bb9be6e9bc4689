"""Prostates with experts' masks from several centers, ready to be learned from, and the folds of a cross-validation."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from Experiments.prostate.cases import ProstateCase, find_cases
from Experiments.prostate.middle import normalize_by_middle

from SparseSegLib.errors import FileError, UsageError
from SparseSegLib.image import Geometry, resample
from SparseSegLib.preprocessing.grid import Spacing, on_grid, working_grid

CENTERS = "cases.csv"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Patient:
    """A case with an expert's mask, and the center that it was scanned at."""

    case: ProstateCase
    center: str

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.case.name


@dataclass(frozen=True, eq=False)
class Prepared:
    """A patient on the network's grid.

    Attributes
    ----------
    image : (Z, Y, X) float32, normalized by the middle, over the whole field of view
    inside : (Z, Y, X) float32, the fraction of a voxel that the mask fills
    grid : Geometry
    """

    patient: Patient
    image: torch.Tensor
    inside: torch.Tensor
    grid: Geometry


def find_patients(folder: Path) -> list[Patient]:
    """All cases of a folder that an expert outlined, by name; their centers are in its ``cases.csv``, if there is one.

    That table has the columns ``case``, a number, as in ``caseNN_t2``, and ``centre``.

    Raises FileError if there are none.
    """
    cases = [case for case in find_cases(folder) if case.expert]
    if not cases:
        raise FileError(f"No expert's mask is in {folder}.", "It needs NAME_t2.nii.gz and NAME_prostate.nii.gz.")
    centers: dict[str, str] = {}
    if (folder / CENTERS).exists():
        with open(folder / CENTERS, encoding="utf-8", newline="") as file:
            centers = {f"case{int(row['case']):02d}": row["centre"] for row in csv.DictReader(file)}
    return [Patient(case, centers.get(case.name, UNKNOWN)) for case in cases]


def chosen_patients(folder: Path, names: Sequence[str]) -> list[Patient]:
    """The patients of a folder that have these names; UsageError if it lacks one."""
    known = {one.name: one for one in find_patients(folder)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"There is no patient {unknown[0]} in {folder}.", f"Choose among {', '.join(known)}.")
    return [known[name] for name in names]


def stratified_folds(patients: Sequence[Patient], count: int, seed: int) -> list[list[Patient]]:
    """The patients that each fold leaves out: every center is spread over all folds as evenly as can be."""
    rng = np.random.default_rng(seed)
    folds: list[list[Patient]] = [[] for _ in range(count)]
    place = 0
    for center in sorted({patient.center for patient in patients}):
        members = sorted((patient for patient in patients if patient.center == center), key=lambda each: each.name)
        for number in rng.permutation(len(members)):
            folds[place % count].append(members[number])
            place += 1
    return [sorted(fold, key=lambda each: each.name) for fold in folds]


def prepare_patient(patient: Patient, spacing: Spacing, middle: Sequence[int]) -> Prepared:
    """Read a patient and bring it to the grid of ``spacing`` (z, y, x; mm); ``middle`` is (y, x) voxels of it."""
    volume = patient.case.volume()
    grid = working_grid(volume.geometry, spacing)
    image = normalize_by_middle(torch.from_numpy(on_grid(volume, grid)), middle)[0]
    mask, geometry = patient.case.truth()
    inside = torch.from_numpy(resample(mask.astype(np.float32), geometry, grid))
    return Prepared(patient, image, inside, grid)
