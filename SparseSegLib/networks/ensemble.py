"""An ensemble of networks: the mean of their class probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

SHARED = ("dimensions", "padded", "margin", "multiple")


class Ensemble(nn.Module):
    """Averages the class probabilities of networks of one kind that were trained apart (Myronenko 2018, section 3.7).

    Takes and returns what each of them does; the logits are the logarithm of the mean probabilities.

    Parameters
    ----------
    members : at least one, all of the same sizes
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        for name in SHARED:
            if hasattr(members[0], name):
                setattr(self, name, getattr(members[0], name))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits for a batch."""
        parts = [member(x).softmax(1) for member in self.members]
        return torch.stack(parts).mean(0).clamp(min=torch.finfo(x.dtype).tiny).log()
