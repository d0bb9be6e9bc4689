"""Training steps of several experts side by side."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from SparseSegLib.densify.experts.base import TrainableExpert
from SparseSegLib.devices import torch_threads


class SideBySide:
    """Takes steps of several experts, on a CPU each with its part of the cores.

    Two cores gain little from working on one step of a small network together, so each expert but the first takes its
    steps on a thread of its own. How many steps it takes depends on the first one's steps and on nothing else.

    Parameters
    ----------
    device : torch.device

    Attributes
    ----------
    failed : the expert that memory did not suffice for, when a step raised OutOfMemoryError
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.failed: TrainableExpert | None = None
        self._running: list[Future[float]] = []
        self._pool: ThreadPoolExecutor | None = None

    def __reduce__(self) -> tuple[type[SideBySide], tuple[torch.device]]:
        return SideBySide, (self.device,)

    def step(self, experts: Sequence[TrainableExpert], rate: float) -> float:
        """One step of the first of the ``experts``, and of each other where its turn has come.

        Returns the first one's loss. To use the others' weights, call :meth:`wait` first.
        """
        first, *others = experts
        due = [expert for expert in others if first.steps % expert.every == 0]
        if due:
            self.wait()
        if self.device.type != "cpu" or not others:
            for expert in due:
                self._step(expert, rate)
            return self._step(first, rate)
        threads = max(1, torch.get_num_threads() // (1 + len(others)))
        if self._pool is None:
            self._pool = ThreadPoolExecutor(len(others), initializer=torch.set_num_threads, initargs=(threads,))
        self._running += [self._pool.submit(self._step, expert, rate) for expert in due]
        with torch_threads(threads):
            return self._step(first, rate)

    def wait(self) -> None:
        """Until every step has ended."""
        running, self._running = self._running, []
        for step in running:
            step.result()

    def _step(self, expert: TrainableExpert, rate: float) -> float:
        try:
            return expert.step(rate)
        except torch.OutOfMemoryError:
            self.failed = expert
            raise
