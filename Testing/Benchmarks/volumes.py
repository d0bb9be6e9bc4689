"""The volumes that benchmarks run on: an image, and a mask made of dense labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SparseSegLib.errors import UsageError
from SparseSegLib.io import read_labels, read_volume
from SparseSegLib.volume import Volume


@dataclass(frozen=True)
class Case:
    """One volume of a benchmark: files, and which label values are the object (``5``, ``1+2`` or ``>127``)."""

    name: str
    image: Path
    labels: Path
    values: str = ">0"

    @classmethod
    def parse(cls, text: str) -> Case:
        """From ``NAME=IMAGE,LABELS[,VALUES]``."""
        match = re.fullmatch(r"([^=]+)=([^,]+),([^,]+)(?:,(.+))?", text)
        if match is None:
            raise UsageError(f"{text} is no volume.", "Write NAME=IMAGE,LABELS or NAME=IMAGE,LABELS,VALUES.")
        name, image, labels, values = match.groups()
        return cls(name, Path(image), Path(labels), values or ">0")

    def load(self) -> tuple[Volume, np.ndarray]:
        """The volume, and the object as ``(Z, Y, X)`` uint8."""
        labels, _, _ = read_labels(self.labels)
        if self.values.startswith(">"):
            mask = labels > float(self.values[1:])
        else:
            mask = np.isin(labels, [int(value) for value in self.values.split("+")])
        return read_volume(self.image), mask.astype(np.uint8)


def development_cases(folder: Path) -> list[Case]:
    """The usual volumes, from a folder that holds mni152/, nuclei3d/, hippocampus/, prostate/ and ct_abdomen/."""
    hippocampus = "hippocampus_001.nii.gz"
    return [
        Case("white matter", folder / "mni152/t1.nii.gz", folder / "mni152/wm.nii.gz", ">127"),
        Case("nuclei", folder / "nuclei3d/image.tif", folder / "nuclei3d/instances.tif"),
        Case("hippocampus", folder / "hippocampus/images" / hippocampus, folder / "hippocampus/labels" / hippocampus),
        Case(
            "prostate",
            folder / "prostate/promise12_demo0_t2.nii.gz",
            folder / "prostate/promise12_demo0_prostate.nii.gz",
        ),
        Case("liver", folder / "ct_abdomen/ct.nii.gz", folder / "ct_abdomen/organs.nii.gz", "5"),
    ]
