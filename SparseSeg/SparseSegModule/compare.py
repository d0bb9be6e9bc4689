"""Going through image and result slice by slice: keys, and a play button at four slices per second."""

from __future__ import annotations

from collections.abc import Callable

import qt
import slicer

from SparseSegLib.annotation import Plane
from SparseSegModule.modelWork import ModelResult
from SparseSegModule.views import jumpTo
from SparseSegModule.volumes import volumeGeometry

PLAY_MILLISECONDS = 250
KEYS = (("nextSliceButton", "Alt+Down"), ("previousSliceButton", "Alt+Up"), ("toggleResultButton", "H"))
"""Keys that neither the Segment Editor nor the main window has."""


class CompareView:
    """Steps through the axial slices of each segmented volume in turn.

    Parameters
    ----------
    ui : of the panel
    correct : called with the result on show, when the user wants to correct it
    """

    def __init__(self, ui, correct: Callable[[ModelResult], object]) -> None:
        self.ui = ui
        self._correct = correct
        self._results: list[ModelResult] = []
        self._case = 0
        self._slice = 0
        self._timer = qt.QTimer()
        self._timer.setInterval(PLAY_MILLISECONDS)
        self._timer.connect("timeout()", self.onNext)
        ui.nextSliceButton.connect("clicked()", self.onNext)
        ui.previousSliceButton.connect("clicked()", self.onPrevious)
        ui.toggleResultButton.connect("toggled(bool)", self._onToggle)
        ui.correctButton.connect("clicked()", self._onCorrect)
        ui.playButton.connect("toggled(bool)", self._onPlay)
        for name, key in KEYS:
            getattr(ui, name).setShortcut(qt.QKeySequence(key))
        self._updateButtons()

    def show(self, results: list[ModelResult]) -> None:
        """Start with the first of these results."""
        self._results = [result for result in results if result.volumeNode is not None]
        self._case = self._slice = 0
        if self._results:
            self._showCase()
        self._updateButtons()

    def stop(self) -> None:
        """Stop playing."""
        self._timer.stop()

    def onNext(self) -> None:
        """One slice on; after the last one the next volume."""
        self._step(1)

    def onPrevious(self) -> None:
        """One slice back; before the first one the volume before."""
        self._step(-1)

    def _step(self, by: int) -> None:
        if not self._alive():
            return
        last = volumeGeometry(self._results[self._case].volumeNode).shape[0] - 1
        self._slice += by
        if not 0 <= self._slice <= last:
            self._case = (self._case + by) % len(self._results)
            size = volumeGeometry(self._results[self._case].volumeNode).shape[0]
            self._slice = 0 if by > 0 else size - 1
            self._showCase()
        jumpTo(self._results[self._case].volumeNode, Plane(0, self._slice))

    def _alive(self) -> bool:
        """Whether there still is something to step through: nodes may have been deleted."""
        self._results = [result for result in self._results if result.volumeNode.GetScene() is not None]
        self._case = min(self._case, max(0, len(self._results) - 1))
        if not self._results:
            self.ui.playButton.checked = False
            self._updateButtons()
        return bool(self._results)

    def _showCase(self) -> None:
        current = self._results[self._case]
        slicer.util.setSliceViewerLayers(background=current.volumeNode)
        for result in self._results:
            self._setVisible(result, result is current and self.ui.toggleResultButton.checked)

    def _onToggle(self, shown: bool) -> None:
        if self._alive():
            self._setVisible(self._results[self._case], shown)

    def _onCorrect(self) -> None:
        if self._alive():
            self.ui.playButton.checked = False
            self._correct(self._results[self._case])

    def _onPlay(self, plays: bool) -> None:
        if plays:
            self._timer.start()
        else:
            self._timer.stop()

    @staticmethod
    def _setVisible(result: ModelResult, visible: bool) -> None:
        node = result.segmentationNode
        if node is not None and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility(visible)

    def _updateButtons(self) -> None:
        for name in ("nextSliceButton", "previousSliceButton", "playButton", "toggleResultButton", "correctButton"):
            getattr(self.ui, name).enabled = bool(self._results)
