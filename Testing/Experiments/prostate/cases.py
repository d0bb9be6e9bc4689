"""The prostates that the model is trained and measured on: T2 volumes with masks, in one folder.

``NAME_t2.nii.gz`` and ``NAME_prostate.nii.gz`` (an expert's outline) or ``NAME_pseudo_prostate.nii.gz`` (another
model's) belong together; ``.nrrd`` and ``.mha`` will do as well. The file of one case, case 13 of PROMISE12, has a
wrong spacing in one collection, which is mended here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from Benchmarks.shared.volumes import CASE13_SPACING

from SparseSegLib.errors import FileError
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.io import read_labels, read_volume

ENDINGS = (".nii.gz", ".nrrd", ".mha", ".nii")
TRUE_SPACINGS = {"promise12_demo0": CASE13_SPACING}
"""(z, y, x) mm of cases whose files have a wrong spacing."""


@dataclass(frozen=True)
class ProstateCase:
    """A volume and its mask; ``expert`` is whether a person drew it."""

    name: str
    image: Path
    mask: Path
    expert: bool

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
