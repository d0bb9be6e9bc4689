"""Panel, part 1: the volume, further channels, and the segmentation to draw on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.util import VTKObservationMixin

from SparseSegModule.dicomScan import seriesDoubts
from SparseSegModule.parameterNode import CHANNEL_ROLE
from SparseSegModule.refusals import whyNoDrawing, whyNoImage
from SparseSegModule.results import addSegmentation, inputOf, layOnVolume
from SparseSegModule.segments import addEmpty, segmentStyles
from SparseSegModule.selectors import NewNodes, hideMade, isMade
from SparseSegModule.sequences import frameOf, isOfAnotherFrame
from SparseSegModule.views import turnToVolume
from SparseSegModule.volumes import ijkToRas, shearOf

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode


class InputsPart(VTKObservationMixin):
    """Keeps the Segment Editor, the slice views and the channels in step with the chosen nodes."""

    def __init__(self, panel) -> None:
        VTKObservationMixin.__init__(self)
        self.panel = panel
        self._node = None
        self._volumeId: str | None = None
        panel.ui.channelSelector.connect("checkedNodesChanged()", self._onChannels)
        panel.ui.segmentationSelector.connect("nodeAddedByUser(vtkMRMLNode*)", self._onCreated)
        for table in slicer.util.findChildren(panel.ui.segmentEditorWidget, className="qMRMLSegmentsTableView"):
            table.useTerminologySelectorSettingsKey = ""  # a double-click renames, in place of a list of terms
        self._updating = self._loading = False
        self._shown: tuple = ()
        self._changes = qt.QTimer()
        self._changes.setSingleShot(True)
        self._changes.setInterval(0)
        self._changes.connect("timeout()", self._onChanged)
        self._newNodes = NewNodes(self._onNew)
        self._hideMade()

    def refresh(self) -> None:
        """Follow the parameter node."""
        node = self.panel.parameterNode
        first, self._node = node is not self._node, node
        if node is None:
            self._volumeId = None
            self._watch(None)
            return
        self._refuse()
        volumeNode = node.inputVolume
        volumeId = volumeNode.GetID() if volumeNode is not None else None
        if volumeId != self._volumeId:
            self._volumeId = volumeId
            self._watch(volumeNode)
            known = first and node.segmentation is not None  # the scene came with both: its views stay as they are
            if volumeNode is not None and not known and not self.panel.session.choseBoth:
                self._onNewVolume(volumeNode)
        if volumeNode is not None and isOfAnotherFrame(node.segmentation, volumeNode):
            self._onFrame(volumeNode, node.segmentation)
        self._showChannels()
        self._showDoubts(volumeNode)

    def cleanup(self) -> None:
        """The panel goes."""
        self._newNodes.stop()
        self.removeObservers()

    def channels(self) -> list[vtkMRMLScalarVolumeNode]:
        """The further channels: checked, and not the volume itself."""
        checked = self.panel.ui.channelSelector.checkedNodes()
        volumeNode = self.panel.parameterNode.inputVolume
        return [channel for channel in checked if channel is not volumeNode and not isMade(channel)]

    def letGo(self, node) -> None:
        """A node is about to leave the scene: what is drawn on a volume is nothing to go on with on another one."""
        parameterNode = self.panel.parameterNode
        if parameterNode is None or node is not parameterNode.inputVolume:
            return
        if _referenceVolume(parameterNode.segmentation) is node:
            parameterNode.segmentation = None

    def beginLoading(self) -> None:
        """A scene is loaded: the lists are filled anew, which checks and unchecks nothing."""
        self._loading = True

    def endLoading(self) -> None:
        """The scene is loaded: check the channels that it names."""
        self._loading = False
        if self.panel.parameterNode is not None:
            self._showChannels()

    def _hideMade(self) -> None:
        ui = self.panel.ui
        hideMade((ui.volumeSelector, ui.channelSelector, ui.segmentationSelector))

    def _onNew(self, nodes: list) -> None:
        """Nodes have come: choose the image among them while the panel is open and none is chosen."""
        self._hideMade()
        parameterNode = self.panel.parameterNode
        if parameterNode is None or parameterNode.inputVolume is not None or not self.panel.parent.isEntered:
            return
        parameterNode.inputVolume = firstImage(nodes)

    def _onCreated(self, segmentationNode: vtkMRMLSegmentationNode) -> None:
        """The user has created a segmentation in the list: it is one to draw in at once."""
        volumeNode = self.panel.parameterNode.inputVolume
        if volumeNode is not None:
            layOnVolume(segmentationNode, volumeNode)
        self.panel.ui.segmentEditorWidget.setCurrentSegmentID(_addSegment(segmentationNode))

    def _onNewVolume(self, volumeNode: vtkMRMLScalarVolumeNode) -> None:
        """Leave alone what is drawn on another volume: go on with what is drawn on this one, or start something new."""
        parameterNode = self.panel.parameterNode
        reference = _referenceVolume(parameterNode.segmentation)
        if parameterNode.segmentation is None or (reference is not None and reference is not volumeNode):
            parameterNode.segmentation = drawnOn(volumeNode) or _newSegmentation(volumeNode)
        turnToVolume(volumeNode)
        slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)

    def _showDoubts(self, volumeNode: vtkMRMLScalarVolumeNode | None) -> None:
        """Say so if the volume seems the wrong series."""
        doubts = seriesDoubts(volumeNode) if volumeNode is not None else ""
        label = self.panel.ui.seriesLabel
        label.visible = bool(doubts)
        label.text = _("Is this the right series? It is {what}.").format(what=doubts) if doubts else ""

    def _watch(self, volumeNode: vtkMRMLScalarVolumeNode | None) -> None:
        """Follow what the chosen volume shows: it may get another grid, or be the next frame of a sequence."""
        self.removeObservers()
        if volumeNode is not None:
            for event in (slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, vtk.vtkCommand.ModifiedEvent):
                self.addObserver(volumeNode, event, self._onVolume)
            self._shown = _placeOf(volumeNode)

    def _onVolume(self, volumeNode: vtkMRMLScalarVolumeNode, _event: str) -> None:
        last, self._shown = self._shown, _placeOf(volumeNode)
        if self._shown != last:
            self._changes.start()

    def _onChanged(self) -> None:
        self.panel.refresh()
        self.panel.session.refresh()

    def _onFrame(self, volumeNode: vtkMRMLScalarVolumeNode, last: vtkMRMLSegmentationNode) -> None:
        """Another frame is shown: its drawing is, too, and no drawing or result of another one."""
        drawing = drawnOn(volumeNode) or _likeOn(volumeNode, last)
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            if inputOf(node) is volumeNode and isOfAnotherFrame(node, volumeNode):
                node.SetDisplayVisibility(False)
        drawing.SetDisplayVisibility(True)
        self.panel.parameterNode.segmentation = drawing

    def _refuse(self) -> None:
        """Refuse SparseSeg's own results as inputs, and sheared volumes, on which nothing can be drawn."""
        node = self.panel.parameterNode
        volumeNode, segmentationNode = node.inputVolume, node.segmentation
        if volumeNode is not None and (why := whyNoImage(volumeNode)):
            node.inputVolume = None
            slicer.util.warningDisplay(why)
        if why := whyNoDrawing(segmentationNode):
            node.segmentation = None
            slicer.util.warningDisplay(why)

    def _onChannels(self) -> None:
        if self._updating or self._loading or slicer.mrmlScene.IsBatchProcessing():
            return
        if self.panel.parameterNode is None:
            return
        node, channels = self.panel.parameterNode.parameterNode, self.channels()
        modified = node.StartModify()  # observers of a change in between would uncheck them all
        node.RemoveNodeReferenceIDs(CHANNEL_ROLE)
        for channel in channels:
            node.AddNodeReferenceID(CHANNEL_ROLE, channel.GetID())
        node.EndModify(modified)

    def _showChannels(self) -> None:
        node = self.panel.parameterNode.parameterNode
        selector = self.panel.ui.channelSelector
        count = node.GetNumberOfNodeReferences(CHANNEL_ROLE)
        chosen = [node.GetNthNodeReference(CHANNEL_ROLE, number) for number in range(count)]
        self._updating = True
        for channel in [*selector.checkedNodes(), *selector.uncheckedNodes()]:
            wanted = channel in chosen
            state = qt.Qt.Checked if wanted else qt.Qt.Unchecked
            if selector.checkState(channel) != state:
                selector.setCheckState(channel, state)
        self._updating = False


