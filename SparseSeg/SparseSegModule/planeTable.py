"""The table of annotated slices in the panel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import qt
from slicer.i18n import tr as _

from SparseSegLib.annotation import ObliquePlane, Plane
from SparseSegLib.image import Geometry
from SparseSegLib.units import offset_text
from SparseSegModule.planes import AnnotatedPlane
from SparseSegModule.views import obliqueInWorld, toWorld
from SparseSegModule.volumes import volumeGeometry

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode

_ORIENTATIONS = (("Sagittal", "R", "L"), ("Coronal", "A", "P"), ("Axial", "S", "I"))


def describePlane(plane: Plane, geometry: Geometry, volumeNode: vtkMRMLScalarVolumeNode) -> tuple[str, str]:
    """Orientation and position of a slice as the slice views show them, such as ("Axial", "12.5 mm S (slice 17)").

    Millimeters are those of the world, with the volume's transform; slices are counted from 0, as Slicer counts voxels.
    """
    point = (np.array(geometry.shape) - 1) / 2
    point[plane.axis] = plane.index
    ahead = point.copy()
    ahead[plane.axis] += 1
    here, there = (toWorld(volumeNode, geometry.index_to_physical(place)) for place in (point, ahead))
    along = int(np.abs(there - here).argmax())
    name, positive, negative = _ORIENTATIONS[along]
    place = f"{offset_text(abs(here[along]))} {positive if here[along] >= 0 else negative}"
    return name, _("{place} (slice {index})").format(place=place, index=plane.index)


def _state(plane: AnnotatedPlane, volumeNode: vtkMRMLScalarVolumeNode) -> str:
    """What is special about a slice: that it is being edited, or was changed on another one later."""
    if plane.edited:
        return _("being edited")
    if not plane.crossed:
        return ""
    where = " ".join(describePlane(Plane(*plane.crossed), volumeGeometry(volumeNode), volumeNode))
    return _("changed on {where}").format(where=where)


def describeOblique(plane: ObliquePlane, volumeNode: vtkMRMLScalarVolumeNode) -> tuple[str, str]:
    """Orientation and position of an oblique plane, such as ("Oblique", "12.5 mm, 37° off axial").

    The position is the offset that a slice view on it shows: from the origin of the world, along the normal.
    """
    point, normal = obliqueInWorld(plane, volumeNode)
    along = int(np.abs(normal).argmax())
    angle = round(float(np.degrees(np.arccos(min(1.0, abs(normal[along]))))))
    offset = offset_text(float(point @ normal) * (1 if normal[along] > 0 else -1))
    name = _ORIENTATIONS[along][0].lower()
    return _("Oblique"), _("{offset}, {angle}° off {orientation}").format(offset=offset, angle=angle, orientation=name)


class PlaneTableView:
    """Shows slices in a QTableWidget.

    Parameters
    ----------
    widget : QTableWidget with five columns: whole slice, orientation, position, state, segments
    onJump : called with the plane that was double-clicked
    onFinished : called with a plane and whether its tick is set; oblique planes have none
    """

    def __init__(
        self, widget, onJump: Callable[[Plane | ObliquePlane], None], onFinished: Callable[[Plane, bool], None]
    ) -> None:
        self._widget = widget
        self._onJump = onJump
        self._onFinished = onFinished
        self._planes: list[Plane | ObliquePlane] = []
        self._content: object = None
        self._filling = False
        widget.horizontalHeader().setStretchLastSection(True)
        widget.verticalHeader().setVisible(False)
        widget.resizeColumnsToContents()
        widget.connect("cellDoubleClicked(int,int)", self._onCellDoubleClicked)
        widget.connect("itemChanged(QTableWidgetItem*)", self._onItemChanged)

    def clear(self) -> None:
        """Show nothing."""
        self._planes, self._content = [], None
        self._widget.setRowCount(0)

    def show(
        self,
        content: list[tuple[AnnotatedPlane, str]],
        oblique: Sequence[ObliquePlane],
        volumeNode: vtkMRMLScalarVolumeNode,
    ) -> None:
        """Show slices of a volume and what is on them, and planes that are oblique to it."""
        geometry = volumeGeometry(volumeNode)
        texts = [
            (plane.finished, *describePlane(plane.plane, geometry, volumeNode), _state(plane, volumeNode), segments)
            for plane, segments in content
        ]
        texts += [(None, *describeOblique(pose, volumeNode), "", "") for pose in oblique]
        planes = [*(plane.plane for plane, _segments in content), *oblique]
        if (planes, texts) == self._content:
            return
        self._content = planes, texts
        self._planes = planes
        self._filling = True
        self._widget.setRowCount(len(texts))
        for row, (finished, *words) in enumerate(texts):
            self._widget.setItem(row, 0, _tick(finished))
            for column, text in enumerate(words, start=1):
                self._widget.setItem(row, column, qt.QTableWidgetItem(text))
        self._widget.resizeColumnsToContents()
        self._filling = False

    def chosen(self) -> Plane | ObliquePlane | None:
        """The slice of the current row."""
        row = self._widget.currentRow()
        return self._planes[row] if 0 <= row < len(self._planes) else None

    def _onCellDoubleClicked(self, row: int, _column: int) -> None:
        self._onJump(self._planes[row])

    def _onItemChanged(self, item) -> None:
        if not self._filling and item.column() == 0:
            self._onFinished(self._planes[item.row()], item.checkState() == qt.Qt.Checked)


def _tick(finished: bool | None):
    """The first cell of a row: a tick that can be set, or none where there is nothing to choose."""
    item = qt.QTableWidgetItem()
    item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable)
    if finished is not None:
        item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
        item.setCheckState(qt.Qt.Checked if finished else qt.Qt.Unchecked)
    return item
