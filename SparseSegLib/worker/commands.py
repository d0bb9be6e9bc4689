"""What the commands of a client do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from SparseSegLib.control import CancelSource, Control, Mailbox
from SparseSegLib.protocol import MOST_PLANES
from SparseSegLib.worker.events import JobEvents


@dataclass(frozen=True)
class Update:
    """New annotation for a task.

    Attributes
    ----------
    file : labels, a name in the job's folder, or absolute
    settings : of the rounds that begin with it or after it; None for those that the job has
    """

    file: str
    settings: dict[str, Any] | None = None


class Commands:
    """Carries out commands as they come, on the thread that reads them.

    Parameters
    ----------
    events : are told of commands that cannot be carried out

    Attributes
    ----------
    control : of the task, which finds in it what was commanded
    """

    def __init__(self, events: JobEvents) -> None:
        self._source, self._updates, self._events = CancelSource(), Mailbox(), events
        self.control = Control(self._source.token, events, self._updates)

    def take(self, command: dict[str, Any]) -> None:
        """Carry out one command of the protocol."""
        kind = command["command"]
        if kind == "cancel":
            self._source.cancel()
        elif kind == "stop":
            self._source.stop()
        elif kind == "finish":
            self._source.finish()
        elif kind == "look":
            self._look(command.get("planes"))
        else:
            self._update(command.get("file"), command.get("settings"))
        self.control.bell.set()

    def cancel(self) -> None:
        """The client is gone."""
        self._source.cancel()
        self.control.bell.set()

    def _update(self, file: Any, settings: Any) -> None:
        if not isinstance(file, str) or not file:
            self._events.message("The new annotation is not used: its file has no name.")
        elif settings is not None and not isinstance(settings, dict):
            self._events.message("The new annotation is not used: its settings are none.")
        else:
            self._updates.put(Update(file, settings))

    def _look(self, planes: Any) -> None:
        """Note the slices on display, pairs of an axis and an index; anything else changes nothing."""
        if isinstance(planes, list) and len(planes) <= MOST_PLANES and all(map(_is_plane, planes)):
            self.control.looks.content = tuple((axis, index) for axis, index in planes)


def _is_plane(value: Any) -> bool:
    pair = isinstance(value, list) and len(value) == 2 and all(type(part) is int for part in value)
    return pair and value[0] in (0, 1, 2)
