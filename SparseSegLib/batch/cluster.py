"""Work on Dask workers: those of a scheduler at ``tcp://HOST:PORT``, or ``local:N`` processes of this machine.

What a worker that died was doing is done by the others; Dask sees to it. Dask is optional and imported when needed.
"""

from __future__ import annotations

import asyncio
import queue
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any, TypeVar

from SparseSegLib.control import CancelToken
from SparseSegLib.errors import DependencyError, JobError, UsageError

T = TypeVar("T")

WORKERS_SECONDS = 120
RESULT_SECONDS = 60
POLL_SECONDS = 0.2
LOOK_SECONDS = 5.0  # between two checks whether there are workers
GONE_SECONDS = 60.0  # without any before the run ends; one that is started again takes a few seconds
LOCAL = {
    "distributed.scheduler.http.routes": [],  # the ports for a browser answer nothing
    "distributed.worker.http.routes": [],
    "distributed.worker.profile.interval": "10s",  # at 10 ms it takes a tenth of a worker's time
    "distributed.worker.profile.cycle": "100s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.nanny.pre-spawn-environ.GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # as in SparseSegLib.memory
    "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": "1",
}
HINT = "Start a scheduler and workers with: dask scheduler, dask worker ADDRESS"


class Cluster:
    """A connection to Dask workers.

    Parameters
    ----------
    client : a ``distributed.Client``
    """

    def __init__(self, client: Any) -> None:
        self.client = client

    def run(
        self, function: Callable[..., T], items: Sequence[Any], *arguments: Any, token: CancelToken | None = None
    ) -> Iterator[tuple[int, T | Exception]]:
        """Call ``function(item, *arguments)`` for all items on the workers.

        Yields
        ------
        The item's index, and what came back or the exception that was raised; in the order in which they finish.

        Raises
        ------
        Canceled
            When the token says so. Asked to stop, it yields what is running and takes back what has not begun.
        JobError
            When there have been no workers, or no scheduler, for a minute.
        """
        token = token or CancelToken()
        finished: queue.SimpleQueue[Any] = queue.SimpleQueue()
        futures = {}
        for index, item in enumerate(items):
            future = self.client.submit(function, item, *arguments, pure=False)
            futures[future.key] = index, future
            future.add_done_callback(finished.put)
        watch = _Watch(self.client)
        try:
            while futures:
                token.check()
                watch.look()
                if token.stopped:
                    self._take_back(futures)
                try:
                    future = finished.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if future.key in futures:
                    index, _ = futures.pop(future.key)
                    yield index, _outcome(future)
        finally:
            if futures:
                with suppress(Exception):  # the scheduler may be gone
                    self.client.cancel([future for _, future in futures.values()], force=True)

    def _take_back(self, futures: dict[str, Any]) -> None:
        """Cancel what no worker has begun."""
        begun = {key for keys in self.client.processing().values() for key in keys}
        waiting = [key for key in futures if key not in begun and not futures[key][1].done()]
        self.client.cancel([futures.pop(key)[1] for key in waiting])

    @contextmanager
    def on_every_worker(self, plugin: Any) -> Iterator[str]:
        """Keep a ``WorkerPlugin`` on all workers, those that join later too; its name there, for :func:`of_worker`."""
        name = f"sparseseg-{secrets.token_hex(8)}"
        self.client.register_plugin(plugin, name=name)
        try:
            yield name
        finally:
            with suppress(Exception):  # the scheduler may be gone
                self.client.unregister_worker_plugin(name)


class _Watch:
    """Notices when nobody is left to do the work: Dask itself would wait for ever."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._seen = self._looked = time.monotonic()

    def look(self) -> None:
        """Raise JobError if there have been no workers for a minute."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        if self._workers():
            self._seen = now
        elif now - self._seen > GONE_SECONDS:
            raise JobError("All workers of the cluster are gone.", "Start workers, and run the same again to go on.")

    def _workers(self) -> int:
        if self._client.status != "running":
            return 0
        try:
            return len(self._client.sync(self._client.scheduler.ncores, callback_timeout=LOOK_SECONDS))
        except Exception:  # of many kinds, where the scheduler does not answer
            return 0


def of_worker(name: str) -> Any:
    """The plugin of that name on the worker that runs this."""
    from distributed import get_worker

    return get_worker().plugins[name]


@contextmanager
def connect(address: str) -> Iterator[Cluster]:
    """Connect to ``tcp://HOST:PORT`` (or tls), to the scheduler of a ``FILE.json``, or start ``local:N`` processes.

    Local processes have one thread each.

    Raises
    ------
    UsageError
        If the address is none of these.
    DependencyError
        If Dask is not installed, or for local processes what they need to trust each other.
    JobError
        If no scheduler or no worker answers.
    """
    local = re.fullmatch(r"local:([1-9]\d{0,2})", address)
    if local is None and not re.match(r"(tcp|tls|ucx|ws|wss)://.", address) and not address.endswith(".json"):
        raise UsageError(f"{address} is no cluster.", "Give local:N, tcp://HOST:PORT or a scheduler file.")
    if find_spec("distributed") is None:
        raise DependencyError("Dask is not installed.", 'Install it with: pip install "SparseSegLib[cluster]"')
    with _start(int(local.group(1))) if local else _reach(address) as client:
        yield Cluster(client)


@contextmanager
def _start(count: int) -> Iterator[Any]:
    """Processes of this machine, which nobody else on it can send work: certificates are made for this run alone."""
    import dask
    from distributed import Client, LocalCluster
    from distributed.security import Security

    if find_spec("cryptography") is None:
        raise DependencyError(
            "Processes of this computer need the package cryptography, or its other users could send them programs.",
            'Install it with: pip install "SparseSegLib[cluster]"',
        )
    security = Security.temporary()
    with (
        dask.config.set(LOCAL),
        LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},  # or it would take port 8787
            memory_limit=0,
            security=security,
        ) as here,
        Client(here, security=security) as client,
    ):
        yield client


@contextmanager
def _reach(address: str) -> Iterator[Any]:
    """Workers that run already."""
    from distributed import Client

    where = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    try:
        client = Client(**where)
    except (OSError, ValueError, asyncio.TimeoutError) as error:
        raise JobError(f"The cluster {address} does not answer: {error}", HINT) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_SECONDS)
        except (TimeoutError, asyncio.TimeoutError) as error:
            raise JobError(f"The cluster {address} has no workers.", HINT) from error
        yield client


def _outcome(future: Any) -> Any:
    """The result or the exception of a finished future."""
    from distributed import KilledWorker

    try:
        return future.result(timeout=RESULT_SECONDS)
    except KilledWorker:
        return JobError("Several workers died of this.", "It may need more memory than they have.")
    except CancelledError:
        return JobError("The cluster lost this.", "Run the same again to go on.")
    except Exception as error:
        return error
