"""Other programs to compare with, on the same sparse labels and under SparseSeg's own conditions.

Their packages come from ``requirements.txt`` beside this file and are imported only when a peer runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from Benchmarks.peers import biomedisa, monai_unet, nnunet
from SparseSegLib.annotation import UNLABELED, SparseLabels
from SparseSegLib.densify.region import region_of_interest
from SparseSegLib.image import Volume

Figures = dict[str, Any]
Peer = Callable[[Volume, SparseLabels, float, int], tuple[np.ndarray, Figures]]

NETWORKS: dict[str, Peer] = {"MONAI U-Net": monai_unet.segment, "nnU-Net": nnunet.segment}
"""The peers that train a network for the seconds that they are given."""
PEERS: dict[str, Peer] = {**NETWORKS, "Biomedisa": biomedisa.segment}
"""All peers by name; each takes a volume, its sparse labels, seconds and a seed, and returns the classes ``(Z, Y, X)``
and some figures: for a network training steps, seconds of training and of everything else."""


def segment_with_peer(
    name: str, volume: Volume, labels: SparseLabels, seconds: float, seed: int, margin: float = 0.1
) -> tuple[np.ndarray, Figures]:
    """Run one of ``PEERS`` as SparseSeg and the classical methods run; ``(Z, Y, X)`` uint8 and the peer's figures.

    It sees the region of interest only (outside is background), and the annotated voxels of the result are the
    annotation. DependencyError if the peer's packages are not installed.
    """
    box = region_of_interest(labels, margin)
    region, figures = PEERS[name](volume.crop(box), labels.crop(box), seconds, seed)
    out = np.zeros(labels.array.shape, np.uint8)
    out[box] = region
    return np.where(labels.array == UNLABELED, out, labels.array), figures


__all__ = ["NETWORKS", "PEERS", "Figures", "Peer", "segment_with_peer"]
