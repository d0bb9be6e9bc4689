"""What the generalist's attention remembers of the annotated slices of one volume."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.densify.generalist_features import GeneralistFeatures
from SparseSegLib.networks.generalist import SHRUNK, Attention, Memory

MOST_SLICES = 6
MOST_PIXELS = 6144  # of all slices together, at a quarter of the resolution; of more, some are taken


class Remembered:
    """The annotated slices, with any of them left out.

    Parameters
    ----------
    attention : of the network
    features : of the problem
    keep : numbers of the prior's sources that may be attended to
    device : torch.device
    """

    @torch.no_grad()
    def __init__(
        self, attention: Attention, features: GeneralistFeatures, keep: tuple[int, ...], device: torch.device
    ) -> None:
        chosen = features.memorable(keep, MOST_SLICES)
        step = max(1, -(-sum(source.labels.numel() // SHRUNK**2 for source in chosen) // MOST_PIXELS))
        numbers = [number for number in keep if any(features.prior.sources[number] is one for one in chosen)]
        self._structures: list[Memory] = []
        sizes: list[int] = []
        for label in range(1, features.classes):
            slices = []
            for source in chosen:
                seen, labels, places = features.remembered(source, label)
                parts = (_padded(seen, 0), _padded(labels, UNLABELED), _padded(places, 0))
                slices.append([part[:, ::step] for part in attention.remember(*(part.to(device) for part in parts))])
            sizes = [one[3].shape[1] for one in slices]
            if slices:
                self._structures.append(Memory(*(torch.cat(parts, 1) for parts in zip(*slices, strict=True))))
        self._source_of = torch.repeat_interleave(torch.tensor(numbers, dtype=torch.long), torch.tensor(sizes).long())

    def without(self, hidden: Sequence[frozenset[int]]) -> list[Memory] | None:
        """Of each structure what is remembered, for one patch after another without its sources; None for nothing."""
        gone = torch.stack([torch.isin(self._source_of, torch.tensor([*own]).long()) for own in hidden])
        memories = []
        for memory in self._structures:
            keys, values, places = (
                part.expand(len(gone), -1, -1) for part in (memory.keys, memory.values, memory.places)
            )
            memories.append(Memory(keys, values, places, memory.unknown | gone.to(memory.unknown.device)))
        return memories or None


def _padded(values: torch.Tensor, fill: float) -> torch.Tensor:
    """As a batch of one, with sides that can be halved as often as needed."""
    return F.pad(values, (0, -values.shape[-1] % SHRUNK, 0, -values.shape[-2] % SHRUNK), value=fill)[None]
