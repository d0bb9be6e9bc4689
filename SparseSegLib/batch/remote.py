"""Cases on a cluster: each worker loads the model once and writes results itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SparseSegLib.batch.case import BatchCase
from SparseSegLib.batch.cluster import Cluster, of_worker
from SparseSegLib.batch.manifest import Entry
from SparseSegLib.batch.pipeline import Outcome
from SparseSegLib.batch.work import CaseWork
from SparseSegLib.control import CancelToken, Events
from SparseSegLib.devices import choose_device
from SparseSegLib.errors import JobError
from SparseSegLib.memory import prepare_for_tensors
from SparseSegLib.models import load_network
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.reading import VolumeReader


@dataclass(frozen=True)
class WorkPlan:
    """The inputs of a worker; the paths must exist for all workers.

    Attributes
    ----------
    bundle : the model
    folder : where results go
    device : auto, cpu, cuda, cuda:N or mps, of the machine that works
    flips, force, pictures : see Predictor and CaseWork
    """

    bundle: Path
    folder: Path
    device: str = "auto"
    flips: bool = False
    force: bool = False
    pictures: bool = False

    def begin(self, events: Events | None = None) -> CaseWork:
        """Load the model, and start the process that reads."""
        device = choose_device(self.device)
        reader = VolumeReader().start()
        card, network = load_network(self.bundle, device)
        predictor = Predictor(card, network, device, flips=self.flips, force=self.force, events=events)
        return CaseWork(predictor, self.folder, pictures=self.pictures, reader=reader)


def segment_on(
    cluster: Cluster,
    plan: WorkPlan,
    cases: Sequence[BatchCase],
    token: CancelToken,
    progress: Callable[[float], None],
) -> Iterator[Outcome]:
    """Segment the cases on a cluster; yields as ``segment_here`` does, in the order in which they finish.

    Raises
    ------
    Canceled
        When the token says so.
    JobError
        If the workers cannot load the model.
    """
    from distributed import WorkerPlugin

    class Model(WorkerPlugin):
        """Loads the model when a worker starts."""

        work: CaseWork | None = None

        def setup(self, worker: Any) -> None:
            prepare_for_tensors()
            self.work = plan.begin()

        def teardown(self, worker: Any) -> None:
            if self.work is not None:
                self.work.abandon()

    try:
        with cluster.on_every_worker(Model()) as name:
            for done, (index, outcome) in enumerate(cluster.run(_segment, cases, name, token=token), start=1):
                progress(done)
                yield cases[index], outcome
    except ModuleNotFoundError as error:
        raise JobError(
            f"The cluster's workers lack the package {error.name}.", "Install the same SparseSegLib on every worker."
        ) from error


def _segment(case: BatchCase, name: str) -> Entry:
    return of_worker(name).work.whole(case)
