"""The figures of the loop in the panel: outline, densify, correct, apply; and how long a stroke holds it.

    python Testing/Benchmarks loop --data FOLDER --cases hippocampus prostate --strokes 300 512 512

runs in the stand-in host. In Slicer, with the module in it, run the same by

    Slicer --python-script Testing/Benchmarks/__main__.py loop --data FOLDER

Without --data, --volume and --strokes a small volume is generated. Eight slices are outlined from the truth by code.
The seconds go from *Densify*, or from *Confirm* in *Live*, to the first preview, which may be of the slices on display
alone, and to the first whole one. Before the first round the worker has --warm seconds to prepare itself; for *cold* it
was not started.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from Benchmarks.shared.application import Gaps, add_volume, has_bare_editor, open_panel, run_events, wait_for
from Benchmarks.shared.scoring import annotate
from Benchmarks.shared.volumes import add_volume_arguments, chosen_cases

from SparseSegLib.annotation import UNLABELED, Plane
from SparseSegLib.errors import JobError
from SparseSegLib.evaluation import iou
from SparseSegLib.image import Geometry, Volume

SLICES = "3,3,2"  # along x, y, z
CASES = ("hippocampus", "prostate", "white matter")
LONGEST = 600.0  # seconds that a round may take beyond its budget


@dataclass(frozen=True)
class Waiting:
    """Seconds from a click to the first preview and to the first whole one."""

    first: float
    whole: float

    def __str__(self) -> str:
        return f"{self.first:.2f} / {self.whole:.2f}"


@dataclass(frozen=True)
class LoopFigures:
    """What was measured on one volume.

    Attributes
    ----------
    prepared, cold : after *Densify*, with a worker that had prepared itself, and without any
    live : after *Confirm* of a corrected slice
    beside : IoU on the two slices beside that one, before and after
    clicks : from the outlined slices to the applied result
    applied : IoU of what was applied
    """

    prepared: Waiting
    live: Waiting
    beside: tuple[float, float]
    cold: Waiting
    clicks: int
    applied: float


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_volume_arguments(parser)
    parser.add_argument("--seconds", type=int, default=15, help="budget of a round")
    parser.add_argument("--warm", type=float, default=15.0, help="seconds in which the worker prepares itself")
    parser.add_argument("--strokes", type=int, nargs=3, action="append", default=[], metavar=("Z", "Y", "X"))
    arguments = parser.parse_args()
    if arguments.data and not arguments.cases:
        arguments.cases = list(CASES)
    panel = open_panel()
    print("| volume | prepared, s | cold, s | live, s | IoU beside, before and after | clicks | IoU applied |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, volume, truth in _volumes(arguments):
        row = measure(panel, volume, truth, arguments.seconds, arguments.warm)
        beside = "{:.3f}, {:.3f}".format(*row.beside)
        print(
            f"| {name} | {row.prepared} | {row.cold} | {row.live} | {beside} | {row.clicks} | {row.applied:.3f} |",
            flush=True,
        )
    for shape in arguments.strokes:
        print(f"\nA stroke on {'×'.join(map(str, shape))}: longest gap of the event loop, in it of the processor, ms\n")
        print("| view, slice | Segment Editor | SparseSeg |\n| --- | --- | --- |")
        for where, bare, own in measure_strokes(panel, tuple(shape)):
            print(f"| {where} | {_gap(bare)} | {_gap(own)} |", flush=True)


def _gap(gap: tuple[float, float] | None) -> str:
    return "" if gap is None else f"{1000 * gap[0]:.0f}, {1000 * gap[1]:.0f}"


def _volumes(arguments: argparse.Namespace) -> list[tuple[str, Volume, np.ndarray]]:
    if arguments.data or arguments.volume or arguments.strokes:
        cases = chosen_cases(arguments) if arguments.data or arguments.volume else []
        return [(case.name, *case.load()) for case in cases]
    from phantoms import blob

    phantom = blob(Geometry.identity((32, 40, 48)))
    return [("generated", phantom.volume, phantom.labels)]


def measure(panel: Any, volume: Volume, truth: np.ndarray, seconds: int, warm: float) -> LoopFigures:
    """Go through the loop on one volume, whose ``truth`` ``(Z, Y, X)`` is the user's knowledge.

    Parameters
    ----------
    panel : the module's widget, shown
    seconds : budget of a round
    warm : seconds that the worker has to prepare itself
    """
    loop = _Loop(panel, volume, (truth > 0).astype(np.uint8), seconds)
    try:
        loop.outline()
        run_events(warm)
        prepared = loop.densify()
        live, beside = loop.correct()
        loop.outline()
        panel.session.rounds.learner.abandon()
        loop.clicks = 0
        cold = loop.densify()
        loop.click(panel.ui.applyButton)
        return LoopFigures(prepared, live, beside, cold, loop.clicks, iou(loop.drawn(), loop.truth))
    finally:
        loop.close()


class _Loop:
    """One volume in the panel, and the user who knows the truth."""

    def __init__(self, panel: Any, volume: Volume, truth: np.ndarray, seconds: int) -> None:
        self.panel, self.volume, self.truth, self.seconds = panel, volume, truth, seconds
        self.clicks = 0
        self.session = panel.session
        self._previews: list[tuple[float, bool]] = []
        self._show = self.panel.session.view.showPreview
        self.panel.session.view.showPreview = self._shown

    def close(self) -> None:
        """The user goes."""
        self.session.rounds.learner.abandon()
        self.panel.session.view.showPreview = self._show

    def _shown(self, labels: np.ndarray, geometry: Geometry) -> None:
        self._show(labels, geometry)
        self._previews.append((time.perf_counter(), not (labels == UNLABELED).any()))

    def click(self, button: Any) -> None:
        """Click a button of the panel."""
        if not button.enabled:
            raise JobError(f"The button {button.objectName} cannot be clicked.")
        self.clicks += 1
        button.click()

    def outline(self) -> None:
        """A new scene with the volume, eight slices of it drawn."""
        import slicer

        slicer.mrmlScene.Clear(False)
        run_events(0.2)
        self.node = add_volume(self.volume.array[0], self.volume.geometry, self.volume.name or "volume")
        self.panel.parameterNode.inputVolume = self.node
        self.panel.parameterNode.budgetSeconds = self.seconds
        run_events(0.1)
        for plane in annotate(self.truth, self.volume, SLICES).planes:
            self._draw(plane, self.truth[plane.voxels] > 0)

    def densify(self) -> Waiting:
        """Click *Densify*, and wait for the result."""
        return self._wait(lambda: self.click(self.panel.ui.densifyButton))

    def correct(self) -> tuple[Waiting, tuple[float, float]]:
        """Correct the slice that the panel suggests, and confirm it in *Live*; IoU beside it before and after."""
        plane = self.session.suggestion or self._worst()
        self.session.jump(plane)
        before = self._beside(plane)
        self.session.loop.press(plane)
        there, wanted = self.session.loop.labels[plane.voxels] > 0, self.truth[plane.voxels] > 0
        self._draw(plane, wanted & ~there)
        self._draw(plane, there & ~wanted, erase=True)
        self.panel.parameterNode.live = True
        waiting = self._wait(lambda: self.click(self.panel.ui.confirmButton))
        self.panel.parameterNode.live = False
        return waiting, (before, self._beside(plane))

    def drawn(self) -> np.ndarray:
        """What the user's segmentation has ``(Z, Y, X)``."""
        return self._labels(self.panel.parameterNode.segmentation)

    def _draw(self, plane: Plane, mask: np.ndarray, *, erase: bool = False) -> None:
        from SparseSegModule.segmentChanges import changeSlice
        from SparseSegModule.segments import classSegmentIds

        drawn = self.panel.parameterNode.segmentation
        changeSlice(drawn, self.node, plane, {classSegmentIds(drawn)[0]: mask}, erase=erase)
        run_events(0.1)

    def _wait(self, begin: Callable[[], None]) -> Waiting:
        self._previews.clear()
        start = time.perf_counter()
        begin()
        if not wait_for(lambda: self.session.rounds.handle is not None, 10) or not wait_for(
            lambda: self.session.rounds.handle is None, self.seconds + LONGEST
        ):
            raise JobError("The round did not begin, or did not end.")
        end = time.perf_counter()
        first = min((when for when, _ in self._previews), default=end)
        whole = min((when for when, whole in self._previews if whole), default=end)
        return Waiting(first - start, whole - start)

    def _labels(self, segmentation: Any) -> np.ndarray:
        from SparseSegModule.segmentLabels import classLabels

        return classLabels(segmentation, self.node).whole(self.truth.shape) > 0

    def _beside(self, plane: Plane) -> float:
        """IoU of what is shown on the two slices beside one."""
        found = self._labels(self.panel.session.view.shownNode())
        near = [index for index in (plane.index - 1, plane.index + 1) if 0 <= index < self.truth.shape[plane.axis]]
        return iou(np.take(found, near, plane.axis), np.take(self.truth, near, plane.axis) > 0)

    def _worst(self) -> Plane:
        wrong = self._labels(self.panel.session.view.shownNode()) != (self.truth > 0)
        return Plane(0, int(wrong.sum((1, 2)).argmax()))


