"""The prostates that the model is trained and measured on: T2 volumes with masks, in one folder.

``NAME_t2.nii.gz`` and ``NAME_prostate.nii.gz`` (an expert's outline) or ``NAME_pseudo_prostate.nii.gz`` (another
model's) belong together; ``.nrrd`` and ``.mha`` will do as well. Cases whose name begins with ``promise12`` are never
learned from by prostate_training.py. The file of one of them, case 13 of PROMISE12, has a wrong spacing, which is
mended here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from Benchmarks.shared.volumes import CASE13_SPACING
from Experiments.synthesis import Anatomy, tissue_map

from SparseSegLib.errors import FileError, UsageError
from SparseSegLib.image import Geometry, Volume, resample
from SparseSegLib.io import read_labels, read_volume
from SparseSegLib.models import Preprocessing
from SparseSegLib.preprocessing.for_model import prepare_for

ENDINGS = (".nii.gz", ".nrrd", ".mha", ".nii")
TEST_ONLY = "promise12"
TRUE_SPACINGS = {"promise12_demo0": CASE13_SPACING}
"""(z, y, x) mm of cases whose files have a wrong spacing."""


@dataclass(frozen=True)
class ProstateCase:
    """A volume and its mask; ``expert`` is whether a person drew it."""

    name: str
    image: Path
    mask: Path
    expert: bool

    @property
    def for_training(self) -> bool:
        """Whether a model may learn from it, or be chosen by it."""
        return not self.name.casefold().startswith(TEST_ONLY)

    def volume(self) -> Volume:
        """The image, with its true spacing."""
        volume = read_volume(self.image)
        return replace(volume, geometry=self._mended(volume.geometry))

    def truth(self) -> tuple[np.ndarray, Geometry]:
        """The mask ``(Z, Y, X)`` uint8, 0 or 1, and its grid."""
        labels, geometry, _ = read_labels(self.mask)
        return (labels > 0).astype(np.uint8), self._mended(geometry)

    @property
    def mended(self) -> bool:
        """Whether its files have a wrong spacing."""
        return self.name in TRUE_SPACINGS

    def _mended(self, geometry: Geometry) -> Geometry:
        return replace(geometry, spacing=TRUE_SPACINGS[self.name]) if self.mended else geometry


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A preprocessed case: image (1, Z, Y, X) float32 and mask (Z, Y, X) bool on ``grid``."""

    name: str
    image: torch.Tensor
    mask: np.ndarray
    grid: Geometry


def find_cases(folder: Path) -> list[ProstateCase]:
    """All cases in a folder, by name; FileError if there are none."""
    cases = []
    for image in sorted(folder.glob("*_t2.*")):
        name, ending = image.name.split("_t2.", 1)[0], "." + image.name.split("_t2.", 1)[1]
        if ending not in ENDINGS:
            continue
        for expert, part in ((True, "prostate"), (False, "pseudo_prostate")):
            mask = image.with_name(f"{name}_{part}{ending}")
            if mask.exists():
                cases.append(ProstateCase(name, image, mask, expert))
                break
    if not cases:
        raise FileError(f"There are no prostates in {folder}.", "It needs NAME_t2.nii.gz and NAME_prostate.nii.gz.")
    return cases


def split_cases(cases: Sequence[ProstateCase], holdout: Sequence[str]) -> tuple[list[ProstateCase], list[ProstateCase]]:
    """The cases to learn from, and those to choose the weights by; a case for testing only is in neither.

    Raises UsageError where a held-out case is unknown or for testing only, or nothing is left to learn from.
    """
    usable = {case.name: case for case in cases if case.for_training}
    unknown = [name for name in holdout if name not in usable]
    if unknown:
        raise UsageError(f"{unknown[0]} cannot be held out.", f"Choose among {', '.join(usable)}.")
    train = [case for case in usable.values() if case.name not in holdout]
    if not train:
        raise UsageError("No volume is left to learn from.", "Hold out fewer.")
    return train, [usable[name] for name in holdout]


def prepare_case(case: ProstateCase, preprocessing: Preprocessing) -> PreparedCase:
    """Read a case and bring it to the model's grid."""
    image, grid = prepare_for(case.volume(), preprocessing)
    truth, geometry = case.truth()
    mask = resample(truth.astype(np.float32), geometry, grid) >= 0.5
    return PreparedCase(case.name, image, mask, grid)


def anatomy_of(case: PreparedCase, seed: int) -> Anatomy:
    """The anatomy that samples are generated from."""
    image = case.image[0]
    tissues = tissue_map(image.numpy(), case.mask, case.grid.spacing, np.random.default_rng(seed))
    return Anatomy.of(tissues, case.mask, image)