def firstImage(nodes: Iterable | None = None) -> vtkMRMLScalarVolumeNode | None:
    """The first image that SparseSeg did not make, among some nodes or in the whole scene; no scout, if it can be."""
    found = []
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if nodes is None else nodes:
        isImage = node.GetClassName() == "vtkMRMLScalarVolumeNode" and node.GetImageData() is not None
        if isImage and not isMade(node) and not shearOf(node):
            found.append(node)
    return min(found, key=lambda node: bool(seriesDoubts(node)), default=None)


def drawnOn(volumeNode: vtkMRMLScalarVolumeNode) -> vtkMRMLSegmentationNode | None:
    """The first segmentation that was drawn on a volume; results and previews do not count."""
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if isMade(node) or _referenceVolume(node) is not volumeNode or isOfAnotherFrame(node, volumeNode):
            continue
        if node.GetSegmentation().GetNumberOfSegments():
            return node
    return None


def _placeOf(volumeNode: vtkMRMLScalarVolumeNode) -> tuple:
    """Where the voxels of a volume lie, and of which frame they are: what its drawing depends on."""
    image = volumeNode.GetImageData()
    shape = None if image is None else image.GetDimensions()
    return shape, ijkToRas(volumeNode).tobytes(), volumeNode.GetTransformNodeID(), frameOf(volumeNode)


def _referenceVolume(segmentationNode: vtkMRMLSegmentationNode | None) -> vtkMRMLScalarVolumeNode | None:
    if segmentationNode is None:
        return None
    return segmentationNode.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole())


def _newSegmentation(volumeNode: vtkMRMLScalarVolumeNode) -> vtkMRMLSegmentationNode:
    segmentationNode = addSegmentation(volumeNode, f"{volumeNode.GetName()} segmentation")
    _addSegment(segmentationNode)
    return segmentationNode


def _likeOn(volumeNode: vtkMRMLScalarVolumeNode, other: vtkMRMLSegmentationNode) -> vtkMRMLSegmentationNode:
    """A new segmentation for the frame that a volume shows, with the segments of another one, still empty."""
    name = f"{volumeNode.GetName()} segmentation ({frameOf(volumeNode)})"
    segmentationNode = addSegmentation(volumeNode, name)
    for style in segmentStyles(other):
        addEmpty(segmentationNode, style)
    return segmentationNode


def _addSegment(segmentationNode: vtkMRMLSegmentationNode) -> str:
    """Add the segment to begin with; its ID."""
    return segmentationNode.GetSegmentation().AddEmptySegment("", "object")
