"""The rounds of a densify job that stays: learn, write, tell, wait for more annotation."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from SparseSegLib.annotation import SparseLabels
from SparseSegLib.control import Control, Inbox
from SparseSegLib.densify import Densifier
from SparseSegLib.errors import AnnotationError, Canceled, GeometryError, UsageError
from SparseSegLib.files import path_inside
from SparseSegLib.worker.densify_results import save_result

KEPT_ROUNDS = 2
IDLE_SECONDS = 60.0
"""After so long a wait memory is given back."""


class Rounds:
    """Runs round after round.

    Parameters
    ----------
    folder : of the job
    densifier : Densifier
    control : Control
    settings : brings those of the rounds from then on
    names : of the results by their kind, ``dense``, ``uncertainty`` and perhaps ``weights``; those of a round have its
        number before them
    stay : seconds to wait for a command
    """

    def __init__(
        self,
        folder: Path,
        densifier: Densifier,
        control: Control,
        settings: Inbox,
        names: Mapping[str, str],
        stay: float,
    ) -> None:
        self.folder = folder
        self.densifier = densifier
        self.control = control
        self.settings = settings
        self.names = names
        self.stay = stay
        self._number = 0
        self._last: tuple[dict[str, str], dict[str, Any]] | None = None

    def run(self, labels: SparseLabels | None) -> tuple[dict[str, str], dict[str, Any]]:
        """Rounds, the first one with ``labels`` if there are some, until no further one is wanted.

        Returns result files (relative to the folder) and figures of the last one; raises Canceled if there was none.
        """
        if labels is None:
            self.densifier.prepare()
        self.control.events.ready()
        if labels is not None:
            self._round(labels)
        while (more := self._wait()) is not None:
            try:
                self._round(more)
            except (AnnotationError, GeometryError, UsageError) as error:
                self.control.events.message(f"The new annotation is not used: {error}")
        if self._last is None:
            raise Canceled
        return self._last

    def _round(self, labels: SparseLabels) -> None:
        result = self.densifier.learn(labels, self.settings.take())
        self.control.token.begin_round()
        self._number += 1
        files = {kind: self._named(name, self._number) for kind, name in self.names.items()}
        save_result(result, path_inside(self.folder, files["dense"]), path_inside(self.folder, files["uncertainty"]))
        if "weights" in files:
            self.densifier.save_weights(path_inside(self.folder, files["weights"]))
        self._last = files, result.figures()
        self.control.events.round(self._number, *self._last)
        self._remove_old()
        self.densifier.prepare()

    def _wait(self) -> SparseLabels | None:
        """The next annotation, or None where there will be none."""
        token, bell = self.control.token, self.control.bell
        heard, released = time.monotonic(), False
        while True:
            bell.clear()
            token.check()
            if token.finished:
                return None
            labels = self.control.updates.take()
            if labels is not None:
                return labels
            token.begin_round()
            waited = time.monotonic() - heard
            if waited >= self.stay:
                return None
            if waited >= IDLE_SECONDS and not released:
                self.densifier.release()
                released = True
            if bell.wait(self.stay - waited if released else min(self.stay, IDLE_SECONDS) - waited):
                heard = time.monotonic()

    def _named(self, name: str, number: int) -> str:
        return Path(name).with_name(f"round-{number:04d}-{Path(name).name}").as_posix()

    def _remove_old(self) -> None:
        """Remove the results of all rounds but the last few, those of an earlier run included."""
        for name in self.names.values():
            own = re.compile(r"round-(\d{4,})-" + re.escape(Path(name).name))
            for path in (self.folder / name).parent.iterdir():
                match = own.fullmatch(path.name)
                if match and not self._number - KEPT_ROUNDS < int(match[1]) <= self._number:
                    with suppress(OSError):
                        path.unlink()
