"""Choosing a volume for each channel of a model that has several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import qt
import slicer
from slicer.i18n import tr as _

from SparseSegModule.selectors import hideMade

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode


class ModelChannels:
    """One selector for each channel, in a frame that is hidden for models with a single channel.

    Parameters
    ----------
    frame : QFrame with a layout
    onChanged : called when another volume is chosen
    """

    def __init__(self, frame, onChanged: Callable[[], None]) -> None:
        self._frame = frame
        self._onChanged = onChanged
        self._names: tuple[str, ...] = ()
        self._selectors: list = []
        self._rows = None
        frame.visible = False

    @property
    def several(self) -> bool:
        """Whether the model has several channels."""
        return bool(self._selectors)

    def show(self, names: Sequence[str], volumes: Sequence[vtkMRMLScalarVolumeNode]) -> None:
        """Ask for these channels, at first with these volumes in turn; a single channel needs no question."""
        names = tuple(names) if len(names) > 1 else ()
        if names == self._names:
            return
        self._names = names
        if self._rows is not None:
            self._rows.setParent(None)
            self._rows.deleteLater()
        self._rows = qt.QWidget()
        form = qt.QFormLayout(self._rows)
        form.setContentsMargins(0, 0, 0, 0)
        self._selectors = [self._addSelector(form, name) for name in names]
        for selector, volumeNode in zip(self._selectors, volumes, strict=False):
            selector.setCurrentNode(volumeNode)
        self._frame.layout().addWidget(self._rows)
        self._frame.visible = self.several

    def selectors(self) -> list:
        """The selectors (qMRMLNodeComboBox), in the channels' order."""
        return list(self._selectors)

    def volumes(self) -> list[vtkMRMLScalarVolumeNode]:
        """A volume for each channel, in order; none if one is still missing."""
        nodes = [selector.currentNode() for selector in self._selectors]
        return [] if any(node is None for node in nodes) else nodes

    def _addSelector(self, form, name: str):
        selector = volumeSelector()
        selector.toolTip = _("The volume that the model takes as {name}. All channels must show the same scan.").format(
            name=name
        )
        selector.connect("currentNodeChanged(vtkMRMLNode*)", self._onNode)
        form.addRow(f"{name}:", selector)
        return selector

    def _onNode(self, _node: object) -> None:
        self._onChanged()


def volumeSelector():
    """A selector for the images of the scene, where none is chosen."""
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.showChildNodeTypes = False
    selector.addEnabled = selector.removeEnabled = False
    selector.noneEnabled = True
    selector.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
    selector.setMRMLScene(slicer.mrmlScene)
    hideMade([selector])
    return selector
