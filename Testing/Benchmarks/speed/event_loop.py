"""The longest blocks of the event loop while a job runs on a large volume, in Slicer or in the stand-in host.

    python Testing/Benchmarks event_loop --size 300 512 512 --seconds 30

A generated volume with one structure annotated on 8 slices is densified; a timer notes when it fires. Printed are the
longest gaps, with the phase that they are in, and how long the worker lived after *Cancel*.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from Benchmarks.shared.application import Gaps, add_volume, open_panel, run_events, wait_for

from SparseSegLib.image import Geometry


def main() -> None:
    """Run the job, then a second one that is canceled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(300, 512, 512), metavar=("Z", "Y", "X"))
    parser.add_argument("--seconds", type=int, default=30)
    arguments = parser.parse_args()
    panel = open_panel()
    _prepare(panel, tuple(arguments.size))
    panel.parameterNode.budgetSeconds = arguments.seconds
    rounds, gaps = panel.session.rounds, Gaps()
    gaps.phase = "pressing Densify"
    panel.ui.densifyButton.click()
    handle = rounds.handle
    gaps.phase = "writing the inputs"
    wait_for(lambda: handle._job is not None, 120)
    gaps.phase = "first preview"
    wait_for(lambda: panel.session.view.previewNode is not None or handle.ended, 120)
    gaps.phase = "training and previews"
    wait_for(lambda: handle._results.busy or not handle.learning, 300)
    gaps.phase = "delivering the result"
    wait_for(lambda: not handle.learning, 120)
    run_events(0.5)
    print("progress:", panel.ui.progressLabel.text)
    for phase, (gap, _) in gaps.longest().items():
        print(f"{1000 * gap:7.0f} ms  {phase}")
    _cancel(panel, rounds)
    rounds.learner.abandon()


def _prepare(panel: Any, shape: tuple[int, int, int]) -> None:
    """A bright ellipsoid in noise, annotated on three, three and two slices."""
    from SparseSegModule.selfTest import annotate

    z, y, x = np.ogrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    truth = ((z / 0.6) ** 2 + (y / 0.45) ** 2 + (x / 0.5) ** 2 < 1).astype(np.uint8)
    image = truth * np.int16(80) + np.random.default_rng(0).integers(-30, 30, shape, np.int16)
    volume = add_volume(image, Geometry.identity(shape, (1.5, 0.8, 0.8)), "ct")
    panel.parameterNode.inputVolume = volume
    run_events(0.1)
    drawn, table = annotate(volume, truth)
    panel.parameterNode.segmentation = drawn
    run_events(0.1)
    panel.session.loop.setTable(table)
    run_events(0.1)


def _cancel(panel: Any, rounds: Any) -> None:
    panel.ui.densifyButton.click()
    handle = rounds.handle
    wait_for(lambda: panel.session.view.previewNode is not None, 120)
    process, start = handle._job._process, time.perf_counter()
    panel.ui.cancelButton.click()
    wait_for(lambda: process.poll() is not None, 10)
    print(f"{time.perf_counter() - start:7.2f} s from Cancel to the end of the worker")
