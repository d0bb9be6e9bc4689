"""The table of annotated slices in the panel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import qt

from SparseSegLib.annotation import Plane
from SparseSegLib.geometry import Geometry
from SparseSegModule.planes import AnnotatedPlane

_ORIENTATIONS = (("Sagittal", "L", "R"), ("Coronal", "P", "A"), ("Axial", "S", "I"))


def describePlane(plane: Plane, geometry: Geometry) -> tuple[str, str]:
    """Orientation and position of a slice in a radiographer's words, such as ("Axial", "12.5 mm S")."""
    point = (np.array(geometry.shape) - 1) / 2
    point[plane.axis] = plane.index
    ahead = point.copy()
    ahead[plane.axis] += 1
    here = geometry.index_to_physical(point)
    along = int(np.abs(geometry.index_to_physical(ahead) - here).argmax())
    name, positive, negative = _ORIENTATIONS[along]
    return name, f"{abs(here[along]):.1f} mm {positive if here[along] >= 0 else negative}"


class PlaneTableView:
    """Shows slices in a QTableWidget.

    Parameters
    ----------
    widget : QTableWidget with four columns: finished, orientation, position, segments
    onJump : called with the plane that was double-clicked
    onFinished : called with a plane and whether its tick is set
    """

    def __init__(self, widget, onJump: Callable[[Plane], None], onFinished: Callable[[Plane, bool], None]) -> None:
        self._widget = widget
        self._onJump = onJump
        self._onFinished = onFinished
        self._planes: list[Plane] = []
        self._content: object = None
        self._filling = False
        widget.horizontalHeader().setStretchLastSection(True)
        widget.verticalHeader().setVisible(False)
        widget.connect("cellDoubleClicked(int,int)", self._onCellDoubleClicked)
        widget.connect("itemChanged(QTableWidgetItem*)", self._onItemChanged)

    def clear(self) -> None:
        """Show nothing."""
        self._planes, self._content = [], None
        self._widget.setRowCount(0)

    def show(self, content: list[tuple[AnnotatedPlane, str]], geometry: Geometry) -> None:
        """Show slices and what is on them."""
        if content == self._content:
            return
        self._content = content
        self._planes = [plane.plane for plane, _segments in content]
        self._filling = True
        self._widget.setRowCount(len(content))
        for row, (plane, segments) in enumerate(content):
            tick = qt.QTableWidgetItem()
            tick.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
            tick.setCheckState(qt.Qt.Checked if plane.finished else qt.Qt.Unchecked)
            self._widget.setItem(row, 0, tick)
            for column, text in enumerate((*describePlane(plane.plane, geometry), segments), start=1):
                self._widget.setItem(row, column, qt.QTableWidgetItem(text))
        self._widget.resizeColumnsToContents()
        self._filling = False

    def chosen(self) -> Plane | None:
        """The slice of the current row."""
        row = self._widget.currentRow()
        return self._planes[row] if 0 <= row < len(self._planes) else None

    def _onCellDoubleClicked(self, row: int, _column: int) -> None:
        self._onJump(self._planes[row])

    def _onItemChanged(self, item) -> None:
        if not self._filling and item.column() == 0:
            self._onFinished(self._planes[item.row()], item.checkState() == qt.Qt.Checked)
