"""SparseSeg: outline a structure on a few slices, get the dense 3D segmentation."""

from __future__ import annotations

import os

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin
from SparseSegModule.engine import forgetLoadedParts
from SparseSegModule.face import Face
from SparseSegModule.logic import SparseSegLogic
from SparseSegModule.sampleData import registerSampleData


class SparseSeg(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("SparseSeg")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Segmentations", "SegmentEditor", "Sequences", "SubjectHierarchy"]
        parent.contributors = ["The SparseSeg developers"]
        parent.helpText = _(
            "Outline a structure on a few slices, in any orientation, and press Densify: a network trained in the"
            " background, on this very image, returns the dense 3D segmentation, where it is unsure, and the next slice"
            " worth annotating."
        )
        parent.acknowledgementText = _(
            "After 3D U-Net: Learning Dense Volumetric Segmentation from Sparse Annotation (Çiçek et al., MICCAI 2016)."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)
        slicer.app.connect("startupCompleted()", self.registerEffect)

    def registerEffect(self):
        """Add the effect SparseSeg to the Segment Editors."""
        import qSlicerSegmentationsEditorEffectsPythonQt as effects

        effect = effects.qSlicerSegmentEditorScriptedEffect(None)
        path = os.path.join(os.path.dirname(self.parent.path), "SparseSegEffect", "SegmentEditorEffect.py")
        effect.setPythonSource(path.replace("\\", "/"))
        effect.self().register()


FIRST = 1.0
"""Priority of an observer that is called before the others."""


class SparseSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin, Face):
    """The panel: it joins the parts in SparseSegModule, and shows the session on one parameter node."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.parameterNode = None
        self.parts = []
        self._selectors = None
        self._guiTag = None

    def setup(self):
        """Build the panel."""
        ScriptedLoadableModuleWidget.setup(self)
        from SparseSegModule.loopBar import LoopBar, loadBar

        self.logic = SparseSegLogic.instance()
        root = slicer.util.loadUI(self.resourcePath("UI/SparseSeg.ui"))
        self.layout.addWidget(root)
        slicer.util.childWidgetVariables(root).segmentTab.layout().addWidget(loadBar())
        self.ui = slicer.util.childWidgetVariables(root)
        root.setMRMLScene(slicer.mrmlScene)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartImportEvent, self.onSceneStartImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.session.faces.append(self)
        LoopBar(self.ui, self.session).takeKeys()
        self._makeParts()
        self.initializeParameterNode()

    def _makeParts(self):
        from SparseSegModule.annotatePart import AnnotatePart
        from SparseSegModule.automaticPart import AutomaticPart
        from SparseSegModule.cleaningPart import CleaningPart
        from SparseSegModule.comparePart import ComparePart
        from SparseSegModule.densifyPart import DensifyPart
        from SparseSegModule.exportPart import ExportPart
        from SparseSegModule.hintsPart import HintsPart
        from SparseSegModule.inputsPart import InputsPart
        from SparseSegModule.regionPart import RegionPart
        from SparseSegModule.selectors import NodeSelectors
        from SparseSegModule.statusPart import StatusPart

        inputs, automatic = InputsPart(self), AutomaticPart(self)
        others = [ComparePart(self), ExportPart(self), StatusPart(self), HintsPart(self), RegionPart(self)]
        self.parts = [inputs, AnnotatePart(self), DensifyPart(self), automatic, *others, CleaningPart(self)]
        ui = self.ui
        own = [ui.volumeSelector, ui.segmentationSelector, ui.regionSelector, ui.shownSelector, ui.referenceSelector]
        self._selectors = NodeSelectors(lambda: own + automatic.selectors(), inputs.letGo)

    def cleanup(self):
        """Called when the module is reloaded, and when Slicer quits."""
        for part in self.parts:
            part.cleanup()
        self.parts = []
        if self._selectors is not None:
            self._selectors.removeObservers()
        self.setParameterNode(None)
        if self.logic is not None:
            self.logic.end()
        self.removeObservers()

    def enter(self):
        """Called when the user opens the module."""
        self.initializeParameterNode()
        self.parts[1].enter()
        self.session.showRegion(True)

    def exit(self):
        """Called when the user opens another module: jobs go on, drawing tools do not."""
        self.parts[1].exit()
        self.session.showRegion(False)

    def onReload(self):
        """Reload every part of the extension, not this file alone."""
        forgetLoadedParts()
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, caller=None, event=None):
        """The scene goes; a tool that went on drawing would crash Slicer."""
        self.parts[1].exit()
        self.setParameterNode(None)

    def onSceneEndClose(self, caller=None, event=None):
        """Start anew in the empty scene."""
        if self.parent.isEntered:
            self.enter()

    def onSceneStartImport(self, caller=None, event=None):
        """A scene is being loaded."""
        self.parts[0].beginLoading()

    def onSceneEndImport(self, caller=None, event=None):
        """A scene was loaded: take over its parameters, at once if the panel is open, else when it is entered."""
        self.parts[0].endLoading()
        if self.parent.isEntered:
            self.initializeParameterNode()
            qt.QTimer.singleShot(0, self.refresh)  # the Segment Editor forgets its segmentation after this event

    def initializeParameterNode(self):
        """Take the scene's parameter node, and choose the first volume where none is chosen."""
        self.setParameterNode(self.logic.getParameterNode())
        if not self.parameterNode.inputVolume:
            from SparseSegModule.inputsPart import firstImage

            self.parameterNode.inputVolume = firstImage()

    def setParameterNode(self, parameterNode):
        """Show another parameter node, or none."""
        if self.parameterNode is not None:
            self.parameterNode.disconnectGui(self._guiTag)
            self.removeObserver(self.parameterNode, vtk.vtkCommand.ModifiedEvent, self._onChoice)
        self.parameterNode = parameterNode
        if parameterNode is not None:
            self._guiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self._onChoice, priority=FIRST)
            self.session.follow(parameterNode)
        else:
            self.refresh()

    @property
    def session(self):
        """The loop on the drawing that is chosen."""
        return self.logic.session

    def _onChoice(self, caller, event):
        """What was chosen may be no input, or need another one beside it: before the session takes it."""
        self.parts[0].refresh()

    def onChosen(self):
        """The session has taken what was chosen."""
        self.refresh()

    def channels(self):
        """The further channels that are checked."""
        return self.parts[0].channels()

    def correct(self, result):
        """Correct a model's result in the tab Segment."""
        from SparseSegModule.correcting import correctResult

        if correctResult(self.session, result):
            self.ui.tabs.setCurrentWidget(self.ui.segmentTab)

    def requireTorch(self):
        """Whether PyTorch is there; if not, offer to install it."""
        return self.session.installation.require()

    def refresh(self):
        """Bring every part up to date with the parameter node."""
        for part in self.parts:
            part.refresh()


class SparseSegTest(ScriptedLoadableModuleTest):
    """The self test that Slicer runs: from the sample data to the applied result."""

    def setUp(self):
        """Start from an empty scene."""
        slicer.mrmlScene.Clear()

    def runTest(self):
        """Run every test."""
        for name in ("test_densify", "test_badInput"):
            self.setUp()
            getattr(self, name)()

    def test_densify(self):
        """White matter from eight slices of the sample volume: the result must beat IoU 0.75 off those slices."""
        from SparseSegModule.selfTest import densifySample

        iou = densifySample(SparseSegLogic(), seconds=float(os.environ.get("SPARSESEG_TEST_SECONDS", "40")))
        self.assertGreater(iou, 0.75)
        self.delayDisplay(f"Test passed: IoU {iou:.3f} off the annotated slices")

    def test_badInput(self):
        """An empty segmentation is refused with words, and nothing is added to the scene."""
        from SparseSegModule.selfTest import refusesEmptySegmentation

        self.assertTrue(refusesEmptySegmentation(SparseSegLogic()))
