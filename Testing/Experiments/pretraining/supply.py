"""The supply of problems: made by other processes while the training goes on, the newest of them kept in a folder."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import torch
from Experiments.pretraining.problems import JUDGE, LEARN, Slices, make_slices

AHEAD = 2  # problems that are begun, for each process
MOST_FAILURES = 20  # one after another
NICE = 5  # processes that make problems leave the cores to the training


class Supply:
    """The newest problems of an endless row; older ones are forgotten.

    Parameters
    ----------
    folder : where problems lie; those that are there already are taken up
    data : folder of real volumes, or None
    seed : of all problems
    processes : that make them; 0 to make them here, one at each :meth:`refresh`
    most : problems that are kept
    log : told of a problem that could not be made

    Attributes
    ----------
    problems : the newest ones
    made : problems so far
    """

    def __init__(
        self, folder: Path, data: Path | None, seed: int, processes: int, most: int, log: Callable[[str], None]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.processes, self.most, self.log = folder, processes, most, log
        self._make = partial(make_file, folder, data, seed, LEARN)
        files = sorted(folder.glob("[0-9]*.pt"))
        self._files = deque(files[-most:])
        for old in files[:-most]:
            old.unlink()
        self.problems = deque(load(file) for file in self._files)
        self.made = int(files[-1].stem) + 1 if files else 0
        self._next = self.made
        self._failures = 0
        self._pool: ProcessPoolExecutor | None = None
        self._begun: list[Future[Path]] = []

    def refresh(self) -> None:
        """Take what is done, and have more made."""
        if not self.processes:
            self._take(self._make(self._next))
            self._next += 1
            return
        if self._pool is None:
            self._pool = workers(self.processes)
        for future in [one for one in self._begun if one.done()]:
            self._begun.remove(future)
            try:
                self._take(future.result())
                self._failures = 0
            except Exception as error:  # a training of hours does not end for one problem
                self._failures += 1
                self.log(f"a problem could not be made: {error!r}")
                if self._failures >= MOST_FAILURES:
                    raise
                if isinstance(error, BrokenProcessPool):
                    self.close()
                    self._pool = workers(self.processes)
        while len(self._begun) < AHEAD * self.processes:
            self._begun.append(self._pool.submit(self._make, self._next))
            self._next += 1

    def close(self) -> None:
        """Begin no more; what is begun is done in the background."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool, self._begun = None, []

    def _take(self, file: Path) -> None:
        self.problems.append(load(file))
        self._files.append(file)
        self.made = max(self.made, int(file.stem) + 1)
        while len(self._files) > self.most:
            self._files.popleft().unlink(missing_ok=True)
            self.problems.popleft()


def judges(folder: Path, seed: int, count: int, processes: int) -> list[Slices]:
    """The problems that a training is judged by; those that no earlier run has made are made now."""
    folder.mkdir(parents=True, exist_ok=True)
    make = partial(make_file, folder, None, seed, JUDGE)
    if not processes:
        return [load(make(number)) for number in range(count)]
    with workers(processes) as pool:
        for done in as_completed([pool.submit(make, number) for number in range(count)]):
            done.result()
    return [load(make(number)) for number in range(count)]


def make_file(folder: Path, data: Path | None, seed: int, purpose: int, number: int) -> Path:
    """The file of a problem, which is made unless it is there."""
    path = folder / f"{number:08}.pt"
    if not path.exists():
        partial_path = path.with_suffix(f".part{os.getpid()}")
        torch.save(make_slices(number, data, seed, purpose).state(), partial_path)
        partial_path.rename(path)
    return path


def load(file: Path) -> Slices:
    """A problem from its file."""
    return Slices(**torch.load(file, weights_only=True))


def workers(processes: int) -> ProcessPoolExecutor:
    """Processes with one thread each, which Ctrl-C leaves to the one that began them."""
    return ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _prepare)


def _prepare() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(NICE)
