"""The client of the process that reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.errors import FileError, JobError, ResourceError, SparseSegError
from SparseSegLib.files.zarr_folder import is_zarr
from SparseSegLib.image import Geometry, Volume

COMMAND = [sys.executable, "-m", "SparseSegLib.reading"]
START_SECONDS = 120.0
"""Python and its libraries may come from a slow disk."""

READ_SECONDS = 30.0
END_SECONDS = 5.0
KILLED = -9
SLOWEST = 2_000_000  # bytes per second of the slowest disk; what takes longer hangs


class VolumeReader:
    """Reads volumes in a process of its own, which is started when needed, and again where a file ended it.

    One process serves any number of volumes, one after the other; calls from several threads wait for each other. It
    ends with :meth:`close`, and when the reader is garbage-collected.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ender: weakref.finalize | None = None
        self._ready = False
        self._closed = False

    def start(self) -> VolumeReader:
        """Start the process without waiting for it, so that it is ready when it is needed."""
        with self._lock:
            self._start()
        return self

    def read(self, paths: Sequence[Path], series: Sequence[str] = ()) -> Volume:
        """Read a volume as :func:`SparseSegLib.io.read_volume` does: one path, or one for each channel.

        ``series`` are the UIDs of the DICOM series to read, one for each path, "" where there is nothing to choose.

        Raises
        ------
        SparseSegError
            What ``read_volume`` raises.
        FileError
            If the process crashed or did not answer in time; the next call starts another one.
        """
        with self._lock:
            return self._ask(paths, "read", {"series": list(series)}, _take_volume)

    def check_scans(self, paths: Sequence[Path], series: Sequence[str], modality: str) -> None:
        """Raise what is wrong with the DICOM folders among the paths, by their headers alone (see ``check_series``)."""
        with self._lock:
            more = {"series": list(series), "modality": modality}
            self._ask(paths, "check_scans", more, lambda answer, process: None)

    def close(self) -> None:
        """End the process at once; whoever waits for it gets an error."""
        self._closed = True
        process = self._process
        if process is not None:
            _end(process)

    def _start(self) -> subprocess.Popen[bytes]:
        if self._closed:
            raise JobError("Nothing is read any longer.", "Start again.")
        if self._process is None or self._process.poll() is not None:
            self._forget()
            self._process, self._ready = _launch(), False
            self._ender = weakref.finalize(self, _end, self._process)
        return self._process

    def _forget(self) -> None:
        if self._ender is not None:
            self._ender()
        self._process = self._ender = None

    def _ask(self, paths: Sequence[Path], action: str, more: dict[str, Any], take: Any) -> Any:
        process = self._start()
        try:
            if not self._ready:
                with _Deadline(process, START_SECONDS):
                    self._ready = _answer(process) is not None
                if not self._ready:
                    raise JobError("The process that reads volumes does not start.", "The log file has the details.")
            seconds = READ_SECONDS + sum(map(_size, paths)) / SLOWEST
            request = {"do": action, "with": {"paths": [str(path) for path in paths], **more}}
            with _Deadline(process, seconds) as deadline:
                result = _exchange(process, request, take)
            if result is _GONE:
                raise self._why_gone(process, paths[0], seconds if deadline.passed else None)
            return result
        except SparseSegError:
            raise
        except BaseException:  # half an answer may be left in the pipe
            self._forget()
            raise

    def _why_gone(self, process: subprocess.Popen[bytes], path: Path, seconds: float | None) -> SparseSegError:
        """The error for a process that ended in the middle of its work."""
        self._forget()
        if self._closed:
            return JobError("Nothing is read any longer.", "Start again.")
        if seconds is not None:
            return FileError(
                f"{path} could not be read within {seconds:.0f} seconds.",
                "It may be damaged, or its disk may not answer: copy it to this computer.",
            )
        status = process.returncode
        if status == KILLED:
            return ResourceError(
                f"The system ended the process that was reading {path}: there may not be enough memory for it.",
                "Close other programs, or use a smaller volume.",
            )
        how = f"signal {-status}" if status is not None and status < 0 else f"status {status}"
        return FileError(
            f"{path} cannot be read: the library that reads it crashed ({how}).", "It is damaged: export it again."
        )


class _Gone:
    """Stands for the answer of a process that is no longer there."""


_GONE = _Gone()


class _Deadline:
    """Kills a process that takes too long."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self.passed = False
        self._process = process
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self.passed = True
        _end(self._process)


def _launch() -> subprocess.Popen[bytes]:
    environment = dict(os.environ)
    parts = [str(Path(__file__).resolve().parents[2]), *filter(None, [environment.get("PYTHONPATH")])]
    environment.update(PYTHONPATH=os.pathsep.join(parts), PYTHONUTF8="1", PYTHONSAFEPATH="1")
    try:
        return subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise JobError(f"The process that reads volumes cannot be started: {error}.") from error


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError, subprocess.TimeoutExpired):
        process.kill()
        process.wait(END_SECONDS)


def _exchange(process: subprocess.Popen[bytes], request: dict[str, Any], take: Any) -> Any:
    """Send a request and take the answer; ``_GONE`` if the process has ended."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
        process.stdin.flush()
        answer = _answer(process)
        if answer is not None:
            if "error" in answer:
                kinds = {kind.code: kind for kind in SparseSegError.__subclasses__()}
                raise kinds.get(answer["code"], FileError)(answer["error"], answer["hint"])
            return take(answer, process)
    process.wait()
    return _GONE


def _answer(process: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    assert process.stdout is not None
    line = process.stdout.readline()
    return json.loads(line) if line.endswith(b"\n") else None


def _take_volume(answer: dict[str, Any], process: subprocess.Popen[bytes]) -> Any:
    """The volume of an answer; its voxels follow it."""
    assert process.stdout is not None
    array = np.empty(answer["size"], np.float32)
    waiting = array.data.cast("B")
    while len(waiting):
        count = process.stdout.readinto(waiting)  # type: ignore[attr-defined]
        if not count:
            process.wait()
            return _GONE
        waiting = waiting[count:]
    grid = Geometry(array.shape[1:], *(tuple(answer[part]) for part in ("spacing", "origin", "direction")))
    return Volume(array, grid, answer["name"])


def _size(path: Path) -> int:
    """Bytes of a file, or of the files in a folder; of an OME-Zarr image also in those below."""
    try:
        if path.is_dir():
            files = path.rglob("*") if is_zarr(path) else path.iterdir()
            return sum(file.stat().st_size for file in files if file.is_file())
        return path.stat().st_size
    except (OSError, ValueError):
        return 0
