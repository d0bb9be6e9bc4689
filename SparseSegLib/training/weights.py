"""Loading the weights of networks, all of them or none."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn


def load_all_or_none(pairs: Sequence[tuple[nn.Module, Mapping[str, Any]]]) -> None:
    """Load each network's weights; ValueError if any do not fit, and then every network has its own as before."""
    before = [copy.deepcopy(network.state_dict()) for network, _ in pairs]
    try:
        for network, weights in pairs:
            network.load_state_dict(weights)
    except (RuntimeError, KeyError, TypeError) as error:
        for (network, _), own in zip(pairs, before, strict=True):
            network.load_state_dict(own)
        raise ValueError(str(error)) from error
