"""Panel, part 5: two segmentations compared slice by slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from SparseSegLib.annotation import Plane
from SparseSegLib.errors import SparseSegError
from SparseSegModule.background import BackgroundCall
from SparseSegModule.planeTable import describePlane
from SparseSegModule.results import inputOf
from SparseSegModule.sliceScores import SliceComparison, SliceScore, prepareComparison
from SparseSegModule.translation import errorText
from SparseSegModule.views import jumpTo
from SparseSegModule.volumes import volumeGeometry
from SparseSegModule.waiting import Waiting

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


class ComparePart:
    """A table of the slices with the Dice on each; choosing a row, with the mouse or the arrow keys, goes there."""

    def __init__(self, panel) -> None:
        self.panel = panel
        self.comparison: SliceComparison | None = None
        self._compared: tuple | None = None
        self._volumeNode: vtkMRMLScalarVolumeNode | None = None
        self._scores: list[SliceScore] = []
        self._waiting = Waiting(self._onCompared)
        self._outlined: vtkMRMLSegmentationNode | None = None
        ui = panel.ui
        ui.sliceTable.verticalHeader().setVisible(False)
        ui.sliceTable.horizontalHeader().setStretchLastSection(True)
        ui.sliceTable.resizeColumnsToContents()
        ui.sliceTable.connect("currentCellChanged(int,int,int,int)", self._onRow)
        ui.sliceTable.connect("cellClicked(int,int)", self._onRow)
        ui.compareButton.connect("clicked()", self.onCompare)
        ui.sliceSegmentSelector.connect("currentIndexChanged(int)", self._showScores)
        ui.sliceAxisSelector.connect("currentIndexChanged(int)", self._showScores)

    def refresh(self) -> None:
        """Follow the parameter node; a table of other segmentations than those that are chosen goes."""
        node = self.panel.parameterNode
        if self._compared is not None and (node is None or self._compared != (node.shown, node.reference)):
            self._forget()
        ready = node is not None and node.shown is not None and node.reference is not None
        self.panel.ui.compareButton.enabled = ready and node.shown is not node.reference and not self._waiting.busy

    def cleanup(self) -> None:
        """The panel goes."""
        self._forget()

    def onCompare(self) -> None:
        """Count in the background, then show the table; the second segmentation becomes an outline over the first."""
        node = self.panel.parameterNode
        try:
            self._volumeNode = inputOf(node.shown) or inputOf(node.reference)
            self._waiting.start(prepareComparison(node.shown, node.reference, self._volumeNode))
        except SparseSegError as error:
            slicer.util.errorDisplay(errorText(error))
            return
        self._compared = node.shown, node.reference
        self._showBoth(node.shown, node.reference)
        self.panel.ui.compareLabel.text = _("Comparing...")
        self.refresh()

    def _onCompared(self, call: BackgroundCall) -> None:
        self.refresh()
        with slicer.util.tryWithErrorDisplay(_("The segmentations could not be compared.")):
            self.comparison = call.result()
            self._fillSelectors(self.comparison)
            self._showScores()

    def _fillSelectors(self, comparison: SliceComparison) -> None:
        """Offer the segments, and call the volume's axes by their names."""
        selector, axes = self.panel.ui.sliceSegmentSelector, self.panel.ui.sliceAxisSelector
        for axis in range(3):
            axes.setItemText(axis, describePlane(Plane(axis, 0), comparison.geometry, self._volumeNode)[0])
        chosen = selector.currentText
        selector.blockSignals(True)
        selector.clear()
        for name in (_("all segments"), *comparison.names):
            selector.addItem(name)
        selector.setCurrentIndex(max(0, selector.findText(chosen)))
        selector.blockSignals(False)

    def _showScores(self, _index: int = 0) -> None:
        if self.comparison is None:
            return
        ui = self.panel.ui
        number = ui.sliceSegmentSelector.currentIndex - 1
        name = self.comparison.names[number] if number >= 0 else ""
        self._scores = self.comparison.scores(ui.sliceAxisSelector.currentIndex, name)
        text = _("Dice {dice} in all.").format(dice=f"{self.comparison.dice(name):.3f}")
        if self._scores:
            worst = min(self._scores, key=lambda score: score.dice)
            text += " " + _("Least on {slice}: {dice}.").format(slice=self._place(worst), dice=f"{worst.dice:.3f}")
        ui.compareLabel.text = text
        table = ui.sliceTable
        table.blockSignals(True)
        table.setRowCount(len(self._scores))
        for row, score in enumerate(self._scores):
            for column, entry in enumerate((self._place(score), f"{score.dice:.3f}", score.first, score.second)):
                item = qt.QTableWidgetItem(str(entry))
                item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
                table.setItem(row, column, item)
        table.setCurrentCell(-1, -1)
        table.resizeColumnsToContents()
        table.blockSignals(False)

    def _place(self, score: SliceScore) -> str:
        return describePlane(score.plane, self.comparison.geometry, self._volumeNode)[1]

    def _onRow(self, row: int, *_others: int) -> None:
        alive = self._volumeNode is not None and self._volumeNode.GetScene() is not None
        if alive and 0 <= row < len(self._scores):
            geometry = volumeGeometry(self._volumeNode)
            if geometry.shape == self.comparison.geometry.shape:
                jumpTo(self._volumeNode, self._scores[row].plane)

    def _showBoth(self, first: vtkMRMLSegmentationNode, second: vtkMRMLSegmentationNode) -> None:
        """Fill the first, outline the second, over their volume."""
        self._fillAgain()
        slicer.util.setSliceViewerLayers(background=self._volumeNode)
        for node in (first, second):
            if node.GetDisplayNode() is None:
                node.CreateDefaultDisplayNodes()
            node.GetDisplayNode().SetVisibility(True)
        if second.GetDisplayNode().GetVisibility2DFill():
            second.GetDisplayNode().SetVisibility2DFill(False)
            self._outlined = second

    def _fillAgain(self) -> None:
        """Show the segmentation that was made an outline as it was."""
        node, self._outlined = self._outlined, None
        if node is not None and node.GetScene() is not None and node.GetDisplayNode() is not None:
            node.GetDisplayNode().SetVisibility2DFill(True)

    def _forget(self) -> None:
        self._waiting.forget()
        self._fillAgain()
        self.comparison = self._compared = self._volumeNode = None
        self._scores = []
        self.panel.ui.sliceTable.setRowCount(0)
        self.panel.ui.compareLabel.text = ""