def measure_strokes(
    panel: Any, shape: tuple[int, int, int], pause: float = 1.0
) -> list[tuple[str, tuple[float, float] | None, tuple[float, float]]]:
    """Strokes of *Paint* in three views of a generated volume, on new slices and on the same ones again.

    Before and after each stroke the event loop runs for ``pause`` seconds.

    Returns, for each stroke, where it was, and the longest gap of the event loop in the bare Segment Editor (None where
    the application has none) and in the panel: seconds, and the most seconds of the processor in a gap.
    """
    import slicer

    slicer.mrmlScene.Clear(False)
    run_events(0.2)
    z, y, x = (side.astype(np.int16) for side in np.ogrid[: shape[0], : shape[1], : shape[2]])
    volume = add_volume((x + y + z) % 200, Geometry.identity(shape), "generated")
    strokes = [(view, which) for which in ("new", "same", "new") for view in ("Red", "Green", "Yellow")]
    bare: dict[str, tuple[float, float]] = {}
    if has_bare_editor():
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
        bare = _strokes(editor, _drawing(editor, volume), volume, strokes, pause)
        slicer.util.selectModule("SparseSeg")
    panel.parameterNode.inputVolume = volume
    run_events(0.2)
    own = _strokes(panel.ui.segmentEditorWidget, panel.parameterNode.segmentation, volume, strokes, pause)
    return [(where, bare.get(where), gap) for where, gap in own.items()]


