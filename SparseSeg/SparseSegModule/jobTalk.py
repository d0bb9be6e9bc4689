"""What a job is told, and whether its worker still says anything."""

from __future__ import annotations

from collections.abc import Iterable

from SparseSegLib.annotation import Plane
from SparseSegLib.jobs import Job
from SparseSegLib.protocol import SILENCE_SECONDS


class Orders:
    """What a job is told; what came before its worker started is told then.

    Attributes
    ----------
    canceled : whether the job is no longer wanted
    """

    def __init__(self) -> None:
        self.canceled = False
        self._stopped = False
        self._looks: list[tuple[int, int]] = []
        self._job: Job | None = None

    def started(self, job: Job) -> None:
        """The worker has started."""
        self._job = job
        if self._looks:
            job.look(self._looks)
        if self._stopped:
            job.stop()

    def stop(self) -> None:
        """Finish with what there is."""
        self._stopped = True
        if self._job is not None:
            self._job.stop()

    def finish(self) -> None:
        """No further round is wanted; without a worker there is none to wait for."""
        if self._job is not None:
            self._job.finish()
        else:
            self.canceled = True

    def look(self, planes: Iterable[Plane]) -> None:
        """Predict these slices first."""
        self._looks = [(plane.axis, plane.index) for plane in planes]
        if self._job is not None:
            self._job.look(self._looks)

    def cancel(self) -> None:
        """The job is no longer wanted."""
        self.canceled = True
        if self._job is not None:
            self._job.cancel()


class Silence:
    """Whether a worker has been silent for long; said once each time."""

    def __init__(self) -> None:
        self._told = False

    def isNews(self, job: Job) -> bool:
        """Whether it is, and was not when this was asked last."""
        before, self._told = self._told, job.running and job.seconds_since_last_event > SILENCE_SECONDS
        return self._told and not before
