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
from SparseSegModule.background import BackgroundCall, NewestCall
from SparseSegModule.engine import pythonExecutable
from SparseSegModule.jobTalk import Orders, Silence
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

    def inputsRead(self) -> None:
        """Remove inputs that do not lie in the job's folder: the worker has read them, or never will (in a thread)."""

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
        self._tidying: BackgroundCall | None = None
        self._orders, self._silence = Orders(), Silence()
        self._abandoned = self._begun = self._inputsRead = self._ticking = False
        self._writing: BackgroundCall | None = BackgroundCall(lambda: work.write(folder))
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.connect("timeout()", self._tick)
        self._timer.start()

    def stop(self) -> None:
        """Finish with what there is: the job, or the round of one that stays."""
        self._orders.stop()

    def finish(self) -> None:
        """End a job that stays, after the round that runs."""
        self._orders.finish()

    def look(self, planes: Iterable[Plane]) -> None:
        """Say which slices are on display, at most three: they are predicted first."""
        self._orders.look(planes)

    def cancel(self) -> None:
        """End the job; nothing of it stays. Returns at once."""
        self._orders.cancel()

    def updateAnnotation(self, write: Callable[[Path], Path], settings: dict[str, Any] | None = None) -> bool:
        """Hand new annotation to the job; ``write`` writes it into the folder, in a thread.

        ``settings`` hold for the rounds that begin with it or after it.

        Returns false where the job cannot take it yet: it has not started, or the last one is on its way.
        """
        if self._orders.canceled or self.ended or (self._job is not None and self._job.ending is not None):
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
        self._orders.canceled = self._abandoned = True
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
            isAtWork = self._writing or self._update or self._previews.busy or self._results.busy
            self._timer.setInterval(SOON_MILLISECONDS if isAtWork else POLL_MILLISECONDS)

    def _startWorker(self) -> None:
        if self._orders.canceled:
            raise Canceled
        self.work.checkInputs()
        self._job = Job(self.folder, interpreter=pythonExecutable()).start()
        self._orders.started(self._job)

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
        if self._job.ready and not self._inputsRead:
            self._inputsRead = True
            BackgroundCall(self.work.inputsRead)
        if self._silence.isNews(self._job):
            self.listener.onMessage(_("The worker has said nothing for half a minute. Wait, or press Cancel."))
        if self._job.ending is not None and not self._results.busy:
            self._end(self._job.ending)

    def _end(self, ending: dict[str, Any]) -> None:
        if ending["event"] == "canceled" or self._orders.canceled:
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
        self.work.inputsRead()
