"""The card of the prostate model: its grid, its network, its expectations, its texts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from datetime import date

from Experiments.prostate.cases import ProstateCase

from SparseSegLib.models import ModelCard, ModelLabel, Preprocessing
from SparseSegLib.models.card import Expectations

LAYER = "left.4"  # the network's coarsest stage, whose features are checked
TERMINOLOGY = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
    "~SCT^41216001^Prostate~^^~Anatomic codes - DICOM master list~^^~^^"
)
EXPECTATIONS = Expectations(
    image="an axial T2 MRI of the prostate",
    extent_low=(30.0, 90.0, 90.0),
    extent_high=(160.0, 420.0, 420.0),
    negative=0.2,
    smoothness=0.6,
    volume=(8.0, 250.0),
    confidence=0.8,
    compactness=0.6,
    off_center=60.0,
    agreement=0.8,
)
CARD = ModelCard(
    name="prostate-vnet",
    network="vnet-small",
    preprocessing=Preprocessing((3.0, 2.0, 2.0), ("T2",), bias_field="n4"),
    window=(32, 96, 96),
    modality="MR",
    labels=(ModelLabel(1, "prostate", (0.9, 0.62, 0.55), TERMINOLOGY),),
    summary="The prostate as a whole on axial T2-weighted MRI, by a narrow V-Net (Milletari et al. 2016).",
    intended_use=(
        "Research: a first outline of the prostate, to be looked at and corrected. Not for clinical use. It learned "
        "from few volumes of two sources, against another model's masks: expect mistakes at apex and base, with an "
        "endorectal coil, after treatment, and with large or unusual prostates. Images that look unlike a T2 MRI of "
        "the prostate are refused as far as that is noticed."
    ),
    license="CC BY 4.0, as the volumes that it learned from; name these.",
    mirrored=True,
    mirrored_axes="x",
    postprocessing=("largest_component",),
    expectations=EXPECTATIONS,
)
PSEUDO = "Masks that no expert drew are pseudo-labels of the TAPS model (PyPI lavlab-taps 1.1.2, MIT). "


def make_card(arguments: argparse.Namespace, train: Sequence[ProstateCase], held: Sequence[ProstateCase]) -> ModelCard:
    """The card before the training; ``arguments`` has ``width``, ``kernel`` and ``spacing``."""
    held_out = f"; {_names(held)} held out to choose the weights by" if held else ""
    data = (
        f"{len(train)} axial T2 volumes of the prostate: {_names(train)}{held_out}. Those called nci are of TCIA's "
        "NCI-ISBI 2013 challenge, CC BY 3.0, those called px of TCIA's PROSTATEx, CC BY 4.0. "
        + ("" if all(case.expert for case in (*train, *held)) else PSEUDO)
        + "And volumes painted from their tissue maps and from phantoms. Nothing was learned from PROMISE12."
    )
    return replace(
        CARD,
        arguments={"base": arguments.width, "kernel": arguments.kernel, "norm": "group"},
        preprocessing=replace(CARD.preprocessing, spacing=tuple(arguments.spacing or CARD.preprocessing.spacing)),
        data=data,
        date=date.today().isoformat(),
    )


def _names(cases: Sequence[ProstateCase]) -> str:
    return ", ".join(case.name for case in cases)
