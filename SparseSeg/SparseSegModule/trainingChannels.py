"""Choosing the further channels of the volumes to train from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import qt
import slicer

from SparseSegLib.errors import UsageError
from SparseSegModule.modelChannels import volumeSelector

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode


class TrainingChannels:
    """A row for each volume with a selector for each further channel, in a table that is hidden for a single channel.

    Parameters
    ----------
    table : QTableWidget
    """

    def __init__(self, table) -> None:
        self._table = table
        self._shown: object = None
        self._names: tuple[str, ...] = ()
        self._selectors: dict[tuple[str, int, str], qt.QWidget] = {}
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setSectionResizeMode(qt.QHeaderView.Stretch)
        table.visible = False

    def show(
        self,
        names: Sequence[str],
        volumeNodes: Sequence[vtkMRMLScalarVolumeNode],
        known: dict[vtkMRMLScalarVolumeNode, Sequence[vtkMRMLScalarVolumeNode]],
    ) -> None:
        """Ask for these channels of these volumes, which are the first channel themselves.

        What was chosen stays. Where nothing was, volumes are matched by name, else by ``known``.
        """
        names = tuple(names)
        volumeNodes = list(volumeNodes) if len(names) > 1 else []
        shown = names, [(node.GetID(), node.GetName()) for node in volumeNodes]
        if shown == self._shown:
            return
        chosen = {key: selector.currentNode() for key, selector in self._selectors.items()}
        self._shown, self._names, self._selectors = shown, names, {}
        self._table.setRowCount(0)
        self._table.setColumnCount(len(names))
        self._table.setHorizontalHeaderLabels(list(names))
        self._table.setRowCount(len(volumeNodes))
        self._table.visible = bool(volumeNodes)
        for row, volumeNode in enumerate(volumeNodes):
            item = qt.QTableWidgetItem(volumeNode.GetName())
            item.setFlags(qt.Qt.ItemIsEnabled)
            self._table.setItem(row, 0, item)
            fitting = dict(zip(names[1:], known.get(volumeNode, ()), strict=False))
            for column, name in enumerate(names[1:], start=1):
                key = volumeNode.GetID(), column, name
                node = chosen.get(key) or _namedLike(volumeNode, names[0], name) or fitting.get(name)
                self._selectors[key] = self._addSelector(row, column, node)

    def selectors(self) -> list:
        """The selectors (qMRMLNodeComboBox) that are shown."""
        return list(self._selectors.values())

    def channelsOf(self, volumeNode: vtkMRMLScalarVolumeNode) -> list[vtkMRMLScalarVolumeNode]:
        """A volume and its further channels, in order; UsageError if one is still missing."""
        nodes = [volumeNode]
        for column, name in enumerate(self._names[1:], start=1):
            nodes.append(self._selectors[volumeNode.GetID(), column, name].currentNode())
            if nodes[-1] is None:
                raise UsageError(
                    f"{volumeNode.GetName()} has no volume for the channel {name}.",
                    "Choose it in the table under Training options, or uncheck the volume.",
                )
        return nodes

    def _addSelector(self, row: int, column: int, node: vtkMRMLScalarVolumeNode | None):
        selector = volumeSelector()
        if node is not None:
            selector.setCurrentNode(node)
        self._table.setCellWidget(row, column, selector)
        return selector


def _namedLike(volumeNode: vtkMRMLScalarVolumeNode, first: str, other: str) -> vtkMRMLScalarVolumeNode | None:
    """The one volume that is named like this one but for the channel, as "Doe 1 T2" is like "Doe 1 T1"."""
    own = volumeNode.GetName().casefold()
    word = rf"(?<![^\W_]){re.escape(first.casefold())}(?![^\W_])"  # in "patient1 t1" only the second t1
    wanted = re.sub(word, lambda _match: other.casefold(), own)
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    found = [node for node in nodes if node.GetName().casefold() == wanted != own]
    return found[0] if len(found) == 1 else None
