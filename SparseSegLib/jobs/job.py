"""A job: a folder, the worker process that works in it, and its events."""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from SparseSegLib.errors import JobError
from SparseSegLib.files import noted_in
from SparseSegLib.jobs.process import WorkerProcess, start_worker
from SparseSegLib.protocol import ENDINGS, LOG_FILE, READING_FILE, decode, encode_command

CANCEL_SECONDS = 2.0
LOG_TAIL = 2000
HINT_AGAIN = "Start the job again: it goes on from its last checkpoint."
HINT_READING = "The file is damaged, or of a kind that cannot be read: export it again, for example as .nrrd."


class Job:
    """Runs the job in a folder (see :func:`SparseSegLib.protocol.write_job`) in a process of its own.

    Nothing here blocks except :meth:`wait`; call :meth:`poll` from a timer. Every job ends with exactly one event out
    of ``result``, ``failed`` and ``canceled``, which :meth:`poll` returns after the process has exited and everything
    that it sent has been read. As a context manager it ends the process on the way out. A job that is not referenced
    any longer ends its process, too, and so does the end of the client's Python.

    Parameters
    ----------
    folder : path
        The job's folder; it must contain ``job.json``.
    interpreter : path, optional
        The Python that runs the worker; in Slicer PythonSlicer. By default the one that runs now.
    launch : callable, optional
        Starts the process; for tests.

    Attributes
    ----------
    ending : the event that ended the job, or None
    ready : whether a worker that stays is prepared, and waits for annotation or learns
    rounds : the ``round`` events of a worker that stays, so far
    """

    def __init__(
        self,
        folder: Path | str,
        interpreter: str | None = None,
        launch: Callable[[Path, str | None], WorkerProcess] = start_worker,
    ) -> None:
        self.folder = Path(folder)
        self.ending: dict[str, Any] | None = None
        self.ready = False
        self.rounds: list[dict[str, Any]] = []
        self._interpreter = interpreter
        self._launch = launch
        self._process: WorkerProcess | None = None
        self._ender: weakref.finalize | None = None
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._output_ended = False
        self._said: dict[str, Any] | None = None
        self._heard = time.monotonic()
        self._cancel_asked = False
        self._log_start = 0

    @property
    def running(self) -> bool:
        """Whether it was started and its end has not been reported yet."""
        return self._process is not None and self.ending is None

    @property
    def seconds_since_last_event(self) -> float:
        """Seconds since the worker's last event; it sends a heartbeat every second."""
        return time.monotonic() - self._heard

    def start(self) -> Job:
        """Start the worker, or start another one where the last one ended: it goes on from its checkpoint."""
        if self.running:
            raise JobError("The job is running already.")
        log = self.folder / LOG_FILE
        self._log_start = log.stat().st_size if log.exists() else 0
        try:
            self._process = self._launch(self.folder, self._interpreter)
        except OSError as error:
            raise JobError(f"The worker could not be started: {error}.", "Check the Python interpreter.") from error
        self.ending, self._said = None, None
        self.ready, self.rounds = False, []
        self._output_ended = self._cancel_asked = False
        self._heard = time.monotonic()
        self._lines = queue.SimpleQueue()
        threading.Thread(target=_read, args=(self._process, self._lines), name="worker output", daemon=True).start()
        self._ender = weakref.finalize(self, self._process.kill_tree)
        return self

    resume = start

    def poll(self) -> list[dict[str, Any]]:
        """All events since the last call; never blocks."""
        if self._process is None or self.ending is not None:
            return []
        events = []
        while not self._output_ended:
            try:
                line = self._lines.get_nowait()
            except queue.Empty:
                break
            if line is None:
                self._output_ended = True
                break
            event = decode(line)
            if event is None:
                continue
            self._heard = time.monotonic()
            if event["event"] in ENDINGS:
                self._said = self._said or event
            else:
                self._note(event)
                events.append(event)
        if self._output_ended and self._process.poll() is not None:
            self.ending = self._said or self._silent_end(self._process.poll())
            self._close()
            events.append(self.ending)
        return events

    def _note(self, event: dict[str, Any]) -> None:
        if event["event"] == "ready":
            self.ready = True
        elif event["event"] == "round":
            self.rounds.append(event)

    def wait(self, timeout: float | None = None, on_event: Callable[[dict[str, Any]], None] | None = None) -> dict:
        """Block until the job ends and return its last event; JobError after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if self._process is None:
            raise JobError("The job was not started.")
        while self.ending is None:
            for event in self.poll():
                if on_event is not None:
                    on_event(event)
            if self.ending is None:
                if deadline is not None and time.monotonic() > deadline:
                    raise JobError(f"The job did not end within {timeout:g} seconds.")
                time.sleep(0.02)
        return self.ending

    def stop(self) -> None:
        """Ask the worker to finish with what there is: the job, or the round of a worker that stays."""
        self._send("stop")

    def finish(self) -> None:
        """Ask a worker that stays to end the job, with the result of the last round, after the one that runs."""
        self._send("finish")

    def look(self, planes: Iterable[tuple[int, int]]) -> None:
        """Say which slices are on display, which are then predicted first.

        ``planes`` are at most three pairs of an axis (0, 1, 2 for z, y, x) and an index, in voxels of the volume.
        """
        self._send("look", planes=[list(plane) for plane in planes])

    def update_annotation(self, file: Path | str, settings: Mapping[str, Any] | None = None) -> None:
        """Hand a new annotation to the running job.

        Parameters
        ----------
        file : labels, in the job's folder or by its absolute path
        settings : of a job that stays, for the rounds that begin with it or after it
        """
        self._send("update_annotation", file=str(file), **({} if settings is None else {"settings": dict(settings)}))

    def cancel(self) -> None:
        """End the job: ask first, and end the whole process tree after two seconds. Returns at once."""
        if not self.running or self._cancel_asked:
            return
        self._cancel_asked = True
        self._send("cancel")
        process = self._process
        assert process is not None

        def insist() -> None:
            with suppress(Exception):
                process.wait(CANCEL_SECONDS)
            process.kill_tree()

        threading.Thread(target=insist, name="worker end", daemon=True).start()

    def kill(self) -> None:
        """End the process tree at once, without asking; a checkpoint that was written stays."""
        if self._process is not None:
            self._cancel_asked = True
            self._process.kill_tree()

    def __enter__(self) -> Job:
        return self if self._process is not None else self.start()

    def __exit__(self, *exception: object) -> None:
        if self.running:
            self.cancel()
            with suppress(JobError):
                self.wait(CANCEL_SECONDS + 3)

    def _send(self, kind: str, **fields: Any) -> None:
        stdin = self._process.stdin if self._process is not None else None
        if stdin is None or not self.running:
            return
        with suppress(OSError, ValueError):  # the worker is gone: poll() will say so
            stdin.write((encode_command(kind, **fields) + "\n").encode("utf-8"))
            stdin.flush()

    def _silent_end(self, status: int | None) -> dict[str, Any]:
        """The event for a worker that ended without one."""
        if self._cancel_asked:
            return {"event": "canceled", "time": time.time()}
        how = f"by signal {-status}" if status is not None and status < 0 else f"with status {status}"
        path = noted_in(self.folder / READING_FILE)
        return {
            "event": "failed",
            "time": time.time(),
            "code": "crashed",
            "message": f"The worker process ended unexpectedly, {how}{f', while it read {path}' if path else ''}.",
            "hint": HINT_READING if path else HINT_AGAIN,
            "log": self.log_tail(),
        }

    def log_tail(self) -> str:
        """The last part of what this run wrote to the log."""
        with suppress(OSError), open(self.folder / LOG_FILE, "rb") as log:
            size = log.seek(0, 2)
            log.seek(max(self._log_start, size - LOG_TAIL))
            return log.read().decode("utf-8", "replace")
        return ""

    def _close(self) -> None:
        assert self._process is not None
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        if self._ender is not None:
            self._ender.detach()


def _read(process: WorkerProcess, lines: queue.SimpleQueue[bytes | None]) -> None:
    """Move the worker's lines into the queue, None at the end."""
    assert process.stdout is not None
    with suppress(OSError, ValueError):
        for line in process.stdout:
            lines.put(line)
    lines.put(None)
    with suppress(Exception):
        process.wait()