def _drawing(editor: Any, volume: Any) -> Any:
    """A new segmentation of one segment in the Segment Editor."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    editor.setSegmentationNode(node)
    editor.setSourceVolumeNode(volume)
    editor.setCurrentSegmentID(node.GetSegmentation().AddEmptySegment("drawn"))
    return node


def _strokes(
    editor: Any, drawn: Any, volume: Any, strokes: list[tuple[str, str]], pause: float
) -> dict[str, tuple[float, float]]:
    """The longest gaps of strokes, by where they are."""
    import slicer
    from SparseSegModule.segmentLabels import classLabels

    editor.setActiveEffectByName("Paint")
    gaps, brush = Gaps(), None if has_bare_editor() else _Brush(editor, drawn, volume)
    for number, (view, which) in enumerate(strokes, start=1):
        widget = slicer.app.layoutManager().sliceWidget(view)
        if which == "new":
            widget.sliceLogic().SetSliceOffset(widget.sliceLogic().GetSliceOffset() + 3)
        gaps.phase = ""
        run_events(pause)
        gaps.phase = f"{number}: {view}, {which}"
        _drag(widget, brush)
        run_events(pause)
    gaps.stop()
    if not classLabels(drawn, volume).labels.any():
        raise JobError("Nothing was drawn by the strokes.")
    gaps.found = [gap for gap in gaps.found if gap[2]]
    return gaps.longest()


def _drag(widget: Any, brush: _Brush | None) -> None:
    """Press the mouse in the middle of a slice view, move it, and release it."""
    interactor, node = widget.sliceView().interactor(), widget.mrmlSliceNode()
    width, height, _ = node.GetDimensions()
    moves = [(width // 2 + 15 * step, height // 2 + 5 * step) for step in range(5)]
    events = ["LeftButtonPressEvent", *["MouseMoveEvent"] * (len(moves) - 2), "LeftButtonReleaseEvent"]
    interactor.SetEventPosition(*moves[0])
    interactor.InvokeEvent("EnterEvent")
    interactor.InvokeEvent("MouseMoveEvent")
    for (x, y), event in zip(moves, events, strict=True):
        interactor.SetEventPosition(x, y)
        if brush is not None and event == "LeftButtonReleaseEvent":
            brush.paint(node)
        interactor.InvokeEvent(event)
        run_events(0.05)


class _Brush:
    """*Paint* where the application's own does nothing: each stroke is a square, written as every tool writes."""

    def __init__(self, editor: Any, drawn: Any, volume: Any) -> None:
        self._editor, self._drawn, self._volume = editor, drawn, volume
        self._strokes = 0

    def paint(self, view: Any) -> None:
        """A square on the slice that a view shows."""
        from SparseSegModule.segmentChanges import changeSlice
        from SparseSegModule.segments import classSegmentIds
        from SparseSegModule.views import shownPlane

        plane = shownPlane(view, self._volume)
        shape = self._volume.GetImageData().GetDimensions()[::-1]
        mask = np.zeros([size for axis, size in enumerate(shape) if axis != plane.axis], bool)
        corner = [(size // 2 + 2 * self._strokes) % size for size in mask.shape]
        mask[corner[0] : corner[0] + 20, corner[1] : corner[1] + 20] = True
        self._strokes += 1
        self._editor.saveStateForUndo()
        changeSlice(self._drawn, self._volume, plane, {classSegmentIds(self._drawn)[0]: mask})
