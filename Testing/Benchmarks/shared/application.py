"""The application that a benchmark of the panel runs in: the Slicer that started it, or else a stand-in host."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.image import Geometry

ROOT = Path(__file__).resolve().parents[3]
SLEEP = 0.002  # seconds between two looks at the event loop


def open_panel() -> Any:
    """The module's panel, shown; Slicer's window as large as the screen."""
    import slicer

    if hasattr(slicer, "app"):
        slicer.util.mainWindow().showMaximized()
        slicer.util.selectModule("SparseSeg")
        return slicer.modules.sparseseg.widgetRepresentation().self()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    sys.path[:0] = [str(ROOT / "Testing")]
    from host import Host

    loaded = Host.instance().loadModule(ROOT / "SparseSeg" / "SparseSeg.py")
    loaded.enter()
    return loaded.widget


def has_bare_editor() -> bool:
    """Whether the application has Slicer's own Segment Editor, whose tools really draw: the stand-in host has not."""
    import slicer

    return slicer.util.mainWindow() is not None


def run_events(seconds: float) -> None:
    """Run the event loop that long."""
    wait_for(lambda: False, seconds)


def wait_for(condition: Callable[[], Any], seconds: float) -> bool:
    """Run the event loop until a condition holds; whether it did within so many seconds."""
    import slicer

    end = time.perf_counter() + seconds
    while True:
        slicer.app.processEvents()
        if condition():
            return True
        if time.perf_counter() >= end:
            return False
        time.sleep(SLEEP)


def add_volume(array: np.ndarray, geometry: Geometry, name: str) -> Any:
    """A scalar volume node of ``array`` ``(Z, Y, X)``, in the views."""
    import slicer
    from SparseSegModule.volumes import matrixFromGeometry, vtkFromMatrix

    node = slicer.util.addVolumeFromArray(np.ascontiguousarray(array), name=name)
    node.SetIJKToRASMatrix(vtkFromMatrix(matrixFromGeometry(geometry)))
    slicer.util.setSliceViewerLayers(background=node, fit=True)
    return node


class Gaps:
    """How long the event loop was held, by a timer that fires whenever it is not.

    Attributes
    ----------
    phase : what is under way
    found : the gaps as (seconds, seconds of the processor in this thread, phase)
    """

    def __init__(self) -> None:
        import qt

        self.found: list[tuple[float, float, str]] = []
        self.phase = "start"
        self._last = self._now()
        self._timer = qt.QTimer()
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self._tick)
        self._timer.start()

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.thread_time()

    def _tick(self) -> None:
        now = self._now()
        self.found.append((now[0] - self._last[0], now[1] - self._last[1], self.phase))
        self._last = now

    def stop(self) -> None:
        """Look no more."""
        self._timer.stop()

    def longest(self) -> dict[str, tuple[float, float]]:
        """The longest gap of each phase, and the longest that the processor was busy in one; seconds."""
        phases = dict.fromkeys(phase for *_, phase in self.found)
        return {
            phase: (max(a for a, _, p in self.found if p == phase), max(b for _, b, p in self.found if p == phase))
            for phase in phases
        }
