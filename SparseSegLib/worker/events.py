"""Sends a computation's events as the protocol's events, and writes previews to files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from SparseSegLib.worker.channel import EventWriter

KEPT_PREVIEWS = 2


class JobEvents:
    """Sends the events of a computation (see ``SparseSegLib.control.Events``)."""

    def __init__(self, folder: Path, writer: EventWriter) -> None:
        self.folder = folder
        self._writer = writer
        self._previews: list[Path] = []

    def progress(
        self, step: int, fraction: float, loss: float | None, seconds_left: float | None, **figures: float
    ) -> None:
        """Send a ``progress`` event; numbers that are not finite become null."""
        values: dict[str, Any] = {"loss": loss, "seconds_left": seconds_left, **figures}
        clean = {key: _finite(value) for key, value in values.items()}
        self._writer.send("progress", step=step, fraction=round(fraction, 4), **clean)

    def preview(self, result: Any) -> None:
        """Write an intermediate result under a new name and send a ``preview`` event; only the last few are kept."""
        planes = getattr(result, "planes", ())
        name = f"preview-{result.steps:06d}{'-planes' if planes else ''}"
        if isinstance(result.labels, str):  # a task without arrays
            path = self.folder / f"{name}.txt"
            path.write_text(result.labels, encoding="utf-8")
        else:
            from SparseSegLib.worker.densify_results import save_preview

            path = self.folder / f"{name}.nrrd"
            save_preview(result, path)
        self._previews = [*(one for one in self._previews if one != path), path]
        fields = {"planes": [[plane.axis, plane.index] for plane in planes]} if planes else {}
        self._writer.send("preview", file=path.name, step=result.steps, seconds=round(result.seconds, 2), **fields)
        while len(self._previews) > KEPT_PREVIEWS:
            self._previews.pop(0).unlink(missing_ok=True)

    def message(self, text: str) -> None:
        """Send a ``message`` event."""
        self._writer.send("message", text=text)

    def ready(self) -> None:
        """Send a ``ready`` event."""
        self._writer.send("ready")

    def round(self, number: int, files: dict[str, str], figures: dict[str, Any]) -> None:
        """Send a ``round`` event."""
        self._writer.send("round", round=number, files=files, figures=figures)


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 5)
