"""The parts of a large region, predicted on Dask workers.

What was learned is written once into a folder that all workers see, and each of them reads it once. Reading it can run
any code, so a worker reads nothing but what it was told the hash of, over the cluster's own connection. A worker that
dies costs the part that it was at.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import BinaryIO, TypeVar

import torch

from SparseSegLib.batch.cluster import Cluster
from SparseSegLib.control import CancelToken
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.experts import Request
from SparseSegLib.densify.found import Looked, looked_at
from SparseSegLib.densify.hands import Hands, Lend
from SparseSegLib.densify.member import Member
from SparseSegLib.errors import JobError
from SparseSegLib.files import TemporaryFolder
from SparseSegLib.image import Box
from SparseSegLib.memory import prepare_for_tensors

T = TypeVar("T")

_PIECE = 1 << 24

_BUSY = Lock()
"""A worker computes one part at a time, however many threads it has."""


def hands_of(cluster: Cluster, folder: Path) -> Lend:
    """The workers of a cluster; ``folder`` is where they find what was learned."""

    @contextmanager
    def lend(ensemble: Ensemble) -> Iterator[Hands]:
        with TemporaryFolder(folder) as place:
            file = place.path / "learned.pickle"
            with file.open("wb") as out:
                pickle.dump(ensemble, out, pickle.HIGHEST_PROTOCOL)
            with file.open("rb") as written:
                learned = _Learned(str(file.absolute()), _hash(written))
            yield _Workers(cluster, learned, ensemble)

    return lend


@dataclass(frozen=True)
class _Learned:
    """A file with an ensemble, and its hash."""

    file: str
    sha256: str


@dataclass(frozen=True)
class _Workers:
    cluster: Cluster
    learned: _Learned
    ensemble: Ensemble

    def predict(
        self, requests: Sequence[Request], asked: Sequence[Member], token: CancelToken
    ) -> Iterator[tuple[int, torch.Tensor]]:
        return self._done(_predict, requests, asked, token)

    def look(self, boxes: Sequence[Box], asked: Sequence[Member], token: CancelToken) -> Iterator[tuple[int, Looked]]:
        return self._done(_look, boxes, asked, token)

    def _done(
        self,
        function: Callable[..., T],
        items: Sequence[Box] | Sequence[Request],
        asked: Sequence[Member],
        token: CancelToken,
    ) -> Iterator[tuple[int, T]]:
        names = [member.name for member in asked]
        self.ensemble.blend(asked)
        for number, found in self.cluster.run(function, items, self.learned, names, token=_Whole(token)):
            if isinstance(found, ModuleNotFoundError):
                raise JobError(
                    f"The cluster's workers lack the package {found.name}.",
                    "Install the same SparseSegLib on every worker.",
                ) from found
            if isinstance(found, Exception):
                raise found
            yield number, found


class _Whole(CancelToken):
    """Checks another token, and lets nothing be left out: what a stop means is the caller's to say."""

    def __init__(self, token: CancelToken) -> None:
        super().__init__()
        self._token = token

    def check(self) -> None:
        """Raise what the other token raises."""
        self._token.check()


def _predict(request: Request, learned: _Learned, names: Sequence[str]) -> torch.Tensor:
    """On a worker: class probabilities ``(K, z, y, x)`` of a request."""
    with _BUSY:
        ensemble = _read(learned)
        asked = [member for name in names for member in ensemble.members if member.name == name]
        return ensemble.predict(request, CancelToken(), asked=asked)


def _look(box: Box, learned: _Learned, names: Sequence[str]) -> Looked:
    """On a worker: what is found in a box, two bytes for each voxel."""
    return looked_at(_read(learned).problem, box, _predict(Request(box), learned, names))


@lru_cache(maxsize=1)
def _read(learned: _Learned) -> Ensemble:
    prepare_for_tensors()
    with open(learned.file, "rb") as stream:
        if _hash(stream) != learned.sha256:
            raise JobError(f"The file {learned.file} is not the one that was written.", "Start again.")
        stream.seek(0)
        ensemble: Ensemble = pickle.load(stream)
    return ensemble


def _hash(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    while piece := stream.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()
