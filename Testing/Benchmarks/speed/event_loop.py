"""The longest blocks of Slicer's event loop while a job runs on a large volume, in the stand-in host.

    python Testing/Benchmarks event_loop --size 300 512 512 --seconds 30

A generated volume with one structure annotated on 8 slices is densified; a timer of 5 ms notes when it fires. Printed
are the longest gaps, with the phase that they are in, and how long the worker lived after *Cancel*.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from SparseSegLib.image import Geometry

ROOT = Path(__file__).resolve().parents[3]


class Gaps:
    """The times between ticks of a timer, and what was under way."""

    def __init__(self) -> None:
        import qt

        self.found: list[tuple[float, str]] = []
        self.phase = "start"
        self._last = time.perf_counter()
        self._timer = qt.QTimer()
        self._timer.setInterval(5)
        self._timer.connect("timeout()", self._tick)
        self._timer.start()

    def _tick(self) -> None:
        now = time.perf_counter()
        self.found.append((now - self._last, self.phase))
        self._last = now

    def longest(self) -> list[tuple[float, str]]:
        """The longest gap of each phase, in seconds."""
        phases = dict.fromkeys(phase for _, phase in self.found)
        return [(max(gap for gap, of in self.found if of == phase), phase) for phase in phases]


def main() -> None:
    """Run the job, then a second one that is canceled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(300, 512, 512), metavar=("Z", "Y", "X"))
    parser.add_argument("--seconds", type=int, default=30)
    arguments = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    sys.path[:0] = [str(ROOT / "Testing")]
    from host import Host

    host = Host.instance()
    loaded = host.loadModule(ROOT / "SparseSeg" / "SparseSeg.py")
    loaded.enter()
    panel = loaded.widget
    _prepare(host, panel, tuple(arguments.size))
    panel.parameterNode.budgetSeconds = arguments.seconds
    part, gaps = panel.parts[2], Gaps()
    gaps.phase = "pressing Densify"
    panel.ui.densifyButton.click()
    handle = part.handle
    gaps.phase = "writing the inputs"
    host.wait(lambda: handle._job is not None, 120)
    gaps.phase = "first preview"
    host.wait(lambda: part.view.previewNode is not None or handle.ended, 120)
    gaps.phase = "training and previews"
    host.wait(lambda: handle._results.busy or not handle.learning, 300)
    gaps.phase = "delivering the result"
    host.wait(lambda: not handle.learning, 120)
    host.processEvents(0.5)
    print("progress:", panel.ui.progressLabel.text)
    for gap, phase in gaps.longest():
        print(f"{1000 * gap:7.0f} ms  {phase}")
    _cancel(host, panel, part)
    host.quit()


def _prepare(host: Any, panel: Any, shape: tuple[int, int, int]) -> None:
    """A bright ellipsoid in noise, annotated on three, three and two slices."""
    from module_helpers import add_volume
    from SparseSegModule.selfTest import annotate

    z, y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    truth = ((z / 0.6) ** 2 + (y / 0.45) ** 2 + (x / 0.5) ** 2 < 1).astype(np.uint8)
    image = truth * np.int16(80) + np.random.default_rng(0).integers(-30, 30, shape, np.int16)
    volume = add_volume(image, Geometry.identity(shape, (1.5, 0.8, 0.8)), "ct")
    panel.parameterNode.inputVolume = volume
    host.processEvents(0.1)
    drawn, table = annotate(volume, truth)
    panel.parameterNode.segmentation = drawn
    host.processEvents(0.1)
    panel.parts[1].loop.setTable(table)
    host.processEvents(0.1)


def _cancel(host: Any, panel: Any, part: Any) -> None:
    panel.ui.densifyButton.click()
    handle = part.handle
    host.wait(lambda: part.view.previewNode is not None, 120)
    process, start = handle._job._process, time.perf_counter()
    panel.ui.cancelButton.click()
    host.wait(lambda: process.poll() is not None, 10)
    print(f"{time.perf_counter() - start:7.2f} s from Cancel to the end of the worker")
