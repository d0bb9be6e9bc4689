"""Who predicts the parts of a large region: this process, one after another, or others (see ``on_cluster``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from SparseSegLib.control import CancelToken
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.experts import Request
from SparseSegLib.densify.found import Looked, looked_at
from SparseSegLib.densify.member import Member
from SparseSegLib.image import Box


class Hands(Protocol):
    """Predicts with one ensemble."""

    def predict(
        self, requests: Sequence[Request], asked: Sequence[Member], token: CancelToken
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield the number of each request and its class probabilities ``(K, z, y, x)``, in whatever order.

        Raises what the ``token`` raises.
        """
        ...

    def look(self, boxes: Sequence[Box], asked: Sequence[Member], token: CancelToken) -> Iterator[tuple[int, Looked]]:
        """Yield the number of each box and what a close look finds in it; as :meth:`predict` does."""
        ...


Lend = Callable[[Ensemble], AbstractContextManager[Hands]]
"""Gives the hands that predict with an ensemble, as long as it stays as it is."""


@dataclass(frozen=True)
class _Own:
    ensemble: Ensemble

    def predict(
        self, requests: Sequence[Request], asked: Sequence[Member], token: CancelToken
    ) -> Iterator[tuple[int, torch.Tensor]]:
        for number, request in enumerate(requests):
            token.check()
            yield number, self.ensemble.predict(request, token, asked=asked)

    def look(self, boxes: Sequence[Box], asked: Sequence[Member], token: CancelToken) -> Iterator[tuple[int, Looked]]:
        for number, found in self.predict([Request(box) for box in boxes], asked, token):
            yield number, looked_at(self.ensemble.problem, boxes[number], found)


@contextmanager
def own_hands(ensemble: Ensemble) -> Iterator[Hands]:
    """This process, which predicts one after another."""
    yield _Own(ensemble)
