"""What is said of a held-out slice, for tests of who is listened to."""

from __future__ import annotations

import torch

from SparseSegLib.annotation import UNLABELED


def opinions_on_a_slice(own: float, other: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Class probabilities ``(2, 1, 101)`` of two that find such shares of 100 pixels; what is drawn ``(1, 101)``."""
    first, second = ((torch.arange(101) < round(100 * share))[None].float() for share in (own, other))
    drawn = torch.ones(1, 101)
    drawn[0, 100] = UNLABELED
    return torch.stack([1 - first, first]), torch.stack([1 - second, second]), drawn
