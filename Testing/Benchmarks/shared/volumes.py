"""The volumes that benchmarks run on: an image, and one or several structures made of dense labels."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from SparseSegLib.errors import UsageError
from SparseSegLib.image import Volume
from SparseSegLib.io import read_labels, read_volume
from SparseSegLib.resources import sample_data

CASE13_SPACING = (1.35, 1.23, 1.23)
"""(z, y, x) mm of ``promise12_demo0``, case 13 of PROMISE12 resampled to 128 × 128 × 32; wrong in its file."""


@dataclass(frozen=True)
class Case:
    """One volume of a benchmark.

    Attributes
    ----------
    name : what tables call it
    image, labels : files
    values : which label values are the object (``5``, ``1+2`` or ``>127``), or each of several (``1/2/3+4``)
    cut : whether the volume ends at the middle of the objects, along its first axis, which then touch the border
    spacing : (z, y, x) mm, where that of the file is known to be wrong
    """

    name: str
    image: Path
    labels: Path
    values: str = ">0"
    cut: bool = False
    spacing: tuple[float, float, float] | None = None

    @classmethod
    def parse(cls, text: str) -> Case:
        """From ``NAME=IMAGE,LABELS[,VALUES]``."""
        match = re.fullmatch(r"([^=]+)=([^,]+),([^,]+)(?:,(.+))?", text)
        if match is None:
            raise UsageError(f"{text} is no volume.", "Write NAME=IMAGE,LABELS or NAME=IMAGE,LABELS,VALUES.")
        name, image, labels, values = match.groups()
        return cls(name, Path(image), Path(labels), values or ">0")

    def load(self) -> tuple[Volume, np.ndarray]:
        """The volume, and the objects as ``(Z, Y, X)`` uint8: 1, 2 and so on."""
        labels, _, _ = read_labels(self.labels)
        truth = np.zeros(labels.shape, np.uint8)
        for number, values in enumerate(self.values.split("/"), start=1):
            if values.startswith(">"):
                truth[labels > float(values[1:])] = number
            else:
                truth[np.isin(labels, [int(value) for value in values.split("+")])] = number
        volume = read_volume(self.image)
        if self.spacing is not None:
            volume = replace(volume, geometry=replace(volume.geometry, spacing=self.spacing))
        if self.cut:
            middle = int(np.nonzero(truth.any((1, 2)))[0].mean())
            box = slice(0, middle), slice(0, truth.shape[1]), slice(0, truth.shape[2])
            volume, truth = volume.crop(box), truth[box]
        return volume, truth


def development_cases(folder: Path) -> list[Case]:
    """The usual volumes, from a folder with mni152/, nuclei3d/, hippocampus/, prostate/ and ct_abdomen/."""
    hippocampus = "hippocampus_001.nii.gz"
    return [
        Case("white matter", folder / "mni152/t1.nii.gz", folder / "mni152/wm.nii.gz", ">127"),
        Case("nuclei", folder / "nuclei3d/image.tif", folder / "nuclei3d/instances.tif"),
        Case("hippocampus", folder / "hippocampus/images" / hippocampus, folder / "hippocampus/labels" / hippocampus),
        Case(
            "prostate",
            folder / "prostate/promise12_demo0_t2.nii.gz",
            folder / "prostate/promise12_demo0_prostate.nii.gz",
            spacing=CASE13_SPACING,
        ),
        Case("liver", folder / "ct_abdomen/ct.nii.gz", folder / "ct_abdomen/organs.nii.gz", "5"),
    ]


def special_cases(folder: Path) -> list[Case]:
    """Special volumes: several classes, thick slices, several pieces, objects at the border."""
    hippocampus, ct = "hippocampus_001.nii.gz", folder / "ct_abdomen"
    prostate = folder / "prostate"
    return [
        Case(
            "two parts", folder / "hippocampus/images" / hippocampus, folder / "hippocampus/labels" / hippocampus, "1/2"
        ),
        Case("four organs", ct / "ct.nii.gz", ct / "organs.nii.gz", "5/1/2/3"),
        Case("thick slices", prostate / "nci_0_t2.nii.gz", prostate / "nci_0_pseudo_prostate.nii.gz"),
        Case("two kidneys", ct / "ct.nii.gz", ct / "organs.nii.gz", "2+3"),
        Case("cut liver", ct / "ct.nii.gz", ct / "organs.nii.gz", "5", cut=True),
    ]


def add_volume_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which volumes to run on."""
    parser.add_argument("--data", type=Path, help="folder with the usual development volumes")
    special = "instead of the usual ones: several classes, thick slices, several pieces, at the border"
    parser.add_argument("--special", action="store_true", help=special)
    parser.add_argument("--cases", nargs="+", metavar="NAME", help="of the volumes in --data, only these")
    parser.add_argument(
        "--volume",
        action="append",
        default=[],
        metavar="NAME=IMAGE,LABELS[,VALUES]",
        help="a volume of your own; without any, and without --data, the MR volume that comes with SparseSeg",
    )


def chosen_cases(arguments: argparse.Namespace) -> list[Case]:
    """The volumes that the arguments name."""
    cases = []
    if arguments.data:
        cases = special_cases(arguments.data) if arguments.special else development_cases(arguments.data)
        cases = [case for case in cases if not arguments.cases or case.name in arguments.cases]
    cases += [Case.parse(text) for text in arguments.volume]
    return cases or [shipped_case()]


def shipped_case() -> Case:
    """The MR volume and its white matter that come with SparseSeg."""
    return Case("white matter", sample_data("mni152_t1.nrrd"), sample_data("mni152_white_matter.nrrd"))
