"""A running job: its files are written, its worker runs, its results are read, and Qt never waits for any of it."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import qt
import slicer
from slicer.i18n import tr as _

from SparseSegLib.annotation import Plane
from SparseSegLib.errors import Canceled, JobError, SparseSegError
from SparseSegLib.jobs import Job
from SparseSegLib.protocol import SILENCE_SECONDS
from SparseSegModule.background import BackgroundCall, NewestCall
from SparseSegModule.engine import pythonExecutable
from SparseSegModule.panelWords import inPanelWords
from SparseSegModule.translation import errorText, translated

POLL_MILLISECONDS = 50
SOON_MILLISECONDS = 10
"""The same while something is written or read in a thread, so that it goes on as soon as that is done."""

BREATH = 0.002  # seconds
TIDY_SECONDS = 3.0


class Work(Protocol):
    """The inputs and results of a kind of job. Only what runs in no thread may touch nodes."""

    def write(self, folder: Path) -> None:
        """Write the job and its inputs (in a thread)."""

    def checkInputs(self) -> None:
        """Raise a SparseSegError if an input was changed while it was written."""

    def read(self, folder: Path, ending: dict[str, Any]) -> Any:
        """Read the results (in a thread)."""

    def deliver(self, results: Any, ending: dict[str, Any]) -> Any:
        """Make nodes of the results."""

    def readPreview(self, path: Path) -> Any:
        """Read an intermediate result (in a thread)."""

    def show(self, preview: Any) -> None:
        """Show an intermediate result."""

    def keep(self, folder: Path) -> None:
        """Save what a later job can go on from, before the folder goes (in a thread)."""


class Listener:
    """Receives the events of a job; each method may be overridden."""

    def onProgress(self, event: dict[str, Any]) -> None:
        """``step``, ``fraction``, ``loss``, ``seconds_left``, ``estimated_iou``."""

    def onMessage(self, text: str) -> None:
        """A message for the user."""

    def onRound(self, handle: JobHandle) -> None:
        """A round of a job that stays has ended: ``handle.result`` is new, and the job waits for the next one."""

    def onEnded(self, handle: JobHandle) -> None:
        """The job has ended; see ``handle.result`` and ``handle.error``."""


class JobHandle:
    """One running job. The results come as ``result`` when :attr:`ended`, or an ``error`` to show.

    A job that stays has a result after every round, and waits for the next one until it is told to :meth:`finish`.

    Parameters
    ----------
    folder : where the job works; removed at the end
    work : what the job is about
    listener : receives the job's events
    learning : whether the job begins at once; else it prepares, and waits for :meth:`updateAnnotation`

    Attributes
    ----------
    learning : whether it is at work, rather than waiting for the next round
    waited : whether it was waiting when it ended
    died : whether its worker ended without a word
    """

    def __init__(self, folder: Path, work: Work, listener: Listener | None = None, *, learning: bool = True) -> None:
        self.folder = folder
        self.work = work
        self.listener = listener or Listener()
        self.result: Any = None
        self.error: SparseSegError | None = None
        self.figures: dict[str, Any] = {}
        self.ended = False
        self.learning = learning
        self.waited = self.died = self._waits = False
        self._job: Job | None = None
        self._previews = NewestCall(work.readPreview)
        self._results = NewestCall(lambda event: work.read(folder, event))
        self._update: BackgroundCall | None = None
        self._looks: list[tuple[int, int]] = []
        self._tidying: BackgroundCall | None = None
        self._cancelAsked = self._stopAsked = self._abandoned = self._begun = False
        self._silenceTold = self._ticking = False
        self._writing: BackgroundCall | None = BackgroundCall(lambda: work.write(folder))
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.connect("timeout()", self._tick)
        self._timer.start()

    def stop(self) -> None:
        """Finish with what there is: the job, or the round of one that stays."""
        self._stopAsked = True
        if self._job is not None:
            self._job.stop()

    def finish(self) -> None:
        """End a job that stays, after the round that runs."""
        if self._job is not None:
            self._job.finish()
        else:
            self.cancel()

    def look(self, planes: Iterable[Plane]) -> None:
        """Say which slices are on display, at most three: they are predicted first."""
        self._looks = [(plane.axis, plane.index) for plane in planes]
        if self._job is not None:
            self._job.look(self._looks)

    def cancel(self) -> None:
        """End the job; nothing of it stays. Returns at once."""
        self._cancelAsked = True
        if self._job is not None:
            self._job.cancel()

    def updateAnnotation(self, write: Callable[[Path], Path], settings: dict[str, Any] | None = None) -> bool:
        """Hand new annotation to the job; ``write`` writes it into the folder, in a thread.

        ``settings`` hold for the rounds that begin with it or after it.

        Returns false where the job cannot take it yet: it has not started, or the last one is on its way.
        """
        if self._cancelAsked or self.ended or (self._job is not None and self._job.ending is not None):
            return True
        if self._job is None or self._update is not None:
            return False
        self._waits, self.learning = not self.learning, True
        self._update = BackgroundCall(lambda: (write(self.folder), settings))
        return True

    def wait(self, timeout: float | None = None) -> Any:
        """Keep Slicer alive until the job, or the round of one that stays, has ended; the result, or the error raised.

        Raises JobError after ``timeout`` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.ended and self.learning:
            slicer.app.processEvents()
            self._tick()
            if deadline is not None and time.monotonic() > deadline:
                raise JobError(f"The job did not end within {timeout:g} seconds.")
            time.sleep(0.01)
        if self.error is not None:
            raise self.error
        return self.result

    def abandon(self) -> None:
        """End the job at once, without events: the scene closes or Slicer quits."""
        self.listener = Listener()
        self._cancelAsked = self._abandoned = True
        if self._job is not None:
            self._job.kill()
        self._finish(error=Canceled())
        if self._tidying is not None:
            self._tidying.wait(TIDY_SECONDS)

    def _tick(self) -> None:
        if self.ended or self._ticking:  # what delivers nodes may run the event loop, and with it the timer
            return
        self._ticking = True
        try:
            self._showPreview()
            self._takeResult()
            self._sendUpdate()
            if self._writing is None and self._job is not None and not self.ended:
                self._listen()
            elif self._writing is not None and self._writing.done:
                writing, self._writing = self._writing, None
                writing.result()
                self._startWorker()
        except SparseSegError as error:
            self._finish(error=error)
        except Exception as error:
            logging.exception("SparseSeg")
            self._finish(error=JobError(f"Something unexpected happened: {error}", "The application log has more."))
        finally:
            self._ticking = False
            if not self.ended:
                self._setPace()

    def _setPace(self) -> None:
        """Look again soon where a thread is at work for this job."""
        calls = self._writing is not None or self._update is not None or self._previews.busy or self._results.busy
        interval = SOON_MILLISECONDS if calls else POLL_MILLISECONDS
        if self._timer.interval != interval:
            self._timer.setInterval(interval)

    def _startWorker(self) -> None:
        if self._cancelAsked:
            raise Canceled
        self.work.checkInputs()
        self._job = Job(self.folder, interpreter=pythonExecutable()).start()
        if self._looks:
            self._job.look(self._looks)
        if self._stopAsked:
            self._job.stop()

    def _listen(self) -> None:
        assert self._job is not None
        time.sleep(BREATH)  # lets the thread that reads the worker's output have its turn
        for event in self._job.poll():
            kind = event["event"]
            if kind == "progress":
                self.learning = self._begun = True  # an update that came while a round ended begins the next one
                self.listener.onProgress(event)
            elif kind == "preview":
                self._previews.offer(self.folder / event["file"])
            elif kind == "round":
                self._begun = False
                self._previews.forget()
                self._results.offer(event)
            elif kind == "message":
                self.listener.onMessage(translated(event["text"]))
        self._sayIfSilent()
        if self._job.ending is not None and not self._results.busy:
            self._end(self._job.ending)

    def _sayIfSilent(self) -> None:
        assert self._job is not None
        silent = self._job.running and self._job.seconds_since_last_event > SILENCE_SECONDS
        if silent and not self._silenceTold:
            self.listener.onMessage(_("The worker has said nothing for half a minute. Wait, or press Cancel."))
        self._silenceTold = silent

    def _end(self, ending: dict[str, Any]) -> None:
        if ending["event"] == "canceled" or self._cancelAsked:
            raise Canceled
        if ending["event"] == "failed":
            self.died = ending["code"] == "crashed"
            raise JobError(inPanelWords(ending["message"]), inPanelWords(ending.get("hint", "")))
        if self.figures:  # the rounds of a job that stays have brought everything
            self._finish(result=self.result)
        else:
            self._results.offer(ending)

    def _showPreview(self) -> None:
        done = self._previews.take()
        if done is not None:
            with suppress(SparseSegError):  # a newer preview may have replaced the file
                self.work.show(done[1].result())

    def _takeResult(self) -> None:
        """Deliver the result of the job, or of a round of one that stays."""
        done = self._results.take()
        if done is None:
            return
        event, call = done
        self._previews.forget()
        self.figures = dict(event["figures"])
        self.result = self.work.deliver(call.result(), event)
        if event["event"] == "round":
            self.learning = self._begun or self._results.busy or self._update is not None
            self.listener.onRound(self)
        else:
            self._finish(result=self.result)

    def _sendUpdate(self) -> None:
        if self._update is None or not self._update.done:
            return
        update, self._update = self._update, None
        try:
            if self._job is not None:
                self._job.update_annotation(*update.result())
        except SparseSegError as error:
            self.learning = not self._waits
            self.listener.onMessage(errorText(error))

    def _finish(self, result: Any = None, error: SparseSegError | None = None) -> None:
        if self.ended:
            return
        self.ended, self.waited = True, not self.learning
        self.learning = False
        self._timer.stop()
        self.result, self.error = result, error
        if self._job is not None and self._job.running:
            self._job.kill()
        self._tidying = BackgroundCall(self._tidy)
        self.listener.onEnded(self)

    def _tidy(self) -> None:
        """Keep the weights of a training that nobody canceled, or of its last round, and remove everything else."""
        for call in (self._writing, self._previews, self._results, self._update):
            if call is not None:
                call.wait(TIDY_SECONDS)
        if not isinstance(self.error, Canceled) or (self._abandoned and self.figures):
            with suppress(OSError):
                self.work.keep(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
