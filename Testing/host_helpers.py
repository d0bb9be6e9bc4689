"""What the tests of the stand-in host share: a small module, its panel and parameters, and nodes."""

from enum import Enum
from typing import Annotated

import numpy as np

SHAPE = (8, 10, 12)


UI = """<?xml version="1.0"?><ui version="4.0"><class>Demo</class><widget class="qMRMLWidget" name="Demo">
<layout class="QVBoxLayout" name="layout">
<item><widget class="qMRMLNodeComboBox" name="inputSelector">
 <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
 <property name="noneEnabled"><bool>true</bool></property>
 <property name="SlicerParameterName" stdset="0"><string>inputVolume</string></property></widget></item>
<item><widget class="ctkCollapsibleButton" name="section"><property name="text"><string>More</string></property>
 <property name="collapsed"><bool>true</bool></property><layout class="QFormLayout" name="form">
 <item row="0" column="0"><widget class="QLabel" name="label"/></item>
 <item row="0" column="1"><widget class="ctkSliderWidget" name="slider">
 <property name="SlicerParameterName" stdset="0"><string>threshold</string></property></widget></item>
 </layout></widget></item>
<item><widget class="QCheckBox" name="check">
 <property name="SlicerParameterName" stdset="0"><string>PARAMETER</string></property></widget></item>
<item><widget class="QPushButton" name="apply"><property name="text"><string>Apply</string></property></widget></item>
</layout></widget>
<customwidgets>
<customwidget><class>qMRMLWidget</class><extends>QWidget</extends><container>1</container></customwidget>
<customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends></customwidget>
<customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><container>1</container></customwidget>
<customwidget><class>ctkSliderWidget</class><extends>QWidget</extends></customwidget>
</customwidgets>
<connections><connection><sender>Demo</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
<receiver>inputSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""


MODULE = """
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

class Demo(ScriptedLoadableModule):
    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Demo")
        parent.categories = ["Testing"]
        slicer.app.connect("startupCompleted()", self.onStartup)
        self.started = 0

    def onStartup(self):
        self.started += 1

class DemoWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.calls = []

    def setup(self):
        super().setup()
        root = slicer.util.loadUI(self.resourcePath("UI/Demo.ui"))
        self.layout.addWidget(root)
        self.ui = slicer.util.childWidgetVariables(root)
        root.setMRMLScene(slicer.mrmlScene)
        self.ui.apply.connect("clicked(bool)", self.onApply)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onClose)

    def onApply(self):
        self.calls.append("apply")

    def onClose(self, caller, event):
        self.calls.append("close")

    def enter(self):
        self.calls.append("enter")

    def cleanup(self):
        self.calls.append("cleanup")
        self.removeObservers()
"""


class Mode(Enum):
    """A choice of two."""

    FAST = 1
    SLOW = 2


def parameter_node_class(slicer):
    """A class of parameter nodes with one field of each kind."""
    from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

    @parameterNodeWrapper
    class DemoParameters:
        inputVolume: slicer.vtkMRMLScalarVolumeNode  # noqa: N815
        threshold: Annotated[float, WithinRange(0, 10), Default(2.5)]
        enabled: bool = True
        mode: Mode = Mode.SLOW
        preset: Annotated[str, Choice(["fast", "best"])] = "fast"
        planes: list[str]

    return DemoParameters


def new_parameters(slicer):
    """A parameter node of that class in the scene."""
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    class DemoLogic(ScriptedLoadableModuleLogic):
        pass

    return parameter_node_class(slicer)(DemoLogic().getParameterNode())


def add_volume(slicer, name="volume"):
    """An empty volume of ``SHAPE``."""
    volume = slicer.util.addVolumeFromArray(np.zeros(SHAPE, np.int16), name=name)
    volume.CreateDefaultDisplayNodes()
    return volume


def add_segmentation(slicer, volume, array):
    """A segmentation with one segment, of the mask ``array`` ``(Z, Y, X)``."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = node.GetSegmentation().AddEmptySegment("a", "a", (1, 0, 0))
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segment, volume)
    return node
